/** Names of drivers, pools, devices and of what devices have. */
import { type FieldError, invalid, required, tooLong } from "#machinery/field-error.ts";
import {
  dns1123SubdomainLengthMax,
  isCIdentifier,
  isDns1123Label,
  isDns1123Subdomain,
  isLabelValue,
  isQualifiedName,
  maxLengthMessage,
  regexMessage,
} from "#machinery/validation.ts";
import { validateCsiDriverName } from "../../core/v1/pod-validation/volumes.ts";

const driverLengthMax = 63;
const identifierLengthMax = 32;
const each = (path: string, value: string, problems: readonly string[]): FieldError[] =>
  problems.map((problem) => invalid(path, value, problem));

export const validateDriverName = validateCsiDriverName;

/** As the rules declared on fields have it: capital letters are fine. */
export function validateDeclaredDriver(driver: string, path: string): FieldError[] {
  if (driver === "") return [required(path)];
  const label = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
  const isName = new RegExp(`^${label}(\\.${label})*$`, "i").test(driver);
  const words =
    "an RFC 1123 subdomain must consist of alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
  const problems = [
    ...(driver.length > dns1123SubdomainLengthMax
      ? [maxLengthMessage(dns1123SubdomainLengthMax)]
      : []),
    ...(isName ? [] : [regexMessage(words, `${label}(\\.${label})*`, "Example.com")]),
  ];
  const errors = each(path, driver, problems);
  if (driver.length <= driverLengthMax) return errors;
  const message = `Too long: may not be more than ${driverLengthMax} characters`;
  return [...errors, { path, type: "FieldValueTooLong", message }];
}

export function validatePoolName(name: string, path: string): FieldError[] {
  if (name === "") return [required(path)];
  return [
    ...(name.length > dns1123SubdomainLengthMax ? [tooLong(path, dns1123SubdomainLengthMax)] : []),
    ...name.split("/").flatMap((part) => each(path, part, isDns1123Subdomain(part))),
  ];
}

/** As the rules declared on fields have it: the segments are counted. */
export function validateDeclaredPool(name: string, path: string): FieldError[] {
  if (name === "") return [required(path)];
  const errors =
    name.length > dns1123SubdomainLengthMax ? [tooLong(path, dns1123SubdomainLengthMax)] : [];
  for (const [index, part] of name.split("/").entries()) {
    const start = `segment ${index}: `;
    if (part === "") errors.push(invalid(path, name, `${start}must not be empty`));
    else
      errors.push(
        ...each(
          path,
          part,
          isDns1123Subdomain(part).map((text) => start + text),
        ),
      );
  }
  return errors;
}

export const validateLabelName = (name: string, path: string): FieldError[] =>
  each(path, name, isDns1123Label(name));
export const validateSubdomain = (name: string, path: string): FieldError[] =>
  each(path, name, isDns1123Subdomain(name));
export const validateKey = (key: string, path: string): FieldError[] =>
  each(path, key, isQualifiedName(key));
export const validateValue = (value: string, path: string): FieldError[] =>
  each(path, value, isLabelValue(value));

const validateIdentifier = (name: string, path: string): FieldError[] => [
  ...(name.length > identifierLengthMax ? [tooLong(path, identifierLengthMax)] : []),
  ...each(path, name, isCIdentifier(name)),
];

/** Of an attribute or a capacity; the driver's own need no domain. Upstream: further slashes are not looked at. */
export function validateQualifiedName(name: string, path: string): FieldError[] {
  const parts = name.split("/");
  const [first = "", second = ""] = parts;
  if (parts.length === 1) return validateIdentifier(first, path);
  if (parts.length > 2) return [];
  return [
    ...(first === ""
      ? [invalid(path, "", "the domain must not be empty")]
      : validateDriverName(first, path)),
    ...(second === ""
      ? [invalid(path, "", "the name must not be empty")]
      : validateIdentifier(second, path)),
  ];
}

export function validateFullyQualifiedName(name: string, path: string): FieldError[] {
  const parts = name.split("/");
  const [domain = "", id = ""] = parts;
  const errors: FieldError[] = [];
  if (parts.length === 1) {
    errors.push(...validateIdentifier(name, path));
    const why = "a fully qualified name must be a domain and a name separated by a slash";
    return [...errors, invalid(path, name, why)];
  }
  if (parts.length > 2) return errors;
  if (domain === "") errors.push(invalid(path, "", "prefix must not be empty"));
  else {
    if (domain.length > driverLengthMax) errors.push(tooLong(path, driverLengthMax));
    const problems = isDns1123Subdomain(domain).map((text) => `prefix: ${text}`);
    errors.push(...each(path, domain, problems));
  }
  if (id === "") errors.push(invalid(path, "", "name must not be empty"));
  else errors.push(...validateIdentifier(id, path));
  return errors;
}

/** A resource that pods ask for in the old way and that devices of a class answer. */
export function validateExtendedResourceName(name: string, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (!name.includes("/")) {
    const why = "a name must be a domain-prefixed path, such as 'example.com/my-prop'";
    errors.push(invalid(path, name, why));
  } else if (name.includes("kubernetes.io/"))
    errors.push(invalid(path, name, 'must not have "kubernetes.io/" domain'));
  if (name.startsWith("requests."))
    errors.push(invalid(path, name, 'must not have "requests." prefix'));
  return [...errors, ...each(path, name, isQualifiedName(`requests.${name}`))];
}

export function validateUuid(uid: string, path: string): FieldError[] {
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(uid)) return [];
  return [invalid(path, uid, "must be a lowercase UUID in 8-4-4-4-12 format")];
}
