/** The ingress's thread: the proxy with an event loop of its own, so that no burst of requests delays a probe. Ends when it is closed. */
import { type MessagePort, parentPort } from "node:worker_threads";
import { nodeHttpProxy } from "#adapters/http-proxy/proxy.ts";
import { systemClock } from "#adapters/nodejs/clock.ts";
import { lineLog } from "#adapters/nodejs/log.ts";
import type { HttpProxy, ProxyPort } from "#ports/http-proxy.ts";
import type { FromIngress, IngressInput, ProxyOrder, ToIngress } from "./ingress-messages.ts";
import { threadOver } from "./kept-worker.ts";
import { threadStream } from "./thread-log.ts";

/** Where it listens, if that was asked. */
async function perform(
  proxy: HttpProxy,
  order: ProxyOrder,
): Promise<{ readonly ports?: readonly ProxyPort[] }> {
  if (order.what === "listen") return { ports: await proxy.listen() };
  if (order.what === "table") await proxy.setTable(order.table);
  else if (order.what === "backends") await proxy.setBackends(order.changes);
  else await proxy.close(order.graceMs);
  return {};
}

function live(port: MessagePort): void {
  const tell = (message: FromIngress): void => port.postMessage(message);
  const { stream, wrote } = threadStream((text) => tell({ type: "log", text }));
  let proxy: HttpProxy | undefined;
  /** One order after the other. */
  let last: Promise<void> = Promise.resolve();
  const open = ({ logLevel, ...where }: IngressInput): void => {
    const log = lineLog({ stream, clock: systemClock, level: logLevel, format: "text" });
    proxy = nodeHttpProxy({ ...where, log: log.child("ingress") });
  };
  const obey = async (id: number, order: ProxyOrder): Promise<void> => {
    try {
      if (proxy === undefined) throw new Error("the proxy was not opened");
      tell({ type: "done", id, ...(await perform(proxy, order)) });
    } catch (error) {
      const why = error instanceof Error ? (error.stack ?? error.message) : String(error);
      tell({ type: "failed", id, why });
    }
    if (order.what !== "close") return;
    await new Promise<void>((resolve) => {
      stream.end(resolve);
    });
    port.postMessage(threadOver);
    // Of this thread only.
    process.exit(0);
  };
  port.on("message", (message: ToIngress) => {
    if (message.type === "wrote") wrote();
    else if (message.type === "open") open(message.input);
    else last = last.then(() => obey(message.id, message.order));
  });
}

if (parentPort === null) throw new Error("this program runs as a thread of wherry only");
live(parentPort);
