/** `kubectl create`: from files, or from flags by a subcommand. */

import { type Invocation, type KubectlCommand, usageFailure } from "../command.ts";
import { resourcePath } from "../discovery.ts";
import { asError, CommandError, throwAll, withSource } from "../errors.ts";
import { text, toggle } from "../flags.ts";
import { withLastApplied } from "../last-applied.ts";
import { fileFlags, hasFiles } from "../manifests.ts";
import { type AnyObject, metaOf } from "../objects.ts";
import { matchesSelector } from "../placing.ts";
import { readWhole } from "../rest.ts";
import { fileTargets } from "../selection.ts";
import { dryRunOf, Results, writeQuery } from "../writing.ts";
import { dataGenerators } from "./data.ts";
import { createFlags } from "./generate.ts";
import { networkGenerators } from "./network.ts";
import { policyGenerators } from "./policies.ts";
import { rightsGenerators } from "./rights.ts";
import { workloadGenerators } from "./workloads.ts";

export const createCommand: KubectlCommand = {
  name: "create",
  summary: "Create a resource from a file or from stdin",
  usage: "-f FILENAME",
  flags: [
    ...createFlags,
    ...fileFlags("to use to create the resource"),
    toggle("edit", "Not offered: edit the resource before creating"),
    text("raw", "Raw URI to POST to the server"),
    text("selector", "Selector (label query) to filter on", { short: "l" }),
    toggle("windows-line-endings", "Accepted and unused"),
  ],
  commands: [
    ...dataGenerators,
    ...workloadGenerators,
    ...networkGenerators,
    ...rightsGenerators,
    ...policyGenerators,
  ].toSorted((a, b) => (a.name < b.name ? -1 : 1)),
  run: create,
};

async function create(given: Invocation): Promise<void> {
  const { session, flags, args } = given;
  if (args.length > 0) throw usageFailure(given, `Unexpected args: [${args.join(" ")}]`);
  if (!hasFiles(flags)) {
    throw new CommandError("must specify one of -f and -k");
  }
  if (flags.switch("edit"))
    throw new CommandError(
      "create --edit is not part of wherry kubectl; edit the file, or the object once it is there",
    );
  const rest = await session.rest();
  if (flags.text("raw") !== "") {
    const [file = ""] = flags.list("filename");
    const { files, terminal } = session.around;
    const body = file === "-" ? await readWhole(terminal.input()) : files.read(file);
    terminal.out(await rest.bytes("POST", flags.text("raw"), { body }));
    return;
  }
  const results = new Results(given);
  const dryRun = dryRunOf(flags);
  const { targets, errors } = await fileTargets(given);
  const wrong: Error[] = [...errors];
  const chosen = targets.filter(({ manifest }) =>
    matchesSelector(manifest?.object ?? {}, flags.text("selector")),
  );
  for (const { manifest, resource, namespace } of chosen) {
    const object = manifest?.object ?? {};
    const placed: AnyObject =
      namespace === "" ? object : { ...object, metadata: { ...metaOf(object), namespace } };
    const body = flags.switch("save-config") ? withLastApplied(placed) : placed;
    if (dryRun === "client") {
      results.tell(body, "created");
      continue;
    }
    try {
      const query = writeQuery(flags, "kubectl-create");
      results.tell(
        await rest.json("POST", resourcePath(resource, namespace), { query, body }),
        "created",
      );
    } catch (error) {
      wrong.push(withSource("creating", manifest?.source ?? "", asError(error)));
    }
  }
  if (chosen.length === 0 && wrong.length === 0)
    throw new CommandError("no objects passed to create");
  throwAll(wrong);
}
