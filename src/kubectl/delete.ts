/** `kubectl delete`. */
import { isStatus } from "#machinery/status-error.ts";
import type { Invocation, KubectlCommand } from "./command.ts";
import { deleteTarget, propagationOf, waitGone } from "./deletion.ts";
import { nameInResults } from "./discovery.ts";
import { asError, CommandError, throwAll, withSource } from "./errors.ts";
import { duration, integer, optional, text, toggle } from "./flags.ts";
import { fileFlags } from "./manifests.ts";
import { metaOf } from "./objects.ts";
import { readWhole } from "./rest.ts";
import { listCollection, missingResource, planSelection, type Target } from "./selection.ts";
import { type DryRun, dryRunFlag, dryRunOf } from "./writing.ts";

export const deleteCommand: KubectlCommand = {
  name: "delete",
  summary:
    "Delete resources by file names, stdin, resources and names, or by resources and label selector",
  usage: "([-f FILENAME] | [-k DIRECTORY] | TYPE [(NAME | -l label | --all)])",
  flags: [
    ...fileFlags("containing the resource to delete"),
    toggle("all", "Delete all resources, in the namespace of the specified resource types"),
    toggle("all-namespaces", "The requested objects across all namespaces", { short: "A" }),
    optional("cascade", 'Must be "background", "orphan", or "foreground"', {
      default: "background",
      bare: "background",
    }),
    dryRunFlag,
    text("field-selector", "Selector (field query) to filter on"),
    toggle("force", "Immediately remove resources from API and bypass graceful deletion"),
    integer("grace-period", "Seconds given to the resource to terminate gracefully", {
      default: "-1",
    }),
    toggle("ignore-not-found", 'Treat "resource not found" as a successful delete'),
    toggle("interactive", "Delete resource only when user confirms", { short: "i" }),
    toggle("now", "Resources are signaled for immediate shutdown (same as --grace-period=1)"),
    text("output", "Output mode: name", { short: "o" }),
    text("raw", "Raw URI to DELETE to the server"),
    text("selector", "Selector (label query) to filter on", { short: "l" }),
    duration("timeout", "How long to wait before giving up on a delete", { default: "0s" }),
    toggle("wait", "Wait for resources to be gone before returning", { default: "true" }),
  ],
  run: deleteObjects,
};

function check({ flags, session }: Invocation): { readonly grace: number; readonly wait: boolean } {
  const output = flags.text("output");
  if (output !== "" && output !== "name") {
    throw new CommandError(`unexpected -o output mode: ${output}. We only support '-o name'`);
  }
  if (flags.switch("all") && flags.text("selector") !== "") {
    throw new CommandError("cannot set --all and --selector at the same time");
  }
  if (flags.switch("all") && flags.text("field-selector") !== "") {
    throw new CommandError("cannot set --all and --field-selector at the same time");
  }
  let grace = flags.integer("grace-period");
  if (flags.switch("now")) {
    if (grace !== -1)
      throw new CommandError("--now and --grace-period cannot be specified together");
    grace = 1;
  }
  let wait = flags.switch("wait");
  if (grace === 0 && !flags.switch("force")) {
    // Upstream: without --force a grace period of 0 becomes 1, and is waited for.
    grace = 1;
  }
  if (flags.switch("force") && grace < 0) grace = 0;
  if (flags.switch("force") && grace === 0) {
    session.warn(
      "Immediate deletion does not wait for confirmation that the running resource has been terminated. The resource may continue to run on the cluster indefinitely.",
    );
  } else if (flags.switch("force") && grace > 0) {
    throw new CommandError(
      "--force and --grace-period greater than 0 cannot be specified together",
    );
  }
  if (flags.given("wait")) wait = flags.switch("wait");
  return { grace, wait };
}

async function targetsOf(
  given: Invocation,
): Promise<{ targets: Target[]; errors: Error[]; isSelection: boolean }> {
  const { session, flags, args } = given;
  const plan = await planSelection(given, args, {
    typeAlone: false,
    selector: flags.text("selector"),
    fieldSelector: flags.text("field-selector"),
    all: flags.switch("all"),
    allNamespaces: flags.switch("all-namespaces"),
    nothing: missingResource,
  });
  if (plan.type === "targets")
    return { targets: [...plan.targets], errors: [...plan.errors], isSelection: false };
  const targets: Target[] = [];
  const errors: Error[] = [];
  for (const collection of plan.collections) {
    try {
      for (const object of await listCollection(session, collection, plan.query)) {
        const { name = "", namespace = "" } = metaOf(object);
        targets.push({ resource: collection.resource, name, namespace });
      }
    } catch (error) {
      if (!isStatus(error, "MethodNotAllowed")) errors.push(asError(error));
    }
  }
  return { targets, errors, isSelection: true };
}

function tell(
  { session, flags }: Invocation,
  { resource, name, namespace }: Target,
  grace: number,
  dryRun: DryRun,
): void {
  const kind = nameInResults(resource);
  if (flags.text("output") === "name") {
    session.out(`${kind}/${name}\n`);
    return;
  }
  const from = resource.namespaced ? ` from ${namespace} namespace` : "";
  const suffix =
    dryRun === "client" ? " (dry run)" : dryRun === "server" ? " (server dry run)" : "";
  session.out(
    `${kind} ${JSON.stringify(name)} ${grace === 0 ? "force " : ""}deleted${from}${suffix}\n`,
  );
}

async function confirmed({ session }: Invocation, targets: readonly Target[]): Promise<boolean> {
  session.out(`You are about to delete the following ${targets.length} resource(s):\n`);
  for (const { resource, name } of targets) session.out(`${nameInResults(resource)}/${name}\n`);
  session.out("Do you want to continue? (y/N): ");
  const batch = await session.around.terminal.input().next();
  const answer = new TextDecoder().decode(batch?.[0]).trim().toLowerCase();
  return answer === "y" || answer === "yes";
}

async function deleteObjects(given: Invocation): Promise<void> {
  const { session, flags } = given;
  const dryRun = dryRunOf(flags);
  const { grace, wait } = check(given);
  const propagation = propagationOf(flags.text("cascade"));
  const raw = flags.text("raw");
  if (raw !== "") {
    const body =
      flags.list("filename")[0] === "-"
        ? await readWhole(session.around.terminal.input())
        : undefined;
    const rest = await session.rest();
    session.around.terminal.out(
      await rest.bytes("DELETE", raw, body === undefined ? {} : { body }),
    );
    return;
  }
  const { targets, errors, isSelection } = await targetsOf(given);
  if (flags.switch("interactive") && targets.length > 0 && !(await confirmed(given, targets))) {
    session.out("deletion is cancelled\n");
    return;
  }
  const access = await session.access();
  const clusterScoped = targets.some(({ resource }) => !resource.namespaced);
  if (clusterScoped && (access.namespaceGiven || flags.switch("all-namespaces"))) {
    session.warn("deleting cluster-scoped resources, not scoped to the provided namespace");
  }
  const gone: { target: Target; uid: string }[] = [];
  const wrong: Error[] = [...errors];
  const ignores = flags.switch("ignore-not-found") || (isSelection && flags.switch("all"));
  let found = 0;
  for (const target of targets) {
    try {
      if (dryRun !== "client") {
        const rules = { gracePeriodSeconds: grace, propagation, dryRun: dryRun === "server" };
        const uid = await deleteTarget(session, target, rules);
        gone.push({ target, uid });
      }
      found += 1;
      tell(given, target, grace, dryRun);
    } catch (error) {
      if (ignores && isStatus(error, "NotFound")) continue;
      const source = target.manifest?.source ?? "";
      wrong.push(source === "" ? asError(error) : withDeletionSource(source, error));
    }
  }
  if (found === 0 && wrong.length === 0) {
    if (!flags.switch("ignore-not-found") || isSelection) session.out("No resources found\n");
    return;
  }
  throwAll(wrong);
  if (!wait || dryRun !== "none") return;
  for (const { target, uid } of gone)
    await waitGone(session, target, uid, flags.durationMs("timeout"));
}

function withDeletionSource(source: string, error: unknown): Error {
  return withSource("deleting", source, error);
}
