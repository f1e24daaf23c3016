/** Authenticates by client certificate: the chain must lead to the client CA; the user is CN, the groups are O. */
import { encodeBase64 } from "#machinery/base64.ts";
import type { Clock } from "#ports/clock.ts";
import type { CertificateFacts, Crypto } from "#ports/crypto.ts";
import type { Authenticator } from "./authenticator.ts";

const judgedMax = 1024;

/** `roots()` is asked at each request, so that a new CA bundle counts at once. */
export function clientCertificates(
  crypto: Crypto,
  clock: Clock,
  roots: () => string,
): Authenticator {
  /** What was judged good, by leaf: a connection asks again and again. */
  const judged = new Map<string, { facts: CertificateFacts; roots: string }>();
  return {
    name: "x509",
    authenticate: (request) => {
      const chain = request.peer?.certificates ?? [];
      const leaf = chain[0];
      if (leaf === undefined) return Promise.resolve(undefined);
      const now = clock.now();
      const bundle = roots();
      const id = encodeBase64(crypto.digest(leaf));
      let facts = judged.get(id)?.roots === bundle ? judged.get(id)?.facts : undefined;
      if (facts === undefined || now > facts.toMs) {
        judged.delete(id);
        const verdict = crypto.judge(chain, bundle, now);
        if ("refused" in verdict) return Promise.resolve(verdict);
        facts = verdict;
        if (judged.size >= judgedMax) judged.clear();
        judged.set(id, { facts, roots: bundle });
      }
      if (!facts.uses.includes("client auth"))
        return Promise.resolve({
          refused: `the certificate of "${facts.user}" is not for clients`,
        });
      if (facts.user === "") return Promise.resolve(undefined);
      return Promise.resolve({ name: facts.user, groups: facts.groups });
    },
  };
}
