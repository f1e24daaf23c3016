/** CEL's extended functions on texts (upstream's strings, version 2) and regular expressions, on the engine that is linear in time. */

import { compileRegexp, type Regexp, RegexpError } from "../regexp.ts";
import { type Overload, overload } from "./environment.ts";
import { formatText } from "./format-text.ts";
import { CelError, List, type Value } from "./value.ts";

const lowerAscii = (text: string): string => text.replace(/[A-Z]+/g, (up) => up.toLowerCase());
const upperAscii = (text: string): string => text.replace(/[a-z]+/g, (low) => low.toUpperCase());

function charAt(text: string, index: bigint): string {
  const chars = Array.from(text);
  if (index < 0n || index > BigInt(chars.length))
    throw new CelError(`index out of range: ${index}`);
  return chars[Number(index)] ?? "";
}

function indexOf(text: string, part: string, from = 0n): bigint {
  const chars = Array.from(text);
  if (from < 0n || from > BigInt(chars.length)) {
    if (part === "") return from;
    throw new CelError(`index out of range: ${from}`);
  }
  const found = chars.slice(Number(from)).join("").indexOf(part);
  if (found === -1) return -1n;
  const skipped = chars.slice(Number(from)).join("").slice(0, found);
  return from + BigInt(Array.from(skipped).length);
}

function lastIndexOf(text: string, part: string, from?: bigint): bigint {
  const chars = Array.from(text);
  const wanted = Array.from(part);
  const last = from ?? BigInt(chars.length);
  if (last < 0n || (from !== undefined && last > BigInt(chars.length)))
    throw new CelError(`index out of range: ${last}`);
  const first = Math.min(Number(last), chars.length - wanted.length);
  for (let at = first; at >= 0; at--)
    if (wanted.every((char, index) => chars[at + index] === char)) return BigInt(at);
  return -1n;
}

function replaceSome(text: string, old: string, by: string, limit = -1n): string {
  if (limit < 0n) return text.split(old).join(by);
  let left = Number(limit);
  const parts = old === "" ? ["", ...Array.from(text)] : text.split(old);
  let made = parts[0] ?? "";
  for (const part of parts.slice(1)) {
    made += (left > 0 ? by : old) + part;
    left -= 1;
  }
  return made;
}

function splitSome(text: string, by: string, limit = -1n): List {
  if (limit === 0n) return new List([]);
  const parts = by === "" ? Array.from(text) : text.split(by);
  if (limit < 0n || parts.length <= Number(limit)) return new List(parts);
  const kept = parts.slice(0, Number(limit) - 1);
  return new List([...kept, parts.slice(Number(limit) - 1).join(by)]);
}

function substring(text: string, from: bigint, to?: bigint): string {
  const chars = Array.from(text);
  const length = BigInt(chars.length);
  const end = to ?? length;
  if (from < 0n || from > length) throw new CelError(`index out of range: ${from}`);
  if (end < 0n || end > length) throw new CelError(`index out of range: ${end}`);
  if (from > end) throw new CelError(`invalid substring range. start: ${from}, end: ${end}`);
  return chars.slice(Number(from), Number(end)).join("");
}

const quoted = (text: string): string =>
  `"${Array.from(text, (char) => quotes[char] ?? char).join("")}"`;
const quotes: Readonly<Record<string, string>> = {
  "\\": "\\\\",
  '"': '\\"',
  "\x07": "\\a",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
};

function join(list: List, by = ""): string {
  return list.items
    .map((one) => {
      if (typeof one !== "string") throw new CelError("no such overload");
      return one;
    })
    .join(by);
}

/** Unicode's white space as Go knows it. */
const trim = (text: string): string =>
  text.replace(/^[\s\u0085]+|[\s\u0085]+$/gu, "").replace(/^\ufeff/, "");

function regexpOf(pattern: string): Regexp {
  try {
    return compileRegexp(pattern);
  } catch (error) {
    if (error instanceof RegexpError) throw new CelError(`Illegal regex: ${error.message}`);
    throw error;
  }
}

function find(text: string, pattern: string): string {
  const found = regexpOf(pattern).find(text);
  return found === undefined ? "" : text.slice(found.start, found.end);
}

function findAll(text: string, pattern: string, limit = -1n): List {
  const regexp = regexpOf(pattern);
  const found: Value[] = [];
  let lastEnd = -1;
  const most = limit < 0n ? Infinity : Number(limit);
  for (let from = 0; from <= text.length && found.length < most; ) {
    const one = regexp.find(text, from);
    if (one === undefined) break;
    // Nothing is found where the last match ended, unless it has characters.
    if (one.end > one.start || one.start !== lastEnd) found.push(text.slice(one.start, one.end));
    lastEnd = one.end;
    const step = (text.codePointAt(one.end) ?? 0) > 0xffff ? 2 : 1;
    from = one.end > one.start ? one.end : one.end + step;
  }
  return new List(found);
}

export const textLibrary: readonly Overload[] = [
  overload("string.charAt(int):string", charAt),
  overload("string.indexOf(string):int", (text: string, part: string) => indexOf(text, part)),
  overload("string.indexOf(string,int):int", indexOf),
  overload("string.lastIndexOf(string):int", (text: string, part: string) =>
    lastIndexOf(text, part),
  ),
  overload("string.lastIndexOf(string,int):int", lastIndexOf),
  overload("string.lowerAscii():string", lowerAscii),
  overload("string.upperAscii():string", upperAscii),
  overload("string.replace(string,string):string", (text: string, old: string, by: string) =>
    replaceSome(text, old, by),
  ),
  overload("string.replace(string,string,int):string", replaceSome),
  overload("string.split(string):list<string>", (text: string, by: string) => splitSome(text, by)),
  overload("string.split(string,int):list<string>", splitSome),
  overload("string.substring(int):string", (text: string, from: bigint) => substring(text, from)),
  overload("string.substring(int,int):string", substring),
  overload("string.trim():string", trim),
  overload("string.format(list<dyn>):string", formatText),
  overload("=strings.quote(string):string", quoted),
  overload("list<string>.join():string", (list: List) => join(list)),
  overload("list<string>.join(string):string", join),
  overload("string.find(string):string", find),
  overload("string.findAll(string):list<string>", (text: string, pattern: string) =>
    findAll(text, pattern),
  ),
  overload("string.findAll(string,int):list<string>", findAll),
];
