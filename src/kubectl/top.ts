/** `kubectl top nodes|pods`: what is used, from the metrics API. */

import { msToGoDuration } from "#machinery/go-duration.ts";
import {
  addQuantities,
  type Quantity,
  quantityOf,
  toMilli,
  toWhole,
  zeroQuantity,
} from "#machinery/quantity.ts";
import { parseTime } from "#machinery/time.ts";
import { type Invocation, type KubectlCommand, usageFailure } from "./command.ts";
import { CommandError } from "./errors.ts";
import { text, toggle } from "./flags.ts";
import { metaOf, nameOf, objectAt, objectsAt, textAt } from "./objects.ts";
import { alignTabs, tableStops } from "./tab-writer.ts";

const metricsGroup = "metrics.k8s.io";
const supportedVersions = ["v1", "v1beta1"];
/** So long a pod may be without figures before that is worth a word. */
const creationDelayMs = 120_000;

const resources = ["cpu", "memory", "swap"] as const;
type ResourceName = (typeof resources)[number];
type Usage = Readonly<Record<ResourceName, Quantity>>;

const usageOf = (holder: unknown): Usage => ({
  cpu: quantityOf(textAt(holder, "cpu") || "0"),
  memory: quantityOf(textAt(holder, "memory") || "0"),
  swap: quantityOf(textAt(holder, "swap") || "0"),
});
const sum = (all: readonly Usage[]): Usage => {
  const total = (name: ResourceName): Quantity =>
    all.reduce((sofar, one) => addQuantities(sofar, one[name]), zeroQuantity);
  return { cpu: total("cpu"), memory: total("memory"), swap: total("swap") };
};
const measured = ({ flags }: Invocation): readonly ResourceName[] =>
  resources.filter((name) => name !== "swap" || flags.switch("show-swap"));
const cell = (name: ResourceName, quantity: Quantity): string =>
  name === "cpu" ? `${toMilli(quantity)}m` : `${Math.trunc(toWhole(quantity) / 2 ** 20)}Mi`;
const cells = (given: Invocation, usage: Usage): string[] =>
  measured(given).map((name) => cell(name, usage[name]));

/** The path of the API. */
async function availableApi({ session }: Invocation): Promise<string> {
  const { versions } = await session.discovery();
  const found = supportedVersions.find((version) =>
    versions.some((one) => one.group === metricsGroup && one.version === version),
  );
  if (found === undefined) throw new CommandError("Metrics API not available");
  return `/apis/${metricsGroup}/${found}`;
}

/** What `both` says: a name and a selector. */
function validate(given: Invocation, usage: string, both: string): void {
  const { flags, args } = given;
  if (args.length > 1) throw usageFailure(given, usage);
  if (!["", "cpu", "memory"].includes(flags.text("sort-by")))
    throw new CommandError("--sort-by accepts only cpu or memory");
  const selects = ["selector", "field-selector"].some((name) => flags.text(name) !== "");
  if (args.length > 0 && selects) throw new CommandError(both);
}

function ordered<T extends { readonly title: string; readonly usage: Usage }>(
  { flags }: Invocation,
  rows: readonly T[],
): T[] {
  const sortBy = flags.text("sort-by");
  return rows.toSorted((a, b) => {
    if (sortBy === "cpu" || sortBy === "memory") {
      const difference = b.usage[sortBy].nanos - a.usage[sortBy].nanos;
      if (difference !== 0n) return difference > 0n ? 1 : -1;
    }
    return a.title < b.title ? -1 : 1;
  });
}
/** Every cell ends with a tab, as upstream has it. */
const lines = (rows: readonly (readonly string[])[]): string =>
  alignTabs(rows.map((row) => `${row.join("\t")}\t\n`).join(""), tableStops);

const unknown = ["<unknown>", "<unknown>"];
type Plain = Record<string, unknown>;

/** What there is of a resource at a node; undefined: it does not say. */
function availableAt(given: Invocation, node: Plain, name: ResourceName): Quantity | undefined {
  const swap = objectAt(node, "status", "nodeInfo", "swap")?.["capacity"];
  if (name === "swap") return typeof swap === "number" ? quantityOf(String(swap)) : undefined;
  const where = given.flags.switch("show-capacity") ? "capacity" : "allocatable";
  const text = textAt(objectAt(node, "status", where), name);
  return text === "" ? undefined : quantityOf(text);
}

function nodeCells(given: Invocation, usage: Usage, node: Plain | undefined): string[] {
  return measured(given).flatMap((name) => {
    const whole = node === undefined ? undefined : availableAt(given, node, name);
    if (whole === undefined) return name === "swap" ? unknown : [cell(name, usage[name])];
    const share = toMilli(whole) === 0 ? 0 : (toMilli(usage[name]) / toMilli(whole)) * 100;
    return [cell(name, usage[name]), `${Math.trunc(share)}%`];
  });
}

async function topNodes(given: Invocation): Promise<void> {
  const { session, flags, args } = given;
  validate(given, "node [NAME | -l label]", "only one of NAME or --selector can be provided");
  const api = await availableApi(given);
  const rest = await session.rest();
  const query =
    flags.text("selector") === "" ? [] : [["labelSelector", flags.text("selector")] as const];
  const [name] = args;
  const fetch = async (path: string): Promise<Plain[]> => {
    if (name !== undefined) return [await rest.json("GET", `${path}/${name}`)];
    return objectsAt(await rest.json("GET", path, { query }), "items");
  };
  const used = await fetch(`${api}/nodes`);
  if (used.length === 0) throw new CommandError("metrics not available yet");
  const nodes = await fetch("/api/v1/nodes");
  const rows = ordered(
    given,
    used.map((one) => ({ title: nameOf(one), usage: usageOf(one["usage"]) })),
  ).map(({ title, usage }) => {
    const node = nodes.find((one) => nameOf(one) === title);
    return [title, ...nodeCells(given, usage, node)];
  });
  const missing = nodes
    .filter((node) => !used.some((one) => nameOf(one) === nameOf(node)))
    .map((node) => [nameOf(node), ...measured(given).flatMap(() => unknown)]);
  const swap = flags.switch("show-swap") ? ["SWAP(bytes)", "SWAP(%)"] : [];
  const header = ["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)", ...swap];
  session.out(lines([...(flags.switch("no-headers") ? [] : [header]), ...rows, ...missing]));
}

const keyOf = (object: Plain): string => `${metaOf(object).namespace ?? ""}/${nameOf(object)}`;

/** Pods by the selectors that only the core API knows. */
async function podsChosen(given: Invocation, base: string): Promise<Plain[]> {
  const { session, flags } = given;
  const query = (["label", "field"] as const).flatMap((which) => {
    const text = flags.text(which === "label" ? "selector" : "field-selector");
    return text === "" ? [] : [[`${which}Selector`, text] as const];
  });
  return objectsAt(await (await session.rest()).json("GET", base, { query }), "items");
}

/** Nothing was told: is there nothing, or is it only not known yet? */
async function explainNothing(given: Invocation, base: string): Promise<void> {
  const pods = await podsChosen(given, base);
  if (pods.length === 0) return;
  for (const pod of pods) {
    const age =
      given.session.around.clock.now() - (parseTime(metaOf(pod).creationTimestamp ?? "") ?? 0);
    if (age > creationDelayMs)
      throw new CommandError(
        `Metrics not available for pod ${keyOf(pod)}, age: ${msToGoDuration(age)}`,
      );
  }
  throw new CommandError("metrics not available yet");
}

async function podMetrics(given: Invocation, place: string): Promise<Plain[]> {
  const { session, flags, args } = given;
  const base = `${await availableApi(given)}${place}/pods`;
  const rest = await session.rest();
  const [name] = args;
  if (name !== undefined) return [await rest.json("GET", `${base}/${name}`)];
  const selector = flags.text("selector");
  const query = selector === "" ? [] : [["labelSelector", selector] as const];
  const items = objectsAt(await rest.json("GET", base, { query }), "items");
  if (items.length === 0 || flags.text("field-selector") === "") return items;
  const chosen = new Set((await podsChosen(given, `/api/v1${place}/pods`)).map(keyOf));
  return items.filter((item) => chosen.has(keyOf(item)));
}

async function topPods(given: Invocation): Promise<void> {
  const { session, flags } = given;
  validate(given, "pod [NAME | -l label]", "only one of NAME or selector can be provided");
  const everywhere = flags.switch("all-namespaces");
  const namespace = await session.namespace();
  const here = `/namespaces/${namespace}`;
  const items = await podMetrics(given, everywhere ? "" : here);
  if (items.length === 0) {
    await explainNothing(given, `/api/v1${here}/pods`);
    session.error(
      everywhere ? "No resources found\n" : `No resources found in ${namespace} namespace.\n`,
    );
    return;
  }
  const pods = items.map((pod) => {
    const containers = objectsAt(pod, "containers").map((one) => ({
      title: textAt(one, "name"),
      usage: usageOf(one["usage"]),
    }));
    const owner = everywhere ? (metaOf(pod).namespace ?? "") : "";
    return {
      title: `${owner} ${nameOf(pod)}`,
      name: nameOf(pod),
      owner,
      containers,
      usage: sum(containers.map(({ usage }) => usage)),
    };
  });
  const rows = ordered(given, pods).flatMap((pod) => {
    const lead = everywhere ? [pod.owner] : [];
    if (!flags.switch("containers")) return [[...lead, pod.name, ...cells(given, pod.usage)]];
    return ordered(given, pod.containers).map((one) => [
      ...lead,
      pod.name,
      one.title,
      ...cells(given, one.usage),
    ]);
  });
  const columns = [
    "NAME",
    "CPU(cores)",
    "MEMORY(bytes)",
    ...(flags.switch("show-swap") ? ["SWAP(bytes)"] : []),
  ];
  const header = [
    ...(everywhere ? ["NAMESPACE"] : []),
    ...(flags.switch("containers") ? ["POD"] : []),
    ...columns,
  ];
  const isBare = flags.switch("no-headers");
  // Upstream: without headers the sum stands as if there were no further columns.
  const width = (isBare ? columns : header).length;
  const total = flags.switch("sum")
    ? [
        [...Array<string>(width - 2).fill(""), "________", "________"],
        [...Array<string>(width - 2).fill(""), ...cells(given, sum(pods.map((pod) => pod.usage)))],
      ]
    : [];
  session.out(lines([...(isBare ? [] : [header]), ...rows, ...total]));
}

const common = [
  toggle("no-headers", "Print output without headers"),
  text("selector", "Selector (label query) to filter on", { short: "l" }),
  toggle("show-swap", "Print the usage of swap, too"),
  text("sort-by", "Sort by 'cpu' or 'memory'"),
  toggle("use-protocol-buffers", "Accepted and unused"),
];
export const topCommand: KubectlCommand = {
  name: "top",
  summary: "Display resource (CPU/memory) usage",
  usage: "SUBCOMMAND",
  commands: [
    {
      name: "node",
      aliases: ["nodes", "no"],
      summary: "Display resource (CPU/memory) usage of nodes",
      usage: "[NAME | -l label]",
      flags: [...common, toggle("show-capacity", "Shares of capacity instead of allocatable")],
      run: topNodes,
    },
    {
      name: "pod",
      aliases: ["pods", "po"],
      summary: "Display resource (CPU/memory) usage of pods",
      usage: "[NAME | -l label]",
      flags: [
        ...common,
        toggle("all-namespaces", "The requested objects across all namespaces", { short: "A" }),
        toggle("containers", "Print usage of containers within a pod"),
        text("field-selector", "Selector (field query) to filter on"),
        toggle("sum", "Print the sum of the resource usage"),
      ],
      run: topPods,
    },
  ],
};
