/**
 * What is counted of requests, under upstream's names. What belongs to one kind of request is found once and kept, so that counting one
 * allocates nothing.
 */
import type { CounterSeries, GaugeSeries, HistogramSeries, Metrics } from "#machinery/metrics.ts";
import { Counter, Gauge, Histogram } from "#machinery/metrics.ts";
import type { RequestInfo } from "./request-info.ts";

const slow = [1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60];
const buckets = [0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, ...slow];
const sliBuckets = [0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, ...slow];
/** Kinds of requests beyond this share one record: clients can make up names. */
const recordsMax = 5000;
const methods: Readonly<Record<string, string>> = {
  create: "POST",
  update: "PUT",
  patch: "PATCH",
  deletecollection: "DELETECOLLECTION",
};
const readOnly = new Set(["get", "list", "watch", "head", "options"]);

/** What is counted of one kind of request. */
export class RequestRecord {
  readonly duration: HistogramSeries;
  readonly sli: HistogramSeries;
  readonly #families: Families;
  readonly #labels: RecordLabels;
  #longRunning: GaugeSeries | undefined;
  #watchEvents: CounterSeries | undefined;
  readonly #byCode = new Map<number, CounterSeries>();
  readonly #counted: (code: number) => CounterSeries;

  constructor(families: Families, labels: RecordLabels) {
    const { verb, dryRun, group, version, resource, subresource, scope, component } = labels;
    const place = [group, version, resource, subresource, scope, component];
    this.duration = families.duration.of([verb, dryRun, ...place]);
    this.sli = families.sli.of([verb, ...place]);
    this.#families = families;
    this.#labels = labels;
    this.#counted = (code) => families.total.of([verb, dryRun, ...place, String(code)]);
  }

  get longRunning(): GaugeSeries {
    const { verb, group, version, resource, subresource, scope, component } = this.#labels;
    const place = [group, version, resource, subresource, scope, component];
    return (this.#longRunning ??= this.#families.longRunning.of([verb, ...place]));
  }

  get watchEvents(): CounterSeries {
    const { group, version, resource } = this.#labels;
    return (this.#watchEvents ??= this.#families.watchEvents.of([group, version, resource]));
  }

  count(code: number): void {
    let series = this.#byCode.get(code);
    if (series === undefined) this.#byCode.set(code, (series = this.#counted(code)));
    series.add();
  }
}

interface RecordLabels {
  readonly verb: string;
  readonly dryRun: string;
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly subresource: string;
  readonly scope: string;
  readonly component: string;
}

interface Families {
  readonly total: Counter;
  readonly duration: Histogram;
  readonly sli: Histogram;
  readonly longRunning: Gauge;
  readonly watchEvents: Counter;
}

const place = ["group", "version", "resource", "subresource", "scope", "component"];

type Level = Map<string, Level | RequestRecord>;

export class RequestMetrics {
  readonly #families: Families;
  readonly #records: Level = new Map();
  #count = 0;
  #shared: RequestRecord | undefined;
  readonly mutating: GaugeSeries;
  readonly reading: GaugeSeries;

  constructor(metrics: Metrics) {
    const name = (rest: string): string => `apiserver_${rest}`;
    this.#families = {
      total: metrics.counter(
        name("request_total"),
        "Requests answered, by kind of request and by the code of the answer.",
        ["verb", "dry_run", ...place, "code"],
      ),
      duration: metrics.histogram(
        name("request_duration_seconds"),
        "Time until a request was answered, in seconds; of a watch, until it ended.",
        ["verb", "dry_run", ...place],
        buckets,
      ),
      sli: metrics.histogram(
        name("request_sli_duration_seconds"),
        "Time until a request was answered, in seconds, long-running ones left out.",
        ["verb", ...place],
        sliBuckets,
      ),
      longRunning: metrics.gauge(
        name("longrunning_requests"),
        "Requests that stay open as long as the client likes, under way now.",
        ["verb", ...place],
      ),
      watchEvents: metrics.counter(name("watch_events_total"), "Events sent to watches.", [
        "group",
        "version",
        "resource",
      ]),
    };
    const inFlight = metrics.gauge(
      name("current_inflight_requests"),
      "Requests being worked on now, long-running ones left out.",
      ["request_kind"],
    );
    this.mutating = inFlight.of(["mutating"]);
    this.reading = inFlight.of(["readOnly"]);
  }

  inFlight({ verb }: RequestInfo): GaugeSeries {
    return readOnly.has(verb) ? this.reading : this.mutating;
  }

  recordOf(info: RequestInfo, isDryRun: boolean): RequestRecord {
    const scope = scopeOf(info);
    const dryRun = isDryRun ? "All" : "";
    let level = this.#records;
    if (!info.isResource) level = below(level, "path");
    level = below(below(below(level, info.group), info.version), info.resource);
    level = below(below(below(level, info.subresource), scope), dryRun);
    // Of paths only the first part: what clients make up after it is theirs.
    const last = info.isResource ? info.verb : info.path;
    const known = level.get(last);
    if (known instanceof RequestRecord) return known;
    if (this.#count >= recordsMax) return (this.#shared ??= this.#make(info, scope, dryRun, true));
    this.#count++;
    const made = this.#make(info, scope, dryRun, false);
    level.set(last, made);
    return made;
  }

  #make(info: RequestInfo, scope: string, dryRun: string, anonymous: boolean): RequestRecord {
    const { isResource, group, version, resource, path } = info;
    const verb = methods[info.verb] ?? info.verb.toUpperCase();
    if (anonymous || !isResource) {
      const subresource = anonymous ? "" : path;
      const nothing = { group: "", version: "", resource: "", scope: "", component: "" };
      return new RequestRecord(this.#families, { ...nothing, verb, dryRun, subresource });
    }
    const { subresource } = info;
    return new RequestRecord(this.#families, {
      verb,
      dryRun,
      group,
      version,
      resource,
      subresource,
      scope,
      component: "apiserver",
    });
  }
}

function scopeOf({ isResource, name, namespace }: RequestInfo): string {
  if (!isResource) return "";
  if (name !== "") return "resource";
  return namespace === "" ? "cluster" : "namespace";
}

function below(level: Level, key: string): Level {
  const known = level.get(key);
  if (known instanceof Map) return known;
  const made: Level = new Map();
  level.set(key, made);
  return made;
}
