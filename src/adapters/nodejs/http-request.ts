/** What a server does for every request, whichever version of HTTP brought it. */
import { constants, gzip } from "node:zlib";
import type { Log } from "#ports/log.ts";
import type { Headers, HttpHandler, HttpRequest, HttpResponse } from "#ports/network.ts";
import type { Bytes, Source } from "#ports/stream.ts";
import { badHeader } from "./http-headers.ts";
import { plainBytes } from "./network-error.ts";

/** The head of a request, pseudo headers aside: as large as Go's servers take. */
export const headBytesMax = 1024 * 1024;
/** As upstream: 1 MiB of head over 64 bytes a header. */
export const headerCountMax = 16_384;
/** As upstream. */
export const idleMsMax = 90_000;
/** A body that is too large is read on up to this, so that the client gets to read the refusal. */
export const refusedBytesMax = 64 * 1024 * 1024;

const gzipBytesMin = 128 * 1024;

export interface Service {
  readonly handle: HttpHandler;
  readonly bodyBytesMax: number;
  /** The answer to a larger body. */
  readonly tooLarge: HttpResponse;
  readonly log: Log;
  /** No further request is taken on a connection once its present ones are answered. */
  isClosing: boolean;
}

export type Peer = NonNullable<HttpRequest["peer"]>;

export class ServerRequest implements HttpRequest {
  readonly method: string;
  readonly target: string;
  readonly headers: Headers;
  readonly body?: Bytes;
  readonly peer?: Peer;
  /** Made when asked for: most requests are answered before anybody asks. */
  #gone: AbortController | undefined;
  #hasLeft = false;

  constructor(
    method: string,
    target: string,
    headers: Headers,
    body: Bytes | undefined,
    peer: Peer | undefined,
  ) {
    this.method = method;
    this.target = target;
    this.headers = headers;
    if (body !== undefined) this.body = body;
    if (peer !== undefined) this.peer = peer;
  }

  get gone(): AbortSignal {
    if (this.#gone === undefined) {
      this.#gone = new AbortController();
      if (this.#hasLeft) this.#gone.abort();
    }
    return this.#gone.signal;
  }

  /** The peer is gone before its answer was complete. */
  leave(): void {
    this.#hasLeft = true;
    this.#gone?.abort();
  }
}

/** Handlers answer every error themselves; one that throws all the same is a bug, told to the log and not to the client. */
export async function answer(
  service: Service,
  request: HttpRequest,
  mayUpgrade: boolean,
): Promise<HttpResponse> {
  try {
    const response = await service.handle(request);
    const flaw = flawOf(response, mayUpgrade);
    if (flaw === undefined)
      return response.gzip === true ? compressed(request, response) : response;
    if (isSource(response.body)) response.body.stop();
    return failed(service, request, new Error(flaw));
  } catch (error) {
    return failed(service, request, error);
  }
}

/** Why nothing could send this. */
function flawOf({ status, headers }: HttpResponse, mayUpgrade: boolean): string | undefined {
  if (status === 101 && !mayUpgrade)
    return "it answered 101 to a request that asked for no upgrade";
  const bad = badHeader(headers);
  return bad === undefined ? undefined : `it answered with the header ${bad}, which is not valid`;
}

function failed(service: Service, request: HttpRequest, error: unknown): HttpResponse {
  service.log.write("error", "an HTTP handler failed", {
    method: request.method,
    target: request.target,
    error,
    stack: error instanceof Error ? error.stack : undefined,
  });
  return plainText(500, "internal error");
}

export const plainText = (status: number, text: string): HttpResponse => ({
  status,
  headers: { "content-type": "text/plain; charset=utf-8" },
  body: new TextEncoder().encode(`${text}\n`),
});

export const plainTooLarge = (bytesMax: number): HttpResponse =>
  plainText(413, `the body of the request is too large: at most ${bytesMax} bytes are taken`);

export const bodiless = (method: string, status: number): boolean =>
  method === "HEAD" || status === 204 || status === 304;

export const isSource = (body: HttpResponse["body"]): body is Source<Bytes> =>
  body !== undefined && !(body instanceof Uint8Array);

/** Upstream compresses at level 1, from 128 KiB on: below, the time costs more than the bytes. */
async function compressed(request: HttpRequest, response: HttpResponse): Promise<HttpResponse> {
  const { body, headers } = response;
  if (!(body instanceof Uint8Array) || body.length < gzipBytesMin) return response;
  if (!acceptsGzip(request.headers["accept-encoding"]) || request.method === "HEAD")
    return response;
  if (headers["content-encoding"] !== undefined) return response;
  const packed = await new Promise<Buffer>((resolve, reject) =>
    gzip(body, { level: constants.Z_BEST_SPEED }, (error, result) =>
      error === null ? resolve(result) : reject(error),
    ),
  );
  const vary = headers["vary"] === undefined ? "" : `${headers["vary"]}, `;
  return {
    ...response,
    headers: { ...headers, "content-encoding": "gzip", vary: `${vary}Accept-Encoding` },
    body: plainBytes(packed),
  };
}

function acceptsGzip(accepted: string | undefined): boolean {
  if (accepted === undefined) return false;
  return accepted.split(",").some((one) => {
    const [name = "", ...parameters] = one.split(";").map((part) => part.trim());
    return name === "gzip" && !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter));
  });
}
