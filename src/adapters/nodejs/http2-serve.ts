/** HTTP/2 on connections that were accepted elsewhere. The core API throughout: the compatible one is half as fast. */
import {
  constants,
  type IncomingHttpHeaders,
  performServerHandshake,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type ServerOptions,
} from "node:http2";
import type { Socket } from "node:net";
import type { HttpResponse } from "#ports/network.ts";
import { collect, pump } from "./http-body.ts";
import { http2Headers, incomingHeaders } from "./http-headers.ts";
import {
  answer,
  bodiless,
  headBytesMax,
  headerCountMax,
  idleMsMax,
  isSource,
  type Peer,
  refusedBytesMax,
  ServerRequest,
  type Service,
} from "./http-request.ts";

/** Upstream's figures: most requests fit into one frame, and every stream can have its window at the same time. */
const streamsMax = 100;
const streamWindowBytes = 256 * 1024;
/** Megabytes of a session's own memory; streams beyond it are refused. */
const sessionMemoryMb = 64;

const sessionOptions: ServerOptions = {
  settings: {
    maxConcurrentStreams: streamsMax,
    initialWindowSize: streamWindowBytes,
    maxFrameSize: streamWindowBytes,
    maxHeaderListSize: headBytesMax,
  },
  maxHeaderListPairs: headerCountMax,
  maxSessionMemory: sessionMemoryMb,
};

export interface Http2 {
  begin(socket: Socket, peer: Peer | undefined): void;
  /** GOAWAY to everybody: no new streams, the present ones go on. */
  close(): void;
}

interface Connection {
  readonly peer: Peer | undefined;
  streams: number;
}

export function http2(service: Service): Http2 {
  const connections = new Set<ServerHttp2Session>();
  return {
    begin(socket, peer) {
      if (service.isClosing) {
        socket.destroy();
        return;
      }
      // Half a connection is no use to HTTP/2: once the client has ended, all of it ends.
      socket.allowHalfOpen = false;
      const session = performServerHandshake(socket, sessionOptions);
      const connection: Connection = { peer, streams: 0 };
      connections.add(session);
      session.once("close", () => connections.delete(session));
      session.on("error", () => session.destroy());
      session.setLocalWindowSize(streamsMax * streamWindowBytes);
      session.setTimeout(idleMsMax);
      session.on("timeout", () => {
        if (connection.streams === 0) session.close();
        else session.setTimeout(idleMsMax);
      });
      session.on("stream", (stream, headers, flags) =>
        serveStream(service, connection, stream, headers, flags),
      );
    },
    close() {
      for (const session of connections) session.close();
    },
  };
}

function serveStream(
  service: Service,
  connection: Connection,
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  flags: number,
): void {
  connection.streams++;
  let request: ServerRequest | undefined;
  stream.once("close", () => {
    connection.streams--;
    // Not writableFinished, which is false even after an answer that went out whole.
    if (isReset(stream) || !stream.writableEnded) request?.leave();
  });
  stream.on("error", () => {
    // The stream closes, which is all there is to know: the peer reset it or went away.
  });
  const method = headers[":method"] ?? "GET";
  const run = async (): Promise<void> => {
    const length = Number(headers["content-length"] ?? 0);
    const hasBody = (flags & constants.NGHTTP2_FLAG_END_STREAM) === 0;
    let body: Uint8Array | "large" | undefined;
    if (length > service.bodyBytesMax) body = "large";
    else if (hasBody) {
      body = await collect(
        stream,
        service.bodyBytesMax,
        () => !stream.destroyed && !isReset(stream),
      );
      if (body === undefined) return;
      // A body without bytes is none, as over HTTP/1.1.
      if (body !== "large" && body.length === 0) body = undefined;
    }
    if (body === "large") {
      readOff(stream);
      await respond(method, stream, service.tooLarge);
      return;
    }
    const path = headers[":path"] ?? "/";
    request = new ServerRequest(method, path, incomingHeaders(headers), body, connection.peer);
    if (stream.destroyed) request.leave();
    await respond(method, stream, await answer(service, request, false));
  };
  run().catch((error: unknown) => {
    service.log.write("warn", "an HTTP answer broke off", { target: headers[":path"], error });
    // Not close(), which would first end the body as if it were whole.
    stream.destroy(error instanceof Error ? error : new Error("the answer broke off"));
  });
}

const isReset = (stream: ServerHttp2Stream): boolean =>
  stream.aborted || (stream.rstCode ?? 0) !== constants.NGHTTP2_NO_ERROR;

/** Takes the rest of a body that nobody wants, for a while; then tells the client to stop. */
function readOff(stream: ServerHttp2Stream): void {
  let left = refusedBytesMax;
  stream.on("data", (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0 && !stream.destroyed) stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  });
  stream.resume();
}

async function respond(
  method: string,
  stream: ServerHttp2Stream,
  response: HttpResponse,
): Promise<void> {
  const { status, body, trailers } = response;
  if (stream.destroyed || stream.closed) {
    if (isSource(body)) body.stop();
    return;
  }
  const hasNone = bodiless(method, status);
  const headers: Record<string, string | string[] | number> = http2Headers(response.headers);
  headers[":status"] = status;
  if (!isSource(body) && body !== undefined && status !== 204 && status !== 304) {
    headers["content-length"] = body.length;
  }
  if (hasNone) {
    if (isSource(body)) body.stop();
    stream.respond(headers, { endStream: true });
    return;
  }
  if (trailers === undefined) {
    if (body === undefined) stream.respond(headers, { endStream: true });
    else {
      stream.respond(headers);
      if (!isSource(body)) stream.end(body);
      else if (await pump(body, stream)) stream.end();
    }
    return;
  }
  const wantTrailers = new Promise<void>((resolve) => stream.once("wantTrailers", resolve));
  stream.respond(headers, { waitForTrailers: true });
  if (isSource(body)) {
    if (!(await pump(body, stream))) return;
    stream.end();
  } else stream.end(body);
  // If the stream dies before, nobody wants trailers any more: the promise is left to be collected.
  await wantTrailers;
  const last = http2Headers(await trailers);
  if (!stream.destroyed && !stream.closed) stream.sendTrailers(last);
}
