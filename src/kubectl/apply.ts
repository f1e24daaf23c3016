/** `kubectl apply`: what files say becomes true: created, patched three ways or, on demand, by the server. */
import { kindSchema } from "#api/facts.ts";
import { isObject, type JsonObject } from "#machinery/object.ts";
import { isStatus, StatusError } from "#machinery/status-error.ts";
import { lastAppliedCommands } from "./apply-last.ts";
import { type Invocation, type KubectlCommand, usageFailure } from "./command.ts";
import { deleteAndWait, propagationOf } from "./deletion.ts";
import { type Resource, resourcePath } from "./discovery.ts";
import { asError, CommandError, throwAll, withSource } from "./errors.ts";
import { duration, integer, optional, repeat, text, toggle } from "./flags.ts";
import { compactJson } from "./json-print.ts";
import { lastAppliedKey, lastAppliedOf, withLastApplied } from "./last-applied.ts";
import { mergePatchLocally } from "./local-patch.ts";
import { fileFlags, hasFiles } from "./manifests.ts";
import { type AnyObject, metaOf, nameOf } from "./objects.ts";
import { matchesSelector, placed } from "./placing.ts";
import { printFlags } from "./printers.ts";
import { fileTargets, getTarget, listCollection, type Target } from "./selection.ts";
import { threeWayMergePatch, threeWayStrategicPatch } from "./three-way.ts";
import {
  type DryRun,
  dryRunFlag,
  dryRunOf,
  managerFlag,
  Results,
  validateFlag,
  writeQuery,
} from "./writing.ts";

const clientManager = "kubectl-client-side-apply";

export const applyCommand: KubectlCommand = {
  name: "apply",
  summary: "Apply a configuration to a resource by file name or stdin",
  usage: "(-f FILENAME | -k DIRECTORY)",
  flags: [
    ...printFlags,
    ...fileFlags("that contains the configuration to apply"),
    toggle("all", "Select all resources in the namespaces for pruning"),
    text("applyset", "Not offered: the name of an ApplySet"),
    optional(
      "cascade",
      "How dependents of what is deleted are met: background, orphan or foreground",
      { default: "background", bare: "background" },
    ),
    dryRunFlag,
    managerFlag(clientManager),
    toggle("force", "Delete and create anew what cannot be patched"),
    toggle("force-conflicts", "With --server-side: take fields over from other managers"),
    integer("grace-period", "Seconds given to what is deleted to end", { default: "-1" }),
    toggle("openapi-patch", "Accepted: the schema is always used", { default: "true" }),
    toggle("overwrite", "Resolve conflicts with the given configuration", { default: "true" }),
    toggle("prune", "Delete what was applied before and is not in the files any more"),
    repeat(
      "prune-allowlist",
      "Overwrite the default allowlist with group/version/kind for --prune",
    ),
    text("selector", "Selector (label query) to filter on", { short: "l" }),
    toggle("server-side", "Apply runs in the server instead of the client"),
    text("subresource", "With --server-side: apply to this subresource"),
    duration("timeout", "How long to wait before giving up on a delete", { default: "0s" }),
    validateFlag,
    toggle("wait", "Wait for deleted resources to be gone"),
  ],
  commands: lastAppliedCommands,
  run: apply,
};

function check({ flags, args, path }: Invocation): DryRun {
  const dryRun = dryRunOf(flags);
  const serverSide = flags.switch("server-side");
  const rules: readonly (readonly [boolean, string])[] = [
    [
      flags.switch("force-conflicts") && !serverSide,
      "--force-conflicts only works with --server-side",
    ],
    [
      dryRun === "client" && serverSide,
      "--dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)",
    ],
    [flags.switch("force") && serverSide, "--force cannot be used with --server-side"],
    [dryRun === "server" && flags.switch("force"), "--dry-run=server cannot be used with --force"],
    [
      flags.switch("all") && flags.text("selector") !== "",
      "cannot set --all and --selector at the same time",
    ],
    [
      flags.text("applyset") !== "",
      "--applyset is not part of wherry kubectl; use --prune with a selector",
    ],
    [flags.switch("prune") && flags.switch("force"), "--force cannot be used with --prune"],
    [
      flags.switch("prune") && !flags.switch("all") && flags.text("selector") === "",
      "all resources selected for prune without explicitly passing --all. To prune all resources, pass the --all flag. If you did not mean to prune all resources, specify a label selector",
    ],
    [
      flags.switch("prune") && serverSide,
      "--prune is in alpha and doesn't currently work on objects created by server-side apply",
    ],
    [
      flags.text("subresource") !== "" && !serverSide,
      "--subresource can only be specified for --server-side",
    ],
  ];
  if (args.length > 0)
    throw usageFailure({ path } as Invocation, `Unexpected args: [${args.join(" ")}]`);
  const wrong = rules.find(([applies]) => applies);
  if (wrong !== undefined) throw new CommandError(wrong[1]);
  return dryRun;
}

async function apply(given: Invocation): Promise<void> {
  const { flags } = given;
  const dryRun = check(given);
  if (!hasFiles(flags)) throw new CommandError("must specify one of -f and -k");
  const results = new Results(given);
  const { targets, errors } = await fileTargets(given);
  const selected = targets.filter(({ manifest }) =>
    matchesSelector(manifest?.object ?? {}, flags.text("selector")),
  );
  if (selected.length === 0 && errors.length === 0)
    throw new CommandError("no objects passed to apply");
  const done: Done[] = [];
  const wrong: Error[] = [...errors];
  for (const target of selected) {
    try {
      const one = flags.switch("server-side")
        ? await applyOnServer(given, target)
        : await applyOne(given, target, dryRun);
      done.push(one);
      if (!results.hasPrinter) results.tell(one.object, one.operation);
    } catch (error) {
      wrong.push(asError(error));
    }
  }
  if (results.hasPrinter && done.length > 0) {
    const objects = done.map(({ object }) => object);
    const [only] = objects;
    const whole: JsonObject =
      objects.length === 1 && only !== undefined
        ? only
        : { apiVersion: "v1", items: objects, kind: "List", metadata: { resourceVersion: "" } };
    results.tell(whole, "");
  }
  throwAll(wrong);
  if (flags.switch("prune")) await prune(given, done, dryRun, results);
}

interface Done {
  readonly target: Target;
  readonly object: AnyObject;
  readonly operation: string;
}

async function applyOne(given: Invocation, target: Target, dryRun: DryRun): Promise<Done> {
  const { session, flags } = given;
  const object = placed(target);
  const source = target.manifest?.source ?? "";
  const { generateName } = metaOf(object);
  if (target.name === "" && generateName !== undefined) {
    throw new CommandError(`from ${generateName}: cannot use generate name with apply`);
  }
  if (target.name === "")
    throw new CommandError(
      `error when retrieving current configuration of:\nResource: ${JSON.stringify(target.resource.plural)}\nfrom server for: ${JSON.stringify(source)}: resource name may not be empty`,
    );
  const modified = withLastApplied(object);
  const rest = await session.rest();
  const query = writeQuery(flags, clientManager);
  let current: AnyObject;
  try {
    current = await getTarget(session, target);
  } catch (error) {
    if (!isStatus(error, "NotFound")) throw retrievalError(target, object, error);
    if (dryRun === "client")
      return { target, object: withoutNulls(modified) as AnyObject, operation: "created" };
    try {
      const path = resourcePath(target.resource, target.namespace);
      const created = await rest.json<AnyObject>("POST", path, {
        query,
        body: withoutNulls(modified),
      });
      return { target, object: created, operation: "created" };
    } catch (failed) {
      throw withSource("creating", source, failed);
    }
  }
  const original = lastAppliedOf(current);
  if (original === undefined) {
    session.warn(
      `resource ${fullTitle(target.resource)}/${target.name} is missing the ${lastAppliedKey} annotation which is required by kubectl apply. kubectl apply should only be used on resources created declaratively by either kubectl create --save-config or kubectl apply. The missing annotation will be patched automatically.`,
    );
  }
  return patchOne(given, target, { original: original ?? {}, modified, current }, dryRun);
}
const fullTitle = ({ plural, group }: Resource): string =>
  group === "" ? plural : `${plural}.${group}`;

interface States {
  readonly original: JsonObject;
  readonly modified: AnyObject;
  readonly current: AnyObject;
}

function patchFor(
  resource: Resource,
  { original, modified, current }: States,
): { readonly patch: JsonObject; readonly mediaType: string } {
  const schema = kindSchema(resource.group, resource.version, resource.kind);
  if (schema === undefined) {
    return {
      patch: threeWayMergePatch(original, modified, current),
      mediaType: "application/merge-patch+json",
    };
  }
  return {
    patch: threeWayStrategicPatch(schema, original, modified, current),
    mediaType: "application/strategic-merge-patch+json",
  };
}

const conflictRetriesMax = 5;

async function patchOne(
  given: Invocation,
  target: Target,
  states: States,
  dryRun: DryRun,
): Promise<Done> {
  const { session, flags } = given;
  const { resource, namespace, name } = target;
  let { current } = states;
  for (let attempt = 1; ; attempt++) {
    const { patch, mediaType } = patchFor(resource, { ...states, current });
    if (Object.keys(patch).length === 0) return { target, object: current, operation: "unchanged" };
    if (dryRun === "client") {
      return {
        target,
        object: mergePatchLocally(resource, current, patch, mediaType),
        operation: "configured",
      };
    }
    try {
      const rest = await session.rest();
      const path = resourcePath(resource, namespace, name);
      const object = await rest.json<AnyObject>("PATCH", path, {
        query: writeQuery(flags, clientManager),
        body: patch,
        contentType: mediaType,
      });
      if (metaOf(object).deletionTimestamp !== undefined) {
        session.warn(`Detected changes to resource ${name} which is currently being deleted.`);
      }
      return { target, object, operation: "configured" };
    } catch (error) {
      if (isStatus(error, "Conflict") && attempt < conflictRetriesMax) {
        current = await getTarget(session, target);
        continue;
      }
      const mayForce =
        flags.switch("force") && (isStatus(error, "Conflict") || isStatus(error, "Invalid"));
      if (mayForce)
        return {
          target,
          object: await replaceByForce(given, target, states.modified),
          operation: "configured",
        };
      throw patchError(target, patch, states.modified, error);
    }
  }
}

async function replaceByForce(
  given: Invocation,
  target: Target,
  modified: AnyObject,
): Promise<AnyObject> {
  const { session, flags } = given;
  const rest = await session.rest();
  await deleteAndWait(session, target, {
    gracePeriodSeconds: flags.integer("grace-period"),
    timeoutMs: flags.durationMs("timeout"),
  });
  const body = withoutNulls(modified);
  return rest.json<AnyObject>("POST", resourcePath(target.resource, target.namespace), {
    query: writeQuery(flags, clientManager),
    body,
  });
}

function describeTarget({ resource, namespace, name }: Target): string {
  const groupVersion = `${resource.group}/${resource.version}`;
  return `Resource: "${groupVersion}, Resource=${resource.plural}", GroupVersionKind: "${groupVersion}, Kind=${resource.kind}"\nName: ${JSON.stringify(name)}, Namespace: ${JSON.stringify(namespace)}`;
}
const retrievalError = (target: Target, _object: AnyObject, error: unknown): Error =>
  withSource(
    `retrieving current configuration of:\n${describeTarget(target)}\nfrom server for:`,
    target.manifest?.source ?? "",
    error,
  );
const patchError = (
  target: Target,
  patch: JsonObject,
  _modified: AnyObject,
  error: unknown,
): Error =>
  withSource(
    `applying patch:\n${compactJson(patch)}\nto:\n${describeTarget(target)}\nfor:`,
    target.manifest?.source ?? "",
    error,
  );

/** Upstream: nulls in a file mean "remove"; in what is created there is nothing to remove. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, member]) =>
      member === null ? [] : [[key, withoutNulls(member)]],
    ),
  );
}

const conflictHelp = `Please review the fields above--they currently have other managers. Here
are the ways you can resolve this warning:
* If you intend to manage all of these fields, please re-run the apply
  command with the \`--force-conflicts\` flag.
* If you do not intend to manage all of the fields, please edit your
  manifest to remove references to the fields that should keep their
  current managers.
* You may co-own fields by updating your manifest to match the existing
  value; in this case, you'll become the manager if the other manager(s)
  stop managing the field (remove it from their configuration).
See https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts`;

async function applyOnServer(given: Invocation, target: Target): Promise<Done> {
  const { session, flags } = given;
  const rest = await session.rest();
  const body = placed(target);
  const manager = flags.given("field-manager") ? flags.text("field-manager") : "kubectl";
  const query = [
    ...writeQuery(flags, manager).filter(([name]) => name !== "fieldManager"),
    ["fieldManager", manager] as const,
    ["force", String(flags.switch("force-conflicts"))] as const,
  ];
  const path = resourcePath(
    target.resource,
    target.namespace,
    target.name,
    flags.text("subresource"),
  );
  const contentType = "application/apply-patch+yaml";
  try {
    let object = await rest.json<AnyObject>("PATCH", path, { query, body, contentType });
    if (
      metaOf(object).annotations?.[lastAppliedKey] !== undefined &&
      flags.text("subresource") === ""
    ) {
      object = await migrate(given, target, object, body, query);
    }
    if (metaOf(object).deletionTimestamp !== undefined) {
      session.warn(`Detected changes to resource ${target.name} which is currently being deleted.`);
    }
    return { target, object, operation: "serverside-applied" };
  } catch (error) {
    if (isStatus(error, "Conflict") && error instanceof StatusError) {
      throw new CommandError(`${error.message}\n${conflictHelp}`);
    }
    throw error;
  }
}

/** Fields that client-side apply owned go over to the server's manager; the annotation is kept true for older clients. */
async function migrate(
  given: Invocation,
  target: Target,
  object: AnyObject,
  body: AnyObject,
  query: readonly (readonly [string, string])[],
): Promise<AnyObject> {
  const { session, flags } = given;
  const rest = await session.rest();
  const path = resourcePath(target.resource, target.namespace, target.name);
  const manager = flags.given("field-manager") ? flags.text("field-manager") : "kubectl";
  const annotation = withLastApplied(body);
  const dry = query.filter(([name]) => name === "dryRun");
  let current = await rest.json<AnyObject>("PATCH", path, {
    query: [...dry, ["fieldManager", "kubectl-last-applied"], ["force", "true"]],
    body: {
      apiVersion: body["apiVersion"],
      kind: body["kind"],
      metadata: {
        name: target.name,
        annotations: { [lastAppliedKey]: metaOf(annotation).annotations?.[lastAppliedKey] ?? "" },
      },
    },
    contentType: "application/apply-patch+yaml",
  });
  const entries = metaOf(current).managedFields ?? [];
  const before = entries.findIndex(
    (one) => one.manager === clientManager && one.operation === "Update",
  );
  if (before < 0) return object;
  const kept = entries.filter((_, i) => i !== before);
  const own = kept.findIndex((one) => one.manager === manager && one.operation === "Apply");
  if (own < 0) return object;
  const patch = [
    { op: "replace", path: "/metadata/managedFields", value: kept },
    { op: "replace", path: "/metadata/resourceVersion", value: metaOf(current).resourceVersion },
  ];
  current = await rest.json<AnyObject>("PATCH", path, {
    query: dry,
    body: patch,
    contentType: "application/json-patch+json",
  });
  return rest.json<AnyObject>("PATCH", path, {
    query,
    body,
    contentType: "application/apply-patch+yaml",
  });
}

/** Kinds that are pruned unless others are named; namespaced ones in each namespace that was applied to. */
const prunable: readonly string[] = [
  "/v1/ConfigMap",
  "/v1/Endpoints",
  "/v1/Namespace",
  "/v1/PersistentVolumeClaim",
  "/v1/PersistentVolume",
  "/v1/Pod",
  "/v1/ReplicationController",
  "/v1/Secret",
  "/v1/Service",
  "batch/v1/Job",
  "batch/v1/CronJob",
  "networking.k8s.io/v1/Ingress",
  "apps/v1/DaemonSet",
  "apps/v1/Deployment",
  "apps/v1/ReplicaSet",
  "apps/v1/StatefulSet",
];

async function prune(
  given: Invocation,
  done: readonly Done[],
  dryRun: DryRun,
  results: Results,
): Promise<void> {
  const { session, flags } = given;
  const discovery = await session.discovery();
  const visited = new Set(done.map(({ object }) => metaOf(object).uid ?? ""));
  const namespaces = [
    ...new Set(done.map(({ target }) => target.namespace).filter((one) => one !== "")),
  ];
  const allowed =
    flags.list("prune-allowlist").length > 0 ? flags.list("prune-allowlist") : prunable;
  const resources = allowed.flatMap((one) => {
    const [group = "", version = "", kind = ""] = one.replace(/^core\//, "/").split("/");
    const found = discovery.ofKind(group === "" ? version : `${group}/${version}`, kind);
    return found === undefined ? [] : [found];
  });
  const selector = flags.text("selector");
  const rest = await session.rest();
  for (const resource of resources) {
    for (const namespace of resource.namespaced ? namespaces : [""]) {
      // Upstream: what has no namespace is pruned only when something of the kind was named by a list of one's own.
      if (
        !resource.namespaced &&
        flags.list("prune-allowlist").length === 0 &&
        namespaces.length > 0 &&
        !done.some(({ target }) => target.namespace === "")
      )
        continue;
      const objects = await listCollection(
        session,
        { resource, namespace },
        selector === "" ? [] : [["labelSelector", selector]],
      );
      for (const object of objects) {
        const { annotations, uid = "" } = metaOf(object);
        if (annotations?.[lastAppliedKey] === undefined || visited.has(uid)) continue;
        if (dryRun !== "client") {
          const body = {
            apiVersion: "v1",
            kind: "DeleteOptions",
            propagationPolicy: propagationOf(flags.text("cascade")),
            ...(dryRun === "server" ? { dryRun: ["All"] } : {}),
          };
          await rest.bytes("DELETE", resourcePath(resource, namespace, nameOf(object)), { body });
        }
        results.tell(object, "pruned");
      }
    }
  }
}
