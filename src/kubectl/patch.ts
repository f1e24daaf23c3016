/** `kubectl patch`. */
import { equalObjects } from "#machinery/object.ts";
import { isStatus } from "#machinery/status-error.ts";
import { readYaml } from "#machinery/yaml.ts";
import { changeFlags, eachObject, findObjects, sendPatch } from "./changing.ts";
import { type Invocation, type KubectlCommand } from "./command.ts";
import { asError, CommandError } from "./errors.ts";
import { text } from "./flags.ts";
import { mergePatchLocally } from "./local-patch.ts";
import { dryRunOf, Results } from "./writing.ts";

const mediaTypes: Readonly<Record<string, string>> = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
};

export const patchCommand: KubectlCommand = {
  name: "patch",
  summary: "Update fields of a resource",
  usage: "(-f FILENAME | TYPE NAME) [-p PATCH|--patch-file FILE]",
  flags: [
    ...changeFlags("patch", "kubectl-patch"),
    text("patch", "The patch to be applied to the resource", { short: "p" }),
    text("patch-file", "A file containing a patch to be applied to the resource"),
    text("subresource", "Patch this subresource"),
    text("type", "The type of patch being provided; one of [json merge strategic]", {
      default: "strategic",
    }),
  ],
  run: patch,
};

async function patch(given: Invocation): Promise<void> {
  const { session, flags, args } = given;
  const [inline, file] = [flags.text("patch"), flags.text("patch-file")];
  const type = flags.text("type").toLowerCase();
  if (inline !== "" && file !== "")
    throw new CommandError("cannot specify --patch and --patch-file together");
  if (inline === "" && file === "") {
    throw new CommandError(
      "must specify --patch or --patch-file containing the contents of the patch",
    );
  }
  const dryRun = dryRunOf(flags);
  if (flags.switch("local") && args.length > 0)
    throw new CommandError("cannot specify --local and server resources");
  if (flags.switch("local") && dryRun === "server") {
    throw new CommandError(
      "cannot specify --local and --dry-run=server - did you mean --dry-run=client?",
    );
  }
  const mediaType = mediaTypes[type];
  if (mediaType === undefined) {
    throw new CommandError(
      `--type must be one of [json merge strategic], not ${JSON.stringify(flags.text("type"))}`,
    );
  }
  const content = file === "" ? inline : new TextDecoder().decode(session.around.files.read(file));
  let body: unknown;
  try {
    body = readYaml(content);
  } catch (error) {
    throw new CommandError(`unable to parse ${JSON.stringify(inline)}: ${asError(error).message}`);
  }
  const results = new Results(given);
  const objects = await findObjects(given, args);
  await eachObject(objects, async (one) => {
    const isLocal = flags.switch("local") || dryRun === "client";
    const subresource = flags.text("subresource");
    try {
      const patched = isLocal
        ? mergePatchLocally(one.resource, one.object, body, mediaType)
        : await sendPatch(given, one, body, { mediaType, manager: "kubectl-patch", subresource });
      results.tell(patched, equalObjects(one.object, patched) ? "patched (no change)" : "patched");
    } catch (error) {
      if (!isStatus(error, "UnsupportedMediaType")) throw error;
      const { group, version, kind } = one.resource;
      throw new CommandError(
        `${mediaType} is not supported by ${group}/${version}, Kind=${kind}: ${asError(error).message}`,
      );
    }
  });
  if (objects.found.length === 0) throw new CommandError("no objects passed to patch");
}
