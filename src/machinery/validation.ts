/**
 * Validation of names, labels and other texts. Each function says what is wrong in upstream's words (clients print them); an
 * empty list means valid. Facts from k8s.io/apimachinery: util/validation, api/validate/content.
 */

import { type FieldError, invalid, required } from "./field-error.ts";
import {
  formatCidr,
  formatIp,
  isMapped,
  parseCidr,
  parseCidrSloppy,
  parseIp,
  parseIpSloppy,
} from "./ip.ts";

const encoder = new TextEncoder();
/** Go counts bytes. Texts that can be valid are ASCII, so counting is rarely more than a look at the length. */
const byteLength = (text: string): number => {
  for (let i = 0; i < text.length; i++) {
    if (text.charCodeAt(i) > 127) return encoder.encode(text).length;
  }
  return text.length;
};

export const maxLengthMessage = (max: number): string => `must be no more than ${max} characters`;
/** Upstream: label keys and values say bytes where names say characters. */
const maxBytesMessage = (max: number): string => `must be no more than ${max} bytes`;
export const emptyMessage = "must be non-empty";
export const rangeMessage = (low: number, high: number): string =>
  `must be between ${low} and ${high}, inclusive`;
export function regexMessage(message: string, format: string, ...examples: string[]): string {
  const shown = examples.map((example) => `'${example}', `).join(" or ");
  const lead = examples.length === 0 ? "(" : `(e.g. ${shown}`;
  return `${message} ${lead}regex used for validation is '${format}')`;
}

const labelFormat = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const subdomainFormat = `${labelFormat}(\\.${labelFormat})*`;
const label1035Format = "[a-z]([-a-z0-9]*[a-z0-9])?";
const wildcardFormat = `\\*\\.${subdomainFormat}`;
const underscoreLabelFormat = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
const underscoreFormat = `${underscoreLabelFormat}(\\.${underscoreLabelFormat})*`;

/** One label that is not longer than `max` and made of `isInner`, starting and ending with `isEdge`: linear, unlike the regex. */
const edge = /^[a-z0-9]$/;
const inner = /^[-a-z0-9]+$/;
const isLabelText = (text: string): boolean =>
  inner.test(text) && text[0] !== "-" && text.at(-1) !== "-";
const isSubdomainText = (text: string): boolean => text.split(".").every(isLabelText);

export const dns1123LabelLengthMax = 63;
export const dns1123SubdomainLengthMax = 253;

export function isDns1123Label(value: string): string[] {
  const messages: string[] = [];
  if (byteLength(value) > dns1123LabelLengthMax)
    messages.push(maxLengthMessage(dns1123LabelLengthMax));
  if (isLabelText(value)) return messages;
  messages.push(
    isSubdomainText(value)
      ? "must not contain dots"
      : regexMessage(
          "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
          labelFormat,
          "my-name",
          "123-abc",
        ),
  );
  return messages;
}

export function isDns1123Subdomain(value: string): string[] {
  const messages: string[] = [];
  if (byteLength(value) > dns1123SubdomainLengthMax) {
    messages.push(maxLengthMessage(dns1123SubdomainLengthMax));
  }
  if (!isSubdomainText(value)) {
    messages.push(
      regexMessage(
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
        subdomainFormat,
        "example.com",
      ),
    );
  }
  return messages;
}

/** Letters of any case; the words then say so. */
export function isDns1123SubdomainOfAnyCase(value: string): string[] {
  const messages: string[] = [];
  if (byteLength(value) > dns1123SubdomainLengthMax) {
    messages.push(maxLengthMessage(dns1123SubdomainLengthMax));
  }
  if (!isSubdomainText(value.toLowerCase())) {
    messages.push(
      regexMessage(
        "an RFC 1123 subdomain must consist of alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
        subdomainFormat,
        "Example.com",
      ),
    );
  }
  return messages;
}

export function isDns1123SubdomainWithUnderscore(value: string): string[] {
  const messages: string[] = [];
  if (byteLength(value) > dns1123SubdomainLengthMax) {
    messages.push(maxLengthMessage(dns1123SubdomainLengthMax));
  }
  const isPart = (text: string): boolean => {
    const rest = text.startsWith("_") ? text.slice(1) : text;
    return /^[-_a-z0-9]+$/.test(rest) && edge.test(rest[0] ?? "") && edge.test(rest.at(-1) ?? "");
  };
  if (!value.split(".").every(isPart)) {
    messages.push(
      regexMessage(
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character",
        underscoreFormat,
        "example.com",
      ),
    );
  }
  return messages;
}

export function isDns1035Label(value: string): string[] {
  const messages: string[] = [];
  if (byteLength(value) > dns1123LabelLengthMax)
    messages.push(maxLengthMessage(dns1123LabelLengthMax));
  if (!isLabelText(value) || !/^[a-z]/.test(value)) {
    messages.push(
      regexMessage(
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
        label1035Format,
        "my-name",
        "abc-123",
      ),
    );
  }
  return messages;
}

export function isWildcardDns1123Subdomain(value: string): string[] {
  const messages: string[] = [];
  if (byteLength(value) > dns1123SubdomainLengthMax) {
    messages.push(maxLengthMessage(dns1123SubdomainLengthMax));
  }
  if (!value.startsWith("*.") || !isSubdomainText(value.slice(2))) {
    messages.push(
      regexMessage(
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
        wildcardFormat,
        "*.example.com",
      ),
    );
  }
  return messages;
}

/** At least three segments, for names such as signers. */
export function isFullyQualifiedName(path: string, name: string): FieldError[] {
  if (name === "") return [required(path)];
  const messages = isDns1123Subdomain(name);
  if (messages.length > 0) return [invalid(path, name, messages.join(","))];
  if (name.split(".").length >= 3) return [];
  const detail = "should be a domain with at least three segments separated by dots";
  return [invalid(path, name, detail)];
}

export function isDomainPrefixedPath(path: string, value: string): FieldError[] {
  if (value === "") return [required(path)];
  const slash = value.indexOf("/");
  const host = value.slice(0, Math.max(slash, 0));
  const rest = value.slice(slash + 1);
  if (slash < 0 || host === "" || rest === "") {
    return [invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')];
  }
  const errors = isDns1123Subdomain(host).map((message) => invalid(path, host, message));
  const format = "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+";
  if (!/^[A-Za-z0-9/\-._~%!$&'()*+,;=:]+$/.test(rest)) {
    errors.push(invalid(path, rest, regexMessage("Invalid path", format)));
  }
  return errors;
}

const keyNameFormat = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const keyNameMessage =
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
const keyExamples = ["MyName", "my.name", "123-abc"];
const isKeyName = (text: string): boolean =>
  /^[-A-Za-z0-9_.]+$/.test(text) && /^[A-Za-z0-9]/.test(text) && /[A-Za-z0-9]$/.test(text);

const knownKeysMax = 4096;
const knownKeys = new Set<string>();

/** A label's or annotation's key, a finalizer, a resource name: an optional DNS prefix, a slash, a name. */
export function isQualifiedName(value: string): string[] {
  if (knownKeys.has(value)) return [];
  const messages: string[] = [];
  const parts = value.split("/");
  if (parts.length > 2) {
    const shape = regexMessage(keyNameMessage, keyNameFormat, ...keyExamples);
    return [
      `a valid label key ${shape} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`,
    ];
  }
  const name = parts.at(-1) ?? "";
  const prefix = parts.length === 2 ? parts[0] : undefined;
  if (prefix === "") messages.push(`prefix part ${emptyMessage}`);
  else if (prefix !== undefined) messages.push(...prefixMessages(prefix));
  if (name === "") messages.push(`name part ${emptyMessage}`);
  else if (byteLength(name) > 63) messages.push(`name part ${maxBytesMessage(63)}`);
  if (!isKeyName(name)) {
    messages.push(`name part ${regexMessage(keyNameMessage, keyNameFormat, ...keyExamples)}`);
  }
  if (messages.length === 0) {
    if (knownKeys.size >= knownKeysMax) knownKeys.clear();
    knownKeys.add(value);
  }
  return messages;
}
function prefixMessages(prefix: string): string[] {
  return isDns1123Subdomain(prefix).map((message) =>
    message === maxLengthMessage(dns1123SubdomainLengthMax)
      ? `prefix part ${maxBytesMessage(dns1123SubdomainLengthMax)}`
      : `prefix part ${message}`,
  );
}

export function isLabelValue(value: string): string[] {
  if (value === "") return [];
  const messages: string[] = [];
  if (byteLength(value) > 63) messages.push(maxBytesMessage(63));
  if (!isKeyName(value)) {
    messages.push(
      regexMessage(
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
        `(${keyNameFormat})?`,
        "MyValue",
        "my_value",
        "12345",
      ),
    );
  }
  return messages;
}

/** A name that is one segment of a URL path (RBAC objects, for example). */
export function isPathSegmentName(name: string): string[] {
  if (name === "." || name === "..") return [`may not be '${name}'`];
  return isPathSegmentPrefix(name);
}
export const isPathSegmentPrefix = (name: string): string[] =>
  ["/", "%"].filter((part) => name.includes(part)).map((part) => `may not contain '${part}'`);

export function isCIdentifier(value: string): string[] {
  if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(value)) return [];
  return [
    regexMessage(
      "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'",
      "[A-Za-z_][A-Za-z0-9_]*",
      "my_name",
      "MY_NAME",
      "MyName",
    ),
  ];
}

export const isInRange = (value: number, low: number, high: number): string[] =>
  value >= low && value <= high ? [] : [rangeMessage(low, high)];
export const isPortNumber = (port: number): string[] => isInRange(port, 1, 65535);
export const isUserId = (id: number): string[] => isInRange(id, 0, 2147483647);
export const isGroupId = isUserId;

export function isPortName(name: string): string[] {
  const messages: string[] = [];
  if (byteLength(name) > 15) messages.push(maxLengthMessage(15));
  if (!/^[-a-z0-9]+$/.test(name)) {
    messages.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  }
  if (!/[a-z]/.test(name)) messages.push("must contain at least one letter (a-z)");
  if (name.includes("--")) messages.push("must not contain consecutive hyphens");
  if (name.startsWith("-") || name.endsWith("-")) {
    messages.push("must not begin or end with a hyphen");
  }
  return messages;
}

export const isPercent = (text: string): string[] =>
  /^[0-9]+%$/.test(text)
    ? []
    : [
        regexMessage(
          "a valid percent string must be a numeric string followed by an ending '%'",
          "[0-9]+%",
          "1%",
          "93%",
        ),
      ];

export const isHttpHeaderName = (name: string): string[] =>
  /^[-A-Za-z0-9]+$/.test(name)
    ? []
    : [
        regexMessage(
          "a valid HTTP header must consist of alphanumeric characters or '-'",
          "[-A-Za-z0-9]+",
          "X-Header-Name",
        ),
      ];

function dotMessages(value: string): string[] {
  if (value === ".") return ["must not be '.'"];
  if (value === "..") return ["must not be '..'"];
  return value.startsWith("..") ? ["must not start with '..'"] : [];
}

export function isEnvVarName(name: string): string[] {
  const messages = /^[-._a-zA-Z][-._a-zA-Z0-9]*$/.test(name)
    ? []
    : [
        regexMessage(
          "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit",
          "[-._a-zA-Z][-._a-zA-Z0-9]*",
          "my.env-name",
          "MY_ENV.NAME",
          "MyEnvName1",
        ),
      ];
  return [...messages, ...dotMessages(name)];
}
/** What a Pod's environment accepts since the relaxed rule is the default. */
export function isRelaxedEnvVarName(name: string): string[] {
  const messages = name === "" ? [`environment variable name ${emptyMessage}`] : [];
  if (/[^ -<>-~]/.test(name)) {
    messages.push(
      "a valid environment variable name must consist only of printable ASCII characters other than '='",
    );
  }
  return messages;
}

export function isConfigMapKey(key: string): string[] {
  const messages: string[] = [];
  if (byteLength(key) > dns1123SubdomainLengthMax) {
    messages.push(maxLengthMessage(dns1123SubdomainLengthMax));
  }
  if (!/^[-._a-zA-Z0-9]+$/.test(key)) {
    messages.push(
      regexMessage(
        "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
        "[-._a-zA-Z0-9]+",
        "key.name",
        "KEY_NAME",
        "key-name",
      ),
    );
  }
  return [...messages, ...dotMessages(key)];
}

/** For fields with the strict rules. */
export const isValidIp = (path: string, value: string): FieldError[] =>
  ipProblems(value).map((problem) => invalid(path, value, problem));
/** Of an address with the strict rules, wherever it stands. */
export function ipProblems(value: string): string[] {
  const legacy = legacyIpProblem(value, true);
  if (legacy !== undefined) return [legacy];
  const address = parseIpSloppy(value);
  const canonical = address === undefined ? value : formatIp(address);
  return value === canonical ? [] : [`must be in canonical form ("${canonical}")`];
}
/** For fields that are older than the strict rules; `strict` with the feature StrictIPCIDRValidation. */
export function isValidIpForLegacyField(
  path: string,
  value: string,
  strict: boolean,
): FieldError[] {
  const problem = legacyIpProblem(value, strict);
  return problem === undefined ? [] : [invalid(path, value, problem)];
}
function legacyIpProblem(value: string, strict: boolean): string | undefined {
  if (parseIpSloppy(value) === undefined) {
    return "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
  }
  if (!strict) return undefined;
  const address = parseIp(value);
  if (address === undefined) return "must not have leading 0s";
  return isMapped(address) ? "must not be an IPv4-mapped IPv6 address" : undefined;
}

export function isValidCidr(path: string, value: string): FieldError[] {
  const legacy = isValidCidrForLegacyField(path, value, true);
  if (legacy.length > 0) return legacy;
  const parsed = parseCidr(value);
  const canonical = parsed === undefined ? value : formatCidr(parsed.cidr);
  return value === canonical
    ? []
    : [invalid(path, value, `must be in canonical form ("${canonical}")`)];
}
export function isValidCidrForLegacyField(
  path: string,
  value: string,
  strict: boolean,
): FieldError[] {
  if (parseCidrSloppy(value) === undefined) {
    return [
      invalid(path, value, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
    ];
  }
  if (!strict) return [];
  const parsed = parseCidr(value);
  if (parsed === undefined) {
    return [invalid(path, value, "must not have leading 0s in IP or prefix length")];
  }
  if (isMapped(parsed.address)) {
    return [invalid(path, value, "must not have an IPv4-mapped IPv6 address")];
  }
  return parsed.address.value === parsed.cidr.base.value
    ? []
    : [invalid(path, value, "must not have bits set beyond the prefix length")];
}
