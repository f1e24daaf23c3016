/** The shape of an authorizer, the union of several, and the stage that asks it: may this user do that? */
import type { User } from "#api/request.ts";
import { type FieldRequirement, parseFieldSelectorText } from "#machinery/selector.ts";
import { forbiddenError, type StatusError } from "#machinery/status-error.ts";
import type { ChainContext, Stage } from "../chain.ts";
import { queryValue } from "../request-info.ts";

/** What someone wants to do. */
export interface Attributes {
  readonly user: User;
  readonly verb: string;
  readonly isResource: boolean;
  readonly group: string;
  readonly version: string;
  readonly resource: string;
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
  /** Where it is no resource. */
  readonly path: string;
  /** How a list or watch is narrowed. */
  readonly fieldSelector?: readonly FieldRequirement[];
}

export type Decision =
  | { readonly decision: "allow"; readonly reason: string }
  | { readonly decision: "deny" | "no opinion"; readonly reason: string };

export interface ResourceRule {
  readonly verbs: readonly string[];
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames: readonly string[];
}
export interface NonResourceRule {
  readonly verbs: readonly string[];
  readonly nonResourceURLs: readonly string[];
}
export interface Rules {
  readonly resourceRules: readonly ResourceRule[];
  readonly nonResourceRules: readonly NonResourceRule[];
  /** There may be more than what is listed. */
  readonly incomplete: boolean;
}

export interface Authorizer {
  authorize(attributes: Attributes): Decision;
  rulesFor(user: User, namespace: string): Rules;
}

export const noOpinion: Decision = { decision: "no opinion", reason: "" };

/** Asked in order; the first that allows or denies decides; nobody: denied. */
export function anyOf(authorizers: readonly Authorizer[]): Authorizer {
  return {
    authorize(attributes) {
      const reasons: string[] = [];
      for (const authorizer of authorizers) {
        const decision = authorizer.authorize(attributes);
        if (decision.decision !== "no opinion") return decision;
        if (decision.reason !== "") reasons.push(decision.reason);
      }
      return { decision: "no opinion", reason: reasons.join("\n") };
    },
    rulesFor(user, namespace) {
      const all = authorizers.map((authorizer) => authorizer.rulesFor(user, namespace));
      return {
        resourceRules: all.flatMap((rules) => rules.resourceRules),
        nonResourceRules: all.flatMap((rules) => rules.nonResourceRules),
        incomplete: all.some((rules) => rules.incomplete),
      };
    },
  };
}

const quote = (text: string): string => JSON.stringify(text);

/** Upstream: errors never look like HTML. */
const sanitize = (text: string): string =>
  text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

/** Upstream's sentence, on which clients match. */
export function forbiddenBy(attributes: Attributes, reason: string): StatusError {
  const { user, verb, group, namespace, name, path } = attributes;
  let what: string;
  if (!attributes.isResource) what = `User ${quote(user.name)} cannot ${verb} path ${quote(path)}`;
  else {
    const { resource, subresource } = attributes;
    const full = subresource === "" ? resource : `${resource}/${subresource}`;
    const where =
      namespace === "" ? "at the cluster scope" : `in the namespace ${quote(namespace)}`;
    what = `User ${quote(user.name)} cannot ${verb} resource ${quote(full)} in API group ${quote(group)} ${where}`;
  }
  const why = reason === "" ? sanitize(what) : `${sanitize(what)}: ${reason}`;
  return forbiddenError({ group, plural: attributes.resource }, name, why);
}

/** Undefined: none, or one that cannot be read: what it leads to says so. */
function selectorOf({ request, info }: ChainContext): readonly FieldRequirement[] | undefined {
  if (!["list", "watch", "deletecollection"].includes(info.verb)) return undefined;
  const text = queryValue(request, "fieldSelector") ?? "";
  if (text === "") return undefined;
  const parsed = parseFieldSelectorText(text);
  return "requirements" in parsed ? parsed.requirements : undefined;
}

export function attributesOf(context: ChainContext): Attributes {
  const { info, user } = context;
  const { verb, isResource, group, version, resource, subresource, namespace, name, path } = info;
  const fieldSelector = selectorOf(context);
  return {
    user,
    verb,
    isResource,
    group,
    version,
    resource,
    subresource,
    namespace,
    name,
    path,
    ...(fieldSelector === undefined ? {} : { fieldSelector }),
  };
}

export const authorize =
  (authorizer: Authorizer): Stage =>
  (next) =>
  (context) => {
    const attributes = attributesOf(context);
    const { decision, reason } = authorizer.authorize(attributes);
    if (decision !== "allow") throw forbiddenBy(attributes, reason);
    return next(context);
  };
