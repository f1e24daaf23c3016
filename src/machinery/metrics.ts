/**
 * Metrics: counters, gauges and histograms under upstream's names, written in Prometheus' text form. A series is found by walking its
 * label values one by one, so counting allocates nothing once a series is there. Bounded: a family takes so many series and no more.
 */

export type Labels = readonly string[];

/** Series of one family beyond this are not kept: who makes labels from what clients send must not fill the memory. */
const seriesMax = 20_000;

class Node<S> {
  readonly children = new Map<string, Node<S>>();
  series: S | undefined;
}

abstract class Family<S extends { readonly values: Labels }> {
  readonly name: string;
  readonly help: string;
  readonly labels: Labels;
  readonly #root = new Node<S>();
  readonly #all: S[] = [];
  #overflow: S | undefined;

  constructor(name: string, help: string, labels: Labels) {
    this.name = name;
    this.help = help;
    this.labels = labels;
  }

  protected abstract make(values: Labels): S;
  abstract readonly type: "counter" | "gauge" | "histogram";

  /** The series of these label values, one per label of the family. */
  of(values: Labels): S {
    let node = this.#root;
    for (const value of values) {
      let child = node.children.get(value);
      if (child === undefined) {
        if (this.#all.length >= seriesMax) return (this.#overflow ??= this.make(values));
        child = new Node();
        node.children.set(value, child);
      }
      node = child;
    }
    if (node.series === undefined) {
      node.series = this.make([...values]);
      this.#all.push(node.series);
    }
    return node.series;
  }

  get all(): readonly S[] {
    return this.#all;
  }
}

export class CounterSeries {
  readonly values: Labels;
  value = 0;
  constructor(values: Labels) {
    this.values = values;
  }
  add(amount = 1): void {
    this.value += amount;
  }
}
export class Counter extends Family<CounterSeries> {
  readonly type = "counter";
  protected make(values: Labels): CounterSeries {
    return new CounterSeries(values);
  }
}

export class GaugeSeries {
  readonly values: Labels;
  value = 0;
  constructor(values: Labels) {
    this.values = values;
  }
  add(amount: number): void {
    this.value += amount;
  }
  set(value: number): void {
    this.value = value;
  }
}
export class Gauge extends Family<GaugeSeries> {
  readonly type = "gauge";
  protected make(values: Labels): GaugeSeries {
    return new GaugeSeries(values);
  }
}

export class HistogramSeries {
  readonly values: Labels;
  readonly bounds: readonly number[];
  /** One more than there are bounds: the last counts what is beyond. */
  readonly counts: Float64Array;
  sum = 0;
  count = 0;
  constructor(values: Labels, bounds: readonly number[]) {
    this.values = values;
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }
  observe(value: number): void {
    let at = 0;
    while (at < this.bounds.length && value > (this.bounds[at] as number)) at++;
    this.counts[at] = (this.counts[at] ?? 0) + 1;
    this.sum += value;
    this.count++;
  }
}
export class Histogram extends Family<HistogramSeries> {
  readonly type = "histogram";
  readonly #bounds: readonly number[];
  constructor(name: string, help: string, labels: Labels, bounds: readonly number[]) {
    super(name, help, labels);
    this.#bounds = bounds;
  }
  protected make(values: Labels): HistogramSeries {
    return new HistogramSeries(values, this.#bounds);
  }
}

/** A bucket bound: first, each next one `factor` times the one before. */
export const exponentialBuckets = (first: number, factor: number, count: number): number[] =>
  Array.from({ length: count }, (_, at) => first * factor ** at);

const escaped = (value: string): string =>
  value.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');

function labelText(labels: Labels, values: Labels, more = ""): string {
  const pairs = labels.map((label, at) => `${label}="${escaped(values[at] ?? "")}"`);
  if (more !== "") pairs.push(more);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function number(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return "+Inf";
  return value === Number.NEGATIVE_INFINITY ? "-Inf" : String(value);
}

function* histogramLines({ name, labels }: Histogram, series: HistogramSeries): Generator<string> {
  let total = 0;
  const bounds = [...series.bounds, Number.POSITIVE_INFINITY];
  for (const [at, bound] of bounds.entries()) {
    total += series.counts[at] ?? 0;
    const text = labelText(labels, series.values, `le="${number(bound)}"`);
    yield `${name}_bucket${text} ${total}`;
  }
  const text = labelText(labels, series.values);
  yield `${name}_sum${text} ${number(series.sum)}`;
  yield `${name}_count${text} ${series.count}`;
}

/** One value, when it is not of now with its time. */
export interface Sample {
  readonly values: Labels;
  readonly value: number;
  readonly atMs?: number;
}
/** A family of values that nobody keeps, in text. "" without any. */
export function metricFamily(
  family: {
    readonly name: string;
    readonly help: string;
    readonly type: "counter" | "gauge";
    readonly labels: Labels;
  },
  samples: readonly Sample[],
): string {
  if (samples.length === 0) return "";
  const { name, help, type, labels } = family;
  const lines = samples.map(({ values, value, atMs }) => {
    const at = atMs === undefined ? "" : ` ${Math.floor(atMs)}`;
    return `${name}${labelText(labels, values)} ${number(value)}${at}\n`;
  });
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("")}`;
}

/** All metrics of a process. */
export class Metrics {
  readonly #families = new Map<string, Counter | Gauge | Histogram>();
  readonly #gatherers: (() => void)[] = [];

  #add<F extends Counter | Gauge | Histogram>(family: F): F {
    const known = this.#families.get(family.name);
    // Several components of a process count the same thing: one family.
    if (known !== undefined) return known as F;
    this.#families.set(family.name, family);
    return family;
  }
  counter(name: string, help: string, labels: Labels = []): Counter {
    return this.#add(new Counter(name, help, labels));
  }
  gauge(name: string, help: string, labels: Labels = []): Gauge {
    return this.#add(new Gauge(name, help, labels));
  }
  histogram(name: string, help: string, labels: Labels, bounds: readonly number[]): Histogram {
    return this.#add(new Histogram(name, help, labels, bounds));
  }
  /** Called before the metrics are written: for what is known only when somebody asks. */
  gather(gatherer: () => void): void {
    this.#gatherers.push(gatherer);
  }

  write(): string {
    for (const gatherer of this.#gatherers) gatherer();
    const lines: string[] = [];
    for (const name of [...this.#families.keys()].sort()) {
      const family = this.#families.get(name);
      if (family === undefined || family.all.length === 0) continue;
      lines.push(`# HELP ${name} ${family.help}`, `# TYPE ${name} ${family.type}`);
      if (family instanceof Histogram)
        for (const series of family.all) lines.push(...histogramLines(family, series));
      else
        for (const { values, value } of family.all)
          lines.push(`${name}${labelText(family.labels, values)} ${number(value)}`);
    }
    return `${lines.join("\n")}\n`;
  }
}
