/**
 * HTTP/1.1 as text, for whoever comes to an HTTP port of the memory network by a plain connection: a port-forward, a raw client. The
 * network's own HTTP clients hand over values instead (network-http.ts). One request at a time, in order.
 */
import type { HttpRequest, HttpResponse } from "#ports/network.ts";
import type { Bytes, Duplex, Source } from "#ports/stream.ts";
import type { HttpServer } from "./network-http.ts";

const headBytesMax = 64 * 1024;
const encoder = new TextEncoder();
const decoder = new TextDecoder();
const [cr, lf] = [13, 10];

/** What the client did wrong, with the answer that says so. */
class WireError extends Error {
  readonly answer: HttpResponse;
  constructor(status: number, message: string, answer?: HttpResponse) {
    super(message);
    this.answer = answer ?? { status, headers: {}, body: encoder.encode(`${message}\n`) };
  }
}

/** A connection's incoming bytes, by lines and by number. */
class WireReader {
  readonly #from: Duplex;
  #buffer: Bytes = new Uint8Array(0);

  constructor(from: Duplex) {
    this.#from = from;
  }

  /** Without its end; undefined: the peer has ended before it. */
  async line(bytesMax: number): Promise<string | undefined> {
    for (let seen = 0; ; ) {
      const end = this.#buffer.indexOf(lf, seen);
      if (end >= 0) {
        const line = this.#take(end + 1);
        return decoder.decode(line.subarray(0, line.at(-2) === cr ? -2 : -1));
      }
      seen = this.#buffer.length;
      if (seen > bytesMax) throw new WireError(431, "the head of the request is too large");
      if (!(await this.#more())) return undefined;
    }
  }

  async exactly(count: number): Promise<Bytes> {
    while (this.#buffer.length < count) {
      if (!(await this.#more())) throw new WireError(400, "the body of the request broke off");
    }
    return this.#take(count);
  }

  /** The connection from here on, what was read ahead first. */
  rest(): Duplex {
    let ahead: Bytes | undefined =
      this.#buffer.length > 0 ? this.#take(this.#buffer.length) : undefined;
    const from = this.#from;
    return {
      async read() {
        const first = ahead;
        ahead = undefined;
        return first ?? from.read();
      },
      write: (bytes) => from.write(bytes),
      end: () => from.end(),
      abort: (error) => from.abort(error),
    };
  }

  #take(count: number): Bytes {
    const taken = this.#buffer.slice(0, count);
    this.#buffer = this.#buffer.subarray(count);
    return taken;
  }

  async #more(): Promise<boolean> {
    const bytes = await this.#from.read();
    if (bytes === undefined) return false;
    const whole = new Uint8Array(this.#buffer.length + bytes.length);
    whole.set(this.#buffer);
    whole.set(bytes, this.#buffer.length);
    this.#buffer = whole;
    return true;
  }
}

interface WireRequest {
  readonly request: HttpRequest;
  /** The connection ends with the answer. */
  readonly last: boolean;
  readonly version: "1.0" | "1.1";
}

/** What of a request says how it is answered. */
interface Answered extends Pick<WireRequest, "last" | "version"> {
  readonly request: Pick<HttpRequest, "method">;
}

/** Answers the requests of one connection until it ends. Never rejects. */
export async function speakHttp(
  server: HttpServer,
  connection: Duplex,
  peerAddress: string,
): Promise<void> {
  const gone = new AbortController();
  const reader = new WireReader(connection);
  try {
    for (;;) {
      const read = await readRequest(reader, server, peerAddress, gone.signal);
      if (read === undefined) break;
      const response = await answer(server, read.request);
      if (response.upgrade !== undefined && response.status === 101) {
        await connection.write(head(response, {}));
        response.upgrade(reader.rest());
        return;
      }
      await writeAnswer(connection, read, response);
      if (read.last) break;
    }
    connection.end();
  } catch (error) {
    gone.abort();
    if (error instanceof WireError) {
      const refused = { request: { method: "" }, last: true, version: "1.1" } as const;
      await writeAnswer(connection, refused, error.answer).catch(() => {});
      connection.end();
    } else connection.abort(error instanceof Error ? error : new Error(String(error)));
  }
}

async function answer({ handle, log }: HttpServer, request: HttpRequest): Promise<HttpResponse> {
  try {
    return await handle(request);
  } catch (error) {
    const { method, target } = request;
    log.write("error", "an HTTP handler failed", { method, target, error });
    return { status: 500, headers: {}, body: encoder.encode("internal error\n") };
  }
}

async function readRequest(
  reader: WireReader,
  server: HttpServer,
  address: string,
  gone: AbortSignal,
): Promise<WireRequest | undefined> {
  const first = await reader.line(headBytesMax);
  if (first === undefined) return undefined;
  const [, method = "", target = "", version] =
    /^([A-Z]+) (\S+) HTTP\/(1\.[01])$/.exec(first) ?? [];
  if (version !== "1.0" && version !== "1.1") {
    throw new WireError(400, "this is no request of HTTP/1.1");
  }
  const headers = await readHeaders(reader);
  const body = await readBody(reader, headers, server);
  const wish = (headers["connection"] ?? "").toLowerCase();
  return {
    request: {
      method,
      target,
      headers,
      gone,
      peer: { address, certificates: [] },
      ...(body === undefined ? {} : { body }),
    },
    version,
    last: version === "1.0" ? !wish.includes("keep-alive") : wish.includes("close"),
  };
}

async function readHeaders(reader: WireReader): Promise<Record<string, string>> {
  const headers: Record<string, string> = {};
  for (let left = headBytesMax; ; ) {
    const line = await reader.line(left);
    if (line === undefined) throw new WireError(400, "the head of the request broke off");
    if (line === "") return headers;
    left -= line.length;
    if (left < 0) throw new WireError(431, "the head of the request is too large");
    const colon = line.indexOf(":");
    if (colon <= 0) throw new WireError(400, "a header of the request has no name");
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    const known = headers[name];
    headers[name] = known === undefined ? value : `${known}, ${value}`;
  }
}

async function readBody(
  reader: WireReader,
  headers: Readonly<Record<string, string>>,
  { bodyBytesMax: bytesMax, tooLarge }: HttpServer,
): Promise<Bytes | undefined> {
  const large = (): WireError =>
    new WireError(413, "the body of the request is too large", tooLarge);
  if (/chunked$/i.test(headers["transfer-encoding"] ?? "")) {
    const parts: Bytes[] = [];
    let total = 0;
    for (;;) {
      const size = Number.parseInt((await reader.line(headBytesMax)) ?? "", 16);
      if (!(size >= 0)) throw new WireError(400, "a chunk of the body has no size");
      if (size === 0) break;
      total += size;
      if (total > bytesMax) throw large();
      parts.push(await reader.exactly(size));
      await reader.line(headBytesMax);
    }
    // Trailers: nobody here has a use for them.
    while ((await reader.line(headBytesMax)) !== "");
    return joined(parts, total);
  }
  const length = headers["content-length"];
  if (length === undefined || length === "0") return undefined;
  if (!/^\d+$/.test(length)) throw new WireError(400, "the body's length is no number");
  if (Number(length) > bytesMax) throw large();
  return reader.exactly(Number(length));
}

function joined(parts: readonly Bytes[], total: number): Bytes {
  const whole = new Uint8Array(total);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const lengthOf = (body: Bytes): Record<string, string> => ({
  "content-length": String(body.length),
});

function head({ status, headers }: HttpResponse, more: Readonly<Record<string, string>>): Bytes {
  const lines = Object.entries({ ...headers, ...more }).flatMap(([name, value]) =>
    value.split("\n").map((one) => `${name}: ${one}\r\n`),
  );
  return encoder.encode(`HTTP/1.1 ${status} \r\n${lines.join("")}\r\n`);
}

async function writeAnswer(
  connection: Duplex,
  { request, last, version }: Answered,
  response: HttpResponse,
): Promise<void> {
  const { body = new Uint8Array(0), status } = response;
  const closing = last ? { connection: "close" } : {};
  const bodiless = request.method === "HEAD" || status === 204 || status === 304;
  if (body instanceof Uint8Array) {
    const length = status === 204 || status === 304 ? {} : lengthOf(body);
    await connection.write(head(response, { ...length, ...closing }));
    if (!bodiless && body.length > 0) await connection.write(body);
    return;
  }
  const chunked = version === "1.1";
  const framing = chunked ? { "transfer-encoding": "chunked" } : { connection: "close" };
  await connection.write(head(response, { ...closing, ...framing }));
  if (bodiless) body.stop();
  else await writeStream(connection, body, chunked);
}

async function writeStream(
  connection: Duplex,
  body: Source<Bytes>,
  chunked: boolean,
): Promise<void> {
  try {
    for (;;) {
      const batch = await body.next();
      if (batch === undefined) break;
      for (const bytes of batch) {
        if (bytes.length === 0) continue;
        if (chunked) await connection.write(encoder.encode(`${bytes.length.toString(16)}\r\n`));
        await connection.write(bytes);
        if (chunked) await connection.write(encoder.encode("\r\n"));
      }
    }
    if (chunked) await connection.write(encoder.encode("0\r\n\r\n"));
  } finally {
    body.stop();
  }
}
