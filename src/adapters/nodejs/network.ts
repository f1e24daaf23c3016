/** The network of the system: TCP, unix sockets, TLS, HTTP/1.1 and HTTP/2, UDP and the resolver. */
import { createSocket } from "node:dgram";
import { lookup } from "node:dns/promises";
import { isIP, isIPv6 } from "node:net";
import type { Log } from "#ports/log.ts";
import type { Address, Listener, Network, ServerTls, UdpSocket } from "#ports/network.ts";
import type { Duplex } from "#ports/stream.ts";
import { serveHttp } from "./http-serve.ts";
import { http1Client } from "./http1-client.ts";
import { http2Client } from "./http2-client.ts";
import { socketDuplex } from "./network-duplex.ts";
import { nameOf, networkError, plainBytes } from "./network-error.ts";
import { connectMsMax, dial, listenOn } from "./network-listen.ts";
import { acceptTls, checkServerTls } from "./network-tls.ts";

/** `log` is told of handlers that throw and of answers that break off. */
export function systemNetwork(log: Log): Network {
  return {
    connect: (to, options = {}) =>
      new Promise<Duplex>((resolve, reject) => {
        const doing = `cannot connect to ${nameOf(to)}`;
        try {
          const timeoutMs = options.timeoutMs ?? connectMsMax;
          const socket = dial(to, options.tls, { timeoutMs }, () => {
            socket.off("error", fail);
            resolve(socketDuplex(socket, `connection to ${nameOf(to)}`));
          });
          const fail = (error: Error): void => reject(networkError(error, doing));
          socket.on("error", fail);
        } catch (error) {
          reject(networkError(error, doing));
        }
      }),
    listen,
    serve: (at, options, handle) => serveHttp(at, options, handle, log),
    http: (to, options) => (options.version === 1 ? http1Client : http2Client)(to, options),
    udp,
    resolve,
  };
}

async function listen(
  at: Address,
  { tls }: { readonly tls?: ServerTls },
  accept: (connection: Duplex, from: Address) => void,
): Promise<Listener> {
  if (tls !== undefined) checkServerTls(tls);
  let isClosing = false;
  const front = await listenOn(at, (raw) => {
    const { remoteAddress, remotePort } = raw;
    const isTcp = remoteAddress !== undefined && remotePort !== undefined;
    const from = isTcp ? { host: plainAddress(remoteAddress), port: remotePort } : at;
    const name = `connection from ${nameOf(from)}`;
    if (tls === undefined) {
      accept(socketDuplex(raw, name), from);
      return;
    }
    acceptTls(raw, tls, tls.protocols).then(
      (socket) => {
        if (isClosing) socket?.destroy();
        else if (socket !== undefined) accept(socketDuplex(socket, name), from);
      },
      () => raw.destroy(),
    );
  });
  return {
    address: front.address,
    close(graceMs) {
      isClosing = true;
      return front.close(graceMs);
    },
  };
}

/** A socket for both families names IPv4 peers as mapped IPv6. */
const plainAddress = (address: string): string => address.replace(/^::ffff:(?=\d+\.)/, "");

const udp: Network["udp"] = (at, got) => {
  const socket = createSocket({ type: isIPv6(at.host) ? "udp6" : "udp4" });
  return new Promise<UdpSocket>((resolve, reject) => {
    const fail = (error: Error): void => {
      reject(networkError(error, `cannot listen on UDP ${nameOf(at)}`));
    };
    socket.once("error", fail);
    socket.on("message", (bytes, from) =>
      got(plainBytes(bytes), { host: plainAddress(from.address), port: from.port }),
    );
    let closed: Promise<void> | undefined;
    const opened = (): void => {
      socket.off("error", fail);
      // A datagram that could not be sent or was refused is lost, as datagrams may be.
      socket.on("error", () => {});
      resolve({
        address: { host: at.host, port: socket.address().port },
        send(bytes, to) {
          if (closed === undefined) socket.send(bytes, to.port, to.host, () => {});
        },
        close() {
          closed ??= new Promise((done) => socket.close(() => done()));
          return closed;
        },
      });
    };
    socket.bind({ port: at.port, ...(at.host === "" ? {} : { address: at.host }) }, opened);
  });
};

async function resolve(name: string): Promise<readonly string[]> {
  if (isIP(name) !== 0) return [name];
  try {
    const found = await lookup(name, { all: true });
    return [...new Set(found.map((one) => one.address))];
  } catch (error) {
    const failure = networkError(error, `cannot resolve ${name}`);
    if (failure.code === "ENOTFOUND" || failure.code === "ENODATA") return [];
    throw failure;
  }
}
