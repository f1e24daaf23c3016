/** `kubectl diff`: what an apply would change, shown by the machine's diff. */

import { kindSchema } from "#api/facts.ts";
import { isObject, type JsonObject } from "#machinery/object.ts";
import { isStatus } from "#machinery/status-error.ts";
import { printYaml } from "#machinery/yaml-print.ts";
import { type Invocation, type KubectlCommand, usageFailure } from "./command.ts";
import { apiVersionOf, resourcePath } from "./discovery.ts";
import { CommandError, ExitError, throwAll } from "./errors.ts";
import { text, toggle } from "./flags.ts";
import { lastAppliedOf, withLastApplied } from "./last-applied.ts";
import { fileFlags, hasFiles } from "./manifests.ts";
import { type AnyObject, withoutManagedFields } from "./objects.ts";
import { placed } from "./placing.ts";
import { fileTargets, getTarget, type Target } from "./selection.ts";
import { threeWayMergePatch, threeWayStrategicPatch } from "./three-way.ts";
import { managerFlag } from "./writing.ts";

export const diffCommand: KubectlCommand = {
  name: "diff",
  summary: "Diff the live version against a would-be applied version",
  usage: "-f FILENAME",
  flags: [
    ...fileFlags("contains the configuration to diff"),
    text("concurrency", "Accepted and unused", { default: "1" }),
    managerFlag("kubectl-client-side-apply"),
    toggle("force-conflicts", "With --server-side: take fields over from other managers"),
    toggle("prune", "Not offered: include what a prune would delete"),
    text("selector", "Selector (label query) to filter on", { short: "l" }),
    toggle("server-side", "Apply runs in the server instead of the client"),
    toggle("show-managed-fields", "Keep the managedFields in the comparison"),
  ],
  run: diff,
};

async function merged(
  given: Invocation,
  target: Target,
  live: AnyObject | undefined,
): Promise<AnyObject> {
  const { session, flags } = given;
  const { resource, namespace, name } = target;
  const rest = await session.rest();
  const body = placed(target);
  const dry = [["dryRun", "All"]] as const;
  if (flags.switch("server-side")) {
    return rest.json<AnyObject>("PATCH", resourcePath(resource, namespace, name), {
      query: [
        ...dry,
        ["fieldManager", "kubectl"],
        ["force", String(flags.switch("force-conflicts"))],
      ],
      body,
      contentType: "application/apply-patch+yaml",
    });
  }
  const modified = withLastApplied(body);
  if (live === undefined) {
    return rest.json<AnyObject>("POST", resourcePath(resource, namespace), {
      query: dry,
      body: modified,
    });
  }
  const schema = kindSchema(resource.group, resource.version, resource.kind);
  const original = lastAppliedOf(live) ?? {};
  const patch =
    schema === undefined
      ? threeWayMergePatch(original, modified, live)
      : threeWayStrategicPatch(schema, original, modified, live);
  const contentType =
    schema === undefined
      ? "application/merge-patch+json"
      : "application/strategic-merge-patch+json";
  return rest.json<AnyObject>("PATCH", resourcePath(resource, namespace, name), {
    query: [...dry, ["fieldManager", flags.text("field-manager")]],
    body: patch,
    contentType,
  });
}

/** Secrets are compared, not shown. */
function masked(
  object: JsonObject | undefined,
  other: JsonObject | undefined,
  side: "before" | "after",
): JsonObject | undefined {
  if (object === undefined || object["kind"] !== "Secret" || !isObject(object["data"]))
    return object;
  const theirs = other !== undefined && isObject(other["data"]) ? other["data"] : {};
  const data = Object.fromEntries(
    Object.entries(object["data"]).map(([key, value]) => {
      const isSame = theirs[key] === value;
      const marks = isSame || theirs[key] === undefined ? "***" : `*** (${side})`;
      return [key, marks];
    }),
  );
  return { ...object, data };
}

async function diff(given: Invocation): Promise<void> {
  const { session, flags, args } = given;
  if (args.length > 0) throw usageFailure(given, `Unexpected args: [${args.join(" ")}]`);
  if (!hasFiles(flags)) throw usageFailure(given, "must specify one of -f and -k");
  if (flags.switch("prune"))
    throw new CommandError(
      "diff --prune is not part of wherry kubectl; apply --prune --dry-run=server says what would be deleted",
    );
  if (flags.switch("force-conflicts") && !flags.switch("server-side"))
    throw new CommandError("--force-conflicts only works with --server-side");
  const { targets, errors } = await fileTargets(given);
  throwAll(errors);
  const { files, environment } = session.around;
  const folder = files.temporaryFolder();
  const [live, wanted] = [`${folder}/LIVE`, `${folder}/MERGED`];
  files.makeFolder(live);
  files.makeFolder(wanted);
  const show = (object: JsonObject): Uint8Array =>
    new TextEncoder().encode(
      printYaml(flags.switch("show-managed-fields") ? object : withoutManagedFields(object)),
    );
  try {
    for (const target of targets) {
      let before: AnyObject | undefined;
      try {
        before = await getTarget(session, target);
      } catch (error) {
        if (!isStatus(error, "NotFound")) throw error;
      }
      const after = await merged(given, target, before);
      const { resource, namespace, name } = target;
      const file = `${apiVersionOf(resource).replace("/", ".")}.${resource.kind}.${namespace}.${name}`;
      const [left, right] = [masked(before, after, "before"), masked(after, before, "after")];
      if (left !== undefined) files.write(`${live}/${file}`, show(left), 0o600);
      if (right !== undefined) files.write(`${wanted}/${file}`, show(right), 0o600);
    }
    const external = (environment("KUBECTL_EXTERNAL_DIFF") ?? "")
      .split(" ")
      .filter((word) => word !== "");
    const [program = "diff", ...options] = external.length > 0 ? external : ["diff", "-u", "-N"];
    const code = await session.around.run(program, [...options, live, wanted]);
    if (code === 1) throw new ExitError(1);
    if (code > 1) throw new ExitError(code, `error: exit status ${code}`);
  } finally {
    files.remove(folder);
  }
}
