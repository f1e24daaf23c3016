/**
 * What an expression may name: variables with their types, functions with their overloads, object types that it may construct. An
 * environment is made once and shared by all programs compiled in it.
 */

import { type ObjectType, readType, splitTypes, type Type } from "./type.ts";
import type { Value } from "./value.ts";

/** What a function costs beyond 1, from the sizes of its arguments and its result. */
export type CostOf = (args: readonly Value[], result: Value | undefined) => number;

export type Native = (...args: never[]) => Value;

export interface Overload {
  readonly name: string;
  /** Called as `args[0].name(args[1], …)`. */
  readonly member: boolean;
  readonly args: readonly Type[];
  readonly result: Type;
  readonly call: (...args: Value[]) => Value;
}

/**
 * Reads "string.contains(string):bool" or "size(list<A>):int". The arguments that reach `call` have these types: the program sees to
 * that, at compile time or, where they are dyn, at run time.
 */
export function overload(signature: string, call: Native): Overload {
  const open = signature.indexOf("(");
  const close = signature.lastIndexOf(")");
  const head = signature.slice(0, open);
  const args = splitTypes(signature.slice(open + 1, close)).map(readType);
  const result = readType(signature.slice(close + 2));
  const member = /^(.+>|[\w.]+)\.([@\w]+)$/.exec(head);
  const plain = call as unknown as Overload["call"];
  if (member === null || head.startsWith("="))
    return { name: head.replace(/^=/, ""), member: false, args, result, call: plain };
  const target = readType(member[1] ?? "");
  return { name: member[2] ?? "", member: true, args: [target, ...args], result, call: plain };
}

export interface Environment {
  readonly functions: ReadonlyMap<string, readonly Overload[]>;
  /** Their order is that of the values handed to a program. */
  readonly variables: ReadonlyMap<string, Type>;
  /** Types that an expression may construct, by name. */
  readonly structs: (name: string) => ObjectType | undefined;
  /** Values may be named by cel.bind. */
  readonly binds?: boolean;
}

export function functionsOf(
  ...libraries: (readonly Overload[])[]
): ReadonlyMap<string, readonly Overload[]> {
  const found = new Map<string, Overload[]>();
  for (const one of libraries.flat()) {
    const known = found.get(one.name);
    if (known === undefined) found.set(one.name, [one]);
    else known.push(one);
  }
  return found;
}
