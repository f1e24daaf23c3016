/**
 * The two ways to an API server, for suites of components that must hold on both: a call in this process, and HTTP over a network
 * in memory with the remote transport's codec. Who asks is told, not proven; stories with certificates are in control-plane.ts.
 */
import { MemoryNetwork } from "#adapters/memory/network.ts";
import type { Handler, User } from "#api/request.ts";
import { remoteHandler } from "#client/remote.ts";
import { httpFront } from "#control-plane/apiserver/http-front.ts";
import type { ApiServer } from "#control-plane/apiserver/server.ts";
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";

export type Transport = "direct" | "http";
export const transports: readonly Transport[] = ["direct", "http"];

const serverAddress = "192.0.2.250";
const clientAddress = "192.0.2.251";
const firstPort = 6443;
const bodyBytesMax = 16 * 2 ** 20;
const requestMsMax = 60_000;

/** How a user asks that server; close() lets go of all connections. */
export interface Way {
  as(user: User): Handler;
  close(): void;
}

export function wayTo(
  server: ApiServer,
  transport: Transport,
  ports: { readonly clock: Clock; readonly log: Log },
): Way {
  if (transport === "direct") return { as: (user) => server.as(user), close: () => {} };
  const { clock } = ports;
  const network = new MemoryNetwork(ports);
  const opened: Promise<() => void>[] = [];
  const open = async (user: User) => {
    const address = { host: serverAddress, port: firstPort + opened.length };
    const front = httpFront((request) => server.handler({ ...request, user }));
    const listener = await network
      .host(serverAddress)
      .serve(address, { bodyBytesMax }, (request) => front(request));
    const remote = remoteHandler(network.host(clientAddress), clock, address, {
      version: 2,
      timeoutMs: requestMsMax,
    });
    const close = (): void => {
      remote.close();
      void listener.close(0);
    };
    return { handler: remote.handler, close };
  };
  return {
    as(user) {
      const way = open(user);
      opened.push(way.then(({ close }) => close));
      return async (request) => (await way).handler(request);
    },
    close() {
      for (const close of opened.splice(0)) void close.then((run) => run());
    },
  };
}
