/** Policy rules as RBAC reads them: does one allow what is wanted, and do some rules cover others. Pure. */
import type { PolicyRule } from "#api/rbac/v1/policy-rule.ts";
import { compareUtf8 } from "#machinery/object.ts";
import type { Attributes } from "./authorizer.ts";

const has = (list: readonly string[] | undefined, value: string): boolean =>
  list !== undefined && (list.includes("*") || list.includes(value));

function resourceMatches(rule: PolicyRule, wanted: Attributes): boolean {
  const { resources } = rule;
  if (resources === undefined) return false;
  if (wanted.subresource === "") return has(resources, wanted.resource);
  return (
    has(resources, `${wanted.resource}/${wanted.subresource}`) ||
    resources.includes(`*/${wanted.subresource}`)
  );
}

const pathMatches = (pattern: string, path: string): boolean =>
  pattern === path || (pattern.endsWith("*") && path.startsWith(pattern.replace(/\*+$/, "")));

export function ruleAllows(rule: PolicyRule, wanted: Attributes): boolean {
  if (!has(rule.verbs, wanted.verb)) return false;
  if (!wanted.isResource)
    return (rule.nonResourceURLs ?? []).some((url) => pathMatches(url, wanted.path));
  const { resourceNames = [] } = rule;
  return (
    has(rule.apiGroups, wanted.group) &&
    resourceMatches(rule, wanted) &&
    (resourceNames.length === 0 || resourceNames.includes(wanted.name))
  );
}

/** The same rights as rules of one verb on one resource, or one path, each. */
export function breakDown(rule: PolicyRule): PolicyRule[] {
  const { verbs, apiGroups = [], resources = [], resourceNames = [], nonResourceURLs = [] } = rule;
  const parts: PolicyRule[] = [];
  for (const group of apiGroups) {
    for (const resource of resources) {
      for (const verb of verbs) {
        const part = { apiGroups: [group], resources: [resource], verbs: [verb] };
        if (resourceNames.length === 0) parts.push(part);
        else for (const name of resourceNames) parts.push({ ...part, resourceNames: [name] });
      }
    }
  }
  for (const url of nonResourceURLs)
    for (const verb of verbs) parts.push({ nonResourceURLs: [url], verbs: [verb] });
  return parts;
}

/** Whether a rule covers a part, which has at most one of everything. */
function covers(owner: PolicyRule, part: PolicyRule): boolean {
  if (!has(owner.verbs, part.verbs[0] ?? "")) return false;
  const url = part.nonResourceURLs?.[0];
  if (url !== undefined) return (owner.nonResourceURLs ?? []).some((own) => pathMatches(own, url));
  const resource = part.resources?.[0] ?? "";
  const slash = resource.indexOf("/");
  const anySubresource = slash < 0 ? undefined : `*${resource.slice(slash)}`;
  const names = owner.resourceNames ?? [];
  const name = part.resourceNames?.[0];
  return (
    has(owner.apiGroups, part.apiGroups?.[0] ?? "") &&
    (has(owner.resources, resource) ||
      (anySubresource !== undefined && (owner.resources ?? []).includes(anySubresource))) &&
    (names.length === 0 || (name !== undefined && names.includes(name)))
  );
}

/** What of `wanted` none of the `owned` rules covers, in parts. */
export function uncovered(
  owned: readonly PolicyRule[],
  wanted: readonly PolicyRule[],
): PolicyRule[] {
  return wanted.flatMap(breakDown).filter((part) => !owned.some((rule) => covers(rule, part)));
}

/** Parts on the same resource become one rule with several verbs. */
function joinVerbs(parts: readonly PolicyRule[]): PolicyRule[] {
  const joined: PolicyRule[] = [];
  const byResource = new Map<string, PolicyRule>();
  for (const part of parts) {
    if (part.nonResourceURLs !== undefined) {
      joined.push(part);
      continue;
    }
    const id = JSON.stringify([part.apiGroups, part.resources, part.resourceNames]);
    const known = byResource.get(id);
    if (known === undefined) byResource.set(id, { ...part, verbs: [...part.verbs] });
    else known.verbs.push(...part.verbs);
  }
  return [...joined, ...byResource.values()];
}

const quoted = (list: readonly string[]): string =>
  `[${list.map((one) => JSON.stringify(one)).join(" ")}]`;

function describe({ apiGroups, resources, nonResourceURLs, resourceNames, verbs }: PolicyRule) {
  const all: [string, readonly string[] | undefined][] = [
    ["APIGroups", apiGroups],
    ["Resources", resources],
    ["NonResourceURLs", nonResourceURLs],
    ["ResourceNames", resourceNames],
    ["Verbs", verbs],
  ];
  const said = all.flatMap(([name, list = []]) =>
    list.length === 0 ? [] : [`${name}:${quoted(list)}`],
  );
  return `{${said.join(", ")}}`;
}

/** Missing rights as upstream lists them in a refusal: one a line, sorted. */
export function describeMissing(parts: readonly PolicyRule[]): string {
  return [...new Set(joinVerbs(parts).map(describe))].sort(compareUtf8).join("\n");
}
