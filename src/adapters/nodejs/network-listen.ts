/** Listening sockets and connecting ones: TCP and unix, with TLS on top or not. */
import { unlink } from "node:fs/promises";
import { connect, createServer, type ListenOptions, type Server, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { type Address, type ClientTls, NetworkError } from "#ports/network.ts";
import { nameOf, networkError } from "./network-error.ts";
import { clientOptions } from "./network-tls.ts";

/** As upstream's listeners have it. */
const keepAliveMs = 3 * 60_000;
const backlog = 4_096;
export const connectMsMax = 30_000;

export interface Front {
  readonly server: Server;
  readonly address: Address;
  /** Connections that are open. */
  readonly sockets: ReadonlySet<Socket>;
  /** Stops accepting; resolves when no connection is left, after cutting those that outlast the grace. */
  close(graceMs: number): Promise<void>;
}

/** Listens; every accepted connection is handed over raw, and half-closing it is up to whoever takes it. */
export async function listenOn(at: Address, take: (socket: Socket) => void): Promise<Front> {
  const sockets = new Set<Socket>();
  const server = createServer({
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: keepAliveMs,
  });
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    take(socket);
  });
  try {
    await listen(server, at);
  } catch (error) {
    if (!("unix" in at) || !(await isAbandoned(at.unix, error))) {
      throw networkError(error, `cannot listen on ${nameOf(at)}`);
    }
    // The socket file of a process that died: nobody answers there.
    await unlink(at.unix);
    await listen(server, at).catch((second: unknown) => {
      throw networkError(second, `cannot listen on ${nameOf(at)}`);
    });
  }
  // What may go wrong from here on (no file descriptor left for one more connection) passes.
  server.on("error", () => {});
  const bound = server.address();
  const isTcp = bound !== null && typeof bound !== "string";
  const address = isTcp && !("unix" in at) ? { host: at.host, port: bound.port } : at;
  return { server, address, sockets, close: (graceMs) => closeFront(server, sockets, graceMs) };
}

function listen(server: Server, at: Address): Promise<void> {
  const options: ListenOptions =
    "unix" in at
      ? { path: at.unix, backlog }
      : { port: at.port, backlog, ...(at.host === "" ? {} : { host: at.host }) };
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(options, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

async function isAbandoned(path: string, error: unknown): Promise<boolean> {
  if (!(error instanceof Error) || Reflect.get(error, "code") !== "EADDRINUSE") return false;
  return new Promise((resolve) => {
    const probe = connect({ path });
    probe.once("connect", () => {
      probe.destroy();
      resolve(false);
    });
    probe.once("error", (failure) => resolve(Reflect.get(failure, "code") === "ECONNREFUSED"));
  });
}

function closeFront(server: Server, sockets: ReadonlySet<Socket>, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const cut = (): void => {
      for (const socket of sockets) socket.destroy();
    };
    const timer = graceMs > 0 ? setTimeout(cut, graceMs) : undefined;
    // Closes once the last connection has closed; a second close() finds it not running, which is as good.
    server.close(() => {
      clearTimeout(timer);
      resolve();
    });
    if (graceMs <= 0) cut();
  });
}

/**
 * Begins to connect and gives the socket at once. `ready` is called when it is connected and, with TLS, trusted; if that
 * does not come about within `timeoutMs` the socket is destroyed with the reason.
 */
export function dial(
  to: Address,
  tls: ClientTls | undefined,
  options: { readonly timeoutMs: number; readonly protocols?: readonly string[] },
  ready: () => void = () => {},
): Socket {
  const target = "unix" in to ? { path: to.unix } : { host: to.host, port: to.port };
  const common = {
    ...target,
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
  };
  const host = "unix" in to ? "localhost" : to.host;
  const socket =
    tls === undefined
      ? connect(common)
      : connectTls({ ...common, ...clientOptions(tls, host, options.protocols) });
  const timer = setTimeout(() => {
    const wait = `no answer within ${options.timeoutMs} ms`;
    socket.destroy(
      new NetworkError("ETIMEDOUT", `cannot connect to ${nameOf(to)}: ${wait} (ETIMEDOUT)`),
    );
  }, options.timeoutMs);
  socket.once(tls === undefined ? "connect" : "secureConnect", () => {
    clearTimeout(timer);
    ready();
  });
  socket.once("close", () => clearTimeout(timer));
  return socket;
}
