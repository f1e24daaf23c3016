/**
 * Service account tokens: signed here for the TokenRequest subresource, and accepted here as bearer tokens. A token holds while
 * its signature and times do, and while the service account, and the pod, secret or node it is bound to, are still there.
 */
import type { User } from "#api/request.ts";
import { decodeBase64, encodeBase64 } from "#machinery/base64.ts";
import { parseJson } from "#machinery/json.ts";
import { isObject, type JsonObject } from "#machinery/object.ts";
import { parseTime } from "#machinery/time.ts";
import type { Clock } from "#ports/clock.ts";
import type { Crypto } from "#ports/crypto.ts";
import type { Bytes } from "#ports/stream.ts";
import type { Reader, ResourceRef } from "../reader.ts";
import type { Authenticator } from "./authenticator.ts";

export interface ServiceAccountKey {
  readonly algorithm: "ES256" | "RS256";
  readonly privateKey: string;
  readonly publicKey: string;
}

export interface ServiceAccountTokenOptions {
  readonly crypto: Crypto;
  readonly clock: Clock;
  readonly reader: Reader;
  /** The first one signs; all are accepted. */
  readonly keys: readonly ServiceAccountKey[];
  readonly issuer: string;
  /** Audiences of the API server: a token must name one of them. The first is the default of new tokens. */
  readonly audiences: readonly string[];
}

export interface BoundObject {
  readonly kind: "Pod" | "Secret" | "Node";
  readonly name: string;
  readonly uid: string;
}
export interface TokenOrder {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly audiences: readonly string[];
  readonly seconds: number;
  readonly bound?: BoundObject;
  /** The node of the pod that the token is bound to. */
  readonly node?: { readonly name: string; readonly uid: string };
  readonly id: string;
}

const tokenBytesMax = 16 * 1024;
const verifiedMax = 4096;
const encoder = new TextEncoder();
const serviceAccounts: ResourceRef = { group: "", plural: "serviceaccounts" };
const boundPlurals = { Pod: "pods", Secret: "secrets", Node: "nodes" } as const;

const toBase64Url = (bytes: Bytes): string =>
  encodeBase64(bytes).replace(/=+$/, "").replace(/\+/g, "-").replace(/\//g, "_");

function fromBase64Url(text: string): Bytes | undefined {
  const padded = text.replace(/-/g, "+").replace(/_/g, "/");
  const decoded = decodeBase64(padded + "=".repeat((4 - (padded.length % 4)) % 4));
  return "bytes" in decoded ? decoded.bytes : undefined;
}

function jsonPart(text: string): JsonObject | undefined {
  const bytes = fromBase64Url(text);
  if (bytes === undefined) return undefined;
  try {
    const value = parseJson(bytes);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

/** What a verified token says, apart from its audience. */
interface Claims {
  readonly payload: JsonObject;
  readonly audiences: readonly string[];
  readonly fromMs: number;
  readonly toMs: number;
}

export class ServiceAccountTokens implements Authenticator {
  readonly name = "service account token";
  readonly #options: ServiceAccountTokenOptions;
  /** Tokens whose signature was found good. */
  readonly #verified = new Map<string, Claims>();

  constructor(options: ServiceAccountTokenOptions) {
    this.#options = options;
  }

  get audiences(): readonly string[] {
    return this.#options.audiences;
  }

  async sign(order: TokenOrder): Promise<{ readonly token: string; readonly toMs: number }> {
    const { crypto, clock, keys, issuer } = this.#options;
    const key = keys[0];
    if (key === undefined) throw new Error("there is no key to sign service account tokens with");
    const now = Math.floor(clock.now() / 1000);
    const { bound, node } = order;
    const payload = {
      aud: order.audiences,
      exp: now + order.seconds,
      iat: now,
      iss: issuer,
      jti: order.id,
      "kubernetes.io": {
        namespace: order.namespace,
        ...(node === undefined ? {} : { node }),
        ...(bound === undefined
          ? {}
          : { [bound.kind.toLowerCase()]: { name: bound.name, uid: bound.uid } }),
        serviceaccount: { name: order.name, uid: order.uid },
      },
      nbf: now,
      sub: `system:serviceaccount:${order.namespace}:${order.name}`,
    };
    const header = { alg: key.algorithm, kid: this.keyId(key), typ: "JWT" };
    const part = (value: object): string => toBase64Url(encoder.encode(JSON.stringify(value)));
    const signed = `${part(header)}.${part(payload)}`;
    const signature = await crypto.sign(key.privateKey, encoder.encode(signed));
    return { token: `${signed}.${toBase64Url(signature)}`, toMs: (now + order.seconds) * 1000 };
  }

  keyId(key: ServiceAccountKey): string {
    return toBase64Url(this.#options.crypto.digest(encoder.encode(key.publicKey)));
  }

  async authenticate(request: {
    readonly headers: Readonly<Record<string, string>>;
  }): Promise<User | { readonly refused: string } | undefined> {
    const header = request.headers.authorization ?? "";
    const match = /^bearer +(\S+) *$/i.exec(header);
    if (match?.[1] === undefined) return undefined;
    const result = await this.review(match[1], this.#options.audiences);
    return "user" in result ? result.user : result;
  }

  /** Also what TokenReview asks. */
  async review(
    token: string,
    audiences: readonly string[],
  ): Promise<
    { readonly user: User; readonly audiences: readonly string[] } | { readonly refused: string }
  > {
    const claims = await this.#verify(token);
    if ("refused" in claims) return claims;
    const now = this.#options.clock.now();
    if (now >= claims.toMs) return { refused: "the token has expired" };
    if (now < claims.fromMs) return { refused: "the token is not valid yet" };
    const common = claims.audiences.filter((audience) => audiences.includes(audience));
    if (common.length === 0)
      return {
        refused: `the token is for ${JSON.stringify(claims.audiences)}, not for this server`,
      };
    const user = this.#userOf(claims.payload);
    return "refused" in user ? user : { user, audiences: common };
  }

  async #verify(token: string): Promise<Claims | { readonly refused: string }> {
    const known = this.#verified.get(token);
    if (known !== undefined) return known;
    if (token.length > tokenBytesMax) return { refused: "the token is too long" };
    const parts = token.split(".");
    const [head = "", body = "", tail = ""] = parts;
    const payload = parts.length === 3 ? jsonPart(body) : undefined;
    const header = jsonPart(head);
    const signature = fromBase64Url(tail);
    if (payload === undefined || header === undefined || signature === undefined)
      return { refused: "the token is not a JWT" };
    const { issuer, crypto, keys } = this.#options;
    if (payload.iss !== issuer) return { refused: `the token is not of issuer "${issuer}"` };
    const signed = encoder.encode(`${head}.${body}`);
    for (const key of keys) {
      if (key.algorithm !== header.alg) continue;
      if (!(await crypto.verify(key.publicKey, signed, signature))) continue;
      const claims = claimsOf(payload);
      if (claims === undefined) return { refused: "the token lacks exp or aud" };
      if (this.#verified.size >= verifiedMax) this.#forgetExpired();
      this.#verified.set(token, claims);
      return claims;
    }
    return { refused: "the token's signature is not of any known key" };
  }

  #forgetExpired(): void {
    const now = this.#options.clock.now();
    for (const [token, { toMs }] of this.#verified) if (toMs <= now) this.#verified.delete(token);
    if (this.#verified.size >= verifiedMax) this.#verified.clear();
  }

  #userOf(payload: JsonObject): User | { readonly refused: string } {
    const own = isObject(payload["kubernetes.io"]) ? payload["kubernetes.io"] : {};
    const namespace = textOf(own.namespace);
    const account = isObject(own.serviceaccount) ? own.serviceaccount : {};
    const name = textOf(account.name);
    const uid = textOf(account.uid);
    if (payload.sub !== `system:serviceaccount:${namespace}:${name}`)
      return { refused: "the token's subject and its service account differ" };
    const { reader } = this.#options;
    const stored = reader.get(serviceAccounts, namespace, name);
    if (stored === undefined || stored.metadata.uid !== uid || this.#isGone(stored))
      return { refused: `service account ${namespace}/${name} is gone` };
    const extra: Record<string, readonly string[]> = {};
    for (const kind of ["Pod", "Secret", "Node"] as const) {
      const bound = own[kind.toLowerCase()];
      if (!isObject(bound)) continue;
      const where = kind === "Node" ? "" : namespace;
      const object = reader.get(
        { group: "", plural: boundPlurals[kind] },
        where,
        textOf(bound.name),
      );
      // A pod's token also names the pod's node, for information only.
      const informs = kind === "Node" && isObject(own.pod);
      if (!informs && (object?.metadata.uid !== bound.uid || this.#isGone(object)))
        return { refused: `${kind} ${textOf(bound.name)}, to which the token is bound, is gone` };
      if (kind === "Secret") continue;
      const key = `authentication.kubernetes.io/${kind.toLowerCase()}`;
      extra[`${key}-name`] = [textOf(bound.name)];
      extra[`${key}-uid`] = [textOf(bound.uid)];
    }
    const id = textOf(payload.jti);
    if (id !== "") extra["authentication.kubernetes.io/credential-id"] = [`JTI=${id}`];
    return {
      name: `system:serviceaccount:${namespace}:${name}`,
      uid,
      groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`],
      extra,
    };
  }

  /** Upstream: an object that is being deleted still counts for a minute. */
  #isGone(object: { readonly metadata: { readonly deletionTimestamp?: string } } | undefined) {
    const deleted = object?.metadata.deletionTimestamp;
    if (deleted === undefined) return object === undefined;
    const at = parseTime(deleted);
    return at !== undefined && this.#options.clock.now() > at + 60_000;
  }
}

function claimsOf(payload: JsonObject): Claims | undefined {
  const { aud, exp, nbf } = payload;
  const audiences = Array.isArray(aud)
    ? aud.filter((one) => typeof one === "string")
    : typeof aud === "string"
      ? [aud]
      : [];
  if (typeof exp !== "number" || audiences.length === 0) return undefined;
  const fromMs = typeof nbf === "number" ? nbf * 1000 : 0;
  return { payload, audiences, fromMs, toMs: exp * 1000 };
}
