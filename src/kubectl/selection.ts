/**
 * Which objects a command line means: "pods", "pod a b", "pod/a svc/b", "pods,services -l app=x", "-f file". A plan is made first
 * (what to ask for), then objects are fetched, whole or in chunks.
 */
import type { JsonObject } from "#machinery/object.ts";
import type { Invocation } from "./command.ts";
import { usageFailure } from "./command.ts";
import { fullName, type Resource, resourcePath } from "./discovery.ts";
import { CommandError } from "./errors.ts";
import { hasFiles, type Manifest, readManifests } from "./manifests.ts";
import {
  type AnyObject,
  apiVersionIn,
  kindOf,
  metaOf,
  nameOf,
  objectsAt,
  textAt,
} from "./objects.ts";
import type { Query } from "./rest.ts";
import type { Session } from "./session.ts";

/** One object that is meant. */
export interface Target {
  readonly resource: Resource;
  /** "" for what has no namespace. */
  readonly namespace: string;
  readonly name: string;
  /** From a file. */
  readonly manifest?: Manifest;
}
export interface Collection {
  readonly resource: Resource;
  /** "": all of them, or what has no namespace. */
  readonly namespace: string;
}
export type Plan =
  | {
      readonly type: "targets";
      readonly targets: readonly Target[];
      readonly errors: readonly Error[];
      readonly single: boolean;
    }
  | {
      readonly type: "collections";
      readonly collections: readonly Collection[];
      readonly query: Query;
    };

export interface SelectionRules {
  /** A type alone means all objects of it. */
  readonly typeAlone: boolean;
  readonly selector?: string;
  readonly fieldSelector?: string;
  readonly all?: boolean;
  readonly allNamespaces?: boolean;
  /** Said when nothing is given; else upstream's general sentence. */
  readonly nothing?: string;
}

export const missingResource = `You must provide one or more resources by argument or filename.
Example resource specifications include:
   '-f rsrc.yaml'
   '--filename=rsrc.json'
   '<resource> <name>'
   '<resource>'`;

export async function targetOfManifest(
  manifest: Manifest,
  session: Session,
  enforced: string | undefined,
): Promise<Target> {
  const { object, source } = manifest;
  const discovery = await session.discovery();
  const resource = discovery.ofKind(apiVersionIn(object), kindOf(object));
  const meta = metaOf(object);
  if (resource === undefined) {
    throw new CommandError(
      `resource mapping not found for name: ${JSON.stringify(meta.name ?? "")} namespace: ${JSON.stringify(meta.namespace ?? "")} from ${JSON.stringify(source)}: no matches for kind ${JSON.stringify(kindOf(object))} in version ${JSON.stringify(apiVersionIn(object))}\nensure CRDs are installed first`,
    );
  }
  const own = meta.namespace ?? "";
  if (!resource.namespaced) return { resource, namespace: "", name: nameOf(object), manifest };
  if (own !== "" && enforced !== undefined && own !== enforced) {
    throw new CommandError(
      `the namespace from the provided object ${JSON.stringify(own)} does not match the namespace ${JSON.stringify(enforced)}. You must pass '--namespace=${own}' to perform this operation.`,
    );
  }
  const namespace = own === "" ? await session.namespace() : own;
  return { resource, namespace, name: nameOf(object), manifest };
}

/** The objects of -f with where they belong. What is wrong with one does not stop the others. */
export async function fileTargets(
  given: Invocation,
): Promise<{ readonly targets: Target[]; readonly errors: Error[] }> {
  const { session, flags } = given;
  const access = await session.access();
  const enforced = access.namespaceGiven ? access.namespace : undefined;
  const targets: Target[] = [];
  const errors: Error[] = [];
  for (const one of await readManifests(flags, session.around)) {
    if ("error" in one) {
      errors.push(one.error);
      continue;
    }
    try {
      targets.push(await targetOfManifest(one, session, enforced));
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      errors.push(error);
    }
  }
  return { targets, errors };
}

function splitTuple(arg: string): readonly [string, string] {
  const parts = arg.split("/");
  if (parts.length !== 2) {
    throw new CommandError("arguments in resource/name form may not have more than one slash");
  }
  const [type = "", name = ""] = parts;
  if (type === "" || name === "" || type.includes(",")) {
    throw new CommandError("arguments in resource/name form must have a single resource and name");
  }
  return [type, name];
}

/** "a,b c d" is a/c a/d b/c b/d. */
function normalize(args: readonly string[]): readonly string[] {
  const [types = "", ...names] = args;
  const many = types.split(",");
  if (names.length === 0 || many.length < 2) return args;
  return many.flatMap((type) => names.map((name) => `${type}/${name}`));
}

async function expandTypes(session: Session, typed: string): Promise<Resource[]> {
  const discovery = await session.discovery();
  const resources = typed.split(",").flatMap((one) => {
    const category = discovery.category(one);
    return category.length > 0 ? category : [discovery.require(one)];
  });
  return resources.filter(
    (one, at) => resources.findIndex((other) => fullName(other) === fullName(one)) === at,
  );
}

const namespaceFor = async (
  session: Session,
  resource: Resource,
  allNamespaces: boolean,
): Promise<string> => (resource.namespaced && !allNamespaces ? session.namespace() : "");

export const slashHint =
  "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. 'kubectl get resource/<resource_name>' instead of 'kubectl get resource resource/<resource_name>'";

async function namedTargets(
  session: Session,
  pairs: readonly (readonly [Resource, string])[],
  allNamespaces: boolean,
): Promise<Target[]> {
  const targets: Target[] = [];
  for (const [resource, name] of pairs) {
    if (resource.namespaced && allNamespaces) {
      throw new CommandError("a resource cannot be retrieved by name across all namespaces");
    }
    if (name === "") throw new CommandError("resource name may not be empty");
    targets.push({ resource, name, namespace: await namespaceFor(session, resource, false) });
  }
  return targets;
}

export async function planSelection(
  given: Invocation,
  words: readonly string[],
  rules: SelectionRules,
): Promise<Plan> {
  const { session, flags } = given;
  const { selector = "", fieldSelector = "", allNamespaces = false } = rules;
  const selects = selector !== "" || fieldSelector !== "" || rules.all === true;
  if (hasFiles(flags)) {
    if (words.length > 0) {
      throw new CommandError(
        "when paths, URLs, or stdin is provided as input, you may not specify resource arguments as well",
      );
    }
    const { targets, errors } = await fileTargets(given);
    return { type: "targets", targets, errors, single: targets.length === 1 };
  }
  if (words.length === 0) throw nothingGiven(given, rules);
  const args = normalize(words);
  const slashes = args.filter((arg) => arg.includes("/")).length;
  if (slashes > 0 && slashes < args.length) throw new CommandError(slashHint);
  if (slashes > 0) {
    if (selects) {
      throw new CommandError(
        "selectors and the all flag cannot be used when passing resource/name arguments",
      );
    }
    const discovery = await session.discovery();
    const pairs = args
      .map(splitTuple)
      .map(([type, name]) => [discovery.require(type), name] as const);
    const targets = await namedTargets(session, pairs, allNamespaces);
    return { type: "targets", targets, errors: [], single: targets.length === 1 };
  }
  const [types = "", ...names] = args;
  const resources = await expandTypes(session, types);
  if (names.length > 0) {
    if (selects) throw new CommandError("name cannot be provided when a selector is specified");
    const [resource, ...more] = resources;
    if (resource === undefined || more.length > 0) {
      throw new CommandError("you must specify only one resource");
    }
    const pairs = names.map((name) => [resource, name] as const);
    const targets = await namedTargets(session, pairs, allNamespaces);
    return { type: "targets", targets, errors: [], single: targets.length === 1 };
  }
  if (!selects && !rules.typeAlone) {
    throw new CommandError("resource(s) were provided, but no name was specified");
  }
  const collections: Collection[] = [];
  for (const resource of resources) {
    collections.push({
      resource,
      namespace: await namespaceFor(session, resource, allNamespaces),
    });
  }
  const query: (readonly [string, string])[] = [];
  if (selector !== "") query.push(["labelSelector", selector]);
  if (fieldSelector !== "") query.push(["fieldSelector", fieldSelector]);
  return { type: "collections", collections, query };
}

function nothingGiven(given: Invocation, rules: SelectionRules): Error {
  if (rules.nothing !== undefined) return new CommandError(rules.nothing);
  return usageFailure(given, missingResource);
}

export async function getTarget(session: Session, target: Target): Promise<AnyObject> {
  const rest = await session.rest();
  return rest.json<AnyObject>("GET", resourcePath(target.resource, target.namespace, target.name));
}

const chunksMax = 100_000;

/** All pages of a list, one by one. */
export async function* pages(
  session: Session,
  path: string,
  query: Query,
  chunkSize: number,
  accept?: string,
): AsyncGenerator<JsonObject> {
  const rest = await session.rest();
  let token = "";
  for (let page = 0; page < chunksMax; page++) {
    const answer = await rest.json("GET", path, {
      query: [
        ...query,
        ...(chunkSize > 0 ? [["limit", String(chunkSize)] as const] : []),
        ...(token === "" ? [] : [["continue", token] as const]),
      ],
      ...(accept === undefined ? {} : { accept }),
    });
    yield answer;
    token = textAt(answer, "metadata", "continue");
    if (token === "") return;
  }
}

/** The objects of a collection; each says its kind. */
export async function listCollection(
  session: Session,
  { resource, namespace }: Collection,
  query: Query,
  chunkSize = 500,
): Promise<AnyObject[]> {
  const objects: AnyObject[] = [];
  const path = resourcePath(resource, namespace);
  for await (const page of pages(session, path, query, chunkSize)) {
    const apiVersion = apiVersionIn(page);
    for (const item of objectsAt(page, "items")) {
      objects.push({
        ...item,
        apiVersion: apiVersionIn(item) || apiVersion,
        kind: kindOf(item) || resource.kind,
      });
    }
  }
  return objects;
}

export interface Fetched extends Target {
  readonly object: AnyObject;
}

/** Everything that the plan means, with its present state. Missing objects are errors; the others are given all the same. */
export async function fetchPlan(
  session: Session,
  plan: Plan,
  chunkSize = 500,
): Promise<{ readonly found: Fetched[]; readonly errors: Error[] }> {
  const found: Fetched[] = [];
  const errors: Error[] = [];
  if (plan.type === "collections") {
    for (const collection of plan.collections) {
      try {
        for (const object of await listCollection(session, collection, plan.query, chunkSize)) {
          const { name = "", namespace = "" } = metaOf(object);
          found.push({ resource: collection.resource, namespace, name, object });
        }
      } catch (error) {
        errors.push(error instanceof Error ? error : new Error(String(error)));
      }
    }
    return { found, errors };
  }
  errors.push(...plan.errors);
  for (const target of plan.targets) {
    try {
      found.push({ ...target, object: await getTarget(session, target) });
    } catch (error) {
      errors.push(error instanceof Error ? error : new Error(String(error)));
    }
  }
  return { found, errors };
}
