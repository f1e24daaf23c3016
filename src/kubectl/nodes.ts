/** `kubectl cordon`, `uncordon`, `drain` and `taint`. */
import type { Node, Pod, Taint } from "#api/generated/core/v1.ts";
import { controllerOf } from "#machinery/meta.ts";
import { isStatus } from "#machinery/status-error.ts";
import { isLabelValue, isQualifiedName } from "#machinery/validation.ts";
import {
  changeFlags,
  eachObject,
  findObjects,
  sendPatch,
  strategicMedia,
  withMeta,
} from "./changing.ts";
import { type Invocation, type KubectlCommand, usageFailure } from "./command.ts";
import { deleteTarget, waitGone } from "./deletion.ts";
import type { Resource } from "./discovery.ts";
import { resourcePath } from "./discovery.ts";
import { asError, CommandError, ManyErrors, throwAll } from "./errors.ts";
import { duration, type Flag, integer, text, toggle } from "./flags.ts";
import { type AnyObject, metaOf, nameOf, objectAt } from "./objects.ts";
import { listPods } from "./pods.ts";
import { type Fetched, fetchPlan, planSelection } from "./selection.ts";
import { dryRunFlag, dryRunOf, Results } from "./writing.ts";

const selectorFlag = text("selector", "Selector (label query) to filter on", { short: "l" });

export const cordonCommand: KubectlCommand = {
  name: "cordon",
  summary: "Mark node as unschedulable",
  usage: "NODE",
  flags: [dryRunFlag, selectorFlag],
  run: async (given) => {
    await mark(given, await nodesOf(given), true);
  },
};
export const uncordonCommand: KubectlCommand = {
  name: "uncordon",
  summary: "Mark node as schedulable",
  usage: "NODE",
  flags: [dryRunFlag, selectorFlag],
  run: async (given) => {
    await mark(given, await nodesOf(given), false);
  },
};

async function nodesOf(given: Invocation): Promise<Fetched[]> {
  const { session, flags, args } = given;
  const selector = flags.text("selector");
  if (args.length === 0 && selector === "")
    throw usageFailure(given, `USAGE: ${given.path.split(" ").at(-1) ?? ""} NODE [flags]`);
  if (args.length > 0 && selector !== "") {
    throw usageFailure(given, "error: cannot specify both a node name and a --selector option");
  }
  const words = args.length === 0 ? ["nodes"] : args[0]?.includes("/") ? args : ["nodes", ...args];
  const plan = await planSelection(given, words, { typeAlone: false, selector });
  const { found, errors } = await fetchPlan(session, plan);
  throwAll(errors);
  return found;
}

async function mark(
  given: Invocation,
  nodes: readonly Fetched[],
  unschedulable: boolean,
): Promise<void> {
  const { session, flags } = given;
  const results = new Results(given);
  for (const node of nodes) {
    const is = objectAt(node.object, "spec")["unschedulable"] === true;
    const word = unschedulable ? "cordoned" : "uncordoned";
    if (is === unschedulable) {
      results.tell(node.object, `already ${word}`);
      continue;
    }
    try {
      if (dryRunOf(flags) !== "client") {
        const patch = { spec: { unschedulable: unschedulable ? true : null } };
        await sendPatch(given, node, patch, { mediaType: strategicMedia, manager: "kubectl" });
      }
      results.tell(node.object, word);
    } catch (error) {
      session.error(
        `error: unable to ${unschedulable ? "cordon" : "uncordon"} node ${JSON.stringify(node.name)}: ${asError(error).message}\n`,
      );
    }
  }
}

const drainFlags: readonly Flag[] = [
  integer("chunk-size", "Return large lists in chunks", { default: "500" }),
  toggle("delete-emptydir-data", "Continue even if there are pods using emptyDir"),
  toggle("disable-eviction", "Force drain to use delete, even if eviction is supported"),
  dryRunFlag,
  toggle("force", "Continue even if there are pods that do not declare a controller"),
  integer("grace-period", "Seconds given to each pod to terminate", { default: "-1" }),
  toggle("ignore-daemonsets", "Ignore DaemonSet-managed pods"),
  text("pod-selector", "Label selector to filter pods on the node"),
  selectorFlag,
  integer(
    "skip-wait-for-delete-timeout",
    "Do not wait for pods whose deletion began longer ago than this (seconds)",
  ),
  duration("timeout", "How long to wait before giving up, zero means infinite", { default: "0s" }),
];
export const drainCommand: KubectlCommand = {
  name: "drain",
  summary: "Drain node in preparation for maintenance",
  usage: "NODE",
  flags: drainFlags,
  run: drain,
};

/** Undefined: it goes without a word. */
type Verdict =
  | { readonly refuse: string }
  | { readonly warn: string; readonly go: boolean }
  | { readonly skip: true }
  | undefined;

async function judge(given: Invocation, pod: Pod): Promise<Verdict> {
  const { session, flags } = given;
  if (pod.metadata.annotations?.["kubernetes.io/config.mirror"] !== undefined)
    return { skip: true };
  const isOver = ["Succeeded", "Failed"].includes(pod.status.phase ?? "");
  const owner = controllerOf(pod);
  const emptyDir = (pod.spec.volumes ?? []).some((volume) => volume.emptyDir !== undefined);
  if (owner?.kind === "DaemonSet" && !isOver) {
    const rest = await session.rest();
    try {
      await rest.json(
        "GET",
        `/apis/apps/v1/namespaces/${pod.metadata.namespace ?? ""}/daemonsets/${owner.name}`,
      );
    } catch (error) {
      if (isStatus(error, "NotFound") && flags.switch("force"))
        return { warn: asError(error).message, go: true };
      return { refuse: asError(error).message };
    }
    if (!flags.switch("ignore-daemonsets"))
      return { refuse: "DaemonSet-managed Pods (use --ignore-daemonsets to ignore)" };
    return { warn: "ignoring DaemonSet-managed Pods", go: false };
  }
  if (emptyDir && !isOver && !flags.switch("delete-emptydir-data")) {
    return { refuse: "Pods with local storage (use --delete-emptydir-data to override)" };
  }
  if (owner === undefined && !isOver) {
    if (!flags.switch("force"))
      return { refuse: "Pods that declare no controller (use --force to override)" };
    return { warn: "deleting Pods that declare no controller", go: true };
  }
  return emptyDir && !isOver ? { warn: "deleting Pods with local storage", go: true } : undefined;
}

async function podsToGo(given: Invocation, node: string): Promise<Pod[]> {
  const { session, flags } = given;
  const pods = await listPods(session, "", flags.text("pod-selector"), `spec.nodeName=${node}`);
  const refused = new Map<string, string[]>();
  const warned = new Map<string, string[]>();
  const going: Pod[] = [];
  for (const pod of pods) {
    const verdict = await judge(given, pod);
    const title = `${pod.metadata.namespace ?? ""}/${pod.metadata.name ?? ""}`;
    const note = (map: Map<string, string[]>, key: string): void =>
      void map.set(key, [...(map.get(key) ?? []), title]);
    if (verdict === undefined) going.push(pod);
    else if ("refuse" in verdict) note(refused, verdict.refuse);
    else if ("warn" in verdict) {
      note(warned, verdict.warn);
      if (verdict.go) going.push(pod);
    }
  }
  throwAll(
    [...refused].map(
      ([why, names]) => new CommandError(`cannot delete ${why}: ${names.join(", ")}`),
    ),
  );
  if (warned.size > 0)
    session.warn([...warned].map(([what, names]) => `${what}: ${names.join(", ")}`).join("; "));
  return going;
}

const retryMs = 5000;

async function evict(
  given: Invocation,
  pod: Pod,
  pods: Resource,
  isLate: () => boolean,
  sleep: (ms: number) => Promise<void>,
): Promise<void> {
  const { session, flags } = given;
  const { namespace = "", name = "", uid = "" } = pod.metadata;
  const dryRun = dryRunOf(flags) === "server";
  const grace = flags.integer("grace-period");
  const target = { resource: pods, namespace, name };
  if (flags.switch("disable-eviction")) {
    await deleteTarget(session, target, { gracePeriodSeconds: grace, dryRun });
  } else {
    const rest = await session.rest();
    session.out(`evicting pod ${namespace}/${name}${dryRun ? " (server dry run)" : ""}\n`);
    for (;;) {
      if (isLate()) throw new CommandError("error when evicting pods: global timeout reached");
      try {
        await rest.json("POST", resourcePath(pods, namespace, name, "eviction"), {
          body: {
            apiVersion: "policy/v1",
            kind: "Eviction",
            metadata: { name, namespace },
            deleteOptions: {
              ...(grace < 0 ? {} : { gracePeriodSeconds: grace }),
              ...(dryRun ? { dryRun: ["All"] } : {}),
            },
          },
        });
        break;
      } catch (error) {
        if (isStatus(error, "NotFound")) return;
        if (!isStatus(error, "TooManyRequests")) {
          throw new CommandError(
            `error when evicting pods/${JSON.stringify(name)} -n ${JSON.stringify(namespace)}: ${asError(error).message}`,
          );
        }
        session.error(
          `error when evicting pods/${JSON.stringify(name)} -n ${JSON.stringify(namespace)} (will retry after 5s): ${asError(error).message}\n`,
        );
        await sleep(retryMs);
      }
    }
  }
  if (dryRun) return;
  await waitGone(session, target, uid, flags.durationMs("timeout"));
  new Results(given).tell(
    { ...pod, apiVersion: "v1", kind: "Pod" },
    flags.switch("disable-eviction") ? "deleted" : "evicted",
  );
}

async function drain(given: Invocation): Promise<void> {
  const { session, flags } = given;
  const { clock } = session.around;
  const nodes = await nodesOf(given);
  await mark(given, nodes, true);
  const pods = (await session.discovery()).require("pods");
  const timeoutMs = flags.durationMs("timeout");
  const startedMs = clock.monotonicMs();
  const isLate = (): boolean => timeoutMs > 0 && clock.monotonicMs() - startedMs > timeoutMs;
  const sleep = (ms: number): Promise<void> =>
    new Promise((resolve) => void clock.after(ms, resolve));
  const failed: { name: string; error: Error }[] = [];
  for (const node of nodes) {
    try {
      const going = await podsToGo(given, node.name);
      if (dryRunOf(flags) === "client") {
        for (const { metadata } of going)
          session.out(
            `evicting pod ${metadata.namespace ?? ""}/${metadata.name ?? ""} (dry run)\n`,
          );
      } else await evictAll(given, going, pods, isLate, sleep);
      new Results(given).tell(node.object, "drained");
    } catch (error) {
      session.error(
        `error: unable to drain node ${JSON.stringify(node.name)} due to error: ${asError(error).message}, continuing command...\n`,
      );
      failed.push({ name: node.name, error: asError(error) });
    }
  }
  if (failed.length === 0) return;
  session.error(
    `There are pending nodes to be drained:\n${failed.map(({ name }) => ` ${name}\n`).join("")}`,
  );
  throwAll(failed.map(({ error }) => error));
}

async function evictAll(
  given: Invocation,
  going: readonly Pod[],
  pods: Resource,
  isLate: () => boolean,
  sleep: (ms: number) => Promise<void>,
): Promise<void> {
  const outcomes = await Promise.allSettled(
    going.map((pod) => evict(given, pod, pods, isLate, sleep)),
  );
  const errors = outcomes.flatMap((outcome) =>
    outcome.status === "rejected" ? [asError(outcome.reason)] : [],
  );
  if (errors.length > 0) throw errors.length === 1 ? errors[0] : new ManyErrors(errors);
}

export const taintCommand: KubectlCommand = {
  name: "taint",
  summary: "Update the taints on one or more nodes",
  usage: "NODE NAME KEY_1=VAL_1:TAINT_EFFECT_1 ... KEY_N=VAL_N:TAINT_EFFECT_N",
  flags: [
    ...changeFlags("update", "kubectl-taint"),
    toggle("overwrite", "Allow taints to be overwritten"),
    text("validate", "Accepted and unused"),
  ],
  run: taint,
};

const effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

interface TaintSpec {
  readonly key: string;
  readonly value?: string;
  readonly effect: string;
}
function parseTaint(spec: string): TaintSpec & { readonly remove: boolean } {
  const remove = spec.endsWith("-");
  const text = remove ? spec.slice(0, -1) : spec;
  const [left = "", effect = "", ...more] = text.split(":");
  // Upstream: without an effect all of it is the key.
  const [key = "", value, ...rest] = effect === "" ? [left] : left.split("=");
  const invalid = (why = ""): CommandError =>
    new CommandError(`invalid taint spec: ${spec}${why === "" ? "" : `, ${why}`}`);
  if (more.length > 0 || rest.length > 0) throw invalid();
  const wrong = [...isQualifiedName(key), ...(value === undefined ? [] : isLabelValue(value))];
  if (wrong.length > 0) throw invalid(wrong.join("; "));
  if (!remove && effect === "") throw invalid();
  if (effect !== "" && !effects.includes(effect))
    throw new CommandError(`invalid taint effect: ${effect}, unsupported taint effect`);
  return { key, effect, remove, ...(value === undefined || value === "" ? {} : { value }) };
}

async function taint(given: Invocation): Promise<void> {
  const { flags, args } = given;
  const isSpec = (arg: string): boolean =>
    arg.includes(":") || arg.endsWith("-") || arg.includes("=");
  const first = args.findIndex(isSpec);
  const resources = first < 0 ? args : args.slice(0, first);
  const specs = first < 0 ? [] : args.slice(first);
  if (resources.length === 0)
    throw new CommandError("one or more resources must be specified as <resource> <name>");
  if (specs.length === 0) throw new CommandError("at least one taint update is required");
  const [type = ""] = resources[0]?.split("/") ?? [];
  if (!["node", "nodes", "no"].includes(type)) {
    throw new CommandError(`invalid resource type ${type}, only node types are supported`);
  }
  if (flags.switch("all") && flags.text("selector") !== "") {
    throw new CommandError("setting 'all' parameter with a non empty selector is prohibited");
  }
  let parsed: ReturnType<typeof parseTaint>[];
  try {
    parsed = specs.map(parseTaint);
  } catch (error) {
    throw usageFailure(given, asError(error).message);
  }
  const results = new Results(given);
  await eachObject(await findObjects(given, resources), async (one) => {
    const before = (one.object as unknown as Node).spec.taints ?? [];
    const { after, operation } = changedTaints(one, before, parsed, flags.switch("overwrite"));
    const object: AnyObject = withMeta(
      { ...one.object, spec: { ...objectAt(one.object, "spec"), taints: after } },
      {},
    );
    if (dryRunOf(flags) !== "client") {
      const patch = {
        spec: { taints: after.length === 0 ? null : after },
        metadata: { resourceVersion: metaOf(one.object).resourceVersion },
      };
      await sendPatch(given, one, patch, { manager: "kubectl-taint" });
    }
    results.tell(object, operation);
  });
}

function changedTaints(
  one: Fetched,
  before: readonly Taint[],
  specs: readonly ReturnType<typeof parseTaint>[],
  overwrite: boolean,
): { after: Taint[]; operation: string } {
  const same = (a: TaintSpec, b: Taint): boolean =>
    a.key === b.key && (a.effect === "" || a.effect === b.effect);
  const adding = specs.filter(({ remove }) => !remove);
  const removing = specs.filter(({ remove }) => remove);
  const taken = adding.filter((spec) => before.some((taint) => same(spec, taint)));
  if (taken.length > 0 && !overwrite) {
    throw new CommandError(
      `node ${nameOf(one.object)} already has ${taken.map(({ key }) => key).join(",")} taint(s) with same effect(s) and --overwrite is false`,
    );
  }
  const missing = removing.filter((spec) => !before.some((taint) => same(spec, taint)));
  throwAll(
    missing.map(
      ({ key, effect }) =>
        new CommandError(
          `taint ${JSON.stringify(effect === "" ? key : `${key}:${effect}`)} not found`,
        ),
    ),
  );
  const kept = before.filter((taint) => !specs.some((spec) => same(spec, taint)));
  const fresh = adding.map(
    ({ key, value, effect }): Taint => ({ key, effect, ...(value === undefined ? {} : { value }) }),
  );
  const operation =
    adding.length > 0 && removing.length > 0
      ? "modified"
      : adding.length > 0
        ? taken.length > 0
          ? "modified"
          : "tainted"
        : "untainted";
  return { after: [...fresh, ...kept], operation };
}
