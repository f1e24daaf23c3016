/** `kubectl apply view-last-applied` and `set-last-applied`: the annotation of client-side apply. */
import { printYaml } from "#machinery/yaml-print.ts";
import { type Invocation, type KubectlCommand, usageFailure } from "./command.ts";
import { resourcePath } from "./discovery.ts";
import { CommandError, throwAll } from "./errors.ts";
import { text, toggle } from "./flags.ts";
import { indentedJson } from "./json-print.ts";
import { lastAppliedKey, lastAppliedOf, withLastApplied } from "./last-applied.ts";
import { fileFlags } from "./manifests.ts";
import { type AnyObject, metaOf, nameOf } from "./objects.ts";
import { placed } from "./placing.ts";
import { printFlags } from "./printers.ts";
import { fetchPlan, fileTargets, getTarget, planSelection } from "./selection.ts";
import { dryRunFlag, dryRunOf, Results, writeQuery } from "./writing.ts";

export const lastAppliedCommands: readonly KubectlCommand[] = [
  {
    name: "view-last-applied",
    summary: "View the latest last-applied-configuration annotations of a resource/object",
    usage: "(TYPE [NAME | -l label] | TYPE/NAME | -f FILENAME)",
    flags: [
      ...fileFlags("that contains the last-applied-configuration annotations"),
      text("output", "Output format: yaml or json", { short: "o", default: "yaml" }),
      text("selector", "Selector (label query) to filter on", { short: "l" }),
      toggle("all", "Select all resources of the type"),
    ],
    run: viewLastApplied,
  },
  {
    name: "set-last-applied",
    summary:
      "Set the last-applied-configuration annotation on a live object to match the contents of a file",
    usage: "-f FILENAME",
    flags: [
      ...printFlags,
      ...fileFlags("that contains the last-applied-configuration annotations"),
      dryRunFlag,
      toggle("create-annotation", "Create the annotation where there is none"),
    ],
    run: setLastApplied,
  },
];

async function viewLastApplied(given: Invocation): Promise<void> {
  const { session, flags, args } = given;
  const output = flags.text("output");
  if (!["yaml", "json"].includes(output)) {
    throw usageFailure(
      given,
      `Unexpected -o output mode: ${output}, the flag 'output' must be one of yaml|json`,
    );
  }
  const plan = await planSelection(given, args, {
    typeAlone: flags.switch("all"),
    selector: flags.text("selector"),
    all: flags.switch("all"),
  });
  const { found, errors } = await fetchPlan(session, plan);
  for (const { object } of found) {
    const applied = lastAppliedOf(object);
    if (applied === undefined) {
      throw new CommandError(
        `no last-applied-configuration annotation found on resource: ${nameOf(object)}`,
      );
    }
    session.out(output === "json" ? `${indentedJson(applied, "  ")}\n` : printYaml(applied));
  }
  throwAll(errors);
}

async function setLastApplied(given: Invocation): Promise<void> {
  const { session, flags } = given;
  const results = new Results(given);
  const { targets, errors } = await fileTargets(given);
  throwAll(errors);
  const rest = await session.rest();
  for (const target of targets) {
    const current = await getTarget(session, target);
    if (lastAppliedOf(current) === undefined && !flags.switch("create-annotation")) {
      throw new CommandError(
        `no last-applied-configuration annotation found on resource: ${target.name}, to create the annotation, run the command with --create-annotation`,
      );
    }
    const wanted = metaOf(withLastApplied(placed(target))).annotations?.[lastAppliedKey] ?? "";
    if (metaOf(current).annotations?.[lastAppliedKey] === wanted) {
      session.out(`set-last-applied ${target.name}: no changes required.\n`);
      continue;
    }
    if (dryRunOf(flags) === "client") {
      results.tell(current, "configured");
      continue;
    }
    const object = await rest.json<AnyObject>(
      "PATCH",
      resourcePath(target.resource, target.namespace, target.name),
      {
        query: writeQuery(flags, "kubectl-client-side-apply"),
        body: { metadata: { annotations: { [lastAppliedKey]: wanted } } },
        contentType: "application/merge-patch+json",
      },
    );
    results.tell(object, "configured");
  }
}
