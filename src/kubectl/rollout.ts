/** `kubectl rollout status|history|undo|restart|pause|resume`. */
import type {
  ControllerRevision,
  DaemonSet,
  Deployment,
  ReplicaSet,
  StatefulSet,
} from "#api/generated/apps/v1.ts";
import type { PodTemplateSpec } from "#api/generated/core/v1.ts";
import { controllerOf } from "#machinery/meta.ts";
import { equalObjects, isObject, type JsonObject } from "#machinery/object.ts";
import { formatTime } from "#machinery/time.ts";
import {
  changeFlags,
  eachObject,
  findObjects,
  mergeMedia,
  sendPatch,
  strategicMedia,
} from "./changing.ts";
import type { Invocation, KubectlCommand } from "./command.ts";
import { writePodTemplate } from "./describe/containers.ts";
import { Page, selectorText } from "./describe/page.ts";
import { fullName, nameInResults, resourcePath } from "./discovery.ts";
import { CommandError } from "./errors.ts";
import { duration, integer, toggle } from "./flags.ts";
import { lastAppliedKey } from "./last-applied.ts";
import { hasFiles } from "./manifests.ts";
import { metaOf, objectAt, objectsAt, textAt } from "./objects.ts";
import type { Fetched } from "./selection.ts";
import { alignTabs, describeStops } from "./tab-writer.ts";
import { watchEvents } from "./watch.ts";
import { dryRunOf, Results } from "./writing.ts";

const revisionKey = "deployment.kubernetes.io/revision";
const causeKey = "kubernetes.io/change-cause";
const restartedKey = "kubectl.kubernetes.io/restartedAt";

const required = ({ flags, args }: Invocation): void => {
  if (args.length === 0 && !hasFiles(flags))
    throw new CommandError("required resource not specified");
};

/** What is said of the state, and whether it is over. Throws where it cannot end well. */
export function rolloutStatus(
  kind: string,
  object: JsonObject,
  revision: number,
): { readonly text: string; readonly done: boolean } {
  if (kind === "Deployment") return deploymentStatus(object as unknown as Deployment, revision);
  if (kind === "DaemonSet") return daemonSetStatus(object as unknown as DaemonSet);
  if (kind === "StatefulSet") return statefulSetStatus(object as unknown as StatefulSet);
  throw new CommandError(`no status viewer has been implemented for ${kind}`);
}
const waiting = (text: string): { text: string; done: boolean } => ({
  text: `${text}\n`,
  done: false,
});
const finished = (text: string): { text: string; done: boolean } => ({
  text: `${text}\n`,
  done: true,
});

function deploymentStatus(
  { metadata, spec, status }: Deployment,
  revision: number,
): ReturnType<typeof waiting> {
  const name = JSON.stringify(metadata.name ?? "");
  const own = Number(metadata.annotations?.[revisionKey] ?? 0);
  if (revision > 0 && revision !== own) {
    throw new CommandError(
      `desired revision (${revision}) is different from the running revision (${own})`,
    );
  }
  if ((metadata.generation ?? 0) > (status.observedGeneration ?? 0)) {
    return waiting("Waiting for deployment spec update to be observed...");
  }
  const progressing = (status.conditions ?? []).find(({ type }) => type === "Progressing");
  if (progressing?.reason === "ProgressDeadlineExceeded") {
    throw new CommandError(`deployment ${name} exceeded its progress deadline`);
  }
  const { updatedReplicas = 0, replicas = 0, availableReplicas = 0 } = status;
  const prefix = `Waiting for deployment ${name} rollout to finish:`;
  if (spec.replicas !== undefined && updatedReplicas < spec.replicas) {
    return waiting(
      `${prefix} ${updatedReplicas} out of ${spec.replicas} new replicas have been updated...`,
    );
  }
  if (replicas > updatedReplicas) {
    return waiting(
      `${prefix} ${replicas - updatedReplicas} old replicas are pending termination...`,
    );
  }
  if (availableReplicas < updatedReplicas) {
    return waiting(
      `${prefix} ${availableReplicas} of ${updatedReplicas} updated replicas are available...`,
    );
  }
  return finished(`deployment ${name} successfully rolled out`);
}

const onlyRolling = "rollout status is only available for RollingUpdate strategy type";

function daemonSetStatus({ metadata, spec, status }: DaemonSet): ReturnType<typeof waiting> {
  if (spec.updateStrategy?.type !== "RollingUpdate") throw new CommandError(onlyRolling);
  const name = JSON.stringify(metadata.name ?? "");
  if ((metadata.generation ?? 0) > (status.observedGeneration ?? 0)) {
    return waiting("Waiting for daemon set spec update to be observed...");
  }
  const {
    desiredNumberScheduled: desired,
    updatedNumberScheduled: updated = 0,
    numberAvailable: available = 0,
  } = status;
  const prefix = `Waiting for daemon set ${name} rollout to finish:`;
  if (updated < desired)
    return waiting(`${prefix} ${updated} out of ${desired} new pods have been updated...`);
  if (available < desired)
    return waiting(`${prefix} ${available} of ${desired} updated pods are available...`);
  return finished(`daemon set ${name} successfully rolled out`);
}

function statefulSetStatus({ metadata, spec, status }: StatefulSet): ReturnType<typeof waiting> {
  if (spec.updateStrategy?.type !== "RollingUpdate") throw new CommandError(onlyRolling);
  const observed = status.observedGeneration ?? 0;
  if (observed === 0 || (metadata.generation ?? 0) > observed) {
    return waiting("Waiting for statefulset spec update to be observed...");
  }
  const { readyReplicas = 0, updatedReplicas = 0, currentReplicas = 0 } = status;
  if (spec.replicas !== undefined && readyReplicas < spec.replicas) {
    return waiting(`Waiting for ${spec.replicas - readyReplicas} pods to be ready...`);
  }
  const rolling = spec.updateStrategy.rollingUpdate;
  if (rolling !== undefined) {
    const wanted = (spec.replicas ?? 1) - (rolling.partition ?? 0);
    if (rolling.partition !== undefined && updatedReplicas < wanted) {
      return waiting(
        `Waiting for partitioned roll out to finish: ${updatedReplicas} out of ${wanted} new pods have been updated...`,
      );
    }
    return finished(
      `partitioned roll out complete: ${updatedReplicas} new pods have been updated...`,
    );
  }
  if (status.updateRevision !== status.currentRevision) {
    return waiting(
      `waiting for statefulset rolling update to complete ${updatedReplicas} pods at revision ${status.updateRevision ?? ""}...`,
    );
  }
  return finished(
    `statefulset rolling update complete ${currentReplicas} pods at revision ${status.currentRevision ?? ""}...`,
  );
}

async function status(given: Invocation): Promise<void> {
  const { session, flags, args } = given;
  required(given);
  if (flags.integer("revision") < 0)
    throw new CommandError(`revision must be a positive integer: ${flags.integer("revision")}`);
  const objects = await findObjects(given, args, true);
  if (objects.found.length === 0 && objects.errors.length === 0) {
    session.error(`No resources found in ${await session.namespace()} namespace.\n`);
  }
  await eachObject(objects, (one) => followRollout(given, one));
}

async function followRollout(given: Invocation, one: Fetched): Promise<void> {
  const { session, flags } = given;
  const revision = flags.integer("revision");
  const tell = (object: JsonObject): boolean => {
    const { text, done } = rolloutStatus(one.resource.kind, object, revision);
    session.out(text);
    return done || !flags.switch("watch");
  };
  if (tell(one.object)) return;
  const abort = new AbortController();
  const timeoutMs = flags.durationMs("timeout");
  const cancel =
    timeoutMs > 0 ? session.around.clock.after(timeoutMs, () => abort.abort()) : () => {};
  const path = resourcePath(one.resource, one.namespace);
  const rest = await session.rest();
  try {
    for (let version = metaOf(one.object).resourceVersion ?? ""; ; ) {
      const query = [
        ["fieldSelector", `metadata.name=${one.name}`],
        ["resourceVersion", version],
      ] as const;
      for await (const { type, object } of watchEvents(rest, path, query, {
        signal: abort.signal,
      })) {
        version = metaOf(object).resourceVersion ?? version;
        if (type === "BOOKMARK") continue;
        if (type === "DELETED") throw new CommandError("object has been deleted");
        if (tell(object)) return;
      }
      if (abort.signal.aborted) throw new CommandError("timed out waiting for the condition");
    }
  } finally {
    cancel();
  }
}

interface Revision {
  readonly number: number;
  readonly cause: string;
  /** Undefined: it could not be read. */
  readonly template: PodTemplateSpec | undefined;
  readonly raw: JsonObject;
}

async function revisionsOf(
  { session }: Invocation,
  { resource, object, namespace }: Fetched,
): Promise<Revision[]> {
  const rest = await session.rest();
  const isDeployment = resource.kind === "Deployment";
  if (!isDeployment && !["DaemonSet", "StatefulSet"].includes(resource.kind)) {
    throw new CommandError(
      `no history viewer has been implemented for ${JSON.stringify(`${resource.kind}.${resource.group}`)}`,
    );
  }
  const plural = isDeployment ? "replicasets" : "controllerrevisions";
  const list = await rest.json("GET", `/apis/apps/v1/namespaces/${namespace}/${plural}`, {
    query: [["labelSelector", selectorText(objectAt(object, "spec", "selector"))]],
  });
  const { uid } = metaOf(object);
  const own = objectsAt(list, "items").filter(
    (one) => controllerOf(one as unknown as ReplicaSet)?.uid === uid,
  );
  const read = own.map((one): Revision => {
    const { annotations } = metaOf(one);
    if (isDeployment) {
      const { template } = (one as unknown as ReplicaSet).spec;
      return {
        number: Number(annotations?.[revisionKey] ?? 0),
        cause: annotations?.[causeKey] ?? "",
        template,
        raw: one,
      };
    }
    const { revision, data } = one as unknown as ControllerRevision;
    const inner = objectAt(data, "spec", "template");
    return {
      number: revision,
      cause: annotations?.[causeKey] ?? "",
      template: isObject(inner["spec"]) ? (inner as unknown as PodTemplateSpec) : undefined,
      raw: one,
    };
  });
  return read.toSorted((a, b) => a.number - b.number);
}

async function history(given: Invocation): Promise<void> {
  const { session, flags, args } = given;
  required(given);
  const revision = flags.integer("revision");
  if (revision < 0) throw new CommandError(`revision must be a positive integer: ${revision}`);
  const objects = await findObjects(given, args, true);
  await eachObject(objects, async (one) => {
    const revisions = await revisionsOf(given, one);
    const title = `${nameInResults(one.resource)}/${one.name} `;
    if (revisions.length === 0) {
      session.out(`${title}\nNo rollout history found.\n`);
      return;
    }
    if (revision === 0) {
      const rows = revisions.map(({ number, cause }) => `${number}\t${cause || "<none>"}\n`);
      session.out(
        `${title}\n${alignTabs(`REVISION\tCHANGE-CAUSE\n${rows.join("")}`, describeStops)}\n`,
      );
      return;
    }
    const found = revisions.find(({ number }) => number === revision);
    if (found?.template === undefined)
      throw new CommandError("unable to find the specified revision");
    const { template, cause } = found;
    const annotations = {
      ...template.metadata?.annotations,
      ...(cause === "" ? {} : { [causeKey]: cause }),
    };
    const page = new Page(session, false, 500);
    writePodTemplate(page, { ...template, metadata: { ...template.metadata, annotations } });
    session.out(`${title.trimEnd()} with revision #${revision}\n${page.raw}\n`);
  });
}

const hashKey = "pod-template-hash";
const withoutHash = (template: PodTemplateSpec): PodTemplateSpec => {
  const { [hashKey]: _, ...labels } = template.metadata?.labels ?? {};
  return { ...template, metadata: { ...template.metadata, labels } };
};

function chooseRevision(revisions: readonly Revision[], wanted: number): Revision {
  const found = wanted === 0 ? revisions.at(-2) : revisions.find(({ number }) => number === wanted);
  if (found !== undefined) return found;
  if (wanted > 0) throw new CommandError(`unable to find specified revision ${wanted} in history`);
  throw new CommandError("no last revision to roll back to");
}

async function undoOne(given: Invocation, one: Fetched, results: Results): Promise<void> {
  const { session, flags } = given;
  const wanted = flags.integer("to-revision");
  const { resource, object, name } = one;
  if (metaOf(object).annotations?.[lastAppliedKey] !== undefined) {
    session.warn(
      `resource ${fullName(resource)}/${name} was previously managed with 'kubectl apply'. Rolling back will not update the ${lastAppliedKey} annotation, which may cause unexpected behavior on future 'kubectl apply' operations. Consider using 'kubectl apply' with your previous configuration file instead.`,
    );
  }
  const revisions = await revisionsOf(given, one);
  if (resource.kind === "Deployment" && revisions.length < 2 && wanted === 0) {
    throw new CommandError(`no rollout history found for deployment ${JSON.stringify(name)}`);
  }
  const chosen = chooseRevision(revisions, wanted);
  if (resource.kind === "Deployment" && objectAt(object, "spec")["paused"] === true) {
    throw new CommandError(
      "you cannot rollback a paused deployment; resume it first with 'kubectl rollout resume' and try again",
    );
  }
  if (chosen.template === undefined)
    throw new CommandError(`unable to parse history of revision ${chosen.number}`);
  const template = withoutHash(chosen.template);
  if (dryRunOf(flags) === "client") {
    const page = new Page(session, false, 500);
    writePodTemplate(page, template);
    session.out(`${nameInResults(resource)}/${name} will roll back to ${page.raw}`.trimEnd());
    session.out("\n");
    return;
  }
  const current = objectAt(object, "spec", "template") as unknown as PodTemplateSpec;
  if (equalObjects(withoutHash(current), template)) {
    results.tell(
      object,
      `skipped rollback (current template already matches revision ${chosen.number})`,
    );
    return;
  }
  try {
    if (resource.kind === "Deployment") await sendDeploymentTemplate(given, one, chosen, template);
    else {
      const patch = (chosen.raw as unknown as ControllerRevision).data;
      await sendPatch(given, one, patch, { mediaType: strategicMedia, manager: "kubectl-rollout" });
    }
  } catch (error) {
    throw new CommandError(
      `failed restoring revision ${chosen.number}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  results.tell(object, "rolled back");
}

/** Annotations of the deployment itself that a rollback leaves alone. */
const keptAnnotations = new Set([
  lastAppliedKey,
  revisionKey,
  "deployment.kubernetes.io/revision-history",
  "deployment.kubernetes.io/desired-replicas",
  "deployment.kubernetes.io/max-replicas",
  "deprecated.deployment.rollback.to",
]);
async function sendDeploymentTemplate(
  given: Invocation,
  one: Fetched,
  chosen: Revision,
  template: PodTemplateSpec,
): Promise<void> {
  const own = metaOf(one.object).annotations ?? {};
  const annotations: Record<string, string> = {};
  for (const [key, value] of Object.entries(own))
    if (keptAnnotations.has(key)) annotations[key] = value;
  for (const [key, value] of Object.entries(metaOf(chosen.raw).annotations ?? {})) {
    if (!keptAnnotations.has(key)) annotations[key] = value;
  }
  const patch = [
    { op: "replace", path: "/spec/template", value: template },
    { op: "replace", path: "/metadata/annotations", value: annotations },
  ];
  await sendPatch(given, one, patch, {
    mediaType: "application/json-patch+json",
    manager: "kubectl-rollout",
  });
}

async function undo(given: Invocation): Promise<void> {
  required(given);
  const results = new Results(given);
  await eachObject(await findObjects(given, given.args, true), (one) =>
    undoOne(given, one, results),
  );
}

/** A change of the template or of `paused`, with upstream's refusals. */
const changer =
  (operation: string, patchOf: (given: Invocation, one: Fetched) => JsonObject) =>
  async (given: Invocation): Promise<void> => {
    const { session } = given;
    required(given);
    const results = new Results(given);
    const objects = await findObjects(given, given.args, true);
    if (objects.found.length === 0 && objects.errors.length === 0) {
      session.error(`No resources found in ${await session.namespace()} namespace.\n`);
    }
    await eachObject(objects, async (one) => {
      let patch: JsonObject;
      try {
        patch = patchOf(given, one);
      } catch (error) {
        throw new CommandError(
          `error: ${fullName(one.resource)} ${JSON.stringify(one.name)} ${error instanceof Error ? error.message : String(error)}`,
        );
      }
      const manager = "kubectl-rollout";
      results.tell(
        await sendPatch(given, one, patch, { mediaType: mergeMedia, manager }),
        operation,
      );
    });
  };

const isPaused = ({ object }: Fetched): boolean => objectAt(object, "spec")["paused"] === true;
const pause = changer("paused", (_, one) => {
  if (one.resource.kind !== "Deployment") throw new CommandError("pausing is not supported");
  if (isPaused(one)) throw new CommandError("is already paused");
  return { spec: { paused: true } };
});
const resume = changer("resumed", (_, one) => {
  if (one.resource.kind !== "Deployment") throw new CommandError("resuming is not supported");
  if (!isPaused(one)) throw new CommandError("is not paused");
  return { spec: { paused: null } };
});
const restart = changer("restarted", ({ session }, one) => {
  if (!["Deployment", "DaemonSet", "StatefulSet"].includes(one.resource.kind)) {
    throw new CommandError("restarting is not supported");
  }
  if (one.resource.kind === "Deployment" && isPaused(one)) {
    throw new CommandError("can't restart paused deployment (run rollout resume first)");
  }
  const now = formatTime(session.around.clock.now());
  if (textAt(one.object, "spec", "template", "metadata", "annotations", restartedKey) === now) {
    throw new CommandError(
      `failed to create patch for ${one.name}: if restart has already been triggered within the past second, please wait before attempting to trigger another`,
    );
  }
  return { spec: { template: { metadata: { annotations: { [restartedKey]: now } } } } };
});

const flagsOf = changeFlags("get from a server", "kubectl-rollout");
const usage = "(TYPE NAME | TYPE/NAME) [flags]";
export const rolloutCommand: KubectlCommand = {
  name: "rollout",
  summary: "Manage the rollout of one or many resources",
  usage: "SUBCOMMAND",
  commands: [
    {
      name: "history",
      summary: "View rollout history",
      usage,
      flags: [...flagsOf, integer("revision", "See the details of this revision")],
      run: history,
    },
    {
      name: "pause",
      summary: "Mark the provided resource as paused",
      usage,
      flags: flagsOf,
      run: pause,
    },
    { name: "restart", summary: "Restart a resource", usage, flags: flagsOf, run: restart },
    { name: "resume", summary: "Resume a paused resource", usage, flags: flagsOf, run: resume },
    {
      name: "status",
      summary: "Show the status of the rollout",
      usage,
      flags: [
        ...flagsOf,
        integer("revision", "Pin to a specific revision for showing its status"),
        duration("timeout", "How long to wait before ending watch; zero means never", {
          default: "0s",
        }),
        toggle("watch", "Watch the status of the rollout until it's done", {
          short: "w",
          default: "true",
        }),
      ],
      run: status,
    },
    {
      name: "undo",
      summary: "Undo a previous rollout",
      usage,
      flags: [...flagsOf, integer("to-revision", "The revision to rollback to; 0 is the last one")],
      run: undo,
    },
  ],
};
