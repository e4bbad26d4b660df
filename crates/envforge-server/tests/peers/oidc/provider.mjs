// An independent, certified OpenID provider for the test of signing in: fresh keys at each start.
//
// node provider.mjs PORT SERVER: PORT to listen on, SERVER the public URL of the server that signs people in by it.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { Provider } from 'oidc-provider';

const [port, server] = process.argv.slice(2);
const key = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: 'envforge',
      client_secret: 'a secret of the test, which is long enough',
      redirect_uris: [`${server}/sign-in/peer/callback`],
      post_logout_redirect_uris: [`${server}/sign-in`],
      backchannel_logout_uri: `${server}/sign-in/peer/logout`,
      backchannel_logout_session_required: true,
      grant_types: ['authorization_code', 'refresh_token'],
    },
  ],
  jwks: { keys: [{ ...key, kid: randomUUID(), use: 'sig', alg: 'RS256' }] },
  cookies: { keys: [randomUUID()] },
  // As the specification has it: address and name come from the user-info endpoint.
  claims: { openid: ['sub', 'sid'], email: ['email', 'email_verified'], profile: ['name'] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@example.org`, email_verified: id !== 'unverified', name: `Peer ${id}` }),
  }),
  // A refresh token is good once; used again, it ends whatever came of it.
  rotateRefreshToken: true,
  pkce: { required: () => true },
  // It would not speak to private addresses, and here everything is on one.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  features: {
    devInteractions: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    backchannelLogout: { enabled: true },
  },
});
provider.listen(Number(port), '127.0.0.1', () => console.log('listening'));
