/** The load generator: a process of its own that asks over HTTPS, each client one request at a time, and counts. */
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { Agent, request } from "node:https";
import { performance } from "node:perf_hooks";
import { type Figure, type FromLoad, podOf, type ToLoad } from "./plan.ts";

const caseMs = 2500;
const listed = 10_000;
const podsPath = "/api/v1/namespaces/bench/pods";
const listPath = "/api/v1/namespaces/bench-list/pods";
const mapsPath = "/api/v1/namespaces/bench/configmaps";

/** Asks once; gives the length of the answer in bytes. */
type Ask = (method: string, path: string, body?: string, type?: string) => Promise<number>;

interface Ways {
  readonly http1: Ask;
  readonly http2: Ask;
  /** Counts the lines of a watch until it is stopped. */
  readonly watch: (path: string, line: () => void) => Promise<() => void>;
}

function overHttp1(options: object): Ask {
  const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY, ...options });
  return (method, path, body, type = "application/json") =>
    new Promise((resolve, reject) => {
      const headers =
        body === undefined
          ? {}
          : { "content-type": type, "content-length": Buffer.byteLength(body) };
      const asked = request({ agent, method, path, headers, ...options }, (response) => {
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          size += chunk.length;
        });
        response.on("error", reject);
        response.on("end", () => {
          const status = response.statusCode ?? 0;
          if (status < 300) resolve(size);
          else reject(new Error(`${method} ${path} was answered ${status}`));
        });
      });
      asked.on("error", reject);
      asked.end(body);
    });
}

function overHttp2(session: () => ClientHttp2Session): Ask {
  return (method, path, body, type = "application/json") =>
    new Promise((resolve, reject) => {
      const stream = session().request({
        ":method": method,
        ":path": path,
        ...(body === undefined ? {} : { "content-type": type }),
      });
      let size = 0;
      let status = 0;
      stream.on("response", (headers) => {
        status = Number(headers[":status"]);
      });
      stream.on("data", (chunk: Buffer) => {
        size += chunk.length;
      });
      stream.on("error", reject);
      stream.on("end", () => {
        if (status < 300) resolve(size);
        else reject(new Error(`${method} ${path} was answered ${status}`));
      });
      stream.end(body);
    });
}

function watchOver(session: () => ClientHttp2Session): Ways["watch"] {
  return (path, line) =>
    new Promise((resolve, reject) => {
      const stream = session().request({ ":method": "GET", ":path": path });
      stream.on("error", reject);
      stream.on("response", () => resolve(() => stream.close()));
      stream.on("data", (chunk: Buffer) => {
        for (let at = chunk.indexOf(10); at !== -1; at = chunk.indexOf(10, at + 1)) line();
      });
    });
}

const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;

class Load {
  readonly #ways: Ways;
  readonly #cpuMs: () => Promise<number>;
  #made = 0;

  constructor(ways: Ways, cpuMs: () => Promise<number>) {
    this.#ways = ways;
    this.#cpuMs = cpuMs;
  }

  /** So many clients, each asking for the next thing as soon as it has its answer. */
  async #closedLoop(
    name: string,
    clients: number,
    unit: string,
    one: (client: number, step: number) => Promise<unknown>,
  ): Promise<Figure[]> {
    const latencies: number[] = [];
    const cpuBefore = await this.#cpuMs();
    const started = performance.now();
    const end = started + caseMs;
    await Promise.all(
      Array.from({ length: clients }, async (_, client) => {
        for (let step = 0; performance.now() < end; step++) {
          const before = performance.now();
          await one(client, step);
          latencies.push(performance.now() - before);
        }
      }),
    );
    const seconds = (performance.now() - started) / 1000;
    const cpu = ((await this.#cpuMs()) - cpuBefore) * 1000;
    latencies.sort((a, b) => a - b);
    return [
      { name, value: latencies.length / seconds, unit: `${unit}/s` },
      { name: `${name}, p99`, value: percentile(latencies, 0.99), unit: "ms" },
      { name: `${name}, CPU of the server`, value: cpu / latencies.length, unit: "µs each" },
    ];
  }

  async fill(): Promise<void> {
    let next = 0;
    await Promise.all(
      Array.from({ length: 50 }, async () => {
        for (let at = next++; at < listed; at = next++)
          await this.#ways.http1("POST", listPath, JSON.stringify(podOf(`pod-${at}`)));
      }),
    );
    for (let at = 0; at < 100; at++)
      await this.#ways.http1("POST", podsPath, JSON.stringify(podOf(`own-${at}`)));
  }

  async round(): Promise<Figure[]> {
    const { http1, http2 } = this.#ways;
    const found: Figure[] = [];
    const create = () => http1("POST", podsPath, JSON.stringify(podOf(`made-${this.#made++}`)));
    const patch = (client: number, step: number) => {
      const labels = { step: String(step), by: String(this.#made++) };
      const type = "application/merge-patch+json";
      return http1(
        "PATCH",
        `${podsPath}/own-${client}`,
        JSON.stringify({ metadata: { labels } }),
        type,
      );
    };
    const update = (client: number, step: number) => {
      const labels = { step: String(step), updated: String(this.#made++) };
      const object = podOf(`own-${client}`) as { metadata: object };
      return http1(
        "PUT",
        `${mapsPath}/own-${client}`,
        JSON.stringify({ metadata: { ...object.metadata, labels }, data: { step: String(step) } }),
      );
    };
    for (let client = 0; client < 10 && this.#made === 0; client++)
      await http1("POST", mapsPath, JSON.stringify({ metadata: { name: `own-${client}` } }));
    found.push(...(await this.#closedLoop("creates, 10 clients", 10, "creates", create)));
    found.push(...(await this.#closedLoop("creates, 100 clients", 100, "creates", create)));
    found.push(
      ...(await this.#closedLoop("updates of ConfigMaps, 10 clients", 10, "updates", update)),
    );
    found.push(...(await this.#closedLoop("patches of pods, 10 clients", 10, "patches", patch)));
    for (const [how, ask] of [
      ["HTTP/1.1", http1],
      ["HTTP/2", http2],
    ] as const) {
      for (const clients of [10, 100]) {
        const get = (client: number) => ask("GET", `${podsPath}/own-${client}`);
        found.push(
          ...(await this.#closedLoop(`gets, ${how}, ${clients} clients`, clients, "gets", get)),
        );
      }
    }
    found.push(...(await this.#list()));
    for (const watchers of [10, 1000]) found.push(...(await this.#watch(watchers)));
    return found;
  }

  async #list(): Promise<Figure[]> {
    const before = performance.now();
    const size = await this.#ways.http1("GET", listPath);
    const name = "list of 10,000 pods, to the last byte";
    return [
      { name, value: performance.now() - before, unit: "ms" },
      { name: "list of 10,000 pods, size", value: size / 2 ** 20, unit: "MiB" },
    ];
  }

  /** Ten writers while so many watch. */
  async #watch(watchers: number): Promise<Figure[]> {
    let events = 0;
    const line = (): void => {
      events++;
    };
    const path = `${mapsPath}?watch=true&resourceVersion=0&fieldSelector=metadata.name%3Down-0`;
    const stops = await Promise.all(
      Array.from({ length: watchers }, () => this.#ways.watch(path, line)),
    );
    // What was there at the start comes first.
    await new Promise((resolve) => setTimeout(resolve, 300));
    events = 0;
    const started = performance.now();
    let step = 0;
    while (performance.now() - started < caseMs) {
      const data = { step: String(step++), by: String(this.#made++) };
      await this.#ways.http1(
        "PATCH",
        `${mapsPath}/own-0`,
        JSON.stringify({ data }),
        "application/merge-patch+json",
      );
    }
    for (let waited = 0; waited < 100; waited++) {
      if (events >= step * watchers) break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const perSecond = (events * 1000) / (performance.now() - started);
    for (const stop of stops) stop();
    const name = `watch fan-out over HTTP/2 to ${watchers} watchers`;
    return [
      { name, value: perSecond, unit: "events/s" },
      { name: `${name}, lost`, value: Math.max(0, step * watchers - events), unit: "events" },
    ];
  }
}

const tell = (message: FromLoad): void => void process.send?.(message);

function waysTo({ port, ca, chain, key }: Extract<ToLoad, { kind: "connect" }>): Ways {
  const options = { host: "127.0.0.1", port, ca, cert: chain, key };
  /** A connection that is opened when it is needed, and again when the server has closed it for idleness. */
  const connection = (): (() => ClientHttp2Session) => {
    let session: ClientHttp2Session | undefined;
    return () => {
      if (session === undefined || session.closed || session.destroyed) {
        session = connectHttp2(`https://127.0.0.1:${port}`, { ca, cert: chain, key });
        // Whoever asks over it is told.
        session.on("error", () => {});
      }
      return session;
    };
  };
  // Watches on connections of their own: a server allows only so many streams on one.
  const watching = Array.from({ length: 10 }, connection);
  let next = 0;
  return {
    http1: overHttp1(options),
    http2: overHttp2(connection()),
    watch: (path, line) =>
      watchOver(watching[next++ % watching.length] as () => ClientHttp2Session)(path, line),
  };
}

/** Does as it is told by the server's process. */
export function load(): void {
  let running: Load | undefined;
  const cpuWaits: ((ms: number) => void)[] = [];
  const cpuMs = (): Promise<number> =>
    new Promise((resolve) => {
      cpuWaits.push(resolve);
      tell({ kind: "cpu" });
    });
  const handle = async (message: ToLoad): Promise<void> => {
    if (message.kind === "cpu") cpuWaits.shift()?.(message.ms);
    else if (message.kind === "connect") {
      running = new Load(waysTo(message), cpuMs);
      await running.fill();
      tell({ kind: "ready" });
    } else tell({ kind: "figures", figures: (await running?.round()) ?? [] });
  };
  process.on("message", (message: ToLoad) => {
    handle(message).catch((error: unknown) => {
      process.stderr.write(`${String(error)}\n`);
      process.exit(1);
    });
  });
  process.on("disconnect", () => process.exit(0));
}
