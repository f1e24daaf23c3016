/**
 * One listening socket that speaks HTTP/1.1 and HTTP/2: behind TLS ALPN decides, in the clear the client's first bytes.
 * HTTP/2 goes to Node's core API and the rest to a plain HTTP server, which is the fastest of the ways that were measured.
 */
import type { Socket } from "node:net";
import type { Log } from "#ports/log.ts";
import type { Address, HttpHandler, Listener, ServeOptions } from "#ports/network.ts";
import { type Peer, plainTooLarge, type Service } from "./http-request.ts";
import { http1 } from "./http1-serve.ts";
import { http2 } from "./http2-serve.ts";
import { listenOn } from "./network-listen.ts";
import { acceptTls, checkServerTls, handshakeMsMax, peerCertificates } from "./network-tls.ts";

export async function serveHttp(
  at: Address,
  options: ServeOptions,
  handle: HttpHandler,
  log: Log,
  headMsMax: number = handshakeMsMax,
): Promise<Listener> {
  const { tls, bodyBytesMax, tooLarge = plainTooLarge(bodyBytesMax) } = options;
  const service: Service = { handle, bodyBytesMax, tooLarge, log, isClosing: false };
  const one = http1(service, headMsMax);
  const two = http2(service);
  /** Connections of which it is not known yet what they speak. */
  const young = new Set<Socket>();
  const begin = async (raw: Socket): Promise<void> => {
    young.add(raw);
    raw.once("close", () => young.delete(raw));
    // An address is gone as soon as the connection is.
    const address = raw.remoteAddress;
    const socket = tls === undefined ? raw : await acceptTls(raw, tls, ["h2", "http/1.1"]);
    if (socket === undefined) return;
    const isTwo =
      "alpnProtocol" in socket ? socket.alpnProtocol === "h2" : await opensHttp2(raw, headMsMax);
    young.delete(raw);
    if (socket.destroyed) return;
    const certificates = "alpnProtocol" in socket ? peerCertificates(socket) : [];
    const peer = peerOf(address, certificates);
    (isTwo ? two : one).begin(socket, peer);
  };
  try {
    if (tls !== undefined) checkServerTls(tls);
    const front = await listenOn(at, (raw) => {
      begin(raw).catch((error: unknown) => {
        log.write("warn", "a connection could not be taken", { error });
        raw.destroy();
      });
    });
    return {
      address: front.address,
      close(graceMs) {
        service.isClosing = true;
        const closed = front.close(graceMs);
        for (const raw of young) raw.destroy();
        one.close();
        two.close();
        return closed;
      },
    };
  } catch (error) {
    one.close();
    throw error;
  }
}

/** A unix socket has no peer address; who may connect is the file system's business. */
function peerOf(address: string | undefined, certificates: Peer["certificates"]): Peer | undefined {
  if (address === undefined && certificates.length === 0) return undefined;
  return { address: (address ?? "").replace(/^::ffff:(?=\d+\.)/, ""), certificates };
}

const preface = "PRI";

/** Whether the client's first bytes are HTTP/2's preface ("PRI * HTTP/2.0"). They stay to be read. */
function opensHttp2(socket: Socket, waitMsMax: number): Promise<boolean> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const timer = setTimeout(() => socket.destroy(), waitMsMax);
    const finish = (): void => {
      clearTimeout(timer);
      for (const event of ["readable", "end", "close"]) socket.off(event, look);
      const head = Buffer.concat(chunks);
      if (head.length > 0 && !socket.destroyed) socket.unshift(head);
      resolve(head.subarray(0, preface.length).toString("latin1") === preface);
    };
    const look = (): void => {
      const chunk: unknown = socket.read();
      if (Buffer.isBuffer(chunk)) chunks.push(chunk);
      const start = Buffer.concat(chunks).subarray(0, preface.length).toString("latin1");
      const mayBe = preface.startsWith(start) && start.length < preface.length;
      if (!mayBe) finish();
      else if (socket.readableEnded || socket.destroyed) {
        socket.destroy();
        finish();
      }
    };
    for (const event of ["readable", "end", "close"]) socket.on(event, look);
  });
}
