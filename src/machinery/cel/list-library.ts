/** Functions on lists and sets: Kubernetes' own, CEL's lists (version 3) and CEL's sets. */

import { duration } from "./civil-time.ts";
import { type Overload, overload } from "./environment.ts";
import { int, uint } from "./numbers.ts";
import {
  CelError,
  compareValues,
  Duration,
  equalValues,
  List,
  none,
  Optional,
  typeName,
  Uint,
  type Value,
} from "./value.ts";

const rangeMax = 10_000_000n;
const orderOf = (a: Value, b: Value): number => {
  const order = compareValues(a, b);
  if (order === undefined) throw new CelError("no such overload");
  return order;
};

function isSorted({ items }: List): boolean {
  return items.every((one, index) => index === 0 || orderOf(items[index - 1] ?? null, one) <= 0);
}

const sumWith =
  (zero: Value, add: (a: never, b: never) => Value) =>
  ({ items }: List): Value =>
    items.reduce<Value>((sum, one) => add(sum as never, one as never), zero);

function extreme(name: string, sign: number): (list: List) => Value {
  return ({ items }) => {
    let best = items[0];
    if (best === undefined) throw new CelError(`${name} called on empty list`);
    for (const one of items) if (orderOf(one, best) * sign > 0) best = one;
    return best;
  };
}

const indexOf = ({ items }: List, value: Value): bigint =>
  BigInt(items.findIndex((one) => equalValues(one, value)));
const lastIndexOf = ({ items }: List, value: Value): bigint =>
  BigInt(items.findLastIndex((one) => equalValues(one, value)));

function slice({ items }: List, start: bigint, end: bigint): List {
  const say = (why: string): CelError => new CelError(`cannot slice(${start}, ${end}), ${why}`);
  if (start < 0n || end < 0n) throw say("negative indexes not supported");
  if (start > end) throw say("start index must be less than or equal to end index");
  if (end > BigInt(items.length)) throw say(`list is length ${items.length}`);
  return new List(items.slice(Number(start), Number(end)));
}

function flatten({ items }: List, depth = 1n): List {
  if (depth < 0n) throw new CelError("level must be non-negative");
  const flat = items.flatMap((one) => {
    if (!(one instanceof List) || depth === 0n) return [one];
    return depth === 1n ? one.items : flatten(one, depth - 1n).items;
  });
  return new List(flat);
}

function distinct({ items }: List): List {
  const found: Value[] = [];
  for (const one of items) if (!found.some((other) => equalValues(one, other))) found.push(one);
  return new List(found);
}

function sortBy({ items }: List, keys: List): List {
  const [first] = keys.items;
  if (first === undefined) return new List([...items]);
  if (compareValues(first, first) === undefined)
    throw new CelError("list elements must be comparable");
  if (keys.items.some((one) => typeName(one) !== typeName(first)))
    throw new CelError("list elements must have the same type");
  const pairs = items.map((item, index) => ({ item, key: keys.items[index] ?? null }));
  pairs.sort((a, b) => orderOf(a.key, b.key));
  return new List(pairs.map(({ item }) => item));
}

function range(count: bigint): List {
  if (count < 0n) throw new CelError(`lists.range: size must be non-negative, got ${count}`);
  if (count > rangeMax)
    throw new CelError(`lists.range: size ${count} exceeds maximum allowed (${rangeMax})`);
  return new List(Array.from({ length: Number(count) }, (_, index) => BigInt(index)));
}

const has = ({ items }: List, value: Value): boolean =>
  items.some((one) => equalValues(one, value));
const containsAll = (a: List, b: List): boolean => b.items.every((one) => has(a, one));

const comparable = ["int", "uint", "double", "bool", "string", "bytes", "timestamp", "duration"];
const optional = (value: Value | undefined): Optional =>
  value === undefined ? none : new Optional(value);

export const listLibrary: readonly Overload[] = [
  ...comparable.flatMap((of) => [
    overload(`list<${of}>.isSorted():bool`, isSorted),
    overload(`list<${of}>.min():${of}`, extreme("min", -1)),
    overload(`list<${of}>.max():${of}`, extreme("max", 1)),
    overload(`list<${of}>.sort():list<${of}>`, (list: List) => sortBy(list, list)),
    overload(`list<T>.@sortByAssociatedKeys(list<${of}>):list<T>`, sortBy),
  ]),
  overload(
    "list<int>.sum():int",
    sumWith(0n, (a: bigint, b: bigint) => int(a + b)),
  ),
  overload(
    "list<uint>.sum():uint",
    sumWith(new Uint(0n), (a: Uint, b: Uint) => uint(a.value + b.value)),
  ),
  overload(
    "list<double>.sum():double",
    sumWith(0, (a: number, b: number) => a + b),
  ),
  overload(
    "list<duration>.sum():duration",
    sumWith(new Duration(0n), (a: Duration, b: Duration) => duration(a.nanos + b.nanos)),
  ),
  overload("list<T>.indexOf(T):int", indexOf),
  overload("list<T>.lastIndexOf(T):int", lastIndexOf),
  overload("dyn.includes(dyn):bool", (list: Value, value: Value) =>
    list instanceof List ? has(list, value) : equalValues(list, value),
  ),
  overload("list<T>.slice(int,int):list<T>", slice),
  overload("list<dyn>.flatten():list<dyn>", (list: List) => flatten(list)),
  overload("list<dyn>.flatten(int):list<dyn>", flatten),
  overload("list<T>.distinct():list<T>", distinct),
  overload("list<T>.reverse():list<T>", ({ items }: List) => new List(items.toReversed())),
  overload("list<T>.first():optional<T>", ({ items }: List) => optional(items[0])),
  overload("list<T>.last():optional<T>", ({ items }: List) => optional(items.at(-1))),
  overload("=lists.range(int):list<int>", range),
  overload("=sets.contains(list<T>,list<T>):bool", containsAll),
  overload(
    "=sets.equivalent(list<T>,list<T>):bool",
    (a: List, b: List) => containsAll(a, b) && containsAll(b, a),
  ),
  overload("=sets.intersects(list<T>,list<T>):bool", (a: List, b: List) =>
    b.items.some((one) => has(a, one)),
  ),
];
