/** `kubectl set image|env|resources|selector|serviceaccount|subject`: one part of a pod template (or of a few other kinds). */

import { kindSchema } from "#api/facts.ts";
import type { Container, PodTemplateSpec } from "#api/generated/core/v1.ts";
import { cloneJson, equalObjects, isObject, type JsonObject } from "#machinery/object.ts";
import {
  changeFlags,
  eachObject,
  findObjects,
  mergeMedia,
  sendPatch,
  strategicMedia,
} from "./changing.ts";
import type { Invocation, KubectlCommand } from "./command.ts";
import { readEnvFile } from "./create/data.ts";
import { subjectsOf } from "./create/rights.ts";
import { nameInResults } from "./discovery.ts";
import { asError, CommandError, throwAll } from "./errors.ts";
import { list, repeat, text, toggle } from "./flags.ts";
import { hasFiles } from "./manifests.ts";
import { type AnyObject, kindOf, nameOf, objectAt, textAt } from "./objects.ts";
import { readWhole } from "./rest.ts";
import type { Fetched } from "./selection.ts";
import { twoWayMergePatch, twoWayStrategicPatch } from "./three-way.ts";
import { dryRunOf, Results } from "./writing.ts";

const noResources =
  "one or more resources must be specified as <resource> <name> or <resource>/<name>";

/** The pod template inside (a copy that may be changed), whatever kind holds it. */
function templateOf(object: AnyObject): PodTemplateSpec | undefined {
  const spec = objectAt(object, "spec");
  if (kindOf(object) === "Pod") return object as unknown as PodTemplateSpec;
  const template =
    kindOf(object) === "CronJob"
      ? objectAt(spec, "jobTemplate", "spec", "template")
      : spec["template"];
  return isObject(template) && isObject(template["spec"])
    ? (template as unknown as PodTemplateSpec)
    : undefined;
}

const wildcard = (pattern: string): RegExp =>
  new RegExp(`^${pattern.replace(/[.+^${}()|[\]\\?]/g, "\\$&").replaceAll("*", ".*")}$`);

/** Changes a copy of each object and sends the difference. `change` gives false where there was nothing to do. */
async function changeEach(
  given: Invocation,
  resources: readonly string[],
  operation: string,
  change: (object: AnyObject, one: Fetched) => Promise<boolean> | boolean,
  options: { readonly failure: string },
): Promise<void> {
  const { flags } = given;
  const results = new Results(given);
  const objects = await findObjects(given, resources, flags.switch("all"));
  await eachObject(objects, async (one) => {
    const changed = cloneJson(one.object);
    if (!(await change(changed, one))) return;
    const isLocal = flags.switch("local") || dryRunOf(flags) === "client";
    if (isLocal || equalObjects(one.object, changed)) {
      if (isLocal || results.hasPrinter) results.tell(changed, operation);
      return;
    }
    const schema = kindSchema(one.resource.group, one.resource.version, one.resource.kind);
    const patch =
      schema === undefined
        ? twoWayMergePatch(one.object, changed)
        : twoWayStrategicPatch(schema, one.object, changed);
    try {
      const mediaType = schema === undefined ? mergeMedia : strategicMedia;
      results.tell(
        await sendPatch(given, one, patch, { mediaType, manager: "kubectl-set" }),
        operation,
      );
    } catch (error) {
      throw new CommandError(`${options.failure} ${asError(error).message}`);
    }
  });
}

/** Resources first, then NAME=VALUE (and, for env, NAME-). */
function split(
  args: readonly string[],
  removals: boolean,
): readonly [readonly string[], readonly string[]] {
  const isPair = (arg: string): boolean => arg.includes("=") || (removals && arg.endsWith("-"));
  const first = args.findIndex(isPair);
  if (first < 0) return [args, []];
  if (args.slice(first).some((arg) => !isPair(arg))) {
    throw new CommandError(
      `all resources must be specified before environment changes: ${args.join(" ")}`,
    );
  }
  return [args.slice(0, first), args.slice(first)];
}

const allContainers = ({ spec }: PodTemplateSpec): Container[] => [
  ...(spec.initContainers ?? []),
  ...spec.containers,
];

async function setImage(given: Invocation): Promise<void> {
  const { flags, args } = given;
  const [resources, words] = split(args, false);
  const errors: Error[] = [];
  const images = words.map(
    (word) => [word.slice(0, word.indexOf("=")), word.slice(word.indexOf("=") + 1)] as const,
  );
  if (flags.switch("all") && flags.text("selector") !== "")
    errors.push(new CommandError("cannot set --all and --selector at the same time"));
  if (resources.length === 0 && !hasFiles(flags)) errors.push(new CommandError(noResources));
  if (images.length === 0) errors.push(new CommandError("at least one image update is required"));
  if (images.length > 1 && images.some(([name]) => name === "*")) {
    errors.push(
      new CommandError(
        "all containers are already specified by *, but saw more than one container_name=container_image pairs",
      ),
    );
  }
  throwAll(errors);
  await changeEach(
    given,
    resources,
    "image updated",
    (object) => {
      const template = templateOf(object);
      if (template === undefined) return false;
      for (const [name, image] of images) {
        const found = allContainers(template).filter((one) => name === "*" || one.name === name);
        if (found.length === 0)
          throw new CommandError(`error: unable to find container named ${JSON.stringify(name)}`);
        for (const container of found) container.image = image;
      }
      return true;
    },
    { failure: "failed to patch image update to pod template:" },
  );
}

interface Source {
  readonly kind: "ConfigMap" | "Secret";
  readonly name: string;
  readonly keys: readonly string[];
}

/** --from=configmap/x: one variable for each key. */
async function sourceOf({ session, flags }: Invocation): Promise<Source | undefined> {
  const from = flags.text("from");
  if (from === "") return undefined;
  const [type = "", name = ""] = from.split("/");
  const resource = (await session.discovery()).require(type);
  if (resource.kind !== "ConfigMap" && resource.kind !== "Secret")
    throw new CommandError("unsupported resource specified in --from");
  const rest = await session.rest();
  const object = await rest.json(
    "GET",
    `/api/v1/namespaces/${await session.namespace()}/${resource.plural}/${name}`,
  );
  const wanted = flags.list("keys");
  const all = Object.keys(objectAt(object, "data")).toSorted();
  const keys = all.filter((key) => wanted.length === 0 || wanted.includes(key));
  for (const key of keys) {
    const shown = variableName("", key);
    if (shown !== key) session.warn(`key ${key} transferred to ${shown}`);
  }

  return { kind: resource.kind, name, keys };
}
const variableName = (prefix: string, key: string): string =>
  prefix + key.toUpperCase().replace(/[^A-Z0-9_]/g, "_");

async function setEnv(given: Invocation): Promise<void> {
  const { session, flags, args } = given;
  const [resources, words] = split(
    args.filter((arg) => arg !== "-"),
    true,
  );
  if (flags.switch("all") && flags.text("selector") !== "")
    throw new CommandError("cannot set --all and --selector at the same time");
  if (resources.length === 0 && !hasFiles(flags)) throw new CommandError(noResources);
  if (flags.switch("list") && flags.text("output") !== "")
    throw new CommandError("--list and --output may not be specified together");
  if (flags.list("keys").length > 0 && flags.text("from") === "") {
    throw new CommandError(
      "when specifying --keys, a configmap or secret must be provided with --from",
    );
  }
  const values = new Map<string, string>();
  const removals = new Set<string>();
  for (const word of [...words, ...flags.list("env")]) {
    const equals = word.indexOf("=");
    if (equals > 0) values.set(word.slice(0, equals), word.slice(equals + 1));
    else if (word.endsWith("-")) removals.add(word.slice(0, -1));
    else throw new CommandError(`unknown environment argument ${word}`);
  }
  if (args.includes("-")) {
    const content = new TextDecoder().decode(await readWhole(session.around.terminal.input()));
    for (const [name, value] of readEnvFile(content, session.around.environment))
      values.set(name, value);
  }
  const source = await sourceOf(given);
  const chosen = wildcard(flags.text("containers") || "*");
  await changeEach(
    given,
    resources,
    "env updated",
    (object) => {
      const template = templateOf(object);
      if (template === undefined) return false;
      const containers = allContainers(template).filter(({ name }) => chosen.test(name));
      if (containers.length === 0) {
        session.warn(
          `${kindOf(object)}/${nameOf(object)} does not have any containers matching ${JSON.stringify(flags.text("containers") || "*")}`,
        );
        return false;
      }
      if (flags.switch("list")) {
        listVariables(given, object, containers);
        return false;
      }
      for (const container of containers)
        changeVariables(given, container, values, removals, source);
      return true;
    },
    { failure: "failed to patch env update to pod template:" },
  );
}

function listVariables(
  { session }: Invocation,
  object: AnyObject,
  containers: readonly Container[],
): void {
  for (const { name, env = [] } of containers) {
    session.out(`# ${kindOf(object)} ${nameOf(object)}, container ${name}\n`);
    for (const one of env) {
      if (one.valueFrom === undefined) session.out(`${one.name}=${one.value ?? ""}\n`);
      else {
        const { configMapKeyRef, secretKeyRef, fieldRef, resourceFieldRef } = one.valueFrom;
        const from =
          configMapKeyRef !== undefined
            ? `configmap ${configMapKeyRef.name ?? ""}, key ${configMapKeyRef.key}`
            : secretKeyRef !== undefined
              ? `secret ${secretKeyRef.name ?? ""}, key ${secretKeyRef.key}`
              : fieldRef !== undefined
                ? `a field path ${fieldRef.fieldPath}`
                : `a resource field ${resourceFieldRef?.resource ?? ""}`;
        session.out(`# ${one.name} from ${from}\n`);
      }
    }
  }
}

function changeVariables(
  { flags }: Invocation,
  container: Container,
  values: ReadonlyMap<string, string>,
  removals: ReadonlySet<string>,
  source: Source | undefined,
): void {
  let env = [...(container.env ?? [])];
  const overwrites = !flags.given("overwrite") || flags.switch("overwrite");
  const put = (entry: NonNullable<Container["env"]>[number]): void => {
    const known = env.findIndex(({ name }) => name === entry.name);
    if (known >= 0 && !overwrites) {
      throw new CommandError(
        `'${entry.name}' already has a value (${env[known]?.value ?? ""}), and --overwrite is false`,
      );
    }
    env = known < 0 ? [...env, entry] : env.with(known, entry);
  };
  for (const [name, value] of values) put({ name, value });
  for (const key of source?.keys ?? []) {
    const reference = { name: source?.name ?? "", key };
    const valueFrom =
      source?.kind === "ConfigMap" ? { configMapKeyRef: reference } : { secretKeyRef: reference };
    put({ name: variableName(flags.text("prefix"), key), valueFrom });
  }
  container.env = env.filter(({ name }) => !removals.has(name));
}

function amounts(value: string): Record<string, string> {
  if (value === "") return {};
  return Object.fromEntries(
    value.split(",").map((part) => {
      const [name = "", quantity, ...more] = part.split("=");
      if (quantity === undefined || more.length > 0) {
        throw new CommandError(`invalid argument syntax ${part}, expected <resource>=<value>`);
      }
      return [name, quantity];
    }),
  );
}

async function setResources(given: Invocation): Promise<void> {
  const { flags, args } = given;
  if (flags.switch("all") && flags.text("selector") !== "")
    throw new CommandError("cannot set --all and --selector at the same time");
  if (flags.text("limits") === "" && flags.text("requests") === "") {
    throw new CommandError(
      "you must specify an update to requests or limits (in the form of --requests/--limits)",
    );
  }
  const [limits, requests] = [amounts(flags.text("limits")), amounts(flags.text("requests"))];
  const chosen = wildcard(flags.text("containers") || "*");
  await changeEach(
    given,
    args,
    "resource requirements updated",
    (object) => {
      const template = templateOf(object);
      if (template === undefined) return false;
      const containers = allContainers(template).filter(({ name }) => chosen.test(name));
      if (containers.length === 0)
        throw new CommandError(`error: unable to find container named ${flags.text("containers")}`);
      for (const container of containers) {
        const resources = { ...container.resources };
        if (Object.keys(limits).length > 0) resources.limits = { ...resources.limits, ...limits };
        if (Object.keys(requests).length > 0)
          resources.requests = { ...resources.requests, ...requests };
        container.resources = resources;
      }
      return true;
    },
    { failure: "failed to patch resources update to pod template" },
  );
}

async function setServiceAccount(given: Invocation): Promise<void> {
  const account = given.args.at(-1);
  if (account === undefined) throw new CommandError("serviceaccount is required");
  await changeEach(
    given,
    given.args.slice(0, -1),
    "serviceaccount updated",
    (object) => {
      const template = templateOf(object);
      if (template === undefined) return false;
      template.spec.serviceAccountName = account;
      return true;
    },
    { failure: "failed to patch ServiceAccountName" },
  );
}

async function setSelector(given: Invocation): Promise<void> {
  const expression = given.args.at(-1) ?? "";
  if (!expression.includes("=")) throw new CommandError("one selector is required");
  const selector = Object.fromEntries(
    expression.split(",").map((part) => part.split(/==?/) as [string, string]),
  );
  await changeEach(
    given,
    given.args.slice(0, -1),
    "selector updated",
    (object) => {
      if (kindOf(object) !== "Service")
        throw new CommandError("setting a selector is only supported for Services");
      const spec = objectAt(object, "spec");
      object["spec"] = { ...spec, selector };
      return true;
    },
    { failure: "failed to patch selector:" },
  );
}

async function setSubject(given: Invocation): Promise<void> {
  const wanted = subjectsOf(given) as JsonObject[];
  if (wanted.length === 0)
    throw new CommandError("you must specify at least one value of user, group or serviceaccount");
  await changeEach(
    given,
    given.args,
    "subjects updated",
    (object, { resource }) => {
      if (!["RoleBinding", "ClusterRoleBinding"].includes(resource.kind)) {
        throw new CommandError(
          "setting subjects is only supported for RoleBinding/ClusterRoleBinding",
        );
      }
      const before = Array.isArray(object["subjects"]) ? (object["subjects"] as JsonObject[]) : [];
      const same = (a: JsonObject, b: JsonObject): boolean =>
        ["kind", "name", "namespace"].every((key) => textAt(a, key) === textAt(b, key));
      object["subjects"] = [
        ...before,
        ...wanted.filter((one) => !before.some((other) => same(one, other))),
      ];
      return true;
    },
    {
      failure: `failed to patch subjects to ${nameInResults({ kind: "rolebinding", group: "" })}:`,
    },
  );
}

const flagsOf = changeFlags("update", "kubectl-set");
export const setCommand: KubectlCommand = {
  name: "set",
  summary: "Set specific features on objects",
  usage: "SUBCOMMAND",
  commands: [
    {
      name: "image",
      summary: "Update the image of a pod template",
      usage:
        "(-f FILENAME | TYPE NAME) CONTAINER_NAME_1=CONTAINER_IMAGE_1 ... CONTAINER_NAME_N=CONTAINER_IMAGE_N",
      flags: flagsOf,
      run: setImage,
    },
    {
      name: "env",
      summary: "Update environment variables on a pod template",
      usage: "RESOURCE/NAME KEY_1=VAL_1 ... KEY_N=VAL_N",
      flags: [
        ...flagsOf,
        text(
          "containers",
          "The names of containers in the selected pod templates to change; may hold '*'",
          { short: "c", default: "*" },
        ),
        repeat("env", "Specify a key-value pair for an environment variable", { short: "e" }),
        text("from", "The name of a resource from which to inject environment variables"),
        list("keys", "Comma-separated list of keys to import from specified resource"),
        toggle("list", "Display the environment and any changes in the standard format"),
        toggle("overwrite", "Allow environment to be overwritten", { default: "true" }),
        text("prefix", "Prefix to append to variable names"),
        toggle("resolve", "Accepted: references are shown as references"),
      ],
      run: setEnv,
    },
    {
      name: "resources",
      summary: "Update resource requests/limits on objects with pod templates",
      usage: "(-f FILENAME | TYPE NAME)  ([--limits=LIMITS & --requests=REQUESTS]",
      flags: [
        ...flagsOf,
        text("containers", "The names of containers to change; may hold '*'", {
          short: "c",
          default: "*",
        }),
        text("limits", "Limits: 'cpu=100m,memory=256Mi'"),
        text("requests", "Requests: 'cpu=100m,memory=256Mi'"),
      ],
      run: setResources,
    },
    {
      name: "selector",
      summary: "Set the selector on a resource",
      usage: "(-f FILENAME | TYPE NAME) EXPRESSIONS",
      flags: flagsOf,
      run: setSelector,
    },
    {
      name: "serviceaccount",
      aliases: ["sa"],
      summary: "Update the service account of a resource",
      usage: "(-f FILENAME | TYPE NAME) SERVICE_ACCOUNT",
      flags: flagsOf,
      run: setServiceAccount,
    },
    {
      name: "subject",
      summary:
        "Update the user, group, or service account in a role binding or cluster role binding",
      usage:
        "(-f FILENAME | TYPE NAME) [--user=username] [--group=groupname] [--serviceaccount=namespace:serviceaccountname]",
      flags: [
        ...flagsOf,
        repeat("user", "Usernames to bind to the role"),
        repeat("group", "Groups to bind to the role"),
        repeat("serviceaccount", "Service accounts to bind to the role"),
      ],
      run: setSubject,
    },
  ],
};
