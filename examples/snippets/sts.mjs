// A token by the role of this process: AWS says who it is (sts:GetWebIdentityToken), and the server verifies that. Needs @aws-sdk/client-sts.
import { GetWebIdentityTokenCommand, STSClient } from '@aws-sdk/client-sts'

const issuer = process.env.ISSUER // https://auth.example.com/am/oauth2/realms/root/realms/alpha
const question = { Audience: [issuer], SigningAlgorithm: 'ES384', DurationSeconds: 60 }
const identity = await new STSClient().send(new GetWebIdentityTokenCommand(question))
const body = new URLSearchParams({
  grant_type: 'client_credentials',
  client_id: 'orders',
  client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
  client_assertion: identity.WebIdentityToken,
})
const answer = await fetch(`${issuer}/access_token`, { method: 'POST', body })
if (!answer.ok) throw new Error(`no token: ${answer.status}`)
console.log((await answer.json()).access_token)
