// A certified OpenID provider for the tests. Its only argument is a JSON file: issuer, port, clients, jwks, people.
// `people` maps subjects to claims. The provider reads the file at each sign-in, so tests can change the claims.
import { readFileSync } from "node:fs";
import { Provider } from "oidc-provider";

const settingsFile = process.argv[2];
const read = () => JSON.parse(readFileSync(settingsFile, "utf8"));
const { issuer, port, clients, jwks } = read();

const provider = new Provider(issuer, {
  clients,
  jwks,
  cookies: { keys: ["for the tests only"] },
  claims: { openid: ["sub"], profile: ["nickname", "preferred_username", "groups"], email: ["email", "email_verified"] },
  features: { devInteractions: { enabled: true }, rpInitiatedLogout: { enabled: true }, userinfo: { enabled: true } },
  pkce: { required: () => true },
  findAccount: (context, id) => ({ accountId: id, claims: () => ({ sub: id, ...read().people[id] }) }),
});
provider.listen(port, "127.0.0.1");
