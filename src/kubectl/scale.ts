/** `kubectl scale` and `kubectl autoscale`. */
import { parseQuantity } from "#machinery/quantity.ts";
import { isStatus } from "#machinery/status-error.ts";
import { changeFlags, findObjects } from "./changing.ts";
import { type Invocation, type KubectlCommand } from "./command.ts";
import { createFlags, createObject } from "./create/generate.ts";
import { apiVersionOf, resourcePath } from "./discovery.ts";
import { CommandError, throwAll } from "./errors.ts";
import { duration, integer, repeat, text, toggle } from "./flags.ts";
import { fileFlags } from "./manifests.ts";
import { type AnyObject, numberAt, objectAt, textAt } from "./objects.ts";
import type { Fetched } from "./selection.ts";
import { watchEvents } from "./watch.ts";
import { dryRunOf, Results, writeQuery } from "./writing.ts";

export const scaleCommand: KubectlCommand = {
  name: "scale",
  summary: "Set a new size for a deployment, replica set, or replication controller",
  usage:
    "[--resource-version=version] [--current-replicas=count] --replicas=COUNT (-f FILENAME | TYPE NAME)",
  flags: [
    ...changeFlags("set a new size of", "kubectl-scale"),
    integer("current-replicas", "Precondition for current size; -1 (default) for no condition", {
      default: "-1",
    }),
    integer("replicas", "The new desired number of replicas. Required", { default: "-1" }),
    text("resource-version", "Precondition for resource version"),
    duration("timeout", "How long to wait for the new size; 0: not at all", { default: "0s" }),
  ],
  run: scale,
};

async function scale(given: Invocation): Promise<void> {
  const { flags, args } = given;
  const replicas = flags.integer("replicas");
  if (!flags.given("replicas")) throw new CommandError('required flag(s) "replicas" not set');
  if (replicas < 0) {
    throw new CommandError(
      "The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0",
    );
  }
  if (flags.integer("current-replicas") < -1) {
    throw new CommandError("The --current-replicas must specify an integer of -1 or greater");
  }
  const { found, errors } = await findObjects(given, args);
  if (flags.text("resource-version") !== "" && found.length > 1) {
    throw new CommandError("cannot use --resource-version with multiple resources");
  }
  if (found.length === 0) {
    throwAll(errors);
    throw new CommandError("no objects passed to scale");
  }
  const results = new Results(given);
  for (const one of found) {
    if (dryRunOf(flags) !== "client") await scaleOne(given, one, replicas);
    results.tell({ ...one.object, spec: { ...objectAt(one.object, "spec"), replicas } }, "scaled");
  }
  throwAll(errors);
}

async function scaleOne(given: Invocation, one: Fetched, replicas: number): Promise<void> {
  const { session, flags } = given;
  const rest = await session.rest();
  const path = resourcePath(one.resource, one.namespace, one.name, "scale");
  const current = flags.integer("current-replicas");
  const version = flags.text("resource-version");
  const query = writeQuery(flags, "kubectl-scale");
  if (current < 0 && version === "") {
    await rest.json("PATCH", path, {
      query,
      body: { spec: { replicas } },
      contentType: "application/merge-patch+json",
    });
  } else {
    const before = await rest.json<AnyObject>("GET", path);
    const size = numberAt(before, "spec", "replicas") ?? 0;
    if (current >= 0 && size !== current) {
      throw new CommandError(`Expected replicas to be ${current}, was ${size}`);
    }
    const found = textAt(before, "metadata", "resourceVersion");
    if (version !== "" && found !== version) {
      throw new CommandError(`Expected resource version to be ${version}, was ${found}`);
    }
    await rest.json("PUT", path, { query, body: { ...before, spec: { replicas } } });
  }
  const timeoutMs = flags.durationMs("timeout");
  if (timeoutMs > 0 && dryRunOf(flags) === "none")
    await waitForSize(given, one, replicas, timeoutMs);
}

async function waitForSize(
  { session }: Invocation,
  one: Fetched,
  replicas: number,
  timeoutMs: number,
): Promise<void> {
  const abort = new AbortController();
  const cancel = session.around.clock.after(timeoutMs, () => abort.abort());
  const rest = await session.rest();
  const path = resourcePath(one.resource, one.namespace);
  try {
    for await (const { object } of watchEvents(
      rest,
      path,
      [["fieldSelector", `metadata.name=${one.name}`]],
      { signal: abort.signal },
    )) {
      const observed = numberAt(object, "status", "observedGeneration") ?? 0;
      const size = numberAt(object, "status", "replicas") ?? 0;
      if (observed >= (numberAt(object, "metadata", "generation") ?? 0) && size === replicas)
        return;
    }
    throw new CommandError("timed out waiting for the condition");
  } finally {
    cancel();
  }
}

export const autoscaleCommand: KubectlCommand = {
  name: "autoscale",
  summary: "Auto-scale a deployment, replica set, stateful set, or replication controller",
  usage:
    "(-f FILENAME | TYPE NAME | TYPE/NAME) [--min=MINPODS] --max=MAXPODS [--cpu=CPU] [--memory=MEMORY]",
  flags: [
    ...createFlags,
    ...fileFlags("identifying the resource to autoscale"),
    text("cpu", "Target CPU: a percentage of requests (70%), or an amount (500m; 500 is the same)"),
    integer("cpu-percent", "The target average CPU utilization, in percent of requests", {
      default: "-1",
    }),
    text(
      "memory",
      "Target memory: a percentage of requests, or an amount (200Mi; 200 is the same)",
    ),
    integer("max", "The upper limit for the number of pods. Required", { default: "-1" }),
    integer("min", "The lower limit for the number of pods", { default: "-1" }),
    text("name", "The name for the newly created object"),
    toggle("record", "Accepted and unused"),
    repeat("label", "Labels of the new object"),
  ],
  run: autoscale,
};

/** What a number without a unit counts. */
const usualUnits: Readonly<Record<string, string>> = { cpu: "m", memory: "Mi" };

/** A percentage is a utilization, anything else an average amount. */
function target(name: string, value: string): object {
  const resource = (goal: object) => ({ type: "Resource", resource: { name, target: goal } });
  const text = value.trim();
  if (text === "") throw new CommandError("empty input");
  if (text.endsWith("%")) {
    const percent = text.slice(0, -1);
    if (!/^\+?\d+$/.test(percent)) throw new CommandError(`invalid percentage value: ${percent}`);
    return resource({ type: "Utilization", averageUtilization: Number(percent) });
  }
  const isBare = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text);
  const parsed = parseQuantity(isBare ? `${Number(text)}${usualUnits[name] ?? ""}` : text);
  if ("problem" in parsed) throw new CommandError(`invalid resource ${name} value: ${text}`);
  return resource({ type: "AverageValue", averageValue: parsed.quantity.text });
}

async function autoscale(given: Invocation): Promise<void> {
  const { session, flags, args } = given;
  const [most, least, percent] = [
    flags.integer("max"),
    flags.integer("min"),
    flags.integer("cpu-percent"),
  ];
  if (flags.given("cpu-percent")) {
    const instead =
      "Use --cpu with percentage or resource quantity format (e.g., '70%' for utilization or '500m' for milliCPU).";
    session.error(`Flag --cpu-percent has been deprecated, ${instead}\n`);
  }
  if (!flags.given("max")) throw new CommandError('required flag(s) "max" not set');
  if (most < 1)
    throw new CommandError(`--max=MAXPODS is required and must be at least 1, max: ${most}`);
  if (most < least)
    throw new CommandError(
      `--max=MAXPODS must be larger or equal to --min=MINPODS, max: ${most}, min: ${least}`,
    );
  const [cpu, memory] = [flags.text("cpu"), flags.text("memory")];
  if (percent > 0 && cpu !== "")
    throw new CommandError("--cpu-percent and --cpu are mutually exclusive");
  const metrics = [
    ...(percent > 0 ? [target("cpu", `${percent}%`)] : []),
    ...(cpu === "" ? [] : [target("cpu", cpu)]),
    ...(memory === "" ? [] : [target("memory", memory)]),
  ];
  const { found, errors } = await findObjects(given, args);
  throwAll(errors);
  const rest = await session.rest();
  for (const { resource, namespace, name } of found) {
    try {
      await rest.json("GET", resourcePath(resource, namespace, name, "scale"));
    } catch (error) {
      if (!isStatus(error, "NotFound") && !isStatus(error, "MethodNotAllowed")) throw error;
      throw new CommandError(
        `cannot autoscale a ${resource.kind}: could not find scale subresource for ${resource.group}/${resource.version}, Resource=${resource.plural} in discovery information`,
      );
    }
    const autoscaler = {
      apiVersion: "autoscaling/v2",
      kind: "HorizontalPodAutoscaler",
      metadata: { name: flags.text("name") || name },
      spec: {
        scaleTargetRef: { kind: resource.kind, name, apiVersion: apiVersionOf(resource) },
        ...(least > 0 ? { minReplicas: least } : {}),
        maxReplicas: most,
        ...(metrics.length === 0 ? {} : { metrics }),
      },
    };
    try {
      await createObject(given, autoscaler, (error) => error, "autoscaled");
    } catch (error) {
      // Upstream: version 1 is tried then, if it can say the same; it is refused for the same reason.
      if (cpu !== "" && memory === "" && (percent >= 0 || cpu.trim().endsWith("%"))) throw error;
      const why = cpu === "" ? "empty input" : "%!w(<nil>)";
      const before =
        "failed to create autoscaling/v2 HPA and the configuration is incompatible with";
      throw new CommandError(`${before} autoscaling/v1: ${why}`);
    }
  }
  if (found.length === 0) throw new CommandError("no objects passed to autoscale");
}
