/** A stream of bytes as the messages of a websocket, for clients that ask so (browsers have no other way to follow a log). */
import type { ApiRequest, ApiResponse } from "#api/request.ts";
import { encodeBase64 } from "#machinery/base64.ts";
import { badRequest, StatusError } from "#machinery/status-error.ts";
import { acceptKey, asksWebSocket, WebSocket } from "#machinery/websocket.ts";
import type { Bytes, Duplex, Source } from "#ports/stream.ts";

const textProtocol = "base64.binary.k8s.io";
const protocols = ["", "binary.k8s.io", textProtocol];

/** What is asked behind a websocket is asked plainly. */
export function withoutUpgrade(request: ApiRequest): ApiRequest {
  const { connection: _, upgrade: __, ...headers } = request.headers;
  return asksWebSocket(request.headers) ? { ...request, headers } : request;
}

function protocolOf(asked: string | undefined): string {
  const names = (asked ?? "").split(",").map((name) => name.trim());
  const protocol = names.find((name) => protocols.includes(name));
  if (protocol !== undefined) return protocol;
  const text = `requested protocol(s) are not supported: [${names.join(" ")}]; supports [${protocols.join(" ").trim()}]`;
  throw new StatusError(403, "Forbidden", text);
}

async function send(source: Source<Bytes>, socket: WebSocket, isText: boolean): Promise<void> {
  const message = (bytes: Bytes): Promise<void> =>
    isText ? socket.sendText(encodeBase64(bytes)) : socket.sendBinary(bytes);
  // Upstream: an empty message tells that the stream has begun.
  await message(new Uint8Array());
  for (;;) {
    const batch = await source.next();
    if (batch === undefined) break;
    for (const bytes of batch) await message(bytes);
  }
  socket.close();
}

async function untilClosed(socket: WebSocket): Promise<void> {
  while ((await socket.read()) !== undefined);
}

function serve(raw: Duplex, source: Source<Bytes>, isText: boolean): void {
  const socket = new WebSocket(raw);
  const broken = (error: unknown): void => {
    source.stop();
    socket.abort(error instanceof Error ? error : new Error(String(error)));
  };
  void send(source, socket, isText).catch(broken);
  void untilClosed(socket).then(() => source.stop(), broken);
}

/** The answer as it is, unless the request asks for a websocket. */
export function overWebSocket(request: ApiRequest, answer: ApiResponse): ApiResponse {
  const { content } = answer;
  if (content.type !== "stream" || !asksWebSocket(request.headers)) return answer;
  const { "sec-websocket-key": key, "sec-websocket-version": version } = request.headers;
  if (key === undefined || version !== "13") {
    content.bytes.stop();
    throw badRequest("a websocket needs a key and version 13");
  }
  let protocol: string;
  try {
    protocol = protocolOf(request.headers["sec-websocket-protocol"]);
  } catch (error) {
    content.bytes.stop();
    throw error;
  }
  const run = (raw: Duplex): void => serve(raw, content.bytes, protocol === textProtocol);
  return {
    status: 101,
    headers: {
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-accept": acceptKey(key),
      ...(protocol === "" ? {} : { "sec-websocket-protocol": protocol }),
    },
    content: { type: "upgrade", run },
  };
}
