/**
 * metrics.k8s.io/v1beta1: what nodes and pods use, as objects that nobody stores. Which there are, and which a selector means, the API
 * server says: they are the nodes and the running pods of the cluster. Who asks while nobody did before waits for two readings.
 */
import { Node } from "#api/core/v1/node.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { metricsResources } from "#api/index.ts";
import { metricsGroup, metricsVersion } from "#api/metrics/v1beta1/metrics-resource.ts";
import type { NodeMetrics } from "#api/metrics/v1beta1/nodemetrics.ts";
import type { PodMetrics } from "#api/metrics/v1beta1/podmetrics.ts";
import type { Resource } from "#api/resource.ts";
import type { Client } from "#client/client.ts";
import { msToGoDuration } from "#machinery/go-duration.ts";
import type { ApiObject, Stored } from "#machinery/meta.ts";
import { formatQuantity, makeQuantity, quantityFromInteger } from "#machinery/quantity.ts";
import { notFound } from "#machinery/status-error.ts";
import { formatTime } from "#machinery/time.ts";
import { Scraper, type ScraperOptions } from "./scraper.ts";
import type { ContainerUsage, Usage } from "./usage-window.ts";

const apiVersion = `${metricsGroup}/${metricsVersion}`;

export interface Selection {
  readonly labelSelector: string;
  readonly fieldSelector: string;
}

const usageQuantities = ({ cpuNanoCores, memoryBytes }: Usage): Record<string, string> => ({
  cpu: formatQuantity(makeQuantity(BigInt(cpuNanoCores))),
  memory: formatQuantity(quantityFromInteger(memoryBytes, "BinarySI")),
});

function metadataOf({ metadata }: Stored<Node> | Stored<Pod>, nowMs: number) {
  const { name, namespace, labels } = metadata;
  return {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    creationTimestamp: formatTime(nowMs),
    ...(labels === undefined ? {} : { labels }),
  };
}

function nodeMetrics(node: Stored<Node>, usage: Usage, nowMs: number): NodeMetrics {
  return {
    kind: "NodeMetrics",
    apiVersion,
    metadata: metadataOf(node, nowMs),
    timestamp: formatTime(usage.atMs),
    window: msToGoDuration(usage.windowMs),
    usage: usageQuantities(usage),
  };
}

function podMetrics(
  pod: Stored<Pod>,
  usages: readonly ContainerUsage[],
  nowMs: number,
): PodMetrics {
  // Upstream: of the container that was read first.
  const [earliest] = usages.toSorted((a, b) => a.atMs - b.atMs);
  return {
    kind: "PodMetrics",
    apiVersion,
    metadata: metadataOf(pod, nowMs),
    timestamp: formatTime(earliest?.atMs ?? nowMs),
    window: msToGoDuration(earliest?.windowMs ?? 0),
    containers: usages.map((usage) => ({ name: usage.name, usage: usageQuantities(usage) })),
  };
}

/** What serves a group version of objects that are made when they are asked for. */
export class MetricsApi {
  readonly group = metricsGroup;
  readonly version = metricsVersion;
  readonly groupPriorityMinimum = 100;
  readonly versionPriority = 100;
  readonly resources: readonly Resource[] = metricsResources;
  readonly #client: Client;
  readonly #now: () => number;
  readonly #scraper: Scraper;

  constructor(options: ScraperOptions) {
    this.#client = options.client;
    this.#now = () => options.clock.now();
    this.#scraper = new Scraper(options);
  }

  stop(): void {
    this.#scraper.stop();
  }

  async get({ plural }: Resource, namespace: string, name: string): Promise<ApiObject> {
    return plural === "nodes" ? await this.#getNode(name) : await this.#getPod(namespace, name);
  }

  async list({ plural }: Resource, namespace: string, by: Selection): Promise<ApiObject[]> {
    await this.#scraper.ready();
    const { usage } = this.#scraper;
    const now = this.#now();
    if (plural === "nodes") {
      const { items } = await this.#client.list(Node, by);
      return items.flatMap((node) => {
        const found = usage.node(node.metadata.name);
        return found === undefined ? [] : [nodeMetrics(node, found, now)];
      });
    }
    const { items } = await this.#client.list(Pod, { namespace, ...by });
    return items.flatMap((pod) => {
      const found = this.#usageOfPod(pod);
      return found === undefined ? [] : [podMetrics(pod, found, now)];
    });
  }

  async #getNode(name: string): Promise<NodeMetrics> {
    const node = await this.#client.get(Node, { name });
    await this.#scraper.ready();
    const usage = this.#scraper.usage.node(name);
    if (usage === undefined) throw notFound({ group: metricsGroup, plural: "nodemetrics" }, name);
    return nodeMetrics(node, usage, this.#now());
  }

  async #getPod(namespace: string, name: string): Promise<PodMetrics> {
    const pod = await this.#client.get(Pod, { namespace, name });
    await this.#scraper.ready();
    const usages = this.#usageOfPod(pod);
    if (usages === undefined) {
      const what = { group: metricsGroup, plural: "podmetrics" };
      throw notFound(what, `${namespace}/${name}`);
    }
    return podMetrics(pod, usages, this.#now());
  }

  /** A pod that has ended uses nothing, whatever was read of it. */
  #usageOfPod({ metadata, status }: Stored<Pod>): readonly ContainerUsage[] | undefined {
    if (status.phase !== "Running") return undefined;
    return this.#scraper.usage.pod(metadata.namespace ?? "", metadata.name);
  }
}
