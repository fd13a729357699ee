// Walks a client's whole way with each of two libraries, openid-client and oauth4webapi, as their own documentation does it: discovery, a token, its
// introspection, its revocation, its introspection again. Reads {issuer, reached_at, client_id, keys: [{alg, jwk}], secret, presented, scope} from its
// standard input, where `presented` is a token of another issuer that may be used again, and writes a list of {library, credential, token, active, after} to its output. Any step that the library objects to ends it.
import { readFileSync } from 'node:fs'
import * as oauth from 'oauth4webapi'
import * as client from 'openid-client'

const { issuer, reached_at, client_id, keys, secret, presented, scope } = JSON.parse(readFileSync(0))
const server = new URL(issuer)

// The API has a public name, under which nothing answers here: the same requests go where it is reached.
const reached = (url, options) => fetch(String(url).replace(server.origin, new URL(reached_at).origin), options)

const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
const walks = { 'openid-client': byOpenidClient, oauth4webapi: byOauth4webapi }
const results = []
for (const [library, walk] of Object.entries(walks)) {
  for (const { alg, jwk } of keys) {
    const key = { key: await imported(jwk, alg), kid: jwk.kid }
    const { PrivateKeyJwt } = library === 'openid-client' ? client : oauth
    results.push({ library, credential: alg, ...(await walk(PrivateKeyJwt(key))) })
  }
  if (secret) {
    const { ClientSecretBasic } = library === 'openid-client' ? client : oauth
    results.push({ library, credential: 'secret', ...(await walk(ClientSecretBasic(secret))) })
  }
  if (presented) {
    // As both document a method of one's own. The libraries' jwt-bearer grant is the same for every extension.
    const shown = (_as, self, body) => {
      body.set('client_id', self.client_id)
      body.set('client_assertion_type', 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer')
      body.set('client_assertion', presented)
    }
    results.push({ library, credential: 'assertion', ...(await walk(shown)) })
    results.push({ library, credential: 'grant', ...(await walk(shown, { assertion: presented, scope })) })
  }
}
console.log(JSON.stringify(results))

async function byOpenidClient(authentication, grant) {
  const options = { algorithm: 'oauth2', execute: [client.allowInsecureRequests], [client.customFetch]: reached }
  const config = await client.discovery(server, client_id, undefined, authentication, options)
  const bare = await client.discovery(server, client_id, undefined, client.None(), options)
  const granted = grant ? client.genericGrantRequest(bare, JWT_BEARER, grant) : client.clientCredentialsGrant(config, { scope })
  const { access_token: token } = await granted
  const { active } = await client.tokenIntrospection(config, token)
  await client.tokenRevocation(config, token)
  const after = (await client.tokenIntrospection(config, token)).active
  return { token, active, after }
}

async function byOauth4webapi(authentication, grant) {
  const options = { [oauth.allowInsecureRequests]: true, [oauth.customFetch]: reached }
  const found = await oauth.discoveryRequest(server, { algorithm: 'oauth2', ...options })
  const as = await oauth.processDiscoveryResponse(server, found)
  const self = { client_id }
  const { access_token: token } = grant
    ? await oauth.processGenericTokenEndpointResponse(
        as,
        self,
        await oauth.genericTokenEndpointRequest(as, self, oauth.None(), JWT_BEARER, new URLSearchParams(grant), options)
      )
    : await oauth.processClientCredentialsResponse(
        as,
        self,
        await oauth.clientCredentialsGrantRequest(as, self, authentication, new URLSearchParams({ scope }), options)
      )
  const isActive = async () => {
    const answer = await oauth.introspectionRequest(as, self, authentication, token, options)
    return (await oauth.processIntrospectionResponse(as, self, answer)).active
  }
  const active = await isActive()
  await oauth.processRevocationResponse(await oauth.revocationRequest(as, self, authentication, token, options))
  return { token, active, after: await isActive() }
}

function imported(jwk, alg) {
  const algorithms = {
    ES256: { name: 'ECDSA', namedCurve: 'P-256' },
    ES384: { name: 'ECDSA', namedCurve: 'P-384' },
    EdDSA: { name: 'Ed25519' },
    PS256: { name: 'RSA-PSS', hash: 'SHA-256' },
    RS256: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }
  }
  return crypto.subtle.importKey('jwk', jwk, algorithms[alg], false, ['sign'])
}
