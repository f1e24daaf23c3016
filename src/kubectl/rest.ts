/**
 * Speaking with an API server as kubectl does: paths and queries in, JSON (or whatever was asked for) out, errors as StatusError or
 * ConnectError. Reads and writes only through the network port.
 */
import { encodeBase64 } from "#machinery/base64.ts";
import { joinBytes } from "#machinery/byte-pipe.ts";
import type { JsonObject } from "#machinery/object.ts";
import { isObject } from "#machinery/object.ts";
import { type Status, StatusError } from "#machinery/status-error.ts";
import type { Clock } from "#ports/clock.ts";
import { type ClientTls, type HttpClient, type Network, NetworkError } from "#ports/network.ts";
import type { Bytes, Duplex, Source } from "#ports/stream.ts";
import { asError, CommandError, ConnectError } from "./errors.ts";
import type { Access } from "./kubeconfig.ts";

export type Query = readonly (readonly [name: string, value: string])[];
export interface Ask {
  readonly query?: Query;
  readonly accept?: string;
  readonly contentType?: string;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}
export interface RestOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly userAgent: string;
  /** 0: for ever. */
  readonly timeoutMs: number;
  readonly warn: (text: string) => void;
}
export interface StreamedAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Source<Bytes>;
  readonly raw?: Duplex;
}

export const jsonMedia = "application/json";
const answerBytesMax = 1024 * 1024 * 1024;

export async function readWhole(body: Source<Bytes>): Promise<Bytes> {
  const parts: Bytes[] = [];
  let total = 0;
  for (;;) {
    const batch = await body.next();
    if (batch === undefined) return joinBytes(parts);
    for (const part of batch) {
      parts.push(part);
      total += part.length;
    }
    if (total > answerBytesMax) {
      body.stop();
      throw new CommandError(`the server's answer exceeds ${answerBytesMax} bytes`);
    }
  }
}

/** `299 - "text"` of Warning headers. */
export function warningTexts(header: string): string[] {
  const texts: string[] = [];
  for (const match of header.matchAll(/\b299 \S+ "((?:[^"\\]|\\.)*)"/g)) {
    texts.push((match[1] ?? "").replace(/\\(.)/g, "$1"));
  }
  return texts;
}

const reasonOf: Readonly<Record<number, readonly [reason: string, message: string]>> = {
  400: ["BadRequest", "the server rejected our request for an unknown reason"],
  401: ["Unauthorized", "the server has asked for the client to provide credentials"],
  403: ["Forbidden", "the server does not allow access to the requested resource"],
  404: ["NotFound", "the server could not find the requested resource"],
  405: ["MethodNotAllowed", "the server does not allow this method on the requested resource"],
  406: [
    "NotAcceptable",
    "the server was unable to respond with a content type that the client supports",
  ],
  409: ["Conflict", "the server reported a conflict"],
  413: ["RequestEntityTooLarge", "the request is too large"],
  415: ["UnsupportedMediaType", "the server does not support this media type"],
  429: [
    "TooManyRequests",
    "the server has received too many requests and has asked us to try again later",
  ],
  500: ["InternalError", "an error on the server has prevented the request from succeeding"],
  503: ["ServiceUnavailable", "the server is currently unable to handle the request"],
  504: [
    "Timeout",
    "the server was unable to return a response in the time allotted, but may still be processing the request",
  ],
};

export function statusErrorOf(code: number, text: string): StatusError {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    parsed = undefined;
  }
  if (isObject(parsed) && parsed["kind"] === "Status") {
    return StatusError.from(parsed as unknown as Status);
  }
  const [reason, message] = reasonOf[code] ?? [
    "Unknown",
    `the server responded with the status code ${code} but did not return more information`,
  ];
  const said = text.trim();
  const isShort = said !== "" && said.length < 2048 && !said.startsWith("<");
  const shown = isShort && (code === 500 || code === 503) ? `${message} (${said})` : message;
  return new StatusError(code, reason, isShort && code === 400 ? said : shown);
}

export class Rest {
  readonly access: Access;
  readonly #options: RestOptions;
  readonly #tls: { readonly tls?: ClientTls };
  readonly #address: { readonly host: string; readonly port: number };
  readonly #warned = new Set<string>();
  #http: HttpClient | undefined;

  constructor(access: Access, options: RestOptions) {
    this.access = access;
    this.#options = options;
    const { server, identity } = access;
    const isTls = server.protocol === "https:";
    this.#address = {
      host: server.hostname.replace(/^\[|\]$/g, ""),
      port: Number(server.port || (isTls ? 443 : 80)),
    };
    this.#tls = isTls
      ? {
          tls: {
            ...(access.roots === undefined ? {} : { roots: access.roots }),
            ...(identity === undefined ? {} : { identity: () => identity }),
            ...(access.serverName === undefined ? {} : { serverName: access.serverName }),
            insecure: access.insecure,
          },
        }
      : {};
  }

  get host(): string {
    return this.access.server.host;
  }

  close(): void {
    this.#http?.close();
  }

  #headers(ask: Ask): Record<string, string> {
    const { token, basic, impersonate } = this.access;
    const headers: Record<string, string> = {
      host: this.host,
      "user-agent": this.#options.userAgent,
      accept: ask.accept ?? jsonMedia,
      ...ask.headers,
    };
    if (token !== undefined) headers["authorization"] = `Bearer ${token}`;
    else if (basic !== undefined) {
      headers["authorization"] = `Basic ${encodeBase64(new TextEncoder().encode(basic))}`;
    }
    for (const [name, value] of impersonate) {
      headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`;
    }
    if (ask.body !== undefined) headers["content-type"] = ask.contentType ?? jsonMedia;
    return headers;
  }

  /** Whatever the status is. Errors of the connection are ConnectError. */
  async stream(method: string, path: string, ask: Ask = {}): Promise<StreamedAnswer> {
    const query = (ask.query ?? []).map(
      ([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`,
    );
    const base = this.access.server.pathname.replace(/\/$/, "");
    const question = path.includes("?") ? "&" : "?";
    const target = `${base}${path}${query.length > 0 ? question + query.join("&") : ""}`;
    const { body } = ask;
    const bytes =
      body === undefined
        ? undefined
        : body instanceof Uint8Array
          ? body
          : new TextEncoder().encode(typeof body === "string" ? body : JSON.stringify(body));
    this.#http ??= this.#options.network.http(this.#address, { ...this.#tls, version: 1 });
    try {
      const answer = await this.#http.send({
        method,
        target,
        headers: this.#headers(ask),
        ...(bytes === undefined ? {} : { body: bytes }),
        ...(ask.signal === undefined ? {} : { signal: ask.signal }),
      });
      for (const text of warningTexts(answer.headers["warning"] ?? "")) {
        if (this.#warned.has(text)) continue;
        this.#warned.add(text);
        this.#options.warn(text);
      }
      return answer;
    } catch (error) {
      throw this.#unreachable(error);
    }
  }

  #unreachable(error: unknown): Error {
    if (!(error instanceof NetworkError)) return asError(error);
    const { host, port } = this.#address;
    if (error.code === "ECONNREFUSED") return new ConnectError(this.host, error.message, true);
    const why =
      error.code === "ETLS"
        ? `tls: failed to verify certificate: ${error.message}`
        : error.code === "ENOTFOUND"
          ? `dial tcp: lookup ${host}: no such host`
          : error.code === "ETIMEDOUT"
            ? `dial tcp ${host}:${port}: i/o timeout`
            : error.message;
    return new ConnectError(this.host, why, false);
  }

  /** The body of a success; throws StatusError for anything else, and ConnectError after --request-timeout. */
  async bytes(method: string, path: string, ask: Ask = {}): Promise<Bytes> {
    const abort = new AbortController();
    const give = (): void => abort.abort(ask.signal?.reason);
    ask.signal?.addEventListener("abort", give, { once: true });
    const { timeoutMs, clock } = this.#options;
    let late = false;
    const cancel =
      timeoutMs === 0
        ? () => {}
        : clock.after(timeoutMs, () => {
            late = true;
            abort.abort();
          });
    try {
      const answer = await this.stream(method, path, { ...ask, signal: abort.signal });
      const bytes = await readWhole(answer.body);
      if (answer.status >= 200 && answer.status < 300) return bytes;
      throw statusErrorOf(answer.status, new TextDecoder().decode(bytes));
    } catch (error) {
      if (!late) throw error;
      throw new ConnectError(
        this.host,
        `context deadline exceeded (Client.Timeout exceeded while awaiting headers)`,
        false,
      );
    } finally {
      cancel();
      ask.signal?.removeEventListener("abort", give);
    }
  }

  async json<T = JsonObject>(method: string, path: string, ask: Ask = {}): Promise<T> {
    const bytes = await this.bytes(method, path, ask);
    try {
      return JSON.parse(new TextDecoder().decode(bytes)) as T;
    } catch (error) {
      throw new CommandError(`the server's answer is no JSON: ${asError(error).message}`);
    }
  }
}
