/** The formats that a definition's schema may name for strings, by upstream's list; what is not on it is ignored, with a warning. */
import { decodeBase64 } from "#machinery/base64.ts";
import { parseGoDuration } from "#machinery/go-duration.ts";
import { parseCidr, parseIp } from "#machinery/ip.ts";
import { isDns1123Label, isDns1123Subdomain } from "#machinery/validation.ts";

const uuid = (version: string, variant: string): RegExp =>
  new RegExp(
    `^[0-9a-f]{8}-?[0-9a-f]{4}-?${version}[0-9a-f]{3}-?${variant}[0-9a-f]{3}-?[0-9a-f]{12}$`,
    "i",
  );
const fits =
  (pattern: RegExp) =>
  (text: string): boolean =>
    pattern.test(text);

function isDate(text: string): boolean {
  const match = /^(\d{4})-(\d{2})-(\d{2})$/.exec(text);
  if (match === null) return false;
  const [year, month, day] = match.slice(1).map(Number) as [number, number, number];
  const isLeap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  const days = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1];
  return days !== undefined && day >= 1 && day <= days;
}

function isDateTime(text: string): boolean {
  const match =
    /^(\d{4}-\d{2}-\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:\.\d+)?(?:[Zz]|[+-]\d{2}:?\d{2})?$/.exec(
      text,
    );
  if (match === null) return false;
  const [, date = "", hour, minute, second] = match;
  return isDate(date) && Number(hour) < 24 && Number(minute) < 60 && Number(second) < 60;
}

function isHostname(text: string): boolean {
  if (text.length > 255) return false;
  const labels = text.split(".");
  const inner = /^[a-zA-Z0-9\p{S}\p{L}](?:[a-zA-Z0-9\-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?$/u;
  if (!labels.every((label) => inner.test(label))) return false;
  return labels.length === 1 || /^[a-zA-Z\p{L}]{2,63}$/u.test(labels.at(-1) ?? "");
}

function isUri(text: string): boolean {
  if (/[\s\p{Cc}]/u.test(text)) return false;
  return text.startsWith("/") || /^[A-Za-z][A-Za-z0-9+.-]*:[^\s]+$/.test(text);
}

function isEmail(text: string): boolean {
  const bare = /<([^<>]+)>\s*$/.exec(text)?.[1] ?? text;
  return /^(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\-\u0080-\uffff]+|"[^"\\]*")@[^\s@<>()]+$/.test(
    bare.trim(),
  );
}

function isIsbn10(text: string): boolean {
  const digits = text.replace(/[\s-]/g, "");
  if (!/^\d{9}[\dX]$/.test(digits)) return false;
  const sum = Array.from(digits).reduce(
    (total, digit, at) => total + (digit === "X" ? 10 : Number(digit)) * (10 - at),
    0,
  );
  return sum % 11 === 0;
}
function isIsbn13(text: string): boolean {
  const digits = text.replace(/[\s-]/g, "");
  if (!/^\d{13}$/.test(digits)) return false;
  const sum = Array.from(digits).reduce(
    (total, digit, at) => total + Number(digit) * (at % 2 === 0 ? 1 : 3),
    0,
  );
  return sum % 10 === 0;
}

const card =
  /^(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35\d{3})\d{11})$/;

function isCreditCard(text: string): boolean {
  const digits = text.replace(/\D/g, "");
  if (!card.test(digits)) return false;
  let sum = 0;
  for (const [at, digit] of Array.from(digits).toReversed().entries()) {
    const value = Number(digit) * (at % 2 === 1 ? 2 : 1);
    sum += value > 9 ? value - 9 : value;
  }
  return sum % 10 === 0;
}

const isRgb = (text: string): boolean => {
  const match = /^rgb\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\)$/.exec(text);
  return match?.slice(1).every((part) => Number(part) <= 255) === true;
};

/** Go's durations, or a number with a unit in words. */
const isDuration = (text: string): boolean =>
  !("problem" in parseGoDuration(text)) ||
  /^\s*\d+\s*(?:ns|us|µs|ms|s|m|h|d|w|nano(?:second)?s?|micro(?:second)?s?|milli(?:second)?s?|sec(?:ond)?s?|min(?:ute)?s?|h(?:ou)?rs?|days?|weeks?)\s*$/.test(
    text,
  );

/** By normalized name: without dashes. */
const formats: Readonly<Record<string, (text: string) => boolean>> = {
  bsonobjectid: fits(/^[0-9a-fA-F]{24}$/),
  uri: isUri,
  email: isEmail,
  hostname: isHostname,
  ipv4: (text) => parseIp(text)?.family === 4,
  ipv6: (text) => parseIp(text)?.family === 6,
  cidr: (text) => parseCidr(text) !== undefined,
  mac: fits(
    /^(?:[0-9a-fA-F]{2}([:-])(?:[0-9a-fA-F]{2}\1){4}[0-9a-fA-F]{2}|(?:[0-9a-fA-F]{4}\.){2}[0-9a-fA-F]{4})$/,
  ),
  uuid: fits(/^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i),
  uuid3: fits(/^[0-9a-f]{8}-?[0-9a-f]{4}-?3[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i),
  uuid4: fits(uuid("4", "[89ab]")),
  uuid5: fits(uuid("5", "[89ab]")),
  isbn: (text) => isIsbn10(text) || isIsbn13(text),
  isbn10: isIsbn10,
  isbn13: isIsbn13,
  creditcard: isCreditCard,
  ssn: fits(/^\d{3}[- ]?\d{2}[- ]?\d{4}$/),
  hexcolor: fits(/^#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})$/),
  rgbcolor: isRgb,
  byte: (text) => !("problem" in decodeBase64(text)),
  password: () => true,
  date: isDate,
  duration: isDuration,
  datetime: isDateTime,
  k8sshortname: (text) => isDns1123Label(text).length === 0,
  k8slongname: (text) => isDns1123Subdomain(text).length === 0,
};

const normalized = (name: string): string => name.replaceAll("-", "");

/** Undefined: the format is none for strings. */
export function stringFormat(name: string): ((text: string) => boolean) | undefined {
  const key = normalized(name);
  return Object.hasOwn(formats, key) ? formats[key] : undefined;
}

/** Whether a schema of this type heeds the format. */
export function isKnownFormat(type: string | undefined, format: string): boolean {
  switch (type) {
    case undefined:
    case "":
    case "string":
      return stringFormat(format) !== undefined;
    case "integer":
      return format === "int32" || format === "int64";
    case "number":
      return format === "float" || format === "double";
    default:
      return false;
  }
}
