/** What is wrong with an Ingress, in upstream's words and order. */
import { type FieldError, invalid, notSupported, required } from "#machinery/field-error.ts";
import { parseIpSloppy } from "#machinery/ip.ts";
import { nameProblems } from "#machinery/meta-validation.ts";
import {
  isDns1123Label,
  isDns1123Subdomain,
  isPathSegmentName,
  isPortName,
  isPortNumber,
  isValidIpForLegacyField,
  isWildcardDns1123Subdomain,
} from "#machinery/validation.ts";
import type {
  HTTPIngressPath,
  Ingress,
  IngressBackend,
  IngressRule,
  IngressTLS,
} from "../../generated/networking/v1.ts";

export const ingressClassAnnotation = "kubernetes.io/ingress.class";

const pathTypes: readonly string[] = ["Exact", "ImplementationSpecific", "Prefix"];
const pathSequences: readonly string[] = ["//", "/./", "/../", "%2f", "%2F"];
const pathEndings: readonly string[] = ["/..", "/."];

const each = (path: string, value: unknown, messages: readonly string[]): FieldError[] =>
  messages.map((message) => invalid(path, value, message));

const hostMessages = (host: string): string[] =>
  host.includes("*") ? isWildcardDns1123Subdomain(host) : isDns1123Subdomain(host);

function validateResourceBackend(
  resource: NonNullable<IngressBackend["resource"]>,
  path: string,
): FieldError[] {
  const { apiGroup, kind, name } = resource;
  const errors: FieldError[] = [];
  if (apiGroup !== undefined && apiGroup !== null) {
    errors.push(...each(`${path}.apiGroup`, apiGroup, isDns1123Subdomain(apiGroup)));
  }
  if (kind === "") errors.push(required(`${path}.kind`));
  else errors.push(...each(`${path}.kind`, kind, isPathSegmentName(kind)));
  if (name === "") errors.push(required(`${path}.name`));
  else errors.push(...each(`${path}.name`, name, isPathSegmentName(name)));
  return errors;
}

function validateBackend({ resource, service }: IngressBackend, path: string): FieldError[] {
  if (resource !== undefined && service !== undefined) {
    return [invalid(path, "", "cannot set both resource and service backends")];
  }
  if (resource !== undefined) return validateResourceBackend(resource, `${path}.resource`);
  if (service === undefined) {
    return [invalid(path, "", "resource or service backend is required")];
  }
  const { name: serviceName, port } = service;
  const { name = "", number = 0 } = port;
  const errors: FieldError[] = [];
  const at = `${path}.service`;
  if (serviceName === "") errors.push(required(`${at}.name`));
  else errors.push(...each(`${at}.name`, serviceName, isDns1123Label(serviceName)));
  if (name !== "" && number !== 0) {
    errors.push(invalid(path, "", "cannot set both port name & port number"));
  } else if (name !== "") errors.push(...each(`${at}.port.name`, name, isPortName(name)));
  else if (number !== 0) errors.push(...each(`${at}.port.number`, number, isPortNumber(number)));
  else errors.push(required(path, "port name or number is required"));
  return errors;
}

function pathProblems(path: string): string[] {
  const problems = path.startsWith("/") ? [] : ["must be an absolute path"];
  for (const sequence of pathSequences) {
    if (path.includes(sequence)) problems.push(`must not contain '${sequence}'`);
  }
  for (const ending of pathEndings) {
    if (path.endsWith(ending)) problems.push(`cannot end with '${ending}'`);
  }
  return problems;
}

function validatePath(one: HTTPIngressPath, at: string): FieldError[] {
  const { path = "", backend } = one;
  const pathType: string | null | undefined = one.pathType;
  const errors: FieldError[] = [];
  switch (pathType) {
    case undefined:
    case null:
      return [required(`${at}.pathType`, "pathType must be specified")];
    case "Exact":
    case "Prefix":
      errors.push(...each(`${at}.path`, path, pathProblems(path)));
      break;
    case "ImplementationSpecific":
      if (path !== "" && !path.startsWith("/")) {
        errors.push(invalid(`${at}.path`, path, "must be an absolute path"));
      }
      break;
    default:
      errors.push(notSupported(`${at}.pathType`, pathType, pathTypes));
  }
  return [...errors, ...validateBackend(backend, `${at}.backend`)];
}

function validateRuleValue({ http }: IngressRule, at: string): FieldError[] {
  if (http === undefined) return [];
  const paths = http.paths ?? [];
  if (paths.length === 0) return [required(`${at}.http.paths`)];
  return paths.flatMap((path, i) => validatePath(path, `${at}.http.paths[${i}]`));
}

function validateRule(rule: IngressRule, at: string, oldIsInvalid: boolean): FieldError[] {
  const { host = "" } = rule;
  const errors: FieldError[] = [];
  if (host !== "") {
    if (parseIpSloppy(host) !== undefined) {
      errors.push(invalid(`${at}.host`, host, "must be a DNS name, not an IP address"));
    }
    errors.push(...each(`${at}.host`, host, hostMessages(host)));
  }
  if (host.includes("*") && oldIsInvalid) return errors;
  return [...errors, ...validateRuleValue(rule, at)];
}

const secretProblems = ({ secretName = "" }: IngressTLS): string[] =>
  secretName === "" ? [] : nameProblems(secretName, "subdomain");

function validateTls(tls: IngressTLS, at: string, oldIsInvalid: boolean): FieldError[] {
  const errors = (tls.hosts ?? []).flatMap((host, i) =>
    each(`${at}.hosts[${i}]`, host, hostMessages(host)),
  );
  if (oldIsInvalid) return errors;
  return [...errors, ...each(`${at}.secretName`, tls.secretName, secretProblems(tls))];
}

/** What was stored when the rules were laxer may stay as it is. */
export function validateIngress({ spec }: Ingress, old: Ingress | undefined): FieldError[] {
  const { rules = [], tls = [], defaultBackend, ingressClassName } = spec;
  const errors: FieldError[] = [];
  if (rules.length === 0 && defaultBackend === undefined) {
    const detail = "either `defaultBackend` or `rules` must be specified";
    errors.push(invalid("spec", spec.rules ?? null, detail));
  }
  if (defaultBackend !== undefined) {
    errors.push(...validateBackend(defaultBackend, "spec.defaultBackend"));
  }
  const laxRules = (old?.spec.rules ?? []).some(
    (rule) => rule.host?.includes("*") === true && validateRuleValue(rule, "").length > 0,
  );
  const laxSecrets = (old?.spec.tls ?? []).some((one) => secretProblems(one).length > 0);
  errors.push(...rules.flatMap((rule, i) => validateRule(rule, `spec.rules[${i}]`, laxRules)));
  errors.push(...tls.flatMap((one, i) => validateTls(one, `spec.tls[${i}]`, laxSecrets)));
  if (ingressClassName !== undefined) {
    const problems = nameProblems(ingressClassName, "subdomain");
    errors.push(...each("spec.ingressClassName", ingressClassName, problems));
  }
  return errors;
}

/** Upstream: the path of this one leaves out "metadata". */
export function validateIngressCreate(ingress: Ingress): FieldError[] {
  const errors = validateIngress(ingress, undefined);
  const annotation = ingress.metadata.annotations?.[ingressClassAnnotation];
  const { ingressClassName } = ingress.spec;
  if (annotation === undefined || ingressClassName === undefined) return errors;
  if (annotation === ingressClassName) return errors;
  const detail = "must match `ingressClassName` when both are specified";
  return [...errors, invalid(`annotations.${ingressClassAnnotation}`, annotation, detail)];
}

export function validateIngressStatus({ status }: Ingress, old: Ingress): FieldError[] {
  const known = (old.status.loadBalancer.ingress ?? []).map(({ ip = "" }) => ip);
  return (status.loadBalancer.ingress ?? []).flatMap(({ ip = "", hostname = "" }, i) => {
    const at = `status.loadBalancer.ingress[${i}]`;
    const errors =
      ip === "" || known.includes(ip) ? [] : isValidIpForLegacyField(`${at}.ip`, ip, true);
    if (hostname === "") return errors;
    errors.push(...each(`${at}.hostname`, hostname, isDns1123Subdomain(hostname)));
    if (parseIpSloppy(hostname) !== undefined) {
      errors.push(invalid(`${at}.hostname`, hostname, "must be a DNS name, not an IP address"));
    }
    return errors;
  });
}
