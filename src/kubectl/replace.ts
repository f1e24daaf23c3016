/** `kubectl replace`. */
import { isStatus } from "#machinery/status-error.ts";
import { type Invocation, type KubectlCommand, usageFailure } from "./command.ts";
import { deleteAndWait, propagationOf } from "./deletion.ts";
import { resourcePath } from "./discovery.ts";
import { CommandError, throwAll, withSource } from "./errors.ts";
import { duration, integer, optional, text, toggle } from "./flags.ts";
import { lastAppliedKey, withLastApplied } from "./last-applied.ts";
import { fileFlags, hasFiles } from "./manifests.ts";
import { type AnyObject, metaOf } from "./objects.ts";
import { placed } from "./placing.ts";
import { printFlags } from "./printers.ts";
import { fileTargets, getTarget, type Target } from "./selection.ts";
import { dryRunFlag, dryRunOf, managerFlag, Results, validateFlag, writeQuery } from "./writing.ts";

export const replaceCommand: KubectlCommand = {
  name: "replace",
  summary: "Replace a resource by file name or stdin",
  usage: "-f FILENAME",
  flags: [
    ...printFlags,
    ...fileFlags("to use to replace the resource"),
    optional("cascade", "With --force: background, orphan or foreground", {
      default: "background",
      bare: "background",
    }),
    dryRunFlag,
    managerFlag("kubectl-replace"),
    toggle("force", "Delete and create anew"),
    integer("grace-period", "With --force: seconds given to what is deleted", { default: "-1" }),
    text("raw", "Raw URI to PUT to the server"),
    toggle("save-config", "Keep the configuration in an annotation, for a later kubectl apply"),
    text("subresource", "Replace this subresource"),
    duration("timeout", "With --force: how long to wait for the deletion", { default: "0s" }),
    validateFlag,
    toggle("wait", "With --force: wait until the old objects are gone", { default: "true" }),
  ],
  run: replace,
};

async function replace(given: Invocation): Promise<void> {
  const { session, flags, args } = given;
  const dryRun = dryRunOf(flags);
  if (args.length > 0) throw usageFailure(given, `Unexpected args: [${args.join(" ")}]`);
  const force = flags.switch("force");
  if (!force && flags.integer("grace-period") >= 0)
    throw new CommandError("--grace-period must have --force specified");
  if (!force && flags.durationMs("timeout") !== 0)
    throw new CommandError("--timeout must have --force specified");
  if (force && dryRun !== "none")
    throw new CommandError("--dry-run can not be used when --force is set");
  if (!hasFiles(flags)) throw usageFailure(given, "must specify --filename to replace");
  const rest = await session.rest();
  const raw = flags.text("raw");
  if (raw !== "") {
    const body = session.around.files.read(flags.list("filename")[0] ?? "");
    session.around.terminal.out(await rest.bytes("PUT", raw, { body }));
    return;
  }
  const results = new Results(given);
  const { targets, errors } = await fileTargets(given);
  if (targets.length === 0 && errors.length === 0)
    throw new CommandError("no objects passed to replace");
  const wrong: Error[] = [...errors];
  for (const target of targets) {
    try {
      if (force) await forceOne(given, target, results);
      else await replaceOne(given, target, results);
    } catch (error) {
      wrong.push(
        withSource(force ? "creating" : "replacing", target.manifest?.source ?? "", error),
      );
    }
  }
  throwAll(wrong);
}

const saved = ({ flags }: Invocation, object: AnyObject): AnyObject => {
  const keeps =
    flags.switch("save-config") || metaOf(object).annotations?.[lastAppliedKey] !== undefined;
  return keeps ? withLastApplied(object) : object;
};

async function replaceOne(given: Invocation, target: Target, results: Results): Promise<void> {
  const { session, flags } = given;
  const rest = await session.rest();
  const body = saved(given, placed(target));
  if (dryRunOf(flags) === "client") {
    results.tell(body, "replaced");
    return;
  }
  const { resource, namespace, name } = target;
  const version =
    metaOf(body).resourceVersion ?? metaOf(await getTarget(session, target)).resourceVersion;
  const versioned = {
    ...body,
    metadata: { ...metaOf(body), ...(version === undefined ? {} : { resourceVersion: version }) },
  };
  const path = resourcePath(resource, namespace, name, flags.text("subresource"));
  const query = writeQuery(flags, "kubectl-replace");
  results.tell(await rest.json("PUT", path, { query, body: versioned }), "replaced");
}

async function forceOne(given: Invocation, target: Target, results: Results): Promise<void> {
  const { session, flags } = given;
  const rest = await session.rest();
  try {
    await deleteAndWait(session, target, {
      gracePeriodSeconds: flags.integer("grace-period"),
      propagation: propagationOf(flags.text("cascade")),
      timeoutMs: flags.durationMs("timeout"),
    });
    session.out(
      `${target.resource.kind.toLowerCase()}${target.resource.group === "" ? "" : `.${target.resource.group}`} ${JSON.stringify(target.name)} deleted${target.namespace === "" ? "" : ` from ${target.namespace} namespace`}\n`,
    );
  } catch (error) {
    if (!isStatus(error, "NotFound")) throw error;
  }
  const { resourceVersion: _, uid: _uid, ...meta } = metaOf(placed(target));
  const body = saved(given, { ...placed(target), metadata: meta });
  const query = writeQuery(flags, "kubectl-replace");
  results.tell(
    await rest.json("POST", resourcePath(target.resource, target.namespace), { query, body }),
    "replaced",
  );
}
