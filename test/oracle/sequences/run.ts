/**
 * Steps of a user's (and, where a Pod's or Node's status is concerned, a kubelet's) and the objects that the controllers leave behind after
 * each, once nothing changes any more. The same code drives the original and ours; what may differ by chance is masked.
 */
import { type Json, sorted } from "../mask.ts";

export interface Answer {
  readonly status: number;
  readonly body: Json;
}
/** An API server with controllers. */
export interface Place {
  readonly ask: (method: string, path: string, body?: Json, type?: string) => Promise<Answer>;
  /** Time passes: at least so much, and until nothing changes. */
  readonly settle: (msMin: number, look: () => Promise<string>) => Promise<void>;
}

export type PodEnd = "ready" | "unready" | "failed" | "succeeded";
export type Step =
  | { readonly ask: string; readonly path: string; readonly body?: Json; readonly type?: string }
  /** The status of Pods, as a kubelet would say it: at most so many, of those that do not say so yet. */
  | { readonly pods: string; readonly become: PodEnd; readonly most?: number }
  | { readonly waitMs: number };
export interface Sequence {
  readonly name: string;
  /** Collections that are looked at; paths below the namespace, or from the root. */
  readonly sees: readonly string[];
  readonly steps: readonly (readonly [name: string, ...steps: Step[]])[];
}
export interface Seen {
  readonly step: string;
  /** Of the requests of the step. */
  readonly statuses: readonly number[];
  readonly objects: Json;
}

type Value = { readonly [key: string]: Json };
const isObject = (value: Json | undefined): value is Value =>
  value !== null && typeof value === "object" && !Array.isArray(value);
const at = (value: Json | undefined, ...steps: string[]): Json | undefined =>
  steps.reduce<Json | undefined>((now, step) => (isObject(now) ? now[step] : undefined), value);
const textAt = (value: Json | undefined, ...steps: string[]): string => {
  const found = at(value, ...steps);
  return typeof found === "string" ? found : "";
};
const itemsOf = (body: Json): readonly Json[] => {
  const items = at(body, "items");
  return Array.isArray(items) ? (items as readonly Json[]) : [];
};

export const namespaceOf = (sequence: Sequence): string => `seq-${sequence.name}`;
const merge = "application/merge-patch+json";
const then = "2020-01-01T00:00:00Z";

function podStatus(end: PodEnd, number: number): Json {
  const isReady = end === "ready";
  const phase = { ready: "Running", unready: "Running", failed: "Failed", succeeded: "Succeeded" }[
    end
  ];
  const condition = (type: string): Json => ({
    type,
    status: isReady ? "True" : "False",
    lastTransitionTime: then,
  });
  const ip = `10.1.0.${number}`;
  const terminated = { exitCode: end === "failed" ? 1 : 0, finishedAt: then, startedAt: then };
  const ended = end === "failed" || end === "succeeded";
  return {
    phase,
    podIP: ip,
    podIPs: [{ ip }],
    startTime: then,
    conditions: [condition("Ready"), condition("ContainersReady")],
    containerStatuses: [
      {
        name: "a",
        image: "a:1",
        imageID: "",
        restartCount: 0,
        ready: isReady,
        state: ended ? { terminated } : { running: { startedAt: then } },
      },
    ],
  };
}

const endOf = (pod: Json): string => {
  const phase = textAt(pod, "status", "phase");
  if (phase !== "Running") return phase;
  const conditions = at(pod, "status", "conditions");
  const ready = (Array.isArray(conditions) ? (conditions as Json[]) : []).some(
    (one) => textAt(one, "type") === "Ready" && textAt(one, "status") === "True",
  );
  return ready ? "ready" : "unready";
};
const saidAs: Readonly<Record<PodEnd, string>> = {
  ready: "ready",
  unready: "unready",
  failed: "Failed",
  succeeded: "Succeeded",
};

async function setPods(
  place: Place,
  root: string,
  { pods, become, most }: Extract<Step, { pods: string }>,
): Promise<number[]> {
  const path = `${root}/pods?labelSelector=${encodeURIComponent(pods)}`;
  const found = itemsOf((await place.ask("GET", path)).body).filter(
    (pod) =>
      at(pod, "metadata", "deletionTimestamp") === undefined &&
      endOf(pod) !== saidAs[become] &&
      !["Failed", "Succeeded"].includes(endOf(pod)),
  );
  const index = (pod: Json): string =>
    textAt(pod, "metadata", "annotations", "batch.kubernetes.io/job-completion-index") +
    textAt(pod, "metadata", "name");
  const ordered = [...found].sort((a, b) => (index(a) < index(b) ? -1 : 1));
  const statuses: number[] = [];
  for (const [number, pod] of ordered.slice(0, most ?? ordered.length).entries()) {
    const status = podStatus(become, number + 1);
    const own = `${root}/pods/${textAt(pod, "metadata", "name")}/status`;
    statuses.push((await place.ask("PATCH", own, { status }, merge)).status);
  }
  return statuses;
}

/** As the server draws them; a StatefulSet's Pods have ordinals instead. */
const drawnName = /^[bcdfghjklmnpqrstvwxz2456789]{5}$/;

/** Names that a controller or the server drew, and what it called the state of a template. */
class Names {
  readonly #hashes = new Map<string, string>();
  #drawn: readonly (readonly [string, string])[] = [];

  learn(objects: readonly Json[]): void {
    const fresh = objects
      .flatMap((one) => {
        const hash =
          textAt(one, "metadata", "labels", "pod-template-hash") ||
          textAt(one, "metadata", "labels", "controller.kubernetes.io/hash") ||
          textAt(one, "metadata", "labels", "controller-revision-hash");
        const kind = textAt(one, "kind");
        const revision = at(one, "revision");
        const told = textAt(one, "metadata", "annotations", "deployment.kubernetes.io/revision");
        const order = typeof revision === "number" ? revision : Number(told);
        return kind === "Pod" || hash === "" ? [] : [{ hash, order }];
      })
      .sort((a, b) => a.order - b.order);
    for (const { hash } of fresh) {
      if (!this.#hashes.has(hash)) this.#hashes.set(hash, `HASH${this.#hashes.size + 1}`);
    }
    const drawn = objects.flatMap((one) => {
      const prefix = textAt(one, "metadata", "generateName");
      const name = textAt(one, "metadata", "name");
      const isDrawn = prefix !== "" && drawnName.test(name.slice(prefix.length));
      return isDrawn && name.startsWith(prefix) ? [[name, `${prefix}DRAWN`] as const] : [];
    });
    this.#drawn = [...new Map([...this.#drawn, ...drawn])];
  }

  mask(text: string): string {
    let masked = text;
    for (const [name, instead] of this.#drawn) masked = masked.replaceAll(name, instead);
    for (const [hash, instead] of this.#hashes) masked = masked.replaceAll(hash, instead);
    return masked
      .replace(/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g, "UID")
      .replace(/\b20(2[4-9]|[3-9]\d)-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, "TIME")
      .replace(/kube-api-access-[a-z0-9]{5}/g, "kube-api-access-DRAWN")
      .replace(/-\d{8}\b/g, "-MINUTE")
      .replace(/-----BEGIN[^"]*-----END CERTIFICATE-----\n?/g, "CERTIFICATE");
  }
}

const dropped = new Set(["resourceVersion", "managedFields", "uid", "clusterIP", "clusterIPs"]);
function plain(value: Json, names: Names): Json {
  if (typeof value === "string") return names.mask(value);
  if (Array.isArray(value)) return (value as Json[]).map((one) => plain(one, names));
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key]) => !dropped.has(key))
      .map(([key, one]) => [names.mask(key), plain(one, names)]),
  );
}
/** Of an event, what it tells. */
const told = (event: Json): Json => ({
  about: `${textAt(event, "involvedObject", "kind")} ${textAt(event, "involvedObject", "name")}`,
  from: textAt(event, "source", "component"),
  type: textAt(event, "type"),
  reason: textAt(event, "reason"),
  message: textAt(event, "message"),
});

async function look(place: Place, sequence: Sequence, names: Names): Promise<Json> {
  const root = `/api/v1/namespaces/${namespaceOf(sequence)}`;
  const lists: [string, readonly Json[]][] = [];
  for (const path of sequence.sees) {
    const [group = "", plural = ""] = path.includes("/") ? path.split(/\/(?=[^/]*$)/) : ["", path];
    const full = path.startsWith("/")
      ? path
      : group === ""
        ? `${root}/${plural}`
        : `/apis/${group}/namespaces/${namespaceOf(sequence)}/${plural}`;
    const { body } = await place.ask("GET", full);
    const kind = textAt(body, "kind").replace(/List$/, "");
    const one = kind === "Event" ? told : (item: Json): Json => ({ kind, ...(item as Value) });
    lists.push([plural || path, itemsOf(body).map(one)]);
  }
  names.learn(lists.flatMap(([, items]) => items));
  return Object.fromEntries(
    lists.map(([name, items]) => {
      const texts = items.map((one) => JSON.stringify(sorted(plain(one, names)))).sort();
      const isEvents = name === "events";
      const counted = [...new Set(texts)].map((text) => {
        const object = JSON.parse(text) as Json;
        const times = texts.filter((one) => one === text).length;
        return times === 1 || isEvents ? object : { times, object };
      });
      return [name, counted];
    }),
  );
}

export async function* play(sequence: Sequence, place: Place): AsyncGenerator<Seen> {
  const names = new Names();
  const namespace = namespaceOf(sequence);
  const root = `/api/v1/namespaces/${namespace}`;
  const now = async (): Promise<string> => JSON.stringify(await look(place, sequence, names));
  await place.ask("POST", "/api/v1/namespaces", { metadata: { name: namespace } });
  await place.settle(1_000, now);
  for (const [step, ...parts] of sequence.steps) {
    const statuses: number[] = [];
    let waitMs = 1_500;
    for (const part of parts) {
      if ("waitMs" in part) waitMs = part.waitMs;
      else if ("pods" in part) statuses.push(...(await setPods(place, root, part)));
      else {
        const path = part.path.replaceAll("NAMESPACE", namespace);
        statuses.push((await place.ask(part.ask, path, part.body, part.type)).status);
      }
    }
    await place.settle(waitMs, now);
    yield { step, statuses, objects: await look(place, sequence, names) };
  }
}
