/** What the API server tells of itself besides requests: how many objects there are, how long the store takes, which build it is. */
import type { HistogramSeries, Metrics } from "#machinery/metrics.ts";
import { serverVersion } from "./public-paths.ts";
import type { Registry, StoreTimes } from "./registry.ts";

const storeBuckets = [
  0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45,
  60,
];

export function storeTimes(metrics: Metrics, group: string, plural: string): StoreTimes {
  const family = metrics.histogram(
    "etcd_request_duration_seconds",
    "How long the store took, in seconds.",
    ["operation", "group", "resource"],
    storeBuckets,
  );
  const made = new Map<string, HistogramSeries>();
  return (operation) => {
    let series = made.get(operation);
    if (series === undefined) made.set(operation, (series = family.of([operation, group, plural])));
    return series;
  };
}

/** Counted when somebody asks. */
export function tellOfObjects(metrics: Metrics, registries: ReadonlyMap<string, Registry>): void {
  const help = "Objects stored.";
  const old = metrics.gauge("apiserver_storage_objects", help, ["resource"]);
  const objects = metrics.gauge("apiserver_resource_objects", help, ["group", "resource"]);
  const build = metrics.gauge("kubernetes_build_info", "Which Kubernetes this is.", [
    "git_version",
    "major",
    "minor",
    "platform",
  ]);
  const { gitVersion, major, minor, platform } = serverVersion;
  build.of([gitVersion, major, minor, platform]).set(1);
  metrics.gather(() => {
    // What is not served any more has none.
    for (const family of [old, objects]) for (const series of family.all) series.set(0);
    for (const { resource, cache } of registries.values()) {
      const { group, plural } = resource;
      old.of([group === "" ? plural : `${plural}.${group}`]).set(cache.size);
      objects.of([group, plural]).set(cache.size);
    }
  });
}
