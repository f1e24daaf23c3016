/** What webhooks of admission must be like, and their defaults; both kinds of configuration share them. Wording is upstream's. */
import { type FieldError, invalid, notSupported, required } from "#machinery/field-error.ts";
import { validateLabelSelector } from "#machinery/selector.ts";
import { readUrl } from "#machinery/url.ts";
import {
  isDns1035Label,
  isDns1123Subdomain,
  isFullyQualifiedName,
  isPortNumber,
} from "#machinery/validation.ts";
import type {
  MutatingWebhook,
  RuleWithOperations,
  ServiceReference,
  ValidatingWebhook,
  WebhookClientConfig,
} from "../../generated/admissionregistration/v1.ts";

import { validateMatchConditions } from "./admission-expressions.ts";

export type Webhook = ValidatingWebhook & Pick<MutatingWebhook, "reinvocationPolicy">;

export const reviewVersions = ["v1", "v1beta1"];

export function setWebhookDefaults(hook: Webhook): void {
  hook.failurePolicy ??= "Fail";
  hook.matchPolicy ??= "Equivalent";
  hook.namespaceSelector ??= {};
  hook.objectSelector ??= {};
  hook.timeoutSeconds ??= 10;
  for (const rule of hook.rules ?? []) rule.scope ??= "*";
  if (hook.clientConfig.service !== undefined) hook.clientConfig.service.port ??= 443;
}

const oneOf = (path: string, value: string | undefined, known: readonly string[]): FieldError[] =>
  value === undefined || known.includes(value) ? [] : [notSupported(path, value, known)];

function validateResources(resources: readonly string[], path: string): FieldError[] {
  if (resources.length === 0) return [required(path)];
  const errors: FieldError[] = [];
  const wholes = new Set<string>();
  const parts = new Set<string>();
  for (const [index, text] of resources.entries()) {
    const at = `${path}[${index}]`;
    if (text === "") errors.push(required(at));
    const slash = text.indexOf("/");
    if (slash === -1) continue;
    const resource = text.slice(0, slash);
    const sub = text.slice(slash + 1);
    const hides = (what: string): string => `if '${what}' is present, must not specify ${text}`;
    if (wholes.has(resource)) errors.push(invalid(at, text, hides(`${resource}/*`)));
    if (parts.has(sub)) errors.push(invalid(at, text, hides(`*/${sub}`)));
    if (sub === "*") wholes.add(resource);
    if (resource === "*") parts.add(sub);
  }
  if (resources.length > 1 && resources.includes("*/*")) {
    const why = "if '*/*' is present, must not specify other resources";
    errors.push(invalid(path, resources, why));
  }
  const plain = resources.some((one) => one !== "*" && !one.includes("/"));
  if (resources.includes("*") && plain) {
    const why = "if '*' is present, must not specify other resources without subresources";
    errors.push(invalid(path, resources, why));
  }
  return errors;
}

const operations = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];

export function validateRule(rule: RuleWithOperations, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const list = (field: "operations" | "apiGroups" | "apiVersions", what: string): void => {
    const values: readonly string[] = rule[field] ?? [];
    const at = `${path}.${field}`;
    if (values.length === 0) errors.push(required(at));
    if (values.length > 1 && values.includes("*"))
      errors.push(invalid(at, values, `if '*' is present, must not specify other ${what}`));
  };
  list("operations", "operations");
  for (const [index, one] of (rule.operations ?? []).entries())
    errors.push(...oneOf(`${path}.operations[${index}]`, one, operations));
  list("apiGroups", "API groups");
  list("apiVersions", "API versions");
  for (const [index, one] of (rule.apiVersions ?? []).entries())
    if (one === "") errors.push(required(`${path}.apiVersions[${index}]`));
  errors.push(...validateResources(rule.resources ?? [], `${path}.resources`));
  return [...errors, ...oneOf(`${path}.scope`, rule.scope, ["*", "Cluster", "Namespaced"])];
}

const urlForm = "; desired format: https://host[/path]";

function validateUrl(text: string, path: string): FieldError[] {
  const url = readUrl(text);
  if ("problem" in url)
    return [required(path, `url must be a valid URL: ${url.problem}${urlForm}`)];
  const errors: FieldError[] = [];
  const { scheme, user, host, query, fragment } = url;
  if (scheme !== "https")
    errors.push(invalid(path, scheme, `'https' is the only allowed URL scheme${urlForm}`));
  if (host === "") errors.push(invalid(path, host, `host must be specified${urlForm}`));
  if (user !== undefined)
    errors.push(invalid(path, user, "user information is not permitted in the URL"));
  if (fragment !== "")
    errors.push(invalid(path, fragment, "fragments are not permitted in the URL"));
  if (query !== "")
    errors.push(invalid(path, query, "query parameters are not permitted in the URL"));
  return errors;
}

function validateService(service: ServiceReference, path: string): FieldError[] {
  const errors: FieldError[] = [];
  // Upstream takes the one for the other here; clients see the swapped names.
  if (service.namespace === "") errors.push(required(`${path}.name`));
  if (service.name === "") errors.push(required(`${path}.namespace`));
  const port = service.port ?? 443;
  const problems = isPortNumber(port);
  if (problems.length > 0)
    errors.push(invalid(`${path}.port`, port, `port is not valid: ${problems.join(", ")}`));
  const { path: urlPath = "" } = service;
  if (urlPath === "" || urlPath === "/") return errors;
  const at = `${path}.path`;
  if (!urlPath.startsWith("/")) errors.push(invalid(at, urlPath, "must start with a '/'"));
  for (const [index, step] of urlPath.slice(1).replace(/\/$/, "").split("/").entries()) {
    const why =
      step === "" ? [" may not be empty"] : isDns1123Subdomain(step).map((one) => `: ${one}`);
    errors.push(...why.map((one) => invalid(at, urlPath, `segment[${index}]${one}`)));
  }
  return errors;
}

function validateClient({ url, service }: WebhookClientConfig, path: string): FieldError[] {
  if ((url === undefined) === (service === undefined))
    return [required(path, "exactly one of url or service is required")];
  if (url !== undefined) return validateUrl(url, `${path}.url`);
  return service === undefined ? [] : validateService(service, `${path}.service`);
}

function validateVersions(versions: readonly string[], path: string): FieldError[] {
  const known = reviewVersions.join(", ");
  if (versions.length === 0) return [required(path, `must specify one of ${known}`)];
  const errors: FieldError[] = [];
  for (const [index, one] of versions.entries()) {
    const at = `${path}[${index}]`;
    if (versions.indexOf(one) < index) errors.push(invalid(at, one, "duplicate version"));
    else errors.push(...isDns1035Label(one).map((why) => invalid(at, one, why)));
  }
  if (!versions.some((one) => reviewVersions.includes(one)))
    errors.push(invalid(path, versions, `must include at least one of ${known}`));
  return errors;
}

function validateHook(hook: Webhook, path: string, mutating: boolean): FieldError[] {
  const errors = [
    ...isFullyQualifiedName(`${path}.name`, hook.name),
    ...(hook.rules ?? []).flatMap((rule, index) => validateRule(rule, `${path}.rules[${index}]`)),
    ...oneOf(`${path}.failurePolicy`, hook.failurePolicy, ["Fail", "Ignore"]),
    ...oneOf(`${path}.matchPolicy`, hook.matchPolicy, ["Equivalent", "Exact"]),
  ];
  const none = ["None", "NoneOnDryRun"];
  const { sideEffects, timeoutSeconds = 10 } = hook;
  if ((sideEffects ?? undefined) === undefined)
    errors.push(required(`${path}.sideEffects`, `must specify one of ${none.join(", ")}`));
  else errors.push(...oneOf(`${path}.sideEffects`, sideEffects, none));
  if (timeoutSeconds < 1 || timeoutSeconds > 30) {
    const why = "the timeout value must be between 1 and 30 seconds";
    errors.push(invalid(`${path}.timeoutSeconds`, timeoutSeconds, why));
  }
  errors.push(...validateLabelSelector(hook.namespaceSelector ?? {}, `${path}.namespaceSelector`));
  errors.push(...validateLabelSelector(hook.objectSelector ?? {}, `${path}.objectSelector`));
  if (mutating) {
    const at = `${path}.reinvocationPolicy`;
    errors.push(...oneOf(at, hook.reinvocationPolicy, ["IfNeeded", "Never"]));
  }
  errors.push(...validateClient(hook.clientConfig, `${path}.clientConfig`));
  const conditions = `${path}.matchConditions`;
  const scope = { params: false, authorizer: true };
  errors.push(...validateMatchConditions(hook.matchConditions ?? [], conditions, scope));
  return errors;
}

export function validateWebhooks(hooks: readonly Webhook[], mutating: boolean): FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  for (const [index, hook] of hooks.entries()) {
    const path = `webhooks[${index}]`;
    errors.push(...validateHook(hook, path, mutating));
    const versions = hook.admissionReviewVersions ?? [];
    errors.push(...validateVersions(versions, `${path}.admissionReviewVersions`));
    if (names.has(hook.name))
      errors.push({
        path: `${path}.name`,
        type: "FieldValueDuplicate",
        message: `Duplicate value: ${JSON.stringify(hook.name)}`,
      });
    names.add(hook.name);
  }
  return errors;
}
