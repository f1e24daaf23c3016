/**
 * Authenticates by headers: a front proxy, which proves itself by a certificate of its own authority, says who asks (X-Remote-User and
 * its kin). Of anyone else the headers count for nothing.
 */
import type { User } from "#api/request.ts";
import type { Clock } from "#ports/clock.ts";
import type { Crypto } from "#ports/crypto.ts";
import type { Authenticator } from "./authenticator.ts";

export const frontProxyNames: readonly string[] = ["front-proxy-client"];
const extraPrefix = "x-remote-extra-";

const listOf = (text: string | undefined): string[] =>
  (text ?? "").split(/, |\n/).filter((one) => one !== "");

function keyOf(encoded: string): string {
  try {
    return decodeURIComponent(encoded);
  } catch {
    return encoded;
  }
}

function userOf(headers: Readonly<Record<string, string>>): User | undefined {
  const name = headers["x-remote-user"] ?? "";
  if (name === "") return undefined;
  const uid = headers["x-remote-uid"] ?? "";
  const extra: Record<string, string[]> = {};
  for (const [header, value] of Object.entries(headers)) {
    if (header.startsWith(extraPrefix))
      extra[keyOf(header.slice(extraPrefix.length))] = listOf(value);
  }
  return {
    name,
    groups: listOf(headers["x-remote-group"]),
    ...(uid === "" ? {} : { uid }),
    ...(Object.keys(extra).length === 0 ? {} : { extra }),
  };
}

export function requestHeaders(crypto: Crypto, clock: Clock, ca: string): Authenticator {
  return {
    name: "request headers",
    authenticate(request) {
      const user = userOf(request.headers);
      const chain = request.peer?.certificates ?? [];
      if (user === undefined || chain.length === 0) return Promise.resolve(undefined);
      const verdict = crypto.judge(chain, ca, clock.now());
      // Others' certificates are for others to judge.
      if ("refused" in verdict) return Promise.resolve(undefined);
      if (!verdict.uses.includes("client auth") || !frontProxyNames.includes(verdict.user)) {
        const why = `the certificate of "${verdict.user}" is not a front proxy's`;
        return Promise.resolve({ refused: why });
      }
      return Promise.resolve(user);
    },
  };
}
