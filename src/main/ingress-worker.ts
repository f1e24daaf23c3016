/**
 * The HttpProxy port by a thread of its own: started when it is first told something, ended when it is closed. A life that follows one that
 * died is told everything anew.
 */
import type { Writable } from "node:stream";
import { systemClock } from "#adapters/nodejs/clock.ts";
import type { HttpProxy, ProxyBackend, ProxyPort, ProxyTable } from "#ports/http-proxy.ts";
import type { Log } from "#ports/log.ts";
import type { FromIngress, IngressInput, ProxyOrder, ToIngress } from "./ingress-messages.ts";
import { KeptWorker } from "./kept-worker.ts";

/** What it keeps is small: routes, and the connections of the moment. */
const heapMbMax = 192;
const closeMsMax = 5000;

type Done = Extract<FromIngress, { readonly type: "done" }>;
interface Waiting {
  readonly order: ProxyOrder;
  readonly resolve: (done: Done) => void;
  readonly reject: (error: Error) => void;
}

export const ingressWorker = (input: IngressInput, log: Log, logStream: Writable): HttpProxy =>
  new IngressWorker(input, log, logStream);

class IngressWorker implements HttpProxy {
  readonly #input: IngressInput;
  readonly #log: Log;
  readonly #logStream: Writable;
  #worker: KeptWorker<ToIngress, FromIngress> | undefined;
  #serial = 0;
  readonly #waiting = new Map<number, Waiting>();
  // What holds, for a life to come.
  #table: ProxyTable | undefined;
  readonly #backends = new Map<string, ProxyBackend>();
  #listens = false;

  constructor(input: IngressInput, log: Log, logStream: Writable) {
    this.#input = input;
    this.#log = log;
    this.#logStream = logStream;
  }

  async setTable(table: ProxyTable): Promise<void> {
    this.#table = table;
    await this.#order({ what: "table", table });
  }
  async setBackends(changes: ReadonlyMap<string, ProxyBackend | undefined>): Promise<void> {
    for (const [key, backend] of changes) {
      if (backend === undefined) this.#backends.delete(key);
      else this.#backends.set(key, backend);
    }
    await this.#order({ what: "backends", changes });
  }
  async listen(): Promise<readonly ProxyPort[]> {
    this.#listens = true;
    const { ports } = await this.#order({ what: "listen" });
    return ports ?? [];
  }
  async close(graceMs: number): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    this.#table = undefined;
    this.#backends.clear();
    this.#listens = false;
    if (worker === undefined) return;
    const order: ProxyOrder = { what: "close", graceMs };
    const id = ++this.#serial;
    await worker.finish({ type: "order", id, order }, graceMs + closeMsMax, false);
    for (const { reject } of this.#waiting.values()) reject(new Error("the ingress was closed"));
    this.#waiting.clear();
  }

  #order(order: ProxyOrder): Promise<Done> {
    const worker = this.#open();
    const id = ++this.#serial;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { order, resolve, reject });
      worker.send({ type: "order", id, order });
    });
  }

  #open(): KeptWorker<ToIngress, FromIngress> {
    if (this.#worker !== undefined) return this.#worker;
    const worker = new KeptWorker<ToIngress, FromIngress>({
      name: "the ingress's thread",
      program: new URL("./ingress-thread.mjs", import.meta.url),
      resourceLimits: { maxOldGenerationSizeMb: heapMbMax },
      clock: systemClock,
    });
    let isFirst = true;
    worker.attach({
      log: this.#log,
      begun: (send) => {
        send({ type: "open", input: this.#input });
        if (!isFirst) this.#tellAnew(send);
        isFirst = false;
      },
      receive: (message, send) => this.#receive(message, send),
    });
    worker.keep();
    this.#worker = worker;
    return worker;
  }

  /** What the last life was told, and was asked and did not answer. */
  #tellAnew(send: (message: ToIngress) => void): void {
    const tell = (order: ProxyOrder): void => send({ type: "order", id: 0, order });
    tell({ what: "backends", changes: new Map(this.#backends) });
    if (this.#table !== undefined) tell({ what: "table", table: this.#table });
    if (this.#listens) tell({ what: "listen" });
    for (const [id, { order }] of this.#waiting) send({ type: "order", id, order });
  }

  #receive(message: FromIngress, send: (message: ToIngress) => void): void {
    if (message.type === "log") {
      this.#logStream.write(message.text, () => send({ type: "wrote" }));
      return;
    }
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if (message.type === "done") waiting?.resolve(message);
    else waiting?.reject(new Error(message.why));
  }
}
