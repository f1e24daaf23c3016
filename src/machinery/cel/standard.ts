/** CEL's standard functions and operators, and those of optionals: one line an overload. */

import { compileRegexp, RegexpError } from "../regexp.ts";
import { utf8, utf8Text } from "./bytes.ts";
import {
  duration,
  durationText,
  type Parts,
  parseDuration,
  parseTimestamp,
  partsIn,
  timestamp,
  timestampText,
} from "./civil-time.ts";
import { type Overload, overload } from "./environment.ts";
import {
  divide,
  doubleText,
  int,
  intFromDouble,
  remainder,
  uint,
  uintFromDouble,
} from "./numbers.ts";
import {
  addLists,
  CelError,
  compareValues,
  type Duration,
  Entries,
  equalValues,
  isZero,
  List,
  MapValue,
  none,
  Optional,
  Timestamp,
  TypeValue,
  typeName,
  Uint,
  type Value,
} from "./value.ts";

const second = 1_000_000_000n;

/** Values that operands of the core operators are handed as such: the program looks at them itself. */
const special = (): never => {
  throw new Error("the program decides this operator itself");
};

const logic: readonly Overload[] = [
  overload("=_&&_(bool,bool):bool", special),
  overload("=_||_(bool,bool):bool", special),
  overload("=_?_:_(bool,A,A):A", special),
  overload("=_==_(A,A):bool", special),
  overload("=_!=_(A,A):bool", special),
  overload("=@append(list<A>,A):list<A>", special),
  overload("=@not_strictly_false(bool):bool", (value: Value) => value !== false),
  overload("=!_(bool):bool", (value: boolean) => !value),
];

type Order = (order: number) => boolean;
function comparison(name: string, holds: Order): Overload[] {
  const call = (a: Value, b: Value): boolean => {
    const order = compareValues(a, b);
    if (order === undefined) throw new CelError("no such overload");
    // NaN has no order.
    return order !== -2 && holds(order);
  };
  const numbers = ["int", "uint", "double"];
  const pairs = numbers.flatMap((a) => numbers.map((b) => `${a},${b}`));
  const same = ["bool", "string", "bytes", "timestamp", "duration"].map((one) => `${one},${one}`);
  return [...same, ...pairs].map((args) => overload(`=${name}(${args}):bool`, call));
}

const order: readonly Overload[] = [
  ...comparison("_<_", (sign) => sign < 0),
  ...comparison("_<=_", (sign) => sign <= 0),
  ...comparison("_>_", (sign) => sign > 0),
  ...comparison("_>=_", (sign) => sign >= 0),
];

const bytesTogether = (a: Uint8Array, b: Uint8Array): Uint8Array => {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
};

const arithmetic: readonly Overload[] = [
  overload("=_+_(int,int):int", (a: bigint, b: bigint) => int(a + b)),
  overload("=_+_(uint,uint):uint", (a: Uint, b: Uint) => uint(a.value + b.value)),
  overload("=_+_(double,double):double", (a: number, b: number) => a + b),
  overload("=_+_(string,string):string", (a: string, b: string) => a + b),
  overload("=_+_(bytes,bytes):bytes", bytesTogether),
  overload("=_+_(list<A>,list<A>):list<A>", addLists),
  overload("=_+_(timestamp,duration):timestamp", (a: Timestamp, b: Duration) =>
    timestamp(a.nanos + b.nanos),
  ),
  overload("=_+_(duration,timestamp):timestamp", (a: Duration, b: Timestamp) =>
    timestamp(a.nanos + b.nanos),
  ),
  overload("=_+_(duration,duration):duration", (a: Duration, b: Duration) =>
    duration(a.nanos + b.nanos),
  ),
  overload("=_-_(int,int):int", (a: bigint, b: bigint) => int(a - b)),
  overload("=_-_(uint,uint):uint", (a: Uint, b: Uint) => uint(a.value - b.value)),
  overload("=_-_(double,double):double", (a: number, b: number) => a - b),
  overload("=_-_(timestamp,duration):timestamp", (a: Timestamp, b: Duration) =>
    timestamp(a.nanos - b.nanos),
  ),
  overload("=_-_(timestamp,timestamp):duration", (a: Timestamp, b: Timestamp) =>
    duration(a.nanos - b.nanos),
  ),
  overload("=_-_(duration,duration):duration", (a: Duration, b: Duration) =>
    duration(a.nanos - b.nanos),
  ),
  overload("=_*_(int,int):int", (a: bigint, b: bigint) => int(a * b)),
  overload("=_*_(uint,uint):uint", (a: Uint, b: Uint) => uint(a.value * b.value)),
  overload("=_*_(double,double):double", (a: number, b: number) => a * b),
  overload("=_/_(int,int):int", (a: bigint, b: bigint) => int(divide(a, b))),
  overload("=_/_(uint,uint):uint", (a: Uint, b: Uint) => uint(divide(a.value, b.value))),
  overload("=_/_(double,double):double", (a: number, b: number) => a / b),
  overload("=_%_(int,int):int", remainder),
  overload("=_%_(uint,uint):uint", (a: Uint, b: Uint) => uint(remainder(a.value, b.value))),
  overload("=-_(int):int", (a: bigint) => int(-a)),
  overload("=-_(double):double", (a: number) => -a),
];

const members: readonly Overload[] = [
  overload("=_[_](list<A>,int):A", special),
  overload("=_[_](map<K,V>,K):V", special),
  overload("=_[_](optional<list<V>>,int):optional<V>", special),
  overload("=_[_](optional<map<K,V>>,K):optional<V>", special),
  overload("=_[?_](list<V>,int):optional<V>", special),
  overload("=_[?_](optional<list<V>>,int):optional<V>", special),
  overload("=_[?_](map<K,V>,K):optional<V>", special),
  overload("=_[?_](optional<map<K,V>>,K):optional<V>", special),
  overload("=@in(A,list<A>):bool", (one: Value, list: List) =>
    list.items.some((other) => equalValues(one, other)),
  ),
  overload("=@in(A,map<A,B>):bool", (key: Value, map: MapValue) => map.get(key) !== undefined),
  overload("=cel.@mapInsert(map<K,V>,K,V):map<K,V>", (map: Entries, key: Value, value: Value) => {
    if (!map.add(key, value)) throw new CelError(`insert failed: key ${shown(key)} already exists`);
    return map;
  }),
  overload("=cel.@mapInsert(map<K,V>,map<K,V>):map<K,V>", (map: Entries, more: MapValue) => {
    for (const key of more.keys())
      if (!map.add(key, more.get(key) ?? null))
        throw new CelError(`insert failed: key ${shown(key)} already exists`);
    return map;
  }),
];

const shown = (key: Value): string => {
  if (key instanceof Uint) return String(key.value);
  return typeof key === "object" ? typeName(key) : String(key);
};

const codePoints = (text: string): bigint => {
  let count = 0;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit < 0xdc00 || unit > 0xdfff) count += 1;
  }
  return BigInt(count);
};

const sizes: readonly (readonly [string, (value: never) => bigint])[] = [
  ["string", (text: string) => codePoints(text)],
  ["bytes", (bytes: Uint8Array) => BigInt(bytes.length)],
  ["list<A>", (list: List) => BigInt(list.items.length)],
  ["map<A,B>", (map: MapValue) => BigInt(map.size)],
];
const size: readonly Overload[] = sizes.flatMap(([type, call]) => [
  overload(`size(${type}):int`, call),
  overload(`${type}.size():int`, call),
]);

const matches = (text: string, pattern: string): boolean => {
  try {
    return compileRegexp(pattern).matches(text);
  } catch (error) {
    if (error instanceof RegexpError) throw new CelError(error.message);
    throw error;
  }
};

const texts: readonly Overload[] = [
  overload("string.contains(string):bool", (a: string, b: string) => a.includes(b)),
  overload("string.startsWith(string):bool", (a: string, b: string) => a.startsWith(b)),
  overload("string.endsWith(string):bool", (a: string, b: string) => a.endsWith(b)),
  overload("string.matches(string):bool", matches),
  overload("matches(string,string):bool", matches),
];

const cannot = (from: string, to: string): CelError =>
  new CelError(`type conversion error from '${from}' to '${to}'`);
const whole = /^[+-]?\d+$/;
const truths = new Map([
  ...["1", "t", "T", "TRUE", "true", "True"].map((text) => [text, true] as const),
  ...["0", "f", "F", "FALSE", "false", "False"].map((text) => [text, false] as const),
]);
const decimal = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/;

function doubleOf(text: string): number {
  if (decimal.test(text)) return Number(text);
  const special = /^([+-]?)(inf|infinity|nan)$/i.exec(text);
  if (special === null) throw cannot("string", "double");
  if (special[2]?.toLowerCase() === "nan") return Number.NaN;
  return special[1] === "-" ? -Infinity : Infinity;
}

function intOf(text: string): bigint {
  if (!whole.test(text)) throw cannot("string", "int");
  const value = BigInt(text.replace(/^\+/, ""));
  if (BigInt.asIntN(64, value) !== value) throw cannot("string", "int");
  return value;
}

const same = (value: Value): Value => value;
const conversions: readonly Overload[] = [
  overload("int(int):int", same),
  overload("int(uint):int", (value: Uint) => int(value.value)),
  overload("int(double):int", intFromDouble),
  overload("int(string):int", intOf),
  overload("int(timestamp):int", ({ nanos }: Timestamp) =>
    nanos % second < 0n ? nanos / second - 1n : nanos / second,
  ),
  overload("int(duration):int", ({ nanos }: Duration) => nanos),
  overload("uint(uint):uint", same),
  overload("uint(int):uint", uint),
  overload("uint(double):uint", uintFromDouble),
  overload("uint(string):uint", (text: string) => {
    if (!/^\d+$/.test(text)) throw cannot("string", "uint");
    return uint(BigInt(text));
  }),
  overload("double(double):double", same),
  overload("double(int):double", Number),
  overload("double(uint):double", (value: Uint) => Number(value.value)),
  overload("double(string):double", doubleOf),
  overload("bool(bool):bool", same),
  overload("bool(string):bool", (text: string) => {
    const truth = truths.get(text);
    if (truth === undefined) throw cannot("string", "bool");
    return truth;
  }),
  overload("string(string):string", same),
  overload("string(bool):string", String),
  overload("string(int):string", String),
  overload("string(uint):string", (value: Uint) => String(value.value)),
  overload("string(double):string", doubleText),
  overload("string(bytes):string", (bytes: Uint8Array) => {
    const text = utf8Text(bytes);
    if (text === undefined) throw new CelError("invalid UTF-8 in bytes, cannot convert to string");
    return text;
  }),
  overload("string(timestamp):string", timestampText),
  overload("string(duration):string", durationText),
  overload("bytes(bytes):bytes", same),
  overload("bytes(string):bytes", utf8),
  overload("timestamp(timestamp):timestamp", same),
  overload("timestamp(int):timestamp", (seconds: bigint) => timestamp(seconds * second)),
  overload("timestamp(string):timestamp", (text: string) => {
    const time = parseTimestamp(text);
    if (time === undefined) throw cannot("string", "google.protobuf.Timestamp");
    return time;
  }),
  overload("duration(duration):duration", same),
  overload("duration(int):duration", duration),
  overload("duration(string):duration", (text: string) => {
    const length = parseDuration(text);
    if (length === undefined) throw cannot("string", "google.protobuf.Duration");
    return length;
  }),
  overload("dyn(A):dyn", same),
  overload("type(A):type<A>", (value: Value) => new TypeValue(typeName(value))),
];

const timeParts: Readonly<Record<string, (parts: Parts) => number>> = {
  getFullYear: (parts) => parts.year,
  getMonth: (parts) => parts.month - 1,
  getDate: (parts) => parts.day,
  getDayOfMonth: (parts) => parts.day - 1,
  getDayOfWeek: (parts) => parts.weekday,
  getDayOfYear: (parts) => parts.dayOfYear,
  getHours: (parts) => parts.hour,
  getMinutes: (parts) => parts.minute,
  getSeconds: (parts) => parts.second,
  getMilliseconds: (parts) => Math.floor(parts.nanos / 1_000_000),
};
const durationUnits: Readonly<Record<string, bigint>> = {
  getHours: 3600n * second,
  getMinutes: 60n * second,
  getSeconds: second,
};
const times: readonly Overload[] = [
  ...Object.entries(timeParts).flatMap(([name, read]) => [
    overload(`timestamp.${name}():int`, (time: Timestamp) => BigInt(read(partsIn(time)))),
    overload(`timestamp.${name}(string):int`, (time: Timestamp, zone: string) =>
      BigInt(read(partsIn(time, zone))),
    ),
  ]),
  ...Object.entries(durationUnits).map(([name, unit]) =>
    overload(`duration.${name}():int`, ({ nanos }: Duration) => nanos / unit),
  ),
  overload("duration.getMilliseconds():int", ({ nanos }: Duration) => nanos / 1_000_000n),
];

const optionals: readonly Overload[] = [
  overload("=optional.of(A):optional<A>", (value: Value) => new Optional(value)),
  overload("=optional.none():optional<A>", () => none),
  overload("=optional.ofNonZeroValue(A):optional<A>", (value: Value) =>
    isZero(value) ? none : new Optional(value),
  ),
  overload("=optional.unwrap(list<optional<A>>):list<A>", (list: List) => unwrap(list)),
  overload("list<optional<A>>.unwrapOpt():list<A>", (list: List) => unwrap(list)),
  overload("optional<A>.hasValue():bool", ({ value }: Optional) => value !== undefined),
  overload("optional<A>.value():A", ({ value }: Optional) => {
    if (value === undefined) throw new CelError("optional.none() dereference");
    return value;
  }),
  overload("optional<A>.or(optional<A>):optional<A>", special),
  overload("optional<A>.orValue(A):A", special),
];

const unwrap = (list: List): List =>
  new List(
    list.items.flatMap((one) =>
      one instanceof Optional ? (one.value === undefined ? [] : [one.value]) : [one],
    ),
  );

export const standardLibrary: readonly Overload[] = [
  ...logic,
  ...order,
  ...arithmetic,
  ...members,
  ...size,
  ...texts,
  ...conversions,
  ...times,
  ...optionals,
];
