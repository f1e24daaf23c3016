/** Reads what a kubelet says at /metrics/resource: Prometheus' text form, as far as the metrics of resources use it. Pure. */

/** One reading of something that runs: CPU time so far, memory now. */
export interface Point {
  readonly atMs: number;
  readonly cpuSeconds: number;
  readonly memoryBytes: number;
  /** When it started, where that is known. */
  readonly startedAtMs?: number;
}
export interface Reading {
  readonly node: Point | undefined;
  /** By "namespace/name", then by container. */
  readonly pods: ReadonlyMap<string, ReadonlyMap<string, Point>>;
}

interface Line {
  readonly name: string;
  readonly labels: ReadonlyMap<string, string>;
  readonly value: number;
  readonly atMs: number | undefined;
}

const linePattern = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+(-?\d+))?\s*$/;
const labelPattern = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;
const unescaped = (text: string): string =>
  text.replace(/\\(.)/g, (_, sign: string) => (sign === "n" ? "\n" : sign));

function parseLine(text: string): Line | undefined {
  if (text.startsWith("#")) return undefined;
  const match = linePattern.exec(text);
  if (match === null) return undefined;
  const [, name = "", labels = "", value = "", atMs] = match;
  const pairs = [...labels.matchAll(labelPattern)].map(
    ([, label = "", quoted = ""]) => [label, unescaped(quoted)] as const,
  );
  return {
    name,
    labels: new Map(pairs),
    value: Number(value),
    atMs: atMs === undefined ? undefined : Number(atMs),
  };
}

interface Draft {
  atMs?: number;
  cpuSeconds?: number;
  memoryBytes?: number;
  startedAtMs?: number;
}

/** Whole only with both figures, and a CPU time that says of when it is. */
function pointOf({ atMs, cpuSeconds, memoryBytes, startedAtMs }: Draft): Point | undefined {
  if (atMs === undefined || cpuSeconds === undefined || memoryBytes === undefined) return undefined;
  return {
    atMs,
    cpuSeconds,
    memoryBytes,
    ...(startedAtMs === undefined ? {} : { startedAtMs }),
  };
}

function note(draft: Draft, figure: string, { value, atMs }: Line): void {
  if (!Number.isFinite(value)) return;
  if (figure === "memory_working_set_bytes") draft.memoryBytes = value;
  else if (figure === "start_time_seconds") draft.startedAtMs = value * 1000;
  else if (figure === "cpu_usage_seconds_total") {
    draft.cpuSeconds = value;
    if (atMs !== undefined) draft.atMs = atMs;
  }
}

export function readExposition(text: string): Reading {
  const node: Draft = {};
  const drafts = new Map<string, Map<string, Draft>>();
  for (const each of text.split("\n")) {
    const line = parseLine(each);
    if (line === undefined) continue;
    const [, subject = "", figure = ""] = /^(node|container)_(.*)$/.exec(line.name) ?? [];
    if (subject === "node") note(node, figure, line);
    if (subject !== "container") continue;
    const namespace = line.labels.get("namespace") ?? "";
    const key = `${namespace}/${line.labels.get("pod") ?? ""}`;
    const name = line.labels.get("container") ?? "";
    const pod = drafts.get(key) ?? new Map<string, Draft>();
    const draft = pod.get(name) ?? {};
    note(draft, figure, line);
    pod.set(name, draft);
    drafts.set(key, pod);
  }
  const pods = new Map<string, ReadonlyMap<string, Point>>();
  for (const [key, containers] of drafts) {
    const points = new Map<string, Point>();
    for (const [name, draft] of containers) {
      const point = pointOf(draft);
      if (point !== undefined) points.set(name, point);
    }
    // Upstream: a pod of which something is missing is left out, rather than told as less than it uses.
    if (points.size === containers.size) pods.set(key, points);
  }
  return { node: pointOf(node), pods };
}
