/**
 * The metrics APIs as their clients see them: metrics.k8s.io, custom.metrics.k8s.io and external.metrics.k8s.io, asked of the API
 * server, whoever serves them behind it. Reads only. A refusal is a value, in client-go's words: people know them.
 */
import { apiVersionOf, type Kind } from "#api/resource.ts";
import { type Client, pathOf } from "#client/client.ts";
import { StatusError } from "#machinery/status-error.ts";
import { parseTime } from "#machinery/time.ts";
import { readPath } from "./discovery.ts";
import { milliOf, type PodMetric, type PodMetrics } from "./horizontal-pod-autoscaler-replicas.ts";

export interface Problem {
  readonly problem: string;
}

/** How long a measurement of a custom metric lasted, where that is not said. */
const customWindowMs = 60_000;
const customGroup = "custom.metrics.k8s.io";
const customVersions = ["v1beta2", "v1beta1"];

const PodMetricsKind: Kind = {
  group: "metrics.k8s.io",
  version: "v1beta1",
  kind: "PodMetrics",
  plural: "pods",
  namespaced: true,
};

type Query = readonly (readonly [string, string])[];
const said = (query: Query): Query => query.filter(([, value]) => value !== "");

interface PodMetricsItem {
  readonly metadata: { readonly name: string };
  readonly timestamp: string;
  readonly window: string;
  readonly containers?:
    | readonly { readonly name: string; readonly usage?: Readonly<Record<string, string>> }[]
    | null;
}

/** Go's text of a duration: "1m30.5s". */
export function parseDuration(text: string): number {
  const unitsMs: Readonly<Record<string, number>> = {
    h: 3_600_000,
    m: 60_000,
    s: 1000,
    ms: 1,
    us: 0.001,
    µs: 0.001,
    ns: 0.000_001,
  };
  let sumMs = 0;
  for (const [, amount, unit] of text.matchAll(/([\d.]+)(ms|us|µs|ns|h|m|s)/g)) {
    sumMs += Number(amount) * (unitsMs[unit ?? ""] ?? 0);
  }
  return sumMs;
}

/** Undefined: not all of it is known. */
function usageOf(item: PodMetricsItem, resource: string, container: string): bigint | undefined {
  const containers = item.containers ?? [];
  if (container !== "") {
    const usage = containers.find(({ name }) => name === container)?.usage?.[resource];
    return usage === undefined ? undefined : milliOf(usage);
  }
  if (containers.length === 0) return undefined;
  let sum = 0n;
  for (const { usage } of containers) {
    const amount = usage?.[resource];
    if (amount === undefined) return undefined;
    sum += milliOf(amount);
  }
  return sum;
}

async function attempt<T>(api: string, read: () => Promise<T | Problem>): Promise<T | Problem> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    return { problem: `unable to fetch metrics from ${api} metrics API: ${error.message}` };
  }
}

export class MetricsApis {
  readonly #client: Client;
  constructor(client: Client) {
    this.#client = client;
  }

  /** What Pods use of a resource; of one of their containers, if one is named. */
  resource(
    resource: string,
    namespace: string,
    selector: string,
    container: string,
  ): Promise<PodMetrics | Problem> {
    return attempt("resource", async () => {
      const path = pathOf(PodMetricsKind, { namespace });
      const query = said([["labelSelector", selector]]);
      const asked = { resource: "pods.metrics.k8s.io" };
      const list = await readPath<{ readonly items?: readonly PodMetricsItem[] | null }>(
        this.#client,
        path,
        query,
        asked,
      );
      const items = list.items ?? [];
      if (items.length === 0) {
        return { problem: "no metrics returned from resource metrics API" };
      }
      const metrics = new Map<string, PodMetric>();
      for (const item of items) {
        const milli = usageOf(item, resource, container);
        if (milli === undefined) continue;
        const atMs = parseTime(item.timestamp) ?? 0;
        metrics.set(item.metadata.name, { milli, atMs, windowMs: parseDuration(item.window) });
      }
      return metrics;
    });
  }

  /** A metric that Pods have of themselves. */
  pods(
    metric: string,
    namespace: string,
    selector: string,
    metricSelector: string,
  ): Promise<PodMetrics | Problem> {
    return attempt("custom", async () => {
      const values = await this.#custom(
        namespace,
        ["pods", "*", metric],
        [
          ["labelSelector", selector],
          ["metricLabelSelector", metricSelector],
        ],
      );
      if (values.length === 0) return { problem: "no metrics returned from custom metrics API" };
      return new Map(
        values.map(({ describedObject, timestamp, value, windowSeconds, window }) => {
          const seconds = windowSeconds ?? window;
          const windowMs = seconds === undefined ? customWindowMs : seconds * 1000;
          const atMs = parseTime(timestamp) ?? 0;
          return [describedObject.name, { milli: milliOf(value), atMs, windowMs }];
        }),
      );
    });
  }

  /** A metric of one object, in thousandths. */
  object(
    metric: string,
    namespace: string,
    object: { readonly resource: string; readonly name: string; readonly isNamespace: boolean },
    metricSelector: string,
  ): Promise<bigint | Problem> {
    return attempt("custom", async () => {
      const steps = object.isNamespace
        ? ["metrics", metric]
        : [object.resource, object.name, metric];
      const values = await this.#custom(namespace, steps, [
        ["metricLabelSelector", metricSelector],
      ]);
      const [only] = values;
      if (only !== undefined && values.length === 1) return milliOf(only.value);
      const told = `the custom metrics API server returned ${values.length} results`;
      throw new StatusError(500, "", `${told} when we asked for exactly one`);
    });
  }

  /** All values of a metric that belongs to nothing in the cluster. */
  external(
    metric: string,
    namespace: string,
    metricSelector: string,
  ): Promise<readonly bigint[] | Problem> {
    return attempt("external", async () => {
      const root = `/apis/external.metrics.k8s.io/v1beta1/namespaces/${namespace}`;
      const query = said([["labelSelector", metricSelector]]);
      const asked = { resource: `${metric}.external.metrics.k8s.io` };
      const list = await readPath<{
        readonly items?: readonly { readonly value: string }[] | null;
      }>(this.#client, `${root}/${encodeURIComponent(metric)}`, query, asked);
      const items = list.items ?? [];
      if (items.length === 0) return { problem: "no metrics returned from external metrics API" };
      return items.map(({ value }) => milliOf(value));
    });
  }

  async #custom(
    namespace: string,
    steps: readonly string[],
    query: Query,
  ): Promise<readonly CustomValue[]> {
    const version = await this.#customVersion();
    const root = `/apis/${apiVersionOf({ group: customGroup, version })}/namespaces/${namespace}`;
    const path = steps.map((step) => (step === "*" ? step : encodeURIComponent(step))).join("/");
    const [resource = "", name = ""] = steps;
    const list = await readPath<{ readonly items?: readonly CustomValue[] | null }>(
      this.#client,
      `${root}/${path}`,
      said(query),
      { resource: `${resource}.${customGroup}`, name },
    );
    return list.items ?? [];
  }

  async #customVersion(): Promise<string> {
    interface Group {
      readonly name: string;
      readonly versions: readonly { readonly version: string }[];
      readonly preferredVersion?: { readonly version: string };
    }
    const { groups } = await readPath<{ readonly groups: readonly Group[] }>(
      this.#client,
      "/apis",
      [],
    );
    const group = groups.find(({ name }) => name === customGroup);
    if (group === undefined) {
      throw new StatusError(404, "", `no custom metrics API (${customGroup}) registered`);
    }
    const served = [group.preferredVersion, ...group.versions].map((one) => one?.version ?? "");
    const version = served.find((one) => customVersions.includes(one));
    if (version !== undefined) return version;
    throw new StatusError(404, "", "no known available metric versions found");
  }
}

interface CustomValue {
  readonly describedObject: { readonly name: string };
  readonly timestamp: string;
  readonly value: string;
  /** In version v1beta2. */
  readonly windowSeconds?: number;
  /** In version v1beta1. */
  readonly window?: number;
}
