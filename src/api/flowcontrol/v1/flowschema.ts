/** FlowSchema: which requests belong to which priority level, and what tells their flows apart. */
import {
  duplicate,
  type FieldError,
  forbidden,
  invalid,
  notSupported,
  required,
} from "#machinery/field-error.ts";
import { nameProblems } from "#machinery/meta-validation.ts";
import { compareUtf8, equalObjects } from "#machinery/object.ts";
import { isDns1123Label } from "#machinery/validation.ts";
import type * as g from "../../generated/flowcontrol/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import { flowcontrolGroup, mandatory } from "./bootstrap.ts";

export type FlowSchema = g.FlowSchema;

const precedenceDefault = 1000;
const precedenceMax = 10_000;
const methods = ["ByNamespace", "ByUser"];
const verbs = [
  "create",
  "delete",
  "deletecollection",
  "get",
  "list",
  "patch",
  "proxy",
  "update",
  "watch",
];
const subjectKinds = ["Group", "ServiceAccount", "User"];

/** In the order in which requests are matched. */
export const byPrecedence = (a: FlowSchema, b: FlowSchema): number =>
  a.spec.matchingPrecedence - b.spec.matchingPrecedence ||
  compareUtf8(a.metadata.name ?? "", b.metadata.name ?? "");

export function validateFlowConditions(
  conditions: readonly { readonly type?: string }[],
): FieldError[] {
  return conditions.flatMap(({ type = "" }, index) => {
    const path = `status.conditions[${index}].type`;
    const errors: FieldError[] = [];
    if (conditions.findIndex((one) => (one.type ?? "") === type) < index)
      errors.push(duplicate(path, type));
    if (type === "") errors.push(required(path));
    return errors;
  });
}

function validateAccount(account: g.ServiceAccountSubject | undefined, path: string): FieldError[] {
  if (account === undefined) {
    return [required(path, "serviceAccount is required when subject kind is 'ServiceAccount'")];
  }
  const { name, namespace } = account;
  const errors: FieldError[] = [];
  if (name === "") errors.push(required(`${path}.name`));
  else if (name !== "*") {
    for (const text of nameProblems(name, "subdomain"))
      errors.push(invalid(`${path}.name`, name, text));
  }
  if (namespace === "")
    errors.push(required(`${path}.namespace`, "must specify namespace for service account"));
  else {
    for (const text of isDns1123Label(namespace))
      errors.push(invalid(`${path}.namespace`, namespace, text));
  }
  return errors;
}

function validateNamed(
  subject: { readonly name: string } | undefined,
  path: string,
  word: "user" | "group",
): FieldError[] {
  const kind = word === "user" ? "User" : "Group";
  if (subject === undefined)
    return [required(path, `${word} is required when subject kind is '${kind}'`)];
  return subject.name === "" ? [required(`${path}.name`)] : [];
}

function validateSubject(subject: g.Subject, path: string): FieldError[] {
  const { kind, serviceAccount, user, group } = subject;
  const parts = [
    [
      "ServiceAccount",
      "serviceAccount",
      () => validateAccount(serviceAccount, `${path}.serviceAccount`),
    ],
    ["User", "user", () => validateNamed(user, `${path}.user`, "user")],
    ["Group", "group", () => validateNamed(group, `${path}.group`, "group")],
  ] as const;
  const own = parts.find(([name]) => name === kind);
  if (own === undefined) return [notSupported(`${path}.kind`, kind, subjectKinds)];
  const errors = own[2]();
  for (const [name, field] of parts) {
    if (name === kind || subject[field] === undefined) continue;
    const why = `${field} is forbidden when subject kind is not '${name}'`;
    errors.push(forbidden(`${path}.${field}`, why));
  }
  return errors;
}

/** A list where "*" stands alone. */
function validateWild(
  list: readonly string[],
  path: string,
  missing: string,
  others: string,
): FieldError[] {
  if (list.length === 0) return [required(path, missing)];
  if (list.length === 1 || !list.includes("*")) return [];
  return [invalid(path, list, `if '*' is present, must not specify other ${others}`)];
}

function validateVerbs(list: readonly string[], path: string): FieldError[] {
  const errors = validateWild(list, path, "verbs must contain at least one value", "verbs");
  if (errors.length > 0 || list.includes("*")) return errors;
  return list.every((verb) => verbs.includes(verb)) ? [] : [notSupported(path, list, verbs)];
}

function pathProblem(path: string): string | undefined {
  if (path === "") return "must not be empty";
  if (path === "/") return undefined;
  if (!path.startsWith("/")) return "must start with slash";
  if (path.includes(" ")) return "must not contain white-space";
  if (path.includes("//")) return "must not contain double slash";
  const stars = path.split("*").length - 1;
  if (stars > 1 || (stars === 1 && !path.endsWith("/*")))
    return "wildcard can only do suffix matching";
  return undefined;
}

function validatePathRule(rule: g.NonResourcePolicyRule, path: string): FieldError[] {
  const at = `${path}.nonResourceURLs`;
  const urls = rule.nonResourceURLs ?? [];
  const missing = "nonResourceURLs must contain at least one value";
  const errors = [
    ...validateVerbs(rule.verbs ?? [], `${path}.verbs`),
    ...validateWild(urls, at, missing, "non-resource URLs"),
  ];
  if (urls.includes("*")) return errors;
  for (const [index, url] of urls.entries()) {
    const problem = pathProblem(url);
    if (problem !== undefined) errors.push(invalid(`${at}[${index}]`, url, problem));
  }
  return errors;
}

function validateResourceRule(rule: g.ResourcePolicyRule, path: string): FieldError[] {
  const supply = (what: string): string => `resource rules must supply at least one ${what}`;
  const at = `${path}.namespaces`;
  const namespaces = rule.namespaces ?? [];
  const errors = [
    ...validateVerbs(rule.verbs ?? [], `${path}.verbs`),
    ...validateWild(rule.apiGroups ?? [], `${path}.apiGroups`, supply("api group"), "api groups"),
    ...validateWild(rule.resources ?? [], `${path}.resources`, supply("resource"), "resources"),
  ];
  if (namespaces.length === 0) {
    if (rule.clusterScope === true) return errors;
    const why = "resource rules that are not cluster scoped must supply at least one namespace";
    return [...errors, required(at, why)];
  }
  if (namespaces.includes("*"))
    return [...errors, ...validateWild(namespaces, at, "", "namespaces")];
  const intro = "each member of this list must be '*' or a DNS-1123 label; ";
  for (const [index, name] of namespaces.entries()) {
    for (const text of isDns1123Label(name))
      errors.push(invalid(`${at}[${index}]`, name, `${intro}${text}`));
  }
  return errors;
}

function validateRule(rule: g.PolicyRulesWithSubjects, path: string): FieldError[] {
  const { resourceRules = [], nonResourceRules = [] } = rule;
  const subjects = rule.subjects ?? [];
  const errors: FieldError[] = [];
  if (subjects.length === 0)
    errors.push(required(`${path}.subjects`, "subjects must contain at least one value"));
  for (const [index, subject] of subjects.entries())
    errors.push(...validateSubject(subject, `${path}.subjects[${index}]`));
  if (resourceRules.length === 0 && nonResourceRules.length === 0) {
    const why = "at least one of resourceRules and nonResourceRules has to be non-empty";
    errors.push(required(path, why));
  }
  for (const [index, one] of resourceRules.entries())
    errors.push(...validateResourceRule(one, `${path}.resourceRules[${index}]`));
  for (const [index, one] of nonResourceRules.entries())
    errors.push(...validatePathRule(one, `${path}.nonResourceRules[${index}]`));
  return errors;
}

function validateSpec({ metadata, spec }: FlowSchema): FieldError[] {
  const { matchingPrecedence, distinguisherMethod, priorityLevelConfiguration, rules = [] } = spec;
  const errors: FieldError[] = [];
  const path = "spec.matchingPrecedence";
  const say = (detail: string): void => void errors.push(invalid(path, matchingPrecedence, detail));
  if (matchingPrecedence <= 0) say("must be a positive value");
  if (matchingPrecedence > precedenceMax) say(`must not be greater than ${precedenceMax}`);
  if (matchingPrecedence === 1 && metadata.name !== "exempt")
    say("only the schema named 'exempt' may have matchingPrecedence 1");
  if (distinguisherMethod !== undefined && !methods.includes(distinguisherMethod.type)) {
    // Upstream: the value that is told is the whole method.
    errors.push(notSupported("spec.distinguisherMethod.type", distinguisherMethod, methods));
  }
  const { name } = priorityLevelConfiguration;
  const at = "spec.priorityLevelConfiguration.name";
  if (name === "") errors.push(required(at, "must reference a priority level"));
  else for (const text of nameProblems(name, "subdomain")) errors.push(invalid(at, name, text));
  for (const [index, rule] of rules.entries())
    errors.push(...validateRule(rule, `spec.rules[${index}]`));
  return errors;
}

function validateFlowSchema(object: FlowSchema): FieldError[] {
  const errors = validateSpec(object);
  const { name = "" } = object.metadata;
  const fixed = mandatory.flowSchemas.get(name);
  if (fixed !== undefined && !equalObjects({ ...object.spec }, { ...fixed }))
    errors.push(invalid("spec", object.spec, `spec of '${name}' must equal the fixed value`));
  return [...errors, ...validateFlowConditions(object.status?.conditions ?? [])];
}

export const FlowSchema = defineResource<FlowSchema>({
  group: flowcontrolGroup,
  version: "v1",
  plural: "flowschemas",
  tableOrder: byPrecedence,
  printerColumns: [
    { name: "PriorityLevel", value: ({ spec }) => spec.priorityLevelConfiguration.name },
    { name: "MatchingPrecedence", value: ({ spec }) => spec.matchingPrecedence },
    {
      name: "DistinguisherMethod",
      value: ({ spec }) => spec.distinguisherMethod?.type ?? "<none>",
    },
    ageColumn,
    {
      name: "MissingPL",
      value: ({ status }) =>
        status?.conditions?.find(({ type }) => type === "Dangling")?.status ?? "?",
    },
  ],
  strategy: {
    tracksGeneration: true,
    defaults({ spec }) {
      if (spec.matchingPrecedence === 0) spec.matchingPrecedence = precedenceDefault;
    },
    validate: validateFlowSchema,
    validateUpdate: validateFlowSchema,
    prepareForStatusUpdate: keepMetadata,
    validateStatusUpdate: ({ status }) => validateFlowConditions(status?.conditions ?? []),
    statusResetFields: ["metadata"],
  },
});

/** Through /status nothing of the metadata changes. */
export function keepMetadata(
  { metadata }: { metadata: FlowSchema["metadata"] },
  old: { readonly metadata: FlowSchema["metadata"] },
): void {
  const { labels, annotations } = old.metadata;
  if (labels === undefined) delete metadata.labels;
  else metadata.labels = { ...labels };
  if (annotations === undefined) delete metadata.annotations;
  else metadata.annotations = { ...annotations };
}
