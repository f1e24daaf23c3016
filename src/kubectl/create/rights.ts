/** `create role|clusterrole|rolebinding|clusterrolebinding|serviceaccount|token`. */
import type { Invocation, KubectlCommand } from "../command.ts";
import type { Discovery } from "../discovery.ts";
import { noSuchResource } from "../discovery.ts";
import { CommandError, ExitError } from "../errors.ts";
import { duration, list, repeat, text } from "../flags.ts";
import { textAt } from "../objects.ts";
import { printerOf, printFlags } from "../printers.ts";
import { generator, nameArgument, pairs } from "./generate.ts";

const rbac = "rbac.authorization.k8s.io";
const knownVerbs = new Set([
  "get",
  "list",
  "watch",
  "create",
  "update",
  "patch",
  "delete",
  "deletecollection",
  "use",
  "bind",
  "impersonate",
  "escalate",
  "approve",
  "sign",
  "attest",
  "*",
]);

interface Asked {
  readonly group: string;
  /** "pods" or "pods/log". */
  readonly resource: string;
}

function resolve(discovery: Discovery, typed: string): Asked {
  const [whole = "", sub] = typed.split("/");
  if (whole === "*") return { group: "*", resource: sub === undefined ? "*" : `*/${sub}` };
  if (whole === "")
    throw new CommandError("resource must be specified if apiGroup/subresource specified");
  const found = discovery.find(whole);
  if (found === undefined) throw new ExitError(1, noSuchResource(whole).message);
  return {
    group: found.group,
    resource: sub === undefined ? found.plural : `${found.plural}/${sub}`,
  };
}

async function rulesOf({ session, flags }: Invocation): Promise<object[]> {
  const verbs = [...new Set(flags.list("verb"))];
  const names = flags.list("resource-name");
  if (verbs.length === 0) throw new CommandError("at least one verb must be specified");
  const all = verbs.includes("*") ? ["*"] : verbs;
  for (const verb of all) {
    if (!knownVerbs.has(verb)) {
      // Upstream: only said, in case the server knows better.
      session.warn(`'${verb}' is not a standard resource verb`);
    }
  }
  const typed = flags.list("resource");
  const discovery = typed.length > 0 ? await session.discovery() : undefined;
  const asked = discovery === undefined ? [] : typed.map((one) => resolve(discovery, one));
  const groups = [...new Set(asked.map(({ group }) => group))];
  return groups.map((group) => ({
    verbs: all,
    apiGroups: [group],
    resources: [
      ...new Set(asked.filter((one) => one.group === group).map(({ resource }) => resource)),
    ],
    ...(names.length === 0 ? {} : { resourceNames: [...names] }),
  }));
}

const ruleFlags = [
  list("resource", "Resource that the rule applies to"),
  repeat("resource-name", "Resource in the white list that the rule applies to"),
  list("verb", "Verb that applies to the resources contained in the rule"),
];

const role = generator({
  name: "role",
  summary: "Create a role with single rule",
  usage: "NAME --verb=verb --resource=resource.group/subresource [--resource-name=resourcename]",
  flags: ruleFlags,
  make: async (given, name) => {
    const rules = await rulesOf(given);
    if (rules.length === 0) throw new CommandError("at least one resource must be specified");
    return { apiVersion: `${rbac}/v1`, kind: "Role", metadata: { name }, rules };
  },
});

const clusterRole = generator({
  name: "clusterrole",
  summary: "Create a cluster role",
  usage: "NAME --verb=verb --resource=resource.group [--resource-name=resourcename]",
  flags: [
    ...ruleFlags,
    list("aggregation-rule", "An aggregation label selector for combining ClusterRoles"),
    list("non-resource-url", "A partial url that user should have access to"),
  ],
  make: async (given, name) => {
    const { flags } = given;
    const urls = flags.list("non-resource-url");
    const base = { apiVersion: `${rbac}/v1`, kind: "ClusterRole", metadata: { name } };
    const aggregation = flags.list("aggregation-rule");
    if (aggregation.length > 0) {
      if (
        ["verb", "resource", "resource-name", "non-resource-url"].some((flag) => flags.given(flag))
      ) {
        throw new CommandError(
          "aggregation rule must be specified without nonResourceURLs, verbs, resources or resourceNames",
        );
      }
      const matchLabels = pairs(
        aggregation.join(","),
        (pair) => `invalid aggregation rule ${pair}`,
      );
      return { ...base, aggregationRule: { clusterRoleSelectors: [{ matchLabels }] }, rules: null };
    }
    const rules = await rulesOf(given);
    if (rules.length === 0 && urls.length === 0)
      throw new CommandError("one of resource or nonResourceURL must be specified");
    for (const url of urls) {
      if (url !== "*" && !url.startsWith("/"))
        throw new CommandError("nonResourceURL should start with /");
      if (url.slice(0, -1).includes("*"))
        throw new CommandError(
          "nonResourceURL only supports wildcard matches when '*' is at the end",
        );
    }
    if (urls.length > 0)
      rules.push({ verbs: [...new Set(flags.list("verb"))], nonResourceURLs: [...urls] });
    return { ...base, rules };
  },
});

const subjectFlags = [
  repeat("user", "Usernames to bind to the role"),
  repeat("group", "Groups to bind to the role"),
  repeat("serviceaccount", "Service accounts to bind to the role, as <namespace>:<name>"),
];

export function subjectsOf({ flags }: Pick<Invocation, "flags">): object[] {
  return [
    ...flags.list("user").map((name) => ({ kind: "User", apiGroup: rbac, name })),
    ...flags.list("group").map((name) => ({ kind: "Group", apiGroup: rbac, name })),
    ...flags.list("serviceaccount").map((one) => {
      const [namespace = "", name = "", ...more] = one.split(":");
      if (namespace === "" || name === "" || more.length > 0) {
        throw new CommandError("serviceaccount must be <namespace>:<name>");
      }
      return { kind: "ServiceAccount", namespace, name };
    }),
  ];
}

const binding = (kind: "RoleBinding" | "ClusterRoleBinding"): KubectlCommand => {
  const isCluster = kind === "ClusterRoleBinding";
  return generator({
    name: kind.toLowerCase(),
    summary: isCluster
      ? "Create a cluster role binding for a particular cluster role"
      : "Create a role binding for a particular role or cluster role",
    usage: isCluster
      ? "NAME --clusterrole=NAME [--user=username] [--group=groupname] [--serviceaccount=namespace:serviceaccountname]"
      : "NAME --clusterrole=NAME|--role=NAME [--user=username] [--group=groupname] [--serviceaccount=namespace:serviceaccountname]",
    flags: [
      text("clusterrole", `ClusterRole this ${kind} should reference`),
      ...(isCluster ? [] : [text("role", "Role this RoleBinding should reference")]),
      ...subjectFlags,
    ],
    what: kind.toLowerCase(),
    make: (given, name) => {
      const { flags } = given;
      const [cluster, own] = [flags.text("clusterrole"), flags.text("role")];
      if (isCluster && cluster === "")
        throw new CommandError('required flag(s) "clusterrole" not set');
      if (!isCluster && (cluster === "") === (own === "")) {
        throw new CommandError("exactly one of clusterrole or role must be specified");
      }
      const subjects = subjectsOf(given);
      return {
        apiVersion: `${rbac}/v1`,
        kind,
        metadata: { name },
        ...(subjects.length === 0 ? {} : { subjects }),
        roleRef: {
          apiGroup: rbac,
          kind: own === "" ? "ClusterRole" : "Role",
          name: own || cluster,
        },
      };
    },
  });
};

const serviceAccount = generator({
  name: "serviceaccount",
  aliases: ["sa"],
  summary: "Create a service account with the specified name",
  usage: "NAME",
  flags: [],
  what: "serviceaccount",
  make: (_, name) => ({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name } }),
});

const token: KubectlCommand = {
  name: "token",
  summary: "Request a service account token",
  usage: "SERVICE_ACCOUNT_NAME",
  flags: [
    ...printFlags,
    repeat("audience", "Audience of the requested token"),
    text("bound-object-kind", "Kind of an object to bind the token to: Node, Pod or Secret"),
    text("bound-object-name", "Name of an object to bind the token to"),
    text("bound-object-uid", "UID of an object to bind the token to"),
    duration("duration", "Requested lifetime of the issued token", { default: "0s" }),
  ],
  run: createToken,
};

async function createToken(given: Invocation): Promise<void> {
  const { session, flags } = given;
  const name = nameArgument(given);
  const seconds = flags.durationMs("duration") / 1000;
  const kind = flags.text("bound-object-kind");
  const bound = flags.text("bound-object-name");
  if (seconds < 0) throw new CommandError("--duration must be greater than or equal to 0");
  if (seconds % 1 !== 0)
    throw new CommandError("--duration cannot be expressed in units less than seconds");
  if (flags.list("audience").includes(""))
    throw new CommandError("--audience must not be an empty string");
  if (kind === "" && bound !== "")
    throw new CommandError(
      "--bound-object-name can only be set if --bound-object-kind is provided",
    );
  if (kind === "" && flags.text("bound-object-uid") !== "")
    throw new CommandError("--bound-object-uid can only be set if --bound-object-kind is provided");
  if (kind !== "" && !["Node", "Pod", "Secret"].includes(kind))
    throw new CommandError("supported --bound-object-kind values are Node, Pod, Secret");
  if (kind !== "" && bound === "")
    throw new CommandError("--bound-object-name is required if --bound-object-kind is provided");
  const uid = flags.text("bound-object-uid");
  const rest = await session.rest();
  const path = `/api/v1/namespaces/${await session.namespace()}/serviceaccounts/${encodeURIComponent(name)}/token`;
  const answer = await rest
    .json("POST", path, {
      body: {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenRequest",
        spec: {
          audiences: [...flags.list("audience")],
          ...(seconds > 0 ? { expirationSeconds: seconds } : {}),
          ...(kind === ""
            ? {}
            : {
                boundObjectRef: {
                  apiVersion: "v1",
                  kind,
                  name: bound,
                  ...(uid === "" ? {} : { uid }),
                },
              }),
        },
      },
    })
    .catch((error: unknown) => {
      throw new CommandError(
        `failed to create token: ${error instanceof Error ? error.message : String(error)}`,
      );
    });
  const printer = printerOf(flags, session.around);
  session.out(
    printer === undefined ? `${textAt(answer, "status", "token")}\n` : printer(answer, true),
  );
}

export const rightsGenerators: readonly KubectlCommand[] = [
  role,
  clusterRole,
  binding("RoleBinding"),
  binding("ClusterRoleBinding"),
  serviceAccount,
  token,
];
