/** `kubectl top nodes|pods`: what is used, from the metrics API. */
import {
  addQuantities,
  type Quantity,
  quantityOf,
  toMilli,
  toWhole,
  zeroQuantity,
} from "#machinery/quantity.ts";
import { type Invocation, type KubectlCommand, usageFailure } from "./command.ts";
import { CommandError } from "./errors.ts";
import { text, toggle } from "./flags.ts";
import { metaOf, nameOf, objectAt, objectsAt, textAt } from "./objects.ts";
import { alignTabs, tableStops } from "./tab-writer.ts";

const metrics = "metrics.k8s.io";

interface Usage {
  readonly cpu: Quantity;
  readonly memory: Quantity;
}
const usageOf = (holder: unknown): Usage => ({
  cpu: quantityOf(textAt(holder, "cpu") || "0"),
  memory: quantityOf(textAt(holder, "memory") || "0"),
});
const sum = (all: readonly Usage[]): Usage => ({
  cpu: all.reduce((total, one) => addQuantities(total, one.cpu), zeroQuantity),
  memory: all.reduce((total, one) => addQuantities(total, one.memory), zeroQuantity),
});
const cells = ({ cpu, memory }: Usage): string[] => [
  `${toMilli(cpu)}m`,
  `${Math.trunc(toWhole(memory) / 2 ** 20)}Mi`,
];

async function checkAvailable({ session, flags }: Invocation): Promise<void> {
  const sortBy = flags.text("sort-by");
  if (!["", "cpu", "memory"].includes(sortBy))
    throw new CommandError("--sort-by accepts only cpu or memory");
  const { versions } = await session.discovery();
  if (!versions.some(({ group }) => group === metrics))
    throw new CommandError("Metrics API not available");
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

async function topNodes(given: Invocation): Promise<void> {
  const { session, flags, args } = given;
  if (args.length > 1) throw usageFailure(given, "only a selector (-l) or a NODE name is allowed");
  await checkAvailable(given);
  const rest = await session.rest();
  const query =
    flags.text("selector") === "" ? [] : [["labelSelector", flags.text("selector")] as const];
  const [name] = args;
  const fetch = async (path: string): Promise<Record<string, unknown>[]> => {
    if (name !== undefined) return [await rest.json("GET", `${path}/${name}`)];
    return objectsAt(await rest.json("GET", path, { query }), "items");
  };
  const [used, nodes] = [
    await fetch(`/apis/${metrics}/v1beta1/nodes`),
    await fetch("/api/v1/nodes"),
  ];
  if (used.length === 0) throw new CommandError("metrics not available yet");
  const capacity = flags.switch("show-capacity") ? "capacity" : "allocatable";
  const rows = ordered(
    given,
    used.map((one) => ({ title: nameOf(one), usage: usageOf(one["usage"]) })),
  ).map(({ title, usage }) => {
    const available = usageOf(
      objectAt(
        nodes.find((node) => nameOf(node) === title),
        "status",
        capacity,
      ),
    );
    const share = (part: Quantity, whole: Quantity): string =>
      `${toMilli(whole) === 0 ? 0 : Math.trunc((toMilli(part) / toMilli(whole)) * 100)}%`;
    const [cpu = "", memory = ""] = cells(usage);
    return [
      title,
      cpu,
      share(usage.cpu, available.cpu),
      memory,
      share(usage.memory, available.memory),
    ];
  });
  const missing = nodes
    .filter((node) => !used.some((one) => nameOf(one) === nameOf(node)))
    .map((node) => [nameOf(node), ...Array<string>(4).fill("<unknown>")]);
  const header = ["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"];
  session.out(lines([...(flags.switch("no-headers") ? [] : [header]), ...rows, ...missing]));
}

async function topPods(given: Invocation): Promise<void> {
  const { session, flags, args } = given;
  if (args.length > 1) throw usageFailure(given, "only a selector (-l) or a POD name is allowed");
  await checkAvailable(given);
  const rest = await session.rest();
  const everywhere = flags.switch("all-namespaces");
  const namespace = await session.namespace();
  const base = `/apis/${metrics}/v1beta1${everywhere ? "" : `/namespaces/${namespace}`}/pods`;
  const query = [
    ...(flags.text("selector") === "" ? [] : [["labelSelector", flags.text("selector")] as const]),
    ...(flags.text("field-selector") === ""
      ? []
      : [["fieldSelector", flags.text("field-selector")] as const]),
  ];
  const [name] = args;
  const items =
    name === undefined
      ? objectsAt(await rest.json("GET", base, { query }), "items")
      : [await rest.json("GET", `${base}/${name}`)];
  if (items.length === 0) {
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
    if (!flags.switch("containers")) return [[...lead, pod.name, ...cells(pod.usage)]];
    return ordered(given, pod.containers).map((one) => [
      ...lead,
      pod.name,
      one.title,
      ...cells(one.usage),
    ]);
  });
  const header = [
    ...(everywhere ? ["NAMESPACE"] : []),
    ...(flags.switch("containers") ? ["POD"] : []),
    "NAME",
    "CPU(cores)",
    "MEMORY(bytes)",
  ];
  const total = flags.switch("sum")
    ? [
        [...Array<string>(header.length - 2).fill(""), "________", "________"],
        [
          ...Array<string>(header.length - 3).fill(""),
          "",
          ...cells(sum(pods.map(({ usage }) => usage))),
        ],
      ]
    : [];
  session.out(lines([...(flags.switch("no-headers") ? [] : [header]), ...rows, ...total]));
}

const common = [
  toggle("no-headers", "Print output without headers"),
  text("selector", "Selector (label query) to filter on", { short: "l" }),
  toggle("show-swap", "Accepted and unused"),
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
