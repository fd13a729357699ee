// node oidc-provider with its in-memory adapter, configured for what `make bench-peers` asks of it: the client credentials
// grant, opaque or as an ES256 JWT for a resource, and introspection.
//
//     node oidc-provider.js PORT CLIENT_SECRET RESOURCE

import { generateKeyPairSync } from 'node:crypto';

import Provider from 'oidc-provider';

const [port, secret, resource] = process.argv.slice(2);
const scope = 'read write';
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: 'bench',
    client_secret: secret,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    id_token_signed_response_alg: 'ES256',
    scope,
    token_endpoint_auth_method: 'client_secret_basic',
  }],
  scopes: scope.split(' '),
  ttl: { ClientCredentials: 3600 },
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig' }] },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: { enabled: true, allowedPolicy: () => true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: () => ({
        scope,
        audience: resource,
        accessTokenFormat: 'jwt',
        accessTokenTTL: 3600,
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
});
provider.listen(Number(port), '127.0.0.1');
