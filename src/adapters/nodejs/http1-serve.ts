/** HTTP/1.1 on connections that were accepted elsewhere: requests, streamed answers, trailers and upgrades. */
import { createServer, type IncomingMessage, type Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Headers, HttpResponse } from "#ports/network.ts";
import { collect, pump } from "./http-body.ts";
import { http1Headers, incomingHeaders } from "./http-headers.ts";
import {
  answer,
  bodiless,
  headBytesMax,
  headerCountMax,
  idleMsMax,
  isSource,
  type Peer,
  plainText,
  refusedBytesMax,
  ServerRequest,
  type Service,
} from "./http-request.ts";
import { socketDuplex } from "./network-duplex.ts";

export interface Http1 {
  /** Takes a connection over. */
  begin(socket: Socket, peer: Peer | undefined): void;
  /** Closes connections without a request now, the others after their present one. */
  close(): void;
}

interface Connection {
  readonly peer: Peer | undefined;
  /** Requests that are being answered; an upgraded connection counts as one for its life. */
  requests: number;
}

export function http1(service: Service, headMsMax: number): Http1 {
  const connections = new Map<Socket, Connection>();
  const server = createServer({
    maxHeaderSize: headBytesMax,
    keepAliveTimeout: idleMsMax,
    headersTimeout: headMsMax,
    // Bodies may take their time: the handler's deadlines are above.
    requestTimeout: 0,
    connectionsCheckingInterval: Math.min(headMsMax, 30_000),
  });
  server.maxHeadersCount = headerCountMax;
  server.timeout = 0;
  const context: Context = { service, connections };
  server.on("request", (req, res) => serveRequest(context, req, res));
  server.on("checkContinue", (req, res) => serveExpecting(context, req, res));
  server.on("upgrade", (req, socket, head) => {
    if (socket instanceof Object && "remoteAddress" in socket) {
      serveUpgrade(context, req, socket as Socket, head).catch(() => socket.destroy());
    }
  });
  server.on("connect", (_req, socket) => socket.destroy());
  // The server itself never listens; this is what starts its watch over slow heads.
  server.emit("listening");
  return {
    begin(socket, peer) {
      if (service.isClosing) {
        socket.destroy();
        return;
      }
      connections.set(socket, { peer, requests: 0 });
      socket.once("close", () => connections.delete(socket));
      server.emit("connection", socket);
    },
    close() {
      stopWatch(server);
      for (const [socket, connection] of connections) {
        if (connection.requests === 0) socket.destroy();
      }
    },
  };
}

/** Ends the watch over slow heads; that the server was not listening is no news. */
const stopWatch = (server: Server): void => {
  server.close(() => {});
};

interface Context {
  readonly service: Service;
  readonly connections: ReadonlyMap<Socket, Connection>;
}

function serveRequest(context: Context, req: IncomingMessage, res: ServerResponse): void {
  const { service, connections } = context;
  const connection = connections.get(req.socket);
  if (connection === undefined) {
    req.socket.destroy();
    return;
  }
  connection.requests++;
  let request: ServerRequest | undefined;
  res.once("close", () => {
    connection.requests--;
    if (!res.writableFinished) request?.leave();
    if (service.isClosing && connection.requests === 0) req.socket.destroySoon();
  });
  res.on("error", cutOff);
  const proceed = (body: Uint8Array | undefined): Promise<void> => {
    request = requestOf(req, body, connection.peer);
    if (res.destroyed) request.leave();
    return answer(service, request, false).then((response) => respond(service, req, res, response));
  };
  const isBodiless = !hasBody(req);
  const done = isBodiless ? proceed(undefined) : afterBody(service, req, res, proceed);
  done.catch((error: unknown) => {
    // What breaks once the answer has begun can only be shown by breaking off.
    service.log.write("warn", "an HTTP answer broke off", { target: req.url, error });
    req.socket.destroy();
  });
}

function cutOff(this: ServerResponse): void {
  this.socket?.destroy();
}

async function afterBody(
  service: Service,
  req: IncomingMessage,
  res: ServerResponse,
  proceed: (body: Uint8Array | undefined) => Promise<void>,
): Promise<void> {
  const bytesMax = service.bodyBytesMax;
  const isLarge = Number(req.headers["content-length"] ?? 0) > bytesMax;
  const body = isLarge ? "large" : await collect(req, bytesMax, () => req.complete);
  // Undefined: the client went away before the end of its body.
  if (body === undefined) return;
  if (body !== "large") return proceed(body.length === 0 ? undefined : body);
  readOff(req);
  await respond(service, req, res, service.tooLarge);
}

const requestOf = (
  req: IncomingMessage,
  body: Uint8Array | undefined,
  peer: Peer | undefined,
): ServerRequest =>
  new ServerRequest(req.method ?? "GET", req.url ?? "/", incomingHeaders(req.headers), body, peer);

function hasBody(req: IncomingMessage): boolean {
  const length = req.headers["content-length"];
  return req.headers["transfer-encoding"] !== undefined || (length !== undefined && length !== "0");
}

/** Reads the rest of a body that nobody wants, for a while: a client that is cut off while sending never sees the answer. */
function readOff(req: IncomingMessage): void {
  let left = refusedBytesMax;
  req.on("data", (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) req.socket.destroy();
  });
  req.resume();
}

function serveExpecting(context: Context, req: IncomingMessage, res: ServerResponse): void {
  const length = Number(req.headers["content-length"] ?? 0);
  // Told no, the client does not send the body; and nobody could tell whether it does: the connection ends.
  if (length > context.service.bodyBytesMax) res.shouldKeepAlive = false;
  else res.writeContinue();
  serveRequest(context, req, res);
}

/** Sends the answer; at once if it is whole. */
function respond(
  service: Service,
  req: IncomingMessage,
  res: ServerResponse,
  response: HttpResponse,
): Promise<void> | undefined {
  const { status, headers, body, trailers } = response;
  const hasNone = bodiless(req.method ?? "GET", status);
  if (service.isClosing) res.shouldKeepAlive = false;
  if (isSource(body) || (trailers !== undefined && !hasNone)) {
    return stream(res, response, hasNone);
  }
  if (res.destroyed) return undefined;
  const lines = http1Headers(headers, "content-length");
  // What HEAD would have got, if the handler knows it without the body.
  const length = body?.length ?? (hasNone ? headers["content-length"] : 0);
  if (status !== 204 && status !== 304 && length !== undefined) {
    lines.push("content-length", String(length));
  }
  res.writeHead(status, lines);
  res.end(hasNone ? undefined : body);
  return undefined;
}

async function stream(
  res: ServerResponse,
  { status, headers, body, trailers }: HttpResponse,
  hasNone: boolean,
): Promise<void> {
  if (!res.destroyed) res.writeHead(status, http1Headers(headers));
  if (hasNone || res.destroyed) {
    if (isSource(body)) body.stop();
    if (!res.destroyed) res.end();
    return;
  }
  res.flushHeaders();
  if (isSource(body)) {
    if (!(await pump(body, res))) return;
  } else if (body !== undefined) res.write(body);
  if (trailers !== undefined) res.addTrailers(pairs(await trailers));
  res.end();
}

function pairs(headers: Headers): [string, string][] {
  const flat = http1Headers(headers);
  return Array.from({ length: flat.length / 2 }, (_, i) => [
    flat[2 * i] ?? "",
    flat[2 * i + 1] ?? "",
  ]);
}

/** Every request that names an upgrade comes here; the handler may answer it like any other. */
async function serveUpgrade(
  context: Context,
  req: IncomingMessage,
  socket: Socket,
  head: Buffer,
): Promise<void> {
  const { service, connections } = context;
  const connection = connections.get(socket);
  // The HTTP server has let go of the socket: from here on its errors are ours.
  socket.on("error", () => socket.destroy());
  if (connection === undefined) {
    socket.destroy();
    return;
  }
  connection.requests++;
  if (head.length > 0) socket.unshift(head);
  const body = await upgradeBody(req, socket, service.bodyBytesMax);
  if (body === "gone") return;
  const request = requestOf(req, typeof body === "object" ? body : undefined, connection.peer);
  const onClose = (): void => request.leave();
  socket.once("close", onClose);
  const response = refusal(body, service.tooLarge) ?? (await answer(service, request, true));
  socket.off("close", onClose);
  if (response.status !== 101 || response.upgrade === undefined) {
    await respondRaw(service, req, socket, response);
    return;
  }
  if (socket.destroyed) return;
  socket.write(switchingHead(response.headers, req.headers.upgrade));
  response.upgrade(socketDuplex(socket, `upgraded connection ${req.url ?? ""}`));
}

function refusal(
  body: Uint8Array | "large" | "unknown" | undefined,
  tooLarge: HttpResponse,
): HttpResponse | undefined {
  if (body === "large") return tooLarge;
  if (body !== "unknown") return undefined;
  return plainText(
    400,
    "a request for an upgrade cannot have a body of unknown length: send content-length",
  );
}

/** The body of a request for an upgrade, if it has one, stands unparsed in front of the raw bytes. */
async function upgradeBody(
  req: IncomingMessage,
  socket: Socket,
  bytesMax: number,
): Promise<Uint8Array | "large" | "unknown" | "gone" | undefined> {
  if (req.headers["transfer-encoding"] !== undefined) return "unknown";
  const length = Number(req.headers["content-length"] ?? 0);
  if (length === 0) return undefined;
  if (length > bytesMax) return "large";
  const chunks: Buffer[] = [];
  let got = 0;
  for (;;) {
    const chunk: unknown = socket.read();
    if (Buffer.isBuffer(chunk)) {
      chunks.push(chunk);
      got += chunk.length;
      if (got >= length) break;
    } else if (socket.destroyed || socket.readableEnded) return "gone";
    else await moreToRead(socket);
  }
  const all = Buffer.concat(chunks);
  if (got > length) socket.unshift(all.subarray(length));
  return new Uint8Array(all.subarray(0, length));
}

function moreToRead(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      for (const event of ["readable", "end", "close"]) socket.off(event, go);
      resolve();
    };
    for (const event of ["readable", "end", "close"]) socket.on(event, go);
  });
}

/** An ordinary answer to a request for an upgrade; the connection ends with it. */
async function respondRaw(
  service: Service,
  req: IncomingMessage,
  socket: Socket,
  response: HttpResponse,
): Promise<void> {
  const res = new ServerResponse(req);
  res.shouldKeepAlive = false;
  res.on("error", () => socket.destroy());
  res.assignSocket(socket);
  socket.on("drain", () => res.emit("drain"));
  socket.once("close", () => res.destroy());
  res.once("finish", () => {
    res.detachSocket(socket);
    // Half-closed first and read on: a client that still sends would lose the answer to a reset.
    socket.end();
    socket.resume();
    socket.setTimeout(idleMsMax, () => socket.destroy());
    socket.once("end", () => socket.destroySoon());
  });
  await respond(service, req, res, response);
}

function switchingHead(headers: Headers, asked: string | undefined): string {
  const lines = http1Headers(headers);
  if (headers["connection"] === undefined) lines.push("connection", "Upgrade");
  if (headers["upgrade"] === undefined && asked !== undefined) lines.push("upgrade", asked);
  let text = "HTTP/1.1 101 Switching Protocols\r\n";
  for (let i = 0; i < lines.length; i += 2) text += `${lines[i]}: ${lines[i + 1]}\r\n`;
  if (/[\r\n]/.test(lines.join(""))) throw new Error("a header of the answer holds a line break");
  return `${text}\r\n`;
}
