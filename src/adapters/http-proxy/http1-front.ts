/** Clients that speak HTTP/1.1, with TLS or without: their requests become exchanges; upgrades are spliced. */
import {
  createServer,
  type IncomingMessage,
  type Server,
  ServerResponse,
  STATUS_CODES,
} from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Backends } from "./backends.ts";
import { type Exchange, statuses } from "./exchange.ts";
import { forward } from "./forward.ts";
import { type Origin, requestHeaders, responseHeaders } from "./forward-headers.ts";

export interface Front {
  readonly backends: Backends;
  /** The backend's key; undefined: no route matches. */
  readonly route: (hostHeader: string, target: string) => string | undefined;
  /** What is answered now is the last of its connection. */
  isClosing: boolean;
}

/** As nginx has it. */
const keepAliveMs = 75_000;
const headersMsMax = 30_000;

const originOf = (socket: Socket): Origin => ({
  address: socket.remoteAddress ?? "",
  tls: "encrypted" in socket,
  port: socket.localPort ?? 0,
});

export function http1Front(front: Front): Server {
  const server = createServer({
    keepAliveTimeout: keepAliveMs,
    headersTimeout: headersMsMax,
    // Uploads take as long as they take.
    requestTimeout: 0,
    noDelay: true,
  });
  server.on("request", (request, response) => serve(front, request, response));
  server.on("upgrade", (request, socket, head) => upgrade(front, request, socket, head));
  server.on("clientError", (_error, socket) => {
    if (socket.writable) socket.end("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    else socket.destroy();
  });
  return server;
}

function answer(response: ServerResponse, status: number): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const text = `${status} ${STATUS_CODES[status] ?? ""}\n`;
  response.writeHead(status, [
    "Content-Type",
    "text/plain; charset=utf-8",
    "Content-Length",
    String(Buffer.byteLength(text)),
  ]);
  response.end(text);
}

function serve(front: Front, request: IncomingMessage, response: ServerResponse): void {
  const { headers, rawHeaders, method = "GET", url = "/", socket } = request;
  const host = headers.host ?? "";
  response.once("finish", () => {
    if (front.isClosing) socket.destroySoon();
  });
  const backend = front.route(host, url);
  if (backend === undefined) {
    answer(response, statuses.notFound);
    return;
  }
  const isStreamed = headers["transfer-encoding"] !== undefined;
  const hasBody = isStreamed || (headers["content-length"] ?? "0") !== "0";
  forward(
    {
      backend,
      method,
      target: url,
      headers: requestHeaders(rawHeaders, host, headers.connection, originOf(socket), isStreamed),
      body: hasBody ? request : undefined,
      isUpgrade: false,
      respond: (status, statusText, own, trailers) =>
        respond(response, status, statusText, own, trailers),
      flush: () => response.flushHeaders(),
      refuse: (status) => answer(response, status),
      broke: () => response.destroy(),
      onGone: (gone) => {
        response.once("close", () => {
          if (!response.writableFinished) gone();
        });
      },
    },
    front.backends,
  );
}

function respond(
  response: ServerResponse,
  status: number,
  statusText: string,
  headers: readonly string[],
  trailers: () => readonly string[],
): ServerResponse {
  response.writeHead(status, statusText, headers as string[]);
  response.once("prefinish", () => {
    const list = trailers();
    if (list.length === 0 || !response.chunkedEncoding) return;
    const pairs: [string, string][] = [];
    for (let i = 0; i + 1 < list.length; i += 2) {
      pairs.push([list[i] as string, list[i + 1] as string]);
    }
    response.addTrailers(pairs);
  });
  return response;
}

/** The backend says whether it changes protocols; if it does not, its answer is an ordinary one, and the last on this connection. */
function upgrade(front: Front, request: IncomingMessage, socket: Duplex, head: Buffer): void {
  const { headers, rawHeaders, method = "GET", url = "/" } = request;
  const host = headers.host ?? "";
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket as Socket);
  response.once("finish", () => {
    response.detachSocket(socket as Socket);
    socket.end();
  });
  socket.on("error", () => socket.destroy());
  const backend = front.route(host, url);
  if (backend === undefined) {
    answer(response, statuses.notFound);
    return;
  }
  const origin = originOf(request.socket);
  const own = requestHeaders(rawHeaders, host, undefined, origin, false);
  own.push("Connection", "Upgrade", "Upgrade", headers.upgrade ?? "");
  const exchange: Exchange = {
    backend,
    method,
    target: url,
    headers: own,
    body: undefined,
    isUpgrade: true,
    respond: (status, statusText, theirs, trailers) =>
      respond(response, status, statusText, theirs, trailers),
    flush: () => response.flushHeaders(),
    refuse: (status) => answer(response, status),
    upgraded: (from, upstream, upstreamHead) => {
      response.detachSocket(socket as Socket);
      splice(socket, head, from, upstream, upstreamHead);
    },
    broke: () => socket.destroy(),
    onGone: (gone) => {
      socket.once("close", gone);
    },
  };
  forward(exchange, front.backends);
}

function splice(
  client: Duplex,
  clientHead: Buffer,
  from: IncomingMessage,
  upstream: Socket,
  upstreamHead: Buffer,
): void {
  const lines = [`HTTP/1.1 101 ${from.statusMessage ?? "Switching Protocols"}`];
  const headers = responseHeaders(from.rawHeaders, undefined);
  headers.push("Connection", "Upgrade", "Upgrade", from.headers.upgrade ?? "");
  for (let i = 0; i + 1 < headers.length; i += 2) lines.push(`${headers[i]}: ${headers[i + 1]}`);
  client.write(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
  if (upstreamHead.length > 0) client.write(upstreamHead);
  if (clientHead.length > 0) upstream.write(clientHead);
  upstream.setTimeout(0);
  upstream.setKeepAlive(true);
  upstream.on("error", () => client.destroy());
  client.on("error", () => upstream.destroy());
  upstream.once("close", () => client.destroy());
  client.once("close", () => upstream.destroy());
  client.pipe(upstream);
  upstream.pipe(client);
}
