/**
 * The life of a pod, told twice: here it happens, in one process, on a stepped clock, with a seed; in docs/life-of-a-pod.md it is
 * explained. What happens here is written down hop by hop and must equal the trace in the document, character by character; UPDATE=1
 * writes it there. Nothing is replaced: the recorder listens at the doors of the parts, and hands every call on.
 *
 * The main line holds only what one step causes in the next. What happens beside it, in an order that nobody promises (events,
 * statuses), is told after it, each part in its own order.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { renderService } from "#adapters/linux/nft-rules.ts";
import { MemoryDataplane } from "#adapters/memory/dataplane.ts";
import { Host } from "#adapters/memory/network.ts";
import { SimulatedRuntime } from "#adapters/memory/runtime.ts";
import { MemoryStorage } from "#adapters/memory/storage.ts";
import { Deployment } from "#api/apps/v1/deployment.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { Cache } from "#client/cache.ts";
import { WorkQueue } from "#client/work-queue.ts";
import { Admission } from "#control-plane/apiserver/admission/admission.ts";
import { admissionPlugins } from "#control-plane/apiserver/admission/plugins.ts";
import { administrators } from "#control-plane/apiserver/authz/rbac.ts";
import { Registry } from "#control-plane/apiserver/registry.ts";
import { WatchCache } from "#control-plane/apiserver/watch-cache.ts";
import { defaultProfile } from "#control-plane/scheduler/profile.ts";
import { SchedulingQueue } from "#control-plane/scheduler/queue.ts";
import { EmbeddedStore } from "#control-plane/store/store.ts";
import { keyOf } from "#machinery/meta.ts";
import { readYaml } from "#machinery/yaml.ts";
import { ImageManager } from "#node/kubelet/images.ts";
import { PodRunner } from "#node/kubelet/pod-runner.ts";
import { PodWorker } from "#node/kubelet/pod-worker.ts";
import { StatusManager } from "#node/kubelet/status-manager.ts";
import { VolumeManager } from "#node/kubelet/volume-manager.ts";
import type { DataplaneFact } from "#ports/dataplane.ts";
import type { RuntimeEvent } from "#ports/runtime.ts";
import type { Source } from "#ports/stream.ts";
import { createWorld, type World } from "#simulation/world.ts";

const path = "docs/life-of-a-pod.md";
const text = readFileSync(path, "utf8");
const manifest = /```yaml\n([\s\S]*?)```/.exec(text)?.[1] ?? "";
const traceBlock = /```trace\n([\s\S]*?)```/;

/** The hops as the document has them: a numbered heading, and the file that is linked right below it. */
const hops = [...text.matchAll(/^### (\d+)\. .+\n\n\[src\/([^\]]+)\]\(([^)]+)\)/gm)].map(
  ([, number, file, link]) => ({ number: Number(number), file: file ?? "", link: link ?? "" }),
);

type Args<F> = F extends (...args: infer A) => unknown ? A : never;
type Result<F> = F extends (...args: never[]) => infer R ? R : never;

/** What happens beside the main line, in the order in which it is told. */
const besides = [
  "kubectl",
  "deployment-controller",
  "replicaset-controller",
  "default-scheduler",
  "kubelet",
  "statuses",
  "runtime",
] as const;
type Beside = (typeof besides)[number];

/** Writes down what happens where, with the milliseconds since kubectl began. */
class Recorder {
  readonly main: string[] = [];
  readonly #beside = new Map<Beside, string[]>(besides.map((name) => [name, []]));
  readonly #said = new Set<string>();
  readonly #untap: (() => void)[] = [];
  #now: (() => number) | undefined;

  begin(now: () => number): void {
    const startMs = now();
    this.#now = () => Math.floor(now() - startMs);
  }
  get beside(): readonly string[] {
    return besides.flatMap((name) => this.#beside.get(name) ?? []);
  }
  /** Like say(), but only the first time. */
  sayOnce(file: string, what: string): void {
    if (this.#now === undefined || this.#said.has(`${file} ${what}`)) return;
    this.#said.add(`${file} ${what}`);
    this.say(file, what);
  }
  /** `file` is the hop's, below src/. */
  say(file: string, what: string, beside?: Beside): void {
    if (this.#now === undefined) return;
    const hop = hops.find((one) => one.file === file);
    if (hop === undefined) throw new Error(`${path} has no hop for src/${file}: ${what}`);
    const ms = String(this.#now()).padStart(4);
    const line = `${ms} ms  ${String(hop.number).padStart(2)}  ${file.padEnd(50)}  ${what}`;
    if (beside === undefined) this.main.push(line);
    else this.#beside.get(beside)?.push(line);
  }
  /** Hears every call of a method, which is performed as ever. */
  tap<T extends object, K extends keyof T>(
    owner: T,
    method: K,
    heard: (...args: Args<T[K]>) => void,
  ): void {
    this.wrap(owner, method, (call, ...args) => {
      heard(...args);
      return call(...args);
    });
  }
  wrap<T extends object, K extends keyof T>(
    owner: T,
    method: K,
    around: (call: (...args: Args<T[K]>) => Result<T[K]>, ...args: Args<T[K]>) => Result<T[K]>,
  ): void {
    const original = owner[method];
    if (typeof original !== "function")
      throw new Error(`there is no ${String(method)} to listen at`);
    Reflect.set(owner, method, function (this: unknown, ...args: Args<T[K]>) {
      return around((...all) => Reflect.apply(original, this, all) as Result<T[K]>, ...args);
    });
    this.#untap.push(() => Reflect.set(owner, method, original));
  }
  end(): void {
    this.#now = undefined;
    for (const untap of this.#untap.splice(0)) untap();
  }
}

const user = { name: "alice", groups: ["system:masters"] };
const apiserver = "control-plane/apiserver";
const controllers = "control-plane/controllers";
const kubelet = "node/kubelet";

const isBeside = (name: unknown): name is Beside => besides.some((one) => one === name);

/** The API server's side of kubectl's request: what each part of it makes of it. */
function listenToServer(recorder: Recorder): void {
  recorder.wrap(Host.prototype, "serve", (serve, at, options, handle) =>
    serve(at, options, (request) => {
      if (request.headers["user-agent"]?.startsWith("kubectl/") === true) {
        const size = request.body instanceof Uint8Array ? request.body.length : 0;
        const what = `${request.method}, ${size} bytes of JSON, ${request.peer?.certificates.length} certificate`;
        recorder.say(`${apiserver}/http-front.ts`, what);
      }
      return handle(request);
    }),
  );
  recorder.tap(administrators, "authorize", ({ user: { name, groups }, verb, resource }) => {
    if (name !== user.name || resource !== "deployments") return;
    const who = `this is ${name} of ${groups.find((one) => one !== "system:authenticated")}`;
    recorder.say(`${apiserver}/handler-chain.ts`, `${who}; ${verb} ${resource}`);
    recorder.say(`${apiserver}/authz/rbac.ts`, `may ${name} ${verb} ${resource}?`);
  });
  recorder.tap(Registry.prototype, "create", (scope, { metadata: { name } }) => {
    if (scope.user.name !== user.name) return;
    const { kind, group, version } = scope.served;
    const what = `${kind} ${name} of ${group}/${version}: decoded, defaulted`;
    recorder.say(`${apiserver}/resource-verbs.ts`, what);
  });
  for (const plugin of admissionPlugins) {
    if (plugin.admit === undefined) continue;
    recorder.tap(plugin, "admit", (request) => {
      if (request.namespace !== "default" || request.operation !== "CREATE") return;
      if (!/^(deployments|replicasets|pods)$/.test(request.plural)) return;
      recorder.say(`${apiserver}/admission/admission.ts`, `${plugin.name}: ${request.plural}`);
    });
  }
}

/** The store takes the first write; then the watch cache, which shows every step to whoever waits for it. */
function listenToStore(recorder: Recorder): void {
  let isFirst = true;
  recorder.tap(EmbeddedStore.prototype, "put", (key, _value, options) => {
    if (!isFirst || !key.includes("/default/")) return;
    const when = options?.ifModified === 0 ? "if there is none" : "if nobody was faster";
    recorder.say(`${apiserver}/registry.ts`, `put ${key} ${when}`);
    recorder.say("control-plane/store/store.ts", "nothing stands against it: the next revision");
  });
  recorder.tap(MemoryStorage.prototype, "commit", (changes) => {
    if (isFirst)
      recorder.say("control-plane/store/group-commit.ts", `rows in one fsync: ${changes.length}`);
  });
  recorder.tap(WatchCache.prototype, "apply", ({ now, before }) => {
    const [, , plural = "", namespace, name = ""] = now?.key.split("/") ?? [];
    if (now === undefined || namespace !== "default") return;
    const object = JSON.parse(new TextDecoder().decode(now.value)) as Shown;
    if (plural === "events") {
      const { reason, message, source } = object;
      const beside = isBeside(source?.component) ? source.component : undefined;
      recorder.say("client/events.ts", `${reason}: ${message}`, beside);
      return;
    }
    if (!name.startsWith("web")) {
      for (const { addresses, conditions } of object.endpoints ?? []) {
        const what = `${name.replace(/-.*/, "")} leads to ${addresses.join()}, which is ready`;
        if (conditions?.ready === true) recorder.sayOnce(`${controllers}/endpointslice.ts`, what);
      }
      return;
    }
    if (object.status?.availableReplicas === 1) {
      const file = plural === "deployments" ? "deployment" : "replicaset";
      const what = `${plural} ${name}: one replica is available`;
      recorder.say(`${controllers}/${file}.ts`, what, `${file}-controller`);
    }
    isFirst = false;
    const isBound = plural === "pods" && object.spec?.nodeName !== undefined;
    const news = `${plural} ${name} is ${isBound ? `bound to ${object.spec?.nodeName}` : "new"}`;
    if (before === undefined || isBound) recorder.sayOnce(`${apiserver}/watch-cache.ts`, news);
  });
}

/** What the recorder looks at of an object on its way past. */
interface Shown {
  readonly reason?: string;
  readonly message?: string;
  readonly source?: { readonly component?: string };
  readonly spec?: { readonly nodeName?: string };
  readonly status?: { readonly availableReplicas?: number };
  readonly endpoints?: readonly {
    readonly addresses: readonly string[];
    readonly conditions?: { readonly ready?: boolean };
  }[];
}

/** What the components do: their writes, by who they are, and what they decide before. */
function listenToComponents(recorder: Recorder): void {
  recorder.tap(Admission.prototype, "admit", (request) => {
    const { operation, namespace, plural, subresource, name, object, user: who } = request;
    if (namespace !== "default") return;
    const called = name === "" ? `${object?.metadata.generateName}…` : name;
    const said = `${operation.toLowerCase()} ${plural} ${called}`;
    if (operation === "CREATE" && plural === "replicasets")
      recorder.say(`${controllers}/deployment.ts`, said);
    if (operation === "CREATE" && plural === "pods")
      recorder.say(`${controllers}/replicaset.ts`, said);
    if (subresource !== "status" || !who.name.startsWith("system:node:")) return;
    const { phase, conditions } = (object as Pod).status;
    const isReady = conditions?.some(({ type, status }) => type === "Ready" && status === "True");
    const what = `patch ${plural}/status ${name}: ${phase}${isReady === true ? ", ready" : ""}`;
    recorder.say(`${kubelet}/status-manager.ts`, what, "statuses");
  });
  recorder.tap(Cache.prototype, "put", (object) => {
    const key = keyOf(object);
    if (key !== "default/web") return;
    recorder.sayOnce("client/informer.ts", `${key} is in the controllers' cache`);
  });
  recorder.tap(WorkQueue.prototype, "add", (key) => {
    if (!/^default\/web(-[^-]+)?$/.test(key)) return;
    recorder.sayOnce(`${controllers}/runner.ts`, `${key} is queued`);
  });
  recorder.tap(SchedulingQueue.prototype, "add", ({ key }) => {
    recorder.say("control-plane/scheduler/queue.ts", `${key} waits for a node`);
  });
  const passed: string[] = [];
  for (const { plugin } of defaultProfile.plugins) {
    if (plugin.filter !== undefined)
      recorder.tap(plugin, "filter", () => {
        passed.push(plugin.name);
      });
    if (plugin.bind !== undefined)
      recorder.tap(plugin, "bind", ({ key }, node) => {
        const what = `${node} passes ${passed.splice(0).join(", ")}`;
        recorder.say("control-plane/scheduler/cycle.ts", what);
        const file = "control-plane/scheduler/plugins/default-binder.ts";
        recorder.say(file, `post ${key}/binding: ${node}`);
      });
  }
}

/** The node's side, above its ports. */
function listenToKubelet(recorder: Recorder): void {
  recorder.tap(PodWorker.prototype, "poke", () => {
    recorder.sayOnce(`${kubelet}/kubelet.ts`, "a pod for this node: it gets a worker");
    recorder.sayOnce(`${kubelet}/pod-worker.ts`, "what is wanted, what is there?");
  });
  recorder.tap(StatusManager.prototype, "set", (_pod, { phase, conditions = [] }) => {
    const ready = conditions?.find(({ type }) => type === "Ready")?.status === "True";
    recorder.sayOnce(`${kubelet}/pod-status.ts`, `${phase}, ${ready ? "ready" : "not ready"}`);
  });
  recorder.tap(VolumeManager.prototype, "mount", ({ spec }) => {
    const names = (spec.volumes ?? []).map(({ name }) => name.replace(/-.....$/, "-…"));
    recorder.say(`${kubelet}/volume-manager.ts`, `set up ${names.join(", ")}`);
  });
  recorder.tap(PodRunner.prototype, "run", (_pod, _status, actions) => {
    const starts = actions.containersToStart.map(({ name }) => `start ${name}`);
    const todo = [...(actions.createSandbox ? ["make a sandbox"] : []), ...starts];
    if (todo.length > 0) recorder.say(`${kubelet}/pod-actions.ts`, `to do: ${todo.join(", ")}`);
  });
  recorder.tap(ImageManager.prototype, "ensure", (_pod, { image }) => {
    recorder.say(`${kubelet}/images.ts`, `is ${image} here?`);
  });
  recorder.tap(Host.prototype, "http", (to) => {
    if (!("host" in to) || !to.host.startsWith("10.244.")) return;
    recorder.say(`${kubelet}/prober/prober.ts`, `ask ${to.host}:${to.port}`);
  });
}

/** The node's ports: CRI's calls and the engine's events, and what the kernel is told. */
function listenToMachine(recorder: Recorder): void {
  const runtime = SimulatedRuntime.prototype;
  const cri = (what: string): void => recorder.say("adapters/containerd/runtime.ts", what);
  recorder.tap(runtime, "runSandbox", ({ name }) => cri(`RunPodSandbox ${name}`));
  recorder.tap(runtime, "pullImage", (image) => cri(`PullImage ${image}`));
  recorder.tap(runtime, "createContainer", (_, { name }) => cri(`CreateContainer ${name}`));
  recorder.tap(runtime, "startContainer", () => cri("StartContainer"));
  const names = new Map<string, string>();
  recorder.wrap(runtime, "events", (open): Source<RuntimeEvent> => {
    const source = open();
    return {
      async next() {
        const batch = await source.next();
        for (const { type, id } of batch ?? []) {
          if (type === "created") names.set(id, names.size % 2 === 0 ? "sandbox" : "container");
          recorder.say(`${kubelet}/pleg.ts`, `the ${names.get(id)} was ${type}`, "runtime");
        }
        return batch;
      },
      stop: () => source.stop(),
    };
  });
  const tell = (fact: DataplaneFact | undefined, key: string): void => {
    if (fact?.type !== "service" || !key.includes("default/shop")) return;
    const to = fact.backends.map(({ address, port }) => `${address}:${port}`).join(" or ");
    const from = fact.addresses.map((address) => `${address}:${fact.port}`).join();
    recorder.say("node/proxy/proxy.ts", `${from} leads to ${to || "nowhere"}`);
    const { elements, chains } = renderService(key, fact);
    const [element] = [...elements].filter(([where]) => where.startsWith("service-ips"));
    const [rule] = [...chains.values()].flat();
    if (element !== undefined && rule !== undefined)
      recorder.say("adapters/linux/nft-rules.ts", `${element.join(" : ")} { ${rule} }`);
  };
  recorder.tap(MemoryDataplane.prototype, "apply", (facts) => facts.forEach(tell));
  recorder.tap(MemoryDataplane.prototype, "replace", (facts) => facts.forEach(tell));
}

/** As kubectl does: is it there? If not, create it. */
async function kubectlApply(world: World, recorder: Recorder): Promise<void> {
  const { network, controlPlane } = world;
  const { certificates, address } = controlPlane;
  const { certificate, privateKey } = await certificates.identity("kubectl", {
    user: user.name,
    groups: user.groups,
    names: [],
    uses: ["client auth"],
  });
  const identity = () => ({ chain: certificate, key: privateKey });
  const tls = { roots: await certificates.authority(), identity };
  const https = network.host("198.18.0.9").http({ host: address, port: 6443 }, { version: 2, tls });
  const object = readYaml(manifest) as { readonly metadata: object };
  const annotations = {
    "kubectl.kubernetes.io/last-applied-configuration": `${JSON.stringify(object)}\n`,
  };
  const sent = { ...object, metadata: { ...object.metadata, annotations } };
  const send = async (method: string, target: string, body?: object): Promise<number> => {
    recorder.say("adapters/nodejs/http2-serve.ts", `kubectl: ${method} ${target.split("?")[0]}`);
    const answer = await https.send({
      method,
      target,
      headers: {
        accept: "application/json",
        "content-type": "application/json",
        "user-agent": "kubectl/v1.37.2",
      },
      ...(body === undefined ? {} : { body: new TextEncoder().encode(JSON.stringify(body)) }),
    });
    answer.body.stop();
    const said = `to kubectl: ${answer.status}`;
    recorder.say("adapters/nodejs/http2-serve.ts", said, method === "POST" ? "kubectl" : undefined);
    return answer.status;
  };
  const all = "/apis/apps/v1/namespaces/default/deployments";
  const options = "fieldManager=kubectl-client-side-apply&fieldValidation=Strict";
  expect(await send("GET", `${all}/web`)).toBe(404);
  expect(await send("POST", `${all}?${options}`, sent)).toBe(201);
  https.close();
}

/** What is there before the story: a Service that leads nowhere yet, and a pod that will ask for it. */
const before = `
apiVersion: v1
kind: Service
metadata: {name: shop}
spec:
  clusterIP: 10.96.0.80
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: customer}
spec:
  containers: [{name: customer, image: registry.example/customer:1}]
`;

async function story(recorder: Recorder): Promise<void> {
  for (const listen of [listenToServer, listenToStore, listenToComponents]) listen(recorder);
  for (const listen of [listenToKubelet, listenToMachine]) listen(recorder);
  const world = await createWorld({ seed: 1, nodes: 1, transport: "direct" });
  await world.apply(before);
  const customer = { namespace: "default", name: "customer" };
  await world.until(async () => {
    const { status } = await world.client.get(Pod, customer);
    return status.phase === "Running";
  }, 60_000);
  // Whatever a new cluster does for itself is done by then.
  await world.advance(20_000);
  recorder.begin(() => world.clock.monotonicMs());
  await world.run(kubectlApply(world, recorder));
  const web = { namespace: "default", name: "web" };
  await world.until(async () => {
    const { status } = await world.client.get(Deployment, web);
    return status.availableReplicas === 1;
  }, 60_000);
  await world.advance(1000);
  const place = await world.run(world.placeOf("default/customer"));
  const addresses = await world.run(place.resolve("shop"));
  recorder.say("addons/dns/server.ts", `shop.default.svc.cluster.local is ${addresses.join()}`);
  const { status, body } = await world.get("http://shop/", "default/customer");
  const answer = `GET http://shop/ from the customer: ${status}, ${body.trim()}`;
  recorder.say("adapters/linux/nft-rules.ts", answer);
  recorder.end();
  await world.stop();
}

test("a pod's life goes as the document tells it", async () => {
  const recorder = new Recorder();
  try {
    await story(recorder);
  } finally {
    recorder.end();
  }
  const trace = [...recorder.main, "", "beside it:", ...recorder.beside, ""].join("\n");
  if (process.env["UPDATE"] === "1") {
    writeFileSync(
      path,
      text.replace(traceBlock, () => `\`\`\`trace\n${trace}\`\`\``),
    );
    return;
  }
  expect(traceBlock.exec(text)?.[1]).toBe(trace);
  // Whoever reads from top to bottom meets the hops in the order in which they happen first, and all of them happen.
  const numbersIn = (lines: readonly string[]) => lines.map((line) => Number(line.slice(7, 13)));
  const order = [...new Set(numbersIn(recorder.main))];
  expect(order).toEqual(order.toSorted((a, b) => a - b));
  expect(new Set([...order, ...numbersIn(recorder.beside)])).toEqual(
    new Set(hops.map(({ number }) => number)),
  );
});

test("every hop is numbered in order and leads to its file", () => {
  expect(hops.length).toBe([...text.matchAll(/^### /gm)].length);
  expect(hops.map(({ number }) => number)).toEqual(hops.map((_, i) => i + 1));
  for (const { file, link } of hops) expect(join(dirname(path), link)).toBe(`src/${file}`);
  for (const { file } of hops) expect(existsSync(`src/${file}`), file).toBe(true);
});
