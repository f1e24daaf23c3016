/** `kubectl edit`: an object in the user's editor, and the changes back to the server; tried again with the reason while it is refused. */
import { kindSchema } from "#api/facts.ts";
import { equalObjects, isObject, type JsonObject } from "#machinery/object.ts";
import { isStatus, StatusError } from "#machinery/status-error.ts";
import { readYamlDocuments } from "#machinery/yaml.ts";
import { printYaml } from "#machinery/yaml-print.ts";
import { findObjects, mergeMedia, sendPatch, strategicMedia } from "./changing.ts";
import { type Invocation, type KubectlCommand, usageFailure } from "./command.ts";
import { asError, CommandError, ExitError, throwAll } from "./errors.ts";
import { text, toggle } from "./flags.ts";
import { indentedJson } from "./json-print.ts";
import { fileFlags, hasFiles } from "./manifests.ts";
import { type AnyObject, apiVersionIn, kindOf, nameOf, withoutManagedFields } from "./objects.ts";
import { printFlags } from "./printers.ts";
import { type Fetched, missingResource } from "./selection.ts";
import { twoWayMergePatch, twoWayStrategicPatch } from "./three-way.ts";
import { managerFlag, Results, validateFlag } from "./writing.ts";

export const editCommand: KubectlCommand = {
  name: "edit",
  summary: "Edit a resource on the server",
  usage: "(RESOURCE/NAME | -f FILENAME)",
  flags: [
    ...printFlags,
    ...fileFlags("to use to edit the resource"),
    managerFlag("kubectl-edit"),
    toggle("output-patch", "Output the patch if the resource is edited"),
    toggle("save-config", "Accepted and unused"),
    text("subresource", "Edit this subresource"),
    validateFlag,
    toggle("windows-line-endings", "Accepted and unused"),
  ],
  run: edit,
};

const header = `# Please edit the object below. Lines beginning with a '#' will be ignored,
# and an empty file will abort the edit. If an error occurs while saving this file will be
# reopened with the relevant failures.
#
`;
const triesMax = 20;

const comment = (reason: string): string => `# ${reason.replaceAll("\n", "\n# ")}\n#\n`;

const reasonText = (error: Error): string => {
  if (!(error instanceof StatusError)) return error.message;
  const { kind = "", name = "", causes = [] } = error.status.details ?? {};
  const lines = causes.map((cause) => `* ${cause.field ?? ""}: ${cause.message ?? ""}`);
  const title = kind === "" ? error.message : `${kind}s ${JSON.stringify(name)} was not valid:`;
  return lines.length === 0 ? error.message : `${title}\n${lines.join("\n")}`;
};

function write(objects: readonly AnyObject[], asJson: boolean): string {
  const [only] = objects;
  const shown: JsonObject =
    objects.length === 1 && only !== undefined
      ? only
      : { apiVersion: "v1", items: objects, kind: "List", metadata: {} };
  return asJson ? `${indentedJson(shown)}\n` : printYaml(shown);
}

function read(content: string): AnyObject[] {
  const bare = content
    .split("\n")
    .filter((line) => !line.startsWith("#"))
    .join("\n");
  return readYamlDocuments(bare).flatMap(({ value }) => {
    if (!isObject(value)) throw new CommandError("the edited file holds no object");
    const { items } = value;
    return kindOf(value) === "List" && Array.isArray(items) ? (items as AnyObject[]) : [value];
  });
}

async function openEditor({ session }: Invocation, path: string): Promise<void> {
  const { environment } = session.around;
  const editor = environment("KUBE_EDITOR") || environment("EDITOR") || "vi";
  const code = await session.around.run("/bin/sh", ["-c", `${editor} ${path}`]);
  if (code !== 0)
    throw new CommandError(`there was a problem with the editor ${JSON.stringify(editor)}`);
}

async function edit(given: Invocation): Promise<void> {
  const { session, flags, args } = given;
  if (args.length === 0 && !hasFiles(flags)) throw usageFailure(given, missingResource);
  const { found, errors } = await findObjects(given, args);
  throwAll(errors);
  if (found.length === 0) throw new CommandError("edit cancelled, no objects found");
  const { files } = session.around;
  const folder = files.temporaryFolder();
  const asJson = flags.text("output") === "json";
  const path = `${folder}/edit.${asJson ? "json" : "yaml"}`;
  const results = new Results({ ...given, flags: flags.with({ output: [] }) });
  const originals = found.map(({ object }) => withoutManagedFields(object) as AnyObject);
  let body = write(originals, asJson);
  let reason = "";
  let keep = false;
  try {
    for (let attempt = 0; attempt < triesMax; attempt++) {
      files.write(
        path,
        new TextEncoder().encode(header + (reason === "" ? "" : comment(reason)) + body),
        0o600,
      );
      await openEditor(given, path);
      const edited = new TextDecoder().decode(files.read(path));
      const bare = edited
        .split("\n")
        .filter((line) => !line.startsWith("#"))
        .join("\n");
      if (bare.trim() === "") {
        session.error("Edit cancelled, saved file was empty.\n");
        return;
      }
      if (bare === body && reason !== "") {
        keep = true;
        throw new CommandError("Edit cancelled, no valid changes were saved.");
      }
      let objects: AnyObject[];
      try {
        objects = read(edited);
      } catch (error) {
        reason = `The edited file failed to parse: ${asError(error).message}`;
        body = bare;
        continue;
      }
      if (equalObjects(objects, originals)) {
        session.error("Edit cancelled, no changes made.\n");
        return;
      }
      const refused = await sendAll(given, found, originals, objects, results);
      if (refused === undefined) return;
      session.error(`error: ${refused.message}\n`);
      reason = reasonText(refused);
      body = bare;
      keep = true;
      if (isStatus(refused, "NotFound")) throw new ExitError(1, `error: ${refused.message}`);
    }
    throw new CommandError("Edit cancelled, no valid changes were saved.");
  } finally {
    if (keep && reason !== "")
      session.error(`A copy of your changes has been stored to "${path}"\n`);
    else files.remove(folder);
  }
}

/** The first refusal, if any; what was accepted before it is kept. */
async function sendAll(
  given: Invocation,
  found: readonly Fetched[],
  originals: readonly AnyObject[],
  edited: readonly AnyObject[],
  results: Results,
): Promise<Error | undefined> {
  const { session, flags } = given;
  for (const [i, one] of found.entries()) {
    const before = originals[i] ?? {};
    const after = edited.find(
      (other) => kindOf(other) === kindOf(before) && nameOf(other) === nameOf(before),
    );
    if (after === undefined || apiVersionIn(after) !== apiVersionIn(before)) {
      return new CommandError("At least one of apiVersion, kind and name was changed");
    }
    if (equalObjects(before, after)) {
      session.error(`${one.resource.plural}/${one.name} skipped\n`);
      continue;
    }
    const schema = kindSchema(one.resource.group, one.resource.version, one.resource.kind);
    const patch =
      schema === undefined
        ? twoWayMergePatch(before, after)
        : twoWayStrategicPatch(schema, before, after);
    if (flags.switch("output-patch")) session.out(`Patch: ${JSON.stringify(patch)}\n`);
    try {
      const mediaType = schema === undefined ? mergeMedia : strategicMedia;
      const object = await sendPatch(given, one, patch, {
        mediaType,
        manager: "kubectl-edit",
        subresource: flags.text("subresource"),
      });
      results.tell(object, "edited");
    } catch (error) {
      return asError(error);
    }
  }
  return undefined;
}
