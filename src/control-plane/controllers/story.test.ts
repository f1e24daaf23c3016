/**
 * The whole control plane in one process on a stepped clock: server, controllers, scheduler, and
 * kubelets that say yes to everything.
 */

import { afterEach, expect, test } from "vitest";
import { SteppedClock } from "#adapters/memory/clock.ts";
import { memoryCrypto } from "#adapters/memory/crypto.ts";
import { memoryLog } from "#adapters/memory/log.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import { MemoryStorage } from "#adapters/memory/storage.ts";
import { ValidatingAdmissionPolicy } from "#api/admissionregistration/v1/validatingadmissionpolicy.ts";
import { Deployment } from "#api/apps/v1/deployment.ts";
import { ReplicaSet } from "#api/apps/v1/replicaset.ts";
import { Lease } from "#api/coordination/v1/lease.ts";
import { ConfigMap } from "#api/core/v1/configmap.ts";
import { Endpoints } from "#api/core/v1/endpoints.ts";
import { Event } from "#api/core/v1/event.ts";
import { Namespace } from "#api/core/v1/namespace.ts";
import { Node } from "#api/core/v1/node.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { ResourceQuota } from "#api/core/v1/resourcequota.ts";
import { Service } from "#api/core/v1/service.ts";
import { ServiceAccount } from "#api/core/v1/serviceaccount.ts";
import { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import type { Validation } from "#api/generated/admissionregistration/v1.ts";
import { builtInResources } from "#api/index.ts";
import { ClusterRole } from "#api/rbac/v1/clusterrole.ts";
import type { Kind } from "#api/resource.ts";
import { type Client, createClient, type New } from "#client/client.ts";
import { createInformers } from "#client/informer.ts";
import { type ApiServer, createApiServer } from "#control-plane/apiserver/server.ts";
import { openStore } from "#control-plane/store/store.ts";
import { type ApiObject, keyOf, type Stored } from "#machinery/meta.ts";
import { formatMicroTime, formatTime, parseTime } from "#machinery/time.ts";
import type { Crypto } from "#ports/crypto.ts";
import { type Transport, transports, type Way, wayTo } from "#simulation/transport.ts";
import { startScheduler } from "../scheduler/scheduler.ts";
import { startControllers } from "./index.ts";

const start = parseTime("2030-01-01T00:00:00Z") ?? 0;
const userAgent = "test/v1";

/** A kubelet that runs everything: what is bound is ready at once, what is deleted is gone. */
class Kubelet {
  readonly #client: Client;
  readonly #clock: SteppedClock;
  readonly name: string;
  alive = true;
  #serial = 0;
  constructor(client: Client, clock: SteppedClock, name: string) {
    this.#client = client;
    this.#clock = clock;
    this.name = name;
  }
  async register(): Promise<void> {
    const node: New<Node> = {
      metadata: { name: this.name, labels: { "kubernetes.io/hostname": this.name } },
      spec: {},
    };
    await this.#client.create(Node, node);
    await this.beat();
  }
  #ready() {
    const time = formatTime(this.#clock.now());
    return {
      type: "Ready",
      status: "True",
      reason: "KubeletReady",
      message: "kubelet is posting ready status",
      lastHeartbeatTime: time,
      lastTransitionTime: time,
    };
  }
  async beat(): Promise<void> {
    const ref = { namespace: "kube-node-lease", name: this.name };
    const spec = { holderIdentity: this.name, renewTime: formatMicroTime(this.#clock.now()) };
    try {
      await this.#client.patch(Lease, ref, "merge", { spec });
    } catch {
      await this.#client.create(Lease, {
        metadata: ref,
        spec: { ...spec, leaseDurationSeconds: 40 },
      });
    }
    const resources = { cpu: "4", memory: "8Gi", pods: "20" };
    const node = await this.#client.get(Node, { name: this.name });
    if (node.status.conditions?.some((one) => one.type === "Ready" && one.status === "True"))
      return;
    const status = { allocatable: resources, capacity: resources, conditions: [this.#ready()] };
    const body = { status };
    await this.#client.patch(Node, { name: this.name }, "strategic", body, {
      subresource: "status",
    });
  }
  async step(): Promise<boolean> {
    if (!this.alive) return false;
    const { items } = await this.#client.list(Pod);
    let acted = false;
    for (const pod of items.filter((one) => one.spec.nodeName === this.name)) {
      const { namespace = "", name } = pod.metadata;
      if (pod.metadata.deletionTimestamp !== undefined) {
        await this.#client.delete(Pod, { namespace, name }, { gracePeriodSeconds: 0 });
        acted = true;
      } else if (
        (pod.status.phase ?? "Pending") === "Pending" &&
        pod.spec.containers[0]?.image !== "bad"
      ) {
        this.#serial += 1;
        const ip = `10.244.${this.name.slice(-1)}.${this.#serial}`;
        const time = formatTime(this.#clock.now());
        const condition = { type: "Ready", status: "True", lastTransitionTime: time };
        const status = { phase: "Running", podIP: ip, podIPs: [{ ip }], conditions: [condition] };
        await this.#client.patch(
          Pod,
          { namespace, name },
          "strategic",
          { status },
          { subresource: "status" },
        );
        acted = true;
      }
    }
    return acted;
  }
}

async function authorityOf(crypto: Crypto): Promise<string> {
  const { privateKey, publicKey } = await crypto.generateKey("ES256");
  const facts = { user: "ca", groups: [], names: [], uses: ["ca"] as const, fromMs: 0, toMs: 4e12 };
  return crypto.issue(facts, publicKey, { privateKey });
}

class World {
  readonly transport: Transport;
  constructor(transport: Transport) {
    this.transport = transport;
  }
  readonly clock = new SteppedClock({ startMs: start });
  readonly random = seededRandom(7);
  readonly log = memoryLog();
  readonly kubelets: Kubelet[] = [];
  readonly ends: (() => Promise<void>)[] = [];
  server: ApiServer | undefined;
  way: Way | undefined;

  clientFor(name: string, groups: readonly string[] = []): Client {
    if (this.server === undefined) throw new Error("not started");
    const serviceAccount = name.startsWith("system:serviceaccount:")
      ? ["system:serviceaccounts", "system:serviceaccounts:kube-system"]
      : [];
    const user = { name, groups: [...groups, ...serviceAccount, "system:authenticated"] };
    this.way ??= wayTo(this.server, this.transport, this);
    return createClient(this.way.as(user), { userAgent });
  }
  get admin(): Client {
    return this.clientFor("admin", ["system:masters"]);
  }
  async start(nodes: number): Promise<this> {
    const { clock, random, log } = this;
    const store = await openStore({ storage: new MemoryStorage(), clock });
    const crypto = memoryCrypto(random.fork("crypto"));
    const server = await createApiServer({
      store,
      clock,
      random: random.fork("apiserver"),
      crypto,
      log,
      resources: builtInResources,
      serviceCidr: "10.96.0.0/12",
      clientCa: () => "",
    });
    this.server = server;
    const ports = { clock, random, log };
    const informers = createInformers(this.clientFor("system:kube-controller-manager"), ports);
    const controllers = startControllers({
      clientFor: (identity) => this.clientFor(identity),
      informers,
      ...ports,
      settings: { clusterCidr: "10.244.0.0/16", rootCa: await authorityOf(crypto) },
    });
    const scheduler = startScheduler({
      client: this.clientFor("system:kube-scheduler"),
      informers,
      ...ports,
    });
    this.ends.push(async () => {
      await Promise.all([controllers.stop(), scheduler.stop()]);
      informers.stop();
      this.way?.close();
      await server.close(0);
      await store.close();
    });
    for (let at = 1; at <= nodes; at += 1) {
      const kubelet = new Kubelet(this.admin, clock, `node-${at}`);
      await kubelet.register();
      this.kubelets.push(kubelet);
    }
    await this.run(3);
    return this;
  }
  /** Seconds pass: kubelets work once a second and renew their Leases every ten. */
  async run(seconds: number): Promise<void> {
    for (let at = 0; at < seconds; at += 1) {
      await this.clock.advance(1000);
      const second = Math.floor((this.clock.now() - start) / 1000);
      for (const kubelet of this.kubelets) {
        if (kubelet.alive && second % 10 === 0) await kubelet.beat();
        await kubelet.step();
      }
      await this.clock.settle();
    }
  }
  async list<T extends ApiObject>(
    kind: Kind<T>,
    namespace = "default",
  ): Promise<readonly Stored<T>[]> {
    return (await this.admin.list(kind, { namespace })).items;
  }
  async events(namespace = "default"): Promise<string[]> {
    const items = await this.list(Event, namespace);
    return items.map((one) => `${one.involvedObject.kind} ${one.reason}: ${one.message}`);
  }
  /** Warnings and errors of the components. */
  get complaints(): string[] {
    return this.log.lines
      .filter((line) => line.level === "error" || line.level === "warn")
      .map((line) => `${line.message} ${JSON.stringify(line.facts)}`);
  }
}

const worlds: World[] = [];
async function world(transport: Transport, nodes: number): Promise<World> {
  const made = await new World(transport).start(nodes);
  worlds.push(made);
  return made;
}
afterEach(async () => {
  for (const one of worlds.splice(0)) for (const end of one.ends) await end();
});

const deployment = (replicas: number, image = "one"): New<Deployment> =>
  ({
    metadata: { name: "web", namespace: "default" },
    spec: {
      replicas,
      strategy: {
        type: "RollingUpdate",
        rollingUpdate: { maxSurge: "25%", maxUnavailable: "25%" },
      },
      progressDeadlineSeconds: 600,
      selector: { matchLabels: { app: "web" } },
      template: {
        metadata: { labels: { app: "web" } },
        spec: {
          containers: [{ name: "c", image, ports: [{ name: "http", containerPort: 8080 }] }],
        },
      },
    },
  }) as unknown as New<Deployment>;
const service = {
  metadata: { name: "web", namespace: "default" },
  spec: { selector: { app: "web" }, ports: [{ port: 80, targetPort: "http" }] },
} as unknown as New<Service>;

test.each(transports)(
  "%s: a Deployment becomes Pods on nodes, and a Service leads to them",
  async (transport) => {
    const w = await world(transport, 2);
    await w.admin.create(Service, service);
    await w.admin.create(Deployment, deployment(3));
    await w.run(5);
    const [made] = await w.list(Deployment);
    expect(made?.status).toMatchObject({
      replicas: 3,
      readyReplicas: 3,
      updatedReplicas: 3,
      availableReplicas: 3,
    });
    expect(made?.metadata.annotations).toMatchObject({ "deployment.kubernetes.io/revision": "1" });
    expect(made?.status.conditions?.map((one) => one.reason).sort()).toEqual([
      "MinimumReplicasAvailable",
      "NewReplicaSetAvailable",
    ]);
    const pods = await w.list(Pod);
    expect(new Set(pods.map((pod) => pod.spec.nodeName)).size).toBe(2);
    const [slice] = await w.list(EndpointSlice);
    const slices = (await w.list(EndpointSlice)).filter(
      (one) => one.metadata.generateName === "web-",
    );
    expect(slices[0]?.endpoints.map((one) => one.conditions.ready)).toEqual([true, true, true]);
    expect(slice).toBeDefined();
    const endpoints = (await w.list(Endpoints)).find((one) => one.metadata.name === "web");
    expect(endpoints?.subsets?.[0]?.addresses).toHaveLength(3);
    expect(endpoints?.subsets?.[0]?.ports).toEqual([{ port: 8080, protocol: "TCP" }]);
    // Endpoints without a Service are whoever's wrote them.
    await w.admin.create(Endpoints, { metadata: { name: "own", namespace: "default" } });
    await w.run(5);
    expect((await w.list(Endpoints)).map((one) => one.metadata.name)).toContain("own");
    const events = await w.events();
    const [replicaSet] = await w.list(ReplicaSet);
    expect(events).toContain(
      `Deployment ScalingReplicaSet: Scaled up replica set ${replicaSet?.metadata.name} from 0 to 3`,
    );
    const [pod] = pods;
    expect(events).toContain(`ReplicaSet SuccessfulCreate: Created pod: ${pod?.metadata.name}`);
    expect(events).toContain(
      `Pod Scheduled: Successfully assigned default/${pod?.metadata.name} to ${pod?.spec.nodeName}`,
    );
    expect(w.complaints).toEqual([]);
  },
);

test.each(transports)(
  "%s: a deleted Pod is replaced, scaling removes, a rolling update and its undo arrive",
  async (transport) => {
    const w = await world(transport, 2);
    await w.admin.create(Deployment, deployment(3));
    await w.run(5);
    const [victim] = await w.list(Pod);
    await w.admin.delete(Pod, { namespace: "default", name: victim?.metadata.name ?? "" });
    await w.run(4);
    const uids = (await w.list(Pod)).map((pod) => pod.metadata.uid);
    expect(uids).toHaveLength(3);
    expect(uids).not.toContain(victim?.metadata.uid);
    const ref = { namespace: "default", name: "web" };
    await w.admin.patch(Deployment, ref, "merge", { spec: { replicas: 1 } });
    await w.run(4);
    expect(await w.list(Pod)).toHaveLength(1);
    const setImage = (image: string) => {
      const spec = { template: { spec: { containers: [{ name: "c", image }] } } };
      return w.admin.patch(Deployment, ref, "strategic", { spec });
    };
    await setImage("two");
    await w.run(6);
    expect((await w.list(Pod)).map((pod) => pod.spec.containers[0]?.image)).toEqual(["two"]);
    await setImage("bad");
    await w.run(6);
    const images = (await w.list(Pod)).map((pod) => pod.spec.containers[0]?.image);
    expect(new Set(images)).toEqual(new Set(["bad", "two"]));
    await setImage("one");
    await w.run(6);
    expect((await w.list(Pod)).map((pod) => pod.spec.containers[0]?.image)).toEqual(["one"]);
    const [made] = await w.list(Deployment);
    expect(made?.metadata.annotations).toMatchObject({ "deployment.kubernetes.io/revision": "4" });
    expect(w.complaints).toEqual([]);
  },
);

test.each(transports)(
  "%s: deleting a Deployment collects everything below it; orphaning leaves it; foreground waits for it",
  async (transport) => {
    const w = await world(transport, 1);
    const ref = { namespace: "default", name: "web" };
    await w.admin.create(Deployment, deployment(2));
    await w.run(4);
    await w.admin.delete(Deployment, ref, { propagationPolicy: "Orphan" });
    await w.run(4);
    expect(await w.list(Deployment)).toHaveLength(0);
    const [orphan] = await w.list(ReplicaSet);
    expect(orphan?.metadata.ownerReferences ?? []).toEqual([]);
    await w.admin.create(Deployment, deployment(2));
    await w.run(4);
    const [adopted] = await w.list(ReplicaSet);
    expect(adopted?.metadata.uid).toBe(orphan?.metadata.uid);
    expect(adopted?.metadata.ownerReferences?.[0]?.kind).toBe("Deployment");
    await w.admin.delete(Deployment, ref, { propagationPolicy: "Foreground" });
    await w.run(6);
    expect(await w.list(Deployment)).toHaveLength(0);
    expect(await w.list(ReplicaSet)).toHaveLength(0);
    expect(await w.list(Pod)).toHaveLength(0);
    await w.admin.create(Deployment, deployment(2));
    await w.run(4);
    await w.admin.delete(Deployment, ref, { propagationPolicy: "Background" });
    await w.run(4);
    expect(await w.list(Pod)).toHaveLength(0);
    expect(w.complaints).toEqual([]);
  },
);

test.each(transports)(
  "%s: a namespace gets its account and CA, and goes with all that is in it",
  async (transport) => {
    const w = await world(transport, 1);
    await w.admin.create(Namespace, {
      metadata: { name: "shop" },
    } as New<Namespace>);
    await w.run(1);
    expect((await w.list(ServiceAccount, "shop")).map(keyOf)).toEqual(["shop/default"]);
    expect((await w.list(ConfigMap, "shop"))[0]?.data).toEqual({
      "ca.crt": expect.stringContaining("-----BEGIN CERTIFICATE-----"),
    });
    const made = deployment(2);
    await w.admin.create(Deployment, {
      ...made,
      metadata: { ...made.metadata, namespace: "shop" },
    });
    await w.run(4);
    expect(await w.list(Pod, "shop")).toHaveLength(2);
    await w.admin.delete(Namespace, { name: "shop" });
    await w.run(15);
    const names = (await w.admin.list(Namespace)).items.map((one) => one.metadata.name);
    expect(names).not.toContain("shop");
    expect(await w.list(Pod, "shop")).toHaveLength(0);
  },
);

test.each(transports)(
  "%s: a policy's status says what the matched kinds make of its expressions",
  async (transport) => {
    const w = await world(transport, 1);
    const rule = { apiGroups: ["apps"], apiVersions: ["v1"], resources: ["deployments"] };
    const written = (name: string, validation: Validation): New<ValidatingAdmissionPolicy> => ({
      metadata: { name },
      spec: {
        matchConstraints: { resourceRules: [{ ...rule, operations: ["CREATE"] }] },
        variables: [{ name: "wanted", expression: "object.spec.replicas" }],
        validations: [validation],
      },
    });
    const fits = { expression: "object.spec.replicas > 1 && variables.wanted < 9" };
    const confused = {
      expression: "variables.wanted > '1'",
      messageExpression: "'got ' + object.spec.replicas",
    };
    await w.admin.create(ValidatingAdmissionPolicy, written("fits", fits));
    await w.admin.create(ValidatingAdmissionPolicy, written("confused", confused));
    await w.run(3);
    const statusOf = async (name: string) =>
      (await w.admin.get(ValidatingAdmissionPolicy, { name })).status;
    expect(await statusOf("fits")).toEqual({ observedGeneration: 1, typeChecking: {} });
    const head = "apps/v1, Kind=Deployment: ERROR: <input>:1:";
    expect((await statusOf("confused")).typeChecking?.expressionWarnings).toEqual([
      {
        fieldRef: "spec.validations[0].expression",
        warning: `${head}18: found no matching overload for '_>_' applied to '(int, string)'\n | variables.wanted > '1'\n | .................^\n`,
      },
      {
        fieldRef: "spec.validations[0].messageExpression",
        warning: `${head}8: found no matching overload for '_+_' applied to '(string, int)'\n | 'got ' + object.spec.replicas\n | .......^\n`,
      },
    ]);
    expect(w.complaints).toEqual([]);
  },
);

test.each(transports)(
  "%s: a quota says what is used, holds a Deployment back, and lets it go on when there is room",
  async (transport) => {
    const w = await world(transport, 1);
    await w.admin.create(ResourceQuota, {
      metadata: { name: "q", namespace: "default" },
      spec: { hard: { pods: "2", "count/deployments.apps": "1" } },
    });
    await w.run(2);
    const used = async () =>
      (await w.admin.get(ResourceQuota, { namespace: "default", name: "q" })).status.used;
    expect(await used()).toEqual({ pods: "0", "count/deployments.apps": "0" });
    await w.admin.create(Deployment, deployment(3));
    await w.run(5);
    expect(await w.list(Pod)).toHaveLength(2);
    expect(await used()).toEqual({ pods: "2", "count/deployments.apps": "1" });
    expect((await w.events()).join("\n")).toContain(
      "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2",
    );
    const quota = await w.admin.get(ResourceQuota, { namespace: "default", name: "q" });
    const hard = { pods: "5", "count/deployments.apps": "1" };
    await w.admin.update(ResourceQuota, { ...quota, spec: { hard } });
    await w.run(40);
    expect(await w.list(Pod)).toHaveLength(3);
    await w.admin.delete(Deployment, { namespace: "default", name: "web" });
    await w.run(10);
    expect(await used()).toEqual({ pods: "0", "count/deployments.apps": "0" });
  },
);

test.each(transports)(
  "%s: what fits nowhere says why, and is scheduled when a node comes",
  async (transport) => {
    const w = await world(transport, 1);
    const made = deployment(1);
    const spec = {
      containers: [{ name: "c", image: "i", resources: { requests: { cpu: "3" } } }],
    };
    const pod = (name: string) =>
      ({ metadata: { name, namespace: "default" }, spec }) as unknown as New<Pod>;
    expect(made.spec.replicas).toBe(1);
    await w.admin.create(Pod, pod("a"));
    await w.admin.create(Pod, pod("b"));
    await w.run(2);
    const waiting = (await w.list(Pod)).find((one) => !one.spec.nodeName);
    const condition = waiting?.status.conditions?.find((one) => one.type === "PodScheduled");
    const message =
      "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.";
    expect(condition).toMatchObject({ status: "False", reason: "Unschedulable", message });
    expect(await w.events()).toContain(`Pod FailedScheduling: ${message}`);
    const kubelet = new Kubelet(w.admin, w.clock, "node-2");
    w.kubelets.push(kubelet);
    await kubelet.register();
    await w.run(3);
    const nodes = (await w.list(Pod)).map((one) => one.spec.nodeName);
    expect(new Set(nodes)).toEqual(new Set(["node-1", "node-2"]));
    const blocks = (await w.admin.list(Node)).items.map((one) => one.spec.podCIDR);
    expect(new Set(blocks)).toEqual(new Set(["10.244.0.0/24", "10.244.1.0/24"]));
  },
);

test.each(transports)(
  "%s: a silent node is noticed, tainted, and its Pods move",
  async (transport) => {
    const w = await world(transport, 3);
    await w.admin.create(Deployment, deployment(3));
    await w.run(5);
    const silent = w.kubelets[0];
    if (silent === undefined) throw new Error("no kubelet");
    silent.alive = false;
    await w.run(65);
    const node = await w.admin.get(Node, { name: silent.name });
    expect(node.status.conditions?.[0]).toMatchObject({
      status: "Unknown",
      reason: "NodeStatusUnknown",
      message: "Kubelet stopped posting node status.",
    });
    expect(node.spec.taints?.map(({ key, effect }) => `${key}:${effect}`).sort()).toEqual([
      "node.kubernetes.io/unreachable:NoExecute",
      "node.kubernetes.io/unreachable:NoSchedule",
    ]);
    // Default tolerations: five minutes.
    await w.run(310);
    const pods = await w.list(Pod);
    const alive = pods.filter((pod) => pod.metadata.deletionTimestamp === undefined);
    expect(alive).toHaveLength(3);
    expect(alive.every((pod) => pod.spec.nodeName !== silent.name)).toBe(true);
    silent.alive = true;
    await w.run(15);
    const back = await w.admin.get(Node, { name: silent.name });
    expect(back.spec.taints ?? []).toEqual([]);
    expect(await w.list(Pod)).toHaveLength(3);
  },
);

test.each(transports)(
  "%s: aggregated cluster roles hold what their parts hold, now and later",
  async (transport) => {
    const world = await new World(transport).start(0);
    worlds.push(world);
    const { admin } = world;
    const rulesOf = async (name: string) => (await admin.get(ClusterRole, { name })).rules;
    const part = await rulesOf("system:aggregate-to-view");
    const view = await rulesOf("view");
    for (const rule of part) expect(view).toContainEqual(rule);
    const edit = await rulesOf("edit");
    for (const rule of view) expect(edit).toContainEqual(rule);
    const label = "rbac.authorization.k8s.io/aggregate-to-view";
    const crontabs = { verbs: ["get"], apiGroups: ["stable.example.com"], resources: ["crontabs"] };
    await admin.create(ClusterRole, {
      metadata: { name: "crontabs", labels: { [label]: "true" } },
      rules: [crontabs],
    });
    await world.run(2);
    for (const name of ["view", "edit", "admin"])
      expect(await rulesOf(name)).toContainEqual(crontabs);
    await admin.delete(ClusterRole, { name: "crontabs" });
    await world.run(2);
    expect(await rulesOf("admin")).not.toContainEqual(crontabs);
  },
);
