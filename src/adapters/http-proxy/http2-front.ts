/** Clients that speak HTTP/2 (behind TLS): each stream becomes an exchange. */

import { STATUS_CODES } from "node:http";
import {
  constants,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from "node:http2";
import { statuses } from "./exchange.ts";
import { forward } from "./forward.ts";
import { http2Headers, requestHeaders } from "./forward-headers.ts";
import type { Front } from "./http1-front.ts";

const streamsMax = 250;

export function http2Front(front: Front): Http2Server {
  const server = createServer({ settings: { maxConcurrentStreams: streamsMax } });
  const onStream = (
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    flags: number,
    raw: readonly string[],
  ): void => {
    const hasBody = (flags & constants.NGHTTP2_FLAG_END_STREAM) === 0;
    serve(front, stream, headers, raw, hasBody);
  };
  server.on("stream", onStream);
  server.on("sessionError", () => undefined);
  return server;
}

function refuse(stream: ServerHttp2Stream, status: number): void {
  if (stream.destroyed) return;
  if (stream.headersSent) {
    stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    return;
  }
  stream.respond({ ":status": status, "content-type": "text/plain; charset=utf-8" });
  stream.end(`${status} ${STATUS_CODES[status] ?? ""}\n`);
}

/** A client may send its cookies in pieces; HTTP/1.1 knows one header of them. */
function joinCookies(raw: readonly string[]): readonly string[] {
  const cookies: string[] = [];
  const rest: string[] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) {
    if (raw[i] === "cookie") cookies.push(raw[i + 1] as string);
    else rest.push(raw[i] as string, raw[i + 1] as string);
  }
  return cookies.length === 0 ? raw : [...rest, "cookie", cookies.join("; ")];
}

function serve(
  front: Front,
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  raw: readonly string[],
  hasBody: boolean,
): void {
  stream.on("error", () => undefined);
  const host = headers[":authority"] ?? headers.host ?? "";
  const target = headers[":path"] ?? "/";
  const { socket } = stream.session ?? {};
  const backend = front.route(host, target);
  if (backend === undefined) {
    refuse(stream, statuses.notFound);
    return;
  }
  const origin = { address: socket?.remoteAddress ?? "", tls: true, port: socket?.localPort ?? 0 };
  const isStreamed = hasBody && headers["content-length"] === undefined;
  forward(
    {
      backend,
      method: headers[":method"] ?? "GET",
      target,
      headers: requestHeaders(joinCookies(raw), host, undefined, origin, isStreamed),
      body: hasBody ? stream : undefined,
      isUpgrade: false,
      respond: (status, _text, own, trailers) => {
        if (stream.destroyed) return stream;
        stream.respond(http2Headers(status, own), { waitForTrailers: true });
        stream.once("wantTrailers", () => sendTrailers(stream, trailers()));
        return stream;
      },
      // HTTP/2 sends the head by itself.
      flush: () => {},
      refuse: (status) => refuse(stream, status),
      broke: () => stream.close(constants.NGHTTP2_INTERNAL_ERROR),
      onGone: (gone) => {
        stream.once("close", () => {
          if (!stream.writableFinished) gone();
        });
      },
    },
    front.backends,
  );
}

function sendTrailers(stream: ServerHttp2Stream, raw: readonly string[]): void {
  const { ":status": _, ...headers } = http2Headers(0, raw);
  stream.sendTrailers(headers);
}
