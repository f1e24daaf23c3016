/**
 * Bootstrap tokens ("abcdef.0123456789abcdef"): what a machine shows that is to become a node. Each is a Secret of its own type in
 * kube-system; it holds until it expires, for what it says that it is for.
 */
import type { Secret } from "#api/generated/core/v1.ts";
import type { User } from "#api/request.ts";
import { decodeBase64 } from "#machinery/base64.ts";
import { parseTime } from "#machinery/time.ts";
import type { Clock } from "#ports/clock.ts";
import type { Crypto } from "#ports/crypto.ts";
import type { Reader } from "../reader.ts";
import type { Authenticator } from "./authenticator.ts";

const tokenForm = /^([a-z0-9]{6})\.([a-z0-9]{16})$/;
const groupForm = /^system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]$/;
const secretType = "bootstrap.kubernetes.io/token";
const secrets = { group: "", plural: "secrets" };
const encoder = new TextEncoder();

function textsOf(secret: Partial<Secret>): Record<string, string> {
  const texts: Record<string, string> = {};
  for (const [key, value] of Object.entries(secret.data ?? {})) {
    const decoded = decodeBase64(value);
    texts[key] = "bytes" in decoded ? new TextDecoder().decode(decoded.bytes) : "";
  }
  return texts;
}

/** Undefined: one of them is not allowed. */
function groupsOf(extra: string): readonly string[] | undefined {
  const groups = extra === "" ? [] : extra.split(",").map((group) => group.trim());
  if (groups.some((group) => !groupForm.test(group))) return undefined;
  return [...new Set(["system:bootstrappers", ...groups])].sort();
}

export function bootstrapTokens(reader: Reader, crypto: Crypto, clock: Clock): Authenticator {
  const judge = (id: string, secretText: string): User | { readonly refused: string } => {
    const name = `bootstrap-token-${id}`;
    const secret: Partial<Secret> | undefined = reader.get(secrets, "kube-system", name);
    if (secret === undefined || secret.metadata?.deletionTimestamp !== undefined)
      return { refused: `there is no secret kube-system/${name}` };
    if (secret.type !== secretType) return { refused: `${name} is not of type ${secretType}` };
    const data = textsOf(secret);
    const own = data["token-secret"] ?? "";
    if (own === "" || !crypto.equal(encoder.encode(own), encoder.encode(secretText)))
      return { refused: `the secret of token ${id} does not match` };
    if (data["token-id"] !== id) return { refused: `${name} is of another token` };
    const expiration = data.expiration ?? "";
    const end = expiration === "" ? Infinity : (parseTime(expiration) ?? 0);
    if (clock.now() >= end) return { refused: `token ${id} has expired` };
    if (data["usage-bootstrap-authentication"] !== "true")
      return { refused: `token ${id} is not for authentication` };
    const groups = groupsOf(data["auth-extra-groups"] ?? "");
    if (groups === undefined) return { refused: `token ${id} names groups that it may not` };
    return { name: `system:bootstrap:${id}`, groups };
  };
  return {
    name: "bootstrap token",
    authenticate: ({ headers }) => {
      const match = /^bearer +(\S+) *$/i.exec(headers.authorization ?? "");
      const token = tokenForm.exec(match?.[1] ?? "");
      if (token === null) return Promise.resolve(undefined);
      return Promise.resolve(judge(token[1] ?? "", token[2] ?? ""));
    },
  };
}
