/** `kubectl describe`: an object, what belongs to it and what happened to it, to be read by people. */
import { isStatus } from "#machinery/status-error.ts";
import type { Invocation, KubectlCommand } from "../command.ts";
import { fullName } from "../discovery.ts";
import { asError, CommandError, throwAll } from "../errors.ts";
import { integer, text, toggle } from "../flags.ts";
import { fileFlags, hasFiles } from "../manifests.ts";
import { metaOf, nameOf } from "../objects.ts";
import {
  type Fetched,
  fetchPlan,
  listCollection,
  planSelection,
  type Target,
} from "../selection.ts";
import { descriptionOf } from "./kinds.ts";
import { Page } from "./page.ts";

export const describeCommand: KubectlCommand = {
  name: "describe",
  summary: "Show details of a specific resource or group of resources",
  usage: "(-f FILENAME | TYPE [NAME_PREFIX | -l label] | TYPE/NAME)",
  flags: [
    ...fileFlags("containing the resource to describe"),
    toggle("all-namespaces", "Describe objects across all namespaces", { short: "A" }),
    integer("chunk-size", "Return large lists in chunks rather than all at once", {
      default: "500",
    }),
    text("selector", "Selector (label query) to filter on", { short: "l" }),
    toggle("show-events", "Display events related to the described object", { default: "true" }),
  ],
  run: describe,
};

/** No object has the name: those whose names begin with it, if any, are meant. */
async function byPrefix(given: Invocation, target: Target, missing: Error): Promise<Fetched[]> {
  const { session } = given;
  const all = await listCollection(session, target, []);
  const found = all
    .filter((object) => nameOf(object).startsWith(target.name))
    .map((object) => ({ ...target, name: nameOf(object), object }));
  if (found.length === 0) throw missing;
  return found;
}

async function describe(given: Invocation): Promise<void> {
  const { session, flags, args } = given;
  if (args.length === 0 && !hasFiles(flags)) {
    throw new CommandError(
      'You must specify the type of resource to describe. Use "kubectl api-resources" for a complete list of supported resources.\n',
    );
  }
  const plan = await planSelection(given, args, {
    typeAlone: true,
    selector: flags.text("selector"),
    allNamespaces: flags.switch("all-namespaces"),
  });
  const chunkSize = flags.integer("chunk-size");
  const { found, errors } = await fetchPlan(session, plan, chunkSize);
  let objects: readonly Fetched[] = found;
  let wrong: readonly Error[] = errors;
  if (plan.type === "targets" && args.length > 0 && found.length === 0 && errors.length === 1) {
    const [missing] = errors;
    const [target] = plan.targets;
    if (
      missing !== undefined &&
      target !== undefined &&
      isStatus(missing, "NotFound") &&
      args.length === 2
    ) {
      objects = await byPrefix(given, target, missing);
      wrong = [];
    }
  }
  const described = new Set<string>();
  const failed: Error[] = [...wrong];
  for (const { resource, object } of objects) {
    const key = metaOf(object).uid ?? `${fullName(resource)}/${nameOf(object)}`;
    if (described.has(key)) continue;
    const page = new Page(session, flags.switch("show-events"), chunkSize);
    try {
      await descriptionOf(resource)(page, object);
    } catch (error) {
      failed.push(asError(error));
      continue;
    }
    session.out(`${described.size === 0 ? "" : "\n\n"}${page.text}`);
    described.add(key);
  }
  if (described.size === 0 && failed.length === 0) {
    session.error(
      flags.switch("all-namespaces") || objects.some(({ resource }) => !resource.namespaced)
        ? "No resources found\n"
        : `No resources found in ${await session.namespace()} namespace.\n`,
    );
  }
  throwAll(failed);
}
