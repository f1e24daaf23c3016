/** `kubectl label` and `kubectl annotate`: setting and removing keys of an object's metadata. */
import { isLabelValue, isQualifiedName } from "#machinery/validation.ts";
import { changeFlags, eachObject, findObjects, sendPatch, withMeta } from "./changing.ts";
import { type Invocation, type KubectlCommand, usageFailure } from "./command.ts";
import { CommandError, throwAll } from "./errors.ts";
import { text, toggle } from "./flags.ts";
import { hasFiles } from "./manifests.ts";
import { kindOf, metaOf, nameOf } from "./objects.ts";
import { missingResource } from "./selection.ts";
import { dryRunOf, Results } from "./writing.ts";

const flagsFor = (verb: string): KubectlCommand["flags"] => [
  ...changeFlags(verb, `kubectl-${verb}`),
  toggle("all-namespaces", "Check all namespaces", { short: "A" }),
  text("field-selector", "Selector (field query) to filter on"),
  toggle("list", `Display the ${verb === "label" ? "labels" : "annotations"} of a given resource`),
  toggle("overwrite", "Allow what is there to be overwritten"),
  text("resource-version", "Only succeed if this is the current resource-version"),
];

export const labelCommand: KubectlCommand = {
  name: "label",
  summary: "Update the labels on a resource",
  usage:
    "[--overwrite] (-f FILENAME | TYPE NAME) KEY_1=VAL_1 ... KEY_N=VAL_N [--resource-version=version]",
  flags: flagsFor("label") ?? [],
  run: (given) => change(given, "labels"),
};
export const annotateCommand: KubectlCommand = {
  name: "annotate",
  summary: "Update the annotations on a resource",
  usage:
    "[--overwrite] (-f FILENAME | TYPE NAME) KEY_1=VAL_1 ... KEY_N=VAL_N [--resource-version=version]",
  flags: flagsFor("annotate") ?? [],
  run: (given) => change(given, "annotations"),
};

type Field = "labels" | "annotations";

/** Arguments are resources up to the first that sets or removes a key. */
function split(args: readonly string[]): readonly [readonly string[], readonly string[]] {
  const isPair = (arg: string): boolean => arg.includes("=") || arg.endsWith("-");
  const first = args.findIndex(isPair);
  if (first < 0) return [args, []];
  const late = args.slice(first).find((arg) => !isPair(arg));
  if (late !== undefined) {
    throw new CommandError(`all resources must be specified before label changes: ${late}`);
  }
  return [args.slice(0, first), args.slice(first)];
}

interface Wanted {
  readonly set: ReadonlyMap<string, string>;
  readonly remove: readonly string[];
}

function readPairs(words: readonly string[], field: Field): Wanted {
  const set = new Map<string, string>();
  const remove: string[] = [];
  for (const word of words) {
    const equals = word.indexOf("=");
    if (equals < 0) {
      remove.push(word.slice(0, -1));
      continue;
    }
    const [key, value] = [word.slice(0, equals), word.slice(equals + 1)];
    if (field === "labels") {
      if (key === "") throw new CommandError(`invalid label spec: ${word}`);
      const wrong = isLabelValue(value);
      if (wrong.length > 0)
        throw new CommandError(`invalid label value: ${JSON.stringify(word)}: ${wrong.join(";")}`);
    } else {
      const wrong = isQualifiedName(key.toLowerCase());
      if (wrong.length > 0)
        throw new CommandError(
          `invalid annotation key ${JSON.stringify(key)}: ${wrong.join("; ")}`,
        );
    }
    set.set(key, value);
  }
  const both = remove.filter((key) => set.has(key));
  if (both.length > 0) {
    throw new CommandError(
      field === "labels"
        ? "can not both modify and remove a label in the same command"
        : `can not both modify and remove the following annotation(s) in the same command: ${both.join(", ")}`,
    );
  }
  return { set, remove };
}

function check(
  given: Invocation,
  field: Field,
  resources: readonly string[],
  words: readonly string[],
): void {
  const { flags } = given;
  const rules: readonly (readonly [boolean, string])[] = [
    [
      flags.switch("list") && flags.text("output") !== "",
      "--list and --output may not be specified together",
    ],
    [
      flags.switch("all") && flags.text("selector") !== "",
      "cannot set --all and --selector at the same time",
    ],
    [
      flags.switch("all") && flags.text("field-selector") !== "",
      "cannot set --all and --field-selector at the same time",
    ],
    [
      flags.switch("local") && dryRunOf(flags) === "server",
      "cannot specify --local and --dry-run=server - did you mean --dry-run=client?",
    ],
    [
      resources.length === 0 && !hasFiles(flags),
      "one or more resources must be specified as <resource> <name> or <resource>/<name>",
    ],
    [
      words.length === 0 && !flags.switch("list"),
      `at least one ${field.slice(0, -1)} update is required`,
    ],
  ];
  const wrong = rules.find(([applies]) => applies);
  if (wrong !== undefined) throw new CommandError(wrong[1]);
}

async function change(given: Invocation, field: Field): Promise<void> {
  const { session, flags, args } = given;
  const [resources, words] = split(args);
  check(given, field, resources, words);
  const wanted = readPairs(words, field);
  const objects = await findObjects(given, resources);
  const { found, errors, single } = objects;
  if (found.length === 0 && errors.length === 0 && resources.length === 0)
    throw usageFailure(given, missingResource);
  const version = flags.text("resource-version");
  if (version !== "" && !single)
    throw new CommandError("--resource-version may only be used with a single resource");
  const results = new Results(given);
  const isLocal = flags.switch("local") || dryRunOf(flags) === "client" || flags.switch("list");
  await eachObject(objects, async (one) => {
    const before = metaOf(one.object)[field] ?? {};
    refuseOverwrite(given, field, before, wanted);
    if (field === "labels" && !isLocal) {
      for (const key of wanted.remove)
        if (before[key] === undefined) session.out(`label ${JSON.stringify(key)} not found.\n`);
    }
    const after: Record<string, string> = { ...before, ...Object.fromEntries(wanted.set) };
    for (const key of wanted.remove) delete after[key];
    const added = [...wanted.set].filter(([key, value]) => before[key] !== value);
    const removed = wanted.remove.filter((key) => before[key] !== undefined);
    let object = withMeta(one.object, { [field]: after });
    if (!isLocal && (field === "annotations" || added.length + removed.length > 0)) {
      const changes: Record<string, string | null> = Object.fromEntries(added);
      for (const key of removed) changes[key] = null;
      const lock = version === "" ? {} : { resourceVersion: version };
      object = await sendPatch(
        given,
        one,
        { metadata: { [field]: changes, ...lock } },
        { manager: `kubectl-${field === "labels" ? "label" : "annotate"}` },
      );
    }
    if (flags.switch("list")) {
      const { group } = one.resource;
      if (!single)
        session.out(`Listing ${field} for ${kindOf(one.object)}.${group}/${nameOf(one.object)}:\n`);
      for (const [key, value] of Object.entries(after))
        session.out(`${single ? "" : " "}${key}=${value}\n`);
      return;
    }
    results.tell(
      object,
      field === "annotations" ? "annotated" : labelOperation(added.length, removed.length),
    );
  });
}

function labelOperation(added: number, removed: number): string {
  if (added > 0) return removed > 0 ? "modified" : "labeled";
  return removed > 0 ? "unlabeled" : "not labeled";
}

function refuseOverwrite(
  { flags }: Invocation,
  field: Field,
  before: Readonly<Record<string, string>>,
  { set }: Wanted,
): void {
  if (flags.switch("overwrite")) return;
  if (field === "labels") {
    throwAll(
      [...set]
        .filter(([key, value]) => before[key] !== undefined && before[key] !== value)
        .map(
          ([key]) =>
            new CommandError(
              `'${key}' already has a value (${before[key] ?? ""}), and --overwrite is false`,
            ),
        ),
    );
    return;
  }
  const taken = [...set.keys()].filter((key) => before[key] !== undefined);
  if (taken.length === 0) return;
  const texts = taken.map((key) => `'${key}' already has a value (${before[key] ?? ""})`);
  throw new CommandError(
    `--overwrite is false but found the following declared annotation(s): ${texts.join("; ")}`,
  );
}
