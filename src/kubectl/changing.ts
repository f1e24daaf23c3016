/** Commands that change what is there: the objects they mean, and sending a change as a patch. */
import type { JsonObject } from "#machinery/object.ts";
import type { Invocation } from "./command.ts";
import { type Resource, resourcePath } from "./discovery.ts";
import { throwAll } from "./errors.ts";
import { type Flag, text, toggle } from "./flags.ts";
import { fileFlags } from "./manifests.ts";
import { type AnyObject, metaOf } from "./objects.ts";
import { printFlags } from "./printers.ts";
import { type Fetched, fetchPlan, fileTargets, planSelection } from "./selection.ts";
import { dryRunFlag, managerFlag, writeQuery } from "./writing.ts";

export const changeFlags = (what: string, manager: string): readonly Flag[] => [
  ...printFlags,
  ...fileFlags(`identifying the resource to ${what}`),
  dryRunFlag,
  managerFlag(manager),
  toggle("all", "Select all resources, in the namespace of the specified resource types"),
  toggle("local", "Do not contact the server: change what the files say"),
  text("selector", "Selector (label query) to filter on", { short: "l" }),
  toggle("record", "Accepted and unused"),
];

export interface Found {
  readonly found: readonly Fetched[];
  readonly errors: readonly Error[];
  readonly single: boolean;
}

/** What the arguments and flags mean, with its present state; with --local what the files say. */
export async function findObjects(
  given: Invocation,
  words: readonly string[],
  typeAlone = false,
): Promise<Found> {
  const { session, flags } = given;
  if (flags.switch("local")) {
    const { targets, errors } = await fileTargets(given);
    const found = targets.map((target) => ({ ...target, object: target.manifest?.object ?? {} }));
    return { found, errors, single: found.length === 1 };
  }
  const plan = await planSelection(given, words, {
    typeAlone,
    selector: flags.text("selector"),
    fieldSelector: flags.text("field-selector"),
    all: flags.switch("all"),
    allNamespaces: flags.switch("all-namespaces"),
  });
  const { found, errors } = await fetchPlan(session, plan);
  return { found, errors, single: plan.type === "targets" && plan.single };
}

export const strategicMedia = "application/strategic-merge-patch+json";
export const mergeMedia = "application/merge-patch+json";

/** Objects are patched as what they are: custom resources know merge patches only. */
export async function sendPatch(
  given: Invocation,
  target: { readonly resource: Resource; readonly namespace: string; readonly name: string },
  patch: unknown,
  options: { readonly mediaType?: string; readonly manager: string; readonly subresource?: string },
): Promise<AnyObject> {
  const rest = await given.session.rest();
  const path = resourcePath(
    target.resource,
    target.namespace,
    target.name,
    options.subresource ?? "",
  );
  return rest.json<AnyObject>("PATCH", path, {
    query: writeQuery(given.flags, options.manager),
    body: patch,
    contentType: options.mediaType ?? mergeMedia,
  });
}

/** Does it for each; what fails does not stop the others. */
export async function eachObject(
  { found, errors }: Found,
  work: (one: Fetched) => Promise<void>,
): Promise<void> {
  const wrong = [...errors];
  for (const one of found) {
    try {
      await work(one);
    } catch (error) {
      wrong.push(error instanceof Error ? error : new Error(String(error)));
    }
  }
  throwAll(wrong);
}

export function withMeta(object: AnyObject, change: JsonObject): AnyObject {
  return { ...object, metadata: { ...metaOf(object), ...change } };
}
