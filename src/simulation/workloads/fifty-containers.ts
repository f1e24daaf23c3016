/**
 * Fifty containers and what happens to them in a bad week: one crashes, traffic rises, a release goes wrong, a machine dies and comes back.
 * Written once against a small idea of a world, so that it runs on simulated machines and on real ones. Every step waits until what must
 * come about has come about, and throws when it does not.
 */
import { Deployment } from "#api/apps/v1/deployment.ts";
import { HorizontalPodAutoscaler } from "#api/autoscaling/v2/horizontalpodautoscaler.ts";
import { Node } from "#api/core/v1/node.ts";
import { Pod } from "#api/core/v1/pod.ts";
import type { Client, Ref } from "#client/client.ts";
import { findCondition } from "#machinery/conditions.ts";
import type { Stored } from "#machinery/meta.ts";

export interface Scene {
  readonly client: Client;
  /** Runs a web server on port 8080 that uses next to no CPU while nobody comes, and that answers GET / with its pod's name somewhere in it. */
  readonly image: string;
  /** Lets time pass until the work is done. */
  run<T>(work: Promise<T>): Promise<T>;
  /** Lets time pass until it holds; throws with `what` if that takes too long. */
  until(what: string, condition: () => Promise<boolean>): Promise<void>;
  apply(yaml: string): Promise<unknown>;
  /** What the address answers to GET /; from outside the cluster. */
  ask(address: string, port: number): Promise<string>;
  /** Customers of the web come to these addresses; they keep its program busy until they are sent away. */
  crowd(addresses: readonly string[], port: number): Promise<() => Promise<void>>;
  /** The container's program ends with an error. */
  crash(pod: Ref): Promise<void>;
  /** The node whose machine fails; the control plane is elsewhere. */
  readonly mortal: string;
  /** The machine loses power. */
  failNode(name: string): Promise<void>;
  reviveNode(name: string): Promise<void>;
}

const namespace = "fifty";
const webPort = 30_500;
const sizes: Readonly<Record<string, number>> = { web: 20, api: 15, worker: 15 };
/** What the autoscaler may make of the web. */
const webMax = 26;
const badImage = "registry.invalid/web:2";

const deployment = (name: string, replicas: number, image: string): string => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name}, namespace: ${namespace} }
spec:
  replicas: ${replicas}
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata: { labels: { app: ${name} } }
    spec:
      terminationGracePeriodSeconds: 5
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector: { matchLabels: { app: ${name} } }
      tolerations:
        - { key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 2 }
        - { key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 2 }
      containers:
        - name: main
          image: ${image}
          ports: [{ containerPort: 8080 }]
          readinessProbe: { httpGet: { path: /, port: 8080 }, periodSeconds: 2 }
`;
const manifest = (image: string): string => `
apiVersion: v1
kind: Namespace
metadata: { name: ${namespace} }
${Object.entries(sizes)
  .map(([name, replicas]) => `---${deployment(name, replicas, image)}`)
  .join("")}
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: ${namespace} }
spec:
  type: NodePort
  selector: { app: web }
  ports: [{ port: 80, targetPort: 8080, nodePort: ${webPort} }]
`;

/** An idle pod uses a small part of that, one with customers a multiple, also where many share a processor. */
const autoscaler = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: { name: web, namespace: ${namespace} }
spec:
  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: web }
  minReplicas: ${sizes["web"]}
  maxReplicas: ${webMax}
  metrics: [{ type: Resource, resource: { name: cpu, target: { type: AverageValue, averageValue: 16m } } }]
  behavior: { scaleDown: { stabilizationWindowSeconds: 0 } }
`;

interface WithConditions {
  readonly status: {
    readonly conditions?: readonly { readonly type: string; readonly status: string }[] | null;
  };
}
/** A Node or a Pod. */
const isReady = ({ status }: WithConditions): boolean =>
  findCondition(status.conditions ?? [], "Ready")?.status === "True";
const isLeaving = ({ metadata }: Stored<Pod>): boolean =>
  (metadata.deletionTimestamp ?? undefined) !== undefined;

const addressOf = ({ status }: Stored<Node>): string =>
  status.addresses?.find(({ type }) => type === "InternalIP")?.address ?? "";

/** Resolves when all of it has happened and all is well again. */
export async function fiftyContainers(scene: Scene): Promise<void> {
  const story = new FiftyContainers(scene);
  await story.everythingRuns();
  await story.oneCrashes();
  await story.trafficRises();
  await story.aReleaseGoesWrong();
  await story.aMachineDiesAndComesBack();
}

class FiftyContainers {
  readonly #scene: Scene;
  readonly #sizes = new Map(Object.entries(sizes));

  constructor(scene: Scene) {
    this.#scene = scene;
  }

  async everythingRuns(): Promise<void> {
    await this.#scene.apply(manifest(this.#scene.image));
    await this.#untilWell("fifty containers run");
    const nodes = await this.#nodes();
    const used = new Set((await this.#pods()).map(({ spec }) => spec.nodeName));
    demand(used.size === nodes.length, `of ${nodes.length} nodes only ${used.size} are used`);
    await this.#answersAtEvery(nodes);
  }

  async oneCrashes(): Promise<void> {
    const [pod] = await this.#pods("api");
    if (pod === undefined) throw new Error("there is no pod of the api");
    const ref = { namespace, name: pod.metadata.name };
    await this.#scene.crash(ref);
    await this.#scene.until(`${ref.name} is started again`, async () => {
      const now = await this.#scene.client.get(Pod, ref);
      return (now.status.containerStatuses?.[0]?.restartCount ?? 0) > 0 && isReady(now);
    });
    await this.#untilWell("all is well after a crash");
  }

  async trafficRises(): Promise<void> {
    await this.#scene.apply(autoscaler);
    await this.#scene.until("the autoscaler knows what the web uses", async () => {
      const { status } = await this.#autoscaler();
      return findCondition(status.conditions ?? [], "ScalingActive")?.status === "True";
    });
    await this.#whileCrowded("the web has grown");
    await this.#untilWell("the web has shrunk again");
  }

  async aReleaseGoesWrong(): Promise<void> {
    const before = (await this.#pods("web")).map(({ metadata }) => metadata.name);
    await this.#setImage("web", badImage);
    await this.#scene.until("the new release cannot get its image", async () =>
      (await this.#pods("web")).some(({ status }) =>
        /^(ErrImagePull|ImagePullBackOff)$/.test(
          status.containerStatuses?.[0]?.state.waiting?.reason ?? "",
        ),
      ),
    );
    const serving = (await this.#pods("web")).filter((pod) => isReady(pod) && !isLeaving(pod));
    // A quarter may be missing during a rollout.
    demand(serving.length >= 15, `only ${serving.length} of 20 serve during a bad release`);
    demand(
      serving.every(({ metadata }) => before.includes(metadata.name)),
      "a pod of the bad release serves",
    );
    await this.#answersAtEvery(await this.#nodes());
    await this.#setImage("web", this.#scene.image);
    await this.#untilWell("undoing the release heals");
  }

  async aMachineDiesAndComesBack(): Promise<void> {
    const lost = this.#scene.mortal;
    const there = (await this.#pods()).filter(({ spec }) => spec.nodeName === lost);
    demand(there.length > 0, `nothing runs on ${lost}`);
    await this.#scene.failNode(lost);
    await this.#scene.until(`${lost} is missed`, async () => {
      const node = await this.#scene.client.get(Node, { name: lost });
      return findCondition(node.status.conditions ?? [], "Ready")?.status === "Unknown";
    });
    await this.#untilWell("its pods run elsewhere", lost);
    await this.#answersAtEvery(
      (await this.#nodes()).filter(({ metadata }) => metadata.name !== lost),
    );
    await this.#scene.reviveNode(lost);
    await this.#scene.until(`${lost} is back`, async () =>
      isReady(await this.#scene.client.get(Node, { name: lost })),
    );
    await this.#scene.until("what ran there is gone", async () => {
      const names = (await this.#pods()).map(({ metadata }) => metadata.uid);
      return there.every(({ metadata }) => !names.includes(metadata.uid));
    });
    await this.#untilWell("all is well again");
    await this.#whileCrowded("new pods run everywhere", async () => {
      const used = (await this.#pods("web")).some(({ spec }) => spec.nodeName === lost);
      demand(used, `${lost} is back and gets no new pod`);
      await this.#answersAtEvery(await this.#nodes());
    });
    await this.#untilWell("the web has shrunk once more");
  }

  /** Every Deployment has all of its pods, ready, none too many; nobody shares an address. `without`: nothing of it counts. */
  async #untilWell(what: string, without?: string): Promise<void> {
    await this.#scene.until(what, async () => {
      const pods = (await this.#list()).filter(({ spec }) => spec.nodeName !== without);
      const complete = [...this.#sizes].every(
        ([app, size]) =>
          pods.filter(({ metadata }) => metadata.labels?.["app"] === app).length === size,
      );
      return complete && pods.every((pod) => isReady(pod) && !isLeaving(pod));
    });
    const pods = (await this.#pods()).filter(({ spec }) => spec.nodeName !== without);
    const addresses = new Set(pods.map(({ status }) => status.podIP));
    demand(addresses.size === pods.length, `${what}: two pods have the same address`);
  }

  async #answersAtEvery(nodes: readonly Stored<Node>[]): Promise<void> {
    for (const node of nodes) {
      const { metadata } = node;
      const answer = await this.#scene.ask(addressOf(node), webPort);
      const names = (await this.#pods("web")).map((pod) => pod.metadata.name);
      demand(
        names.some((name) => answer.includes(name)),
        `${metadata.name} answers for the web: ${answer}`,
      );
    }
  }

  async #list(app?: string): Promise<readonly Stored<Pod>[]> {
    const labelSelector = app === undefined ? {} : { labelSelector: `app=${app}` };
    return (await this.#scene.client.list(Pod, { namespace, ...labelSelector })).items;
  }
  #pods(app?: string): Promise<readonly Stored<Pod>[]> {
    return this.#scene.run(this.#list(app));
  }
  async #nodes(): Promise<readonly Stored<Node>[]> {
    return (await this.#scene.run(this.#scene.client.list(Node))).items;
  }
  #autoscaler(): Promise<Stored<HorizontalPodAutoscaler>> {
    return this.#scene.client.get(HorizontalPodAutoscaler, { namespace, name: "web" });
  }
  /** Customers come, and leave once the web has grown as far as it may and `meanwhile` is done. */
  async #whileCrowded(what: string, meanwhile?: () => Promise<void>): Promise<void> {
    const before = this.#sizes.get("web") ?? 0;
    const nodes = await this.#nodes();
    const leave = await this.#scene.crowd(nodes.map(addressOf), webPort);
    try {
      this.#sizes.set("web", webMax);
      await this.#untilWell(what);
      await meanwhile?.();
    } finally {
      await leave();
    }
    this.#sizes.set("web", before);
  }
  async #setImage(name: string, image: string): Promise<void> {
    const { client } = this.#scene;
    const body = { spec: { template: { spec: { containers: [{ name: "main", image }] } } } };
    await this.#scene.run(client.patch(Deployment, { namespace, name }, "strategic", body));
  }
}

function demand(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}
