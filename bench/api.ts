/**
 * The API server's figures: an API server over the durable store, with TLS, RBAC, admission and managed fields; asked by a process of its
 * own over HTTPS with 10 and 100 clients that each wait for their answer, and by this one directly. Five rounds, each case once in each;
 * what is printed is the median. Writes below the system's temporary directory, and removes it.
 */
import { fork } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { systemClock } from "#adapters/nodejs/clock.ts";
import { systemCrypto } from "#adapters/nodejs/crypto.ts";
import { openLmdbStorage } from "#adapters/nodejs/lmdb-storage.ts";
import { systemNetwork } from "#adapters/nodejs/network.ts";
import { systemRandom } from "#adapters/nodejs/random.ts";
import { builtInResources } from "#api/index.ts";
import type { Handler } from "#api/request.ts";
import { type ApiServer, createApiServer, serverUser } from "#control-plane/apiserver/server.ts";
import { openStore } from "#control-plane/store/store.ts";
import type { Log } from "#ports/log.ts";
import { load } from "./api/load.ts";
import { type Figure, type FromLoad, figures, podOf, rounds, type ToLoad } from "./api/plan.ts";

const silent: Log = { write: () => {}, child: () => silent };
const dayMs = 86_400_000;
const never = new AbortController().signal;
const user = { name: "bench", groups: ["system:authenticated"] };
const inProcessMs = 2000;
const watchersInProcess = 1000;
const watchedWrites = 300;

async function certificates() {
  const times = { fromMs: Date.now() - dayMs, toMs: Date.now() + dayMs };
  const caKeys = await systemCrypto.generateKey("ES256");
  const authority = { user: "bench-ca", groups: [], names: [], uses: ["ca"], ...times } as const;
  const ca = await systemCrypto.issue(authority, caKeys.publicKey, caKeys);
  const by = { certificate: ca, privateKey: caKeys.privateKey };
  const issue = async (name: string, use: "client auth" | "server auth") => {
    const keys = await systemCrypto.generateKey("ES256");
    const facts = { user: name, groups: [], names: ["127.0.0.1"], uses: [use], ...times } as const;
    const chain = await systemCrypto.issue(facts, keys.publicKey, by);
    return { chain, key: keys.privateKey };
  };
  return {
    ca,
    server: await issue("kube-apiserver", "server auth"),
    client: await issue(user.name, "client auth"),
  };
}

async function send(handler: Handler, method: string, path: string, object?: object) {
  const answer = await handler({
    method,
    path,
    query: [],
    headers: { "content-type": "application/json", "user-agent": "bench" },
    ...(object === undefined ? {} : { body: { object } }),
    gone: never,
    direct: true,
  });
  if (answer.status > 299) throw new Error(`${method} ${path} was answered ${answer.status}`);
  return answer;
}

/** The user may everything, by a rule that is looked up like any other. */
async function prepare(server: ApiServer): Promise<void> {
  const own = server.as(serverUser);
  await send(own, "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
    metadata: { name: "bench" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
    subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: user.name }],
  });
  for (const namespace of ["bench", "bench-list", "bench-local"]) {
    await send(own, "POST", "/api/v1/namespaces", { metadata: { name: namespace } });
    const accounts = `/api/v1/namespaces/${namespace}/serviceaccounts`;
    await send(own, "POST", accounts, { metadata: { name: "default" } });
  }
}

const cpuMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

/** Writes by 100 askers in this process; and events to a thousand watchers. */
async function inProcess(server: ApiServer, round: number): Promise<Figure[]> {
  const handler = server.as(user);
  const pods = "/api/v1/namespaces/bench-local/pods";
  let count = 0;
  const started = performance.now();
  const end = started + inProcessMs;
  await Promise.all(
    Array.from({ length: 100 }, async (_, asker) => {
      for (let step = 0; performance.now() < end; step++) {
        await send(handler, "POST", pods, podOf(`r${round}-${asker}-${step}`));
        count++;
      }
    }),
  );
  const writes = (count * 1000) / (performance.now() - started);
  const watches = Array.from({ length: watchersInProcess }, () => new AbortController());
  let events = 0;
  const maps = "/api/v1/namespaces/bench-local/configmaps";
  const ends = await Promise.all(
    watches.map(async (gone) => {
      const answer = await handler({
        method: "GET",
        path: maps,
        query: [["watch", "true"]],
        headers: {},
        gone: gone.signal,
        direct: true,
      });
      if (answer.content.type !== "watch") throw new Error("a watch was expected");
      const { events: source } = answer.content;
      // A watch without a version begins with what is there.
      return async (wanted: number) => {
        for (let seen = 0; seen < wanted; ) {
          const batch = await source.next();
          if (batch === undefined) return;
          const fresh = batch.filter(({ object }) => JSON.stringify(object).includes(`r${round}w`));
          seen += fresh.length;
          events += fresh.length;
        }
        source.stop();
      };
    }),
  );
  const before = performance.now();
  const watching = Promise.all(ends.map((one) => one(watchedWrites)));
  const names = Array.from({ length: watchedWrites }, (_, at) => `r${round}w-${at}`);
  await Promise.all(names.map((name) => send(handler, "POST", maps, { metadata: { name } })));
  await watching;
  const fanOut = (events * 1000) / (performance.now() - before);
  for (const gone of watches) gone.abort();
  return [
    { name: "in process, creates by 100 askers", value: writes, unit: "creates/s" },
    { name: "in process, fan-out to 1,000 watchers", value: fanOut, unit: "events/s" },
  ];
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
const loadAverage = (): string => readFileSync("/proc/loadavg", "utf8").split(" ")[0] ?? "";

function tell(all: ReadonlyMap<string, { unit: string; values: number[] }>): void {
  for (const [name, { unit, values }] of all) {
    const wanted = figures.get(name);
    const value = median(values);
    const digits = value >= 100 ? 0 : 2;
    const compared = wanted === undefined ? "" : ` (wanted: ${wanted})`;
    process.stdout.write(`${name}: ${value.toFixed(digits)} ${unit}${compared}\n`);
  }
}

async function serve(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "wherry-bench-api-"));
  const { ca, server: identity, client } = await certificates();
  const storage = await openLmdbStorage(join(directory, "store"));
  const store = await openStore({ storage, clock: systemClock });
  const server = await createApiServer({
    store,
    clock: systemClock,
    random: systemRandom,
    crypto: systemCrypto,
    log: silent,
    resources: builtInResources,
    serviceCidr: "10.96.0.0/16",
    clientCa: () => ca,
  });
  const network = systemNetwork(silent);
  const tls = { identity: () => identity };
  const listener = await server.serveHttp(network, { host: "127.0.0.1", port: 0 }, tls);
  const port = "port" in listener.address ? listener.address.port : 0;
  await prepare(server);
  process.stdout.write(`load average before: ${loadAverage()}\n`);
  const child = fork(process.argv[1] ?? "", ["load"], { stdio: "inherit" });
  const answers: ((message: FromLoad) => void)[] = [];
  child.on("message", (message: FromLoad) => {
    if (message.kind === "cpu") child.send({ kind: "cpu", ms: cpuMs() } satisfies ToLoad);
    else answers.shift()?.(message);
  });
  const ask = (message: ToLoad): Promise<FromLoad> =>
    new Promise((resolve, reject) => {
      answers.push(resolve);
      child.once("exit", () => reject(new Error("the load generator has ended")));
      child.send(message);
    });
  const all = new Map<string, { unit: string; values: number[] }>();
  try {
    await ask({ kind: "connect", port, ca, ...client });
    for (let round = 0; round < rounds; round++) {
      const answer = await ask({ kind: "round", round });
      const found = answer.kind === "figures" ? answer.figures : [];
      for (const { name, unit, value } of [...found, ...(await inProcess(server, round))]) {
        const known = all.get(name) ?? { unit, values: [] };
        known.values.push(value);
        all.set(name, known);
      }
      process.stdout.write(`round ${round + 1} of ${rounds}, load average ${loadAverage()}\n`);
    }
    tell(all);
    const { rss } = process.memoryUsage();
    process.stdout.write(`server, resident memory: ${(rss / 2 ** 20).toFixed(0)} MiB\n`);
  } finally {
    child.kill();
    await server.close(0);
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

if (process.argv[2] === "load") load();
else await serve();
