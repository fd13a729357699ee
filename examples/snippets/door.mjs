// A token by the role of this process, at the door where AWS verifies the signature of the request (SigV4). At API Gateway the service is
// execute-api. Needs @aws-crypto/sha256-js, @aws-sdk/credential-provider-node and @smithy/signature-v4.
import { Sha256 } from '@aws-crypto/sha256-js'
import { defaultProvider } from '@aws-sdk/credential-provider-node'
import { SignatureV4 } from '@smithy/signature-v4'

const url = new URL('/am/oauth2/realms/root/realms/alpha/access_token', process.env.DOOR) // https://ID.lambda-url.REGION.on.aws
const body = 'grant_type=client_credentials&client_id=orders'
const { AWS_REGION: region } = process.env
const signer = new SignatureV4({ service: 'lambda', region, credentials: defaultProvider(), sha256: Sha256 })
const headers = { host: url.host, 'content-type': 'application/x-www-form-urlencoded' }
const signed = await signer.sign({ method: 'POST', protocol: url.protocol, hostname: url.hostname, path: url.pathname, query: {}, headers, body })
const answer = await fetch(url, { method: 'POST', headers: signed.headers, body })
if (!answer.ok) throw new Error(`no token: ${answer.status}`)
console.log((await answer.json()).access_token)
