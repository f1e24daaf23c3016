/**
 * CEL's types, their text as error messages show it, and the assignability that the checker's inference rests on. Type parameters are
 * bound in a substitution that the caller holds.
 */

export type Scalar =
  | "int"
  | "uint"
  | "double"
  | "bool"
  | "string"
  | "bytes"
  | "null"
  | "timestamp"
  | "duration"
  | "dyn"
  | "error";

export interface ObjectType {
  readonly kind: "object";
  readonly name: string;
  /** Undefined: there is no such field. */
  readonly field: (name: string) => Type | undefined;
}
export type Type =
  /** `shown`: a dyn that messages call by another name. */
  | { readonly kind: Scalar; readonly shown?: string }
  | { readonly kind: "list"; readonly of: Type }
  | { readonly kind: "map"; readonly key: Type; readonly of: Type }
  | { readonly kind: "opaque"; readonly name: string; readonly of: readonly Type[] }
  | { readonly kind: "type"; readonly of: Type | undefined }
  | { readonly kind: "param"; readonly name: string }
  | ObjectType;

const scalar = (kind: Scalar): Type => ({ kind });
export const intType = scalar("int");
export const uintType = scalar("uint");
export const doubleType = scalar("double");
export const boolType = scalar("bool");
export const stringType = scalar("string");
export const bytesType = scalar("bytes");
export const nullType = scalar("null");
export const timestampType = scalar("timestamp");
export const durationType = scalar("duration");
export const dynType = scalar("dyn");
export const anyType: Type = { kind: "dyn", shown: "google.protobuf.Any" };
export const errorType = scalar("error");
export const listOf = (of: Type): Type => ({ kind: "list", of });
export const mapOf = (key: Type, of: Type): Type => ({ kind: "map", key, of });
export const opaque = (name: string, ...of: readonly Type[]): Type => ({
  kind: "opaque",
  name,
  of,
});
export const optionalOf = (of: Type): Type => opaque("optional_type", of);
export const typeOf = (of?: Type): Type => ({ kind: "type", of });
export const param = (name: string): Type => ({ kind: "param", name });

export const isOptional = (type: Type): boolean =>
  type.kind === "opaque" && type.name === "optional_type";

/** As cel-go prints it. */
export function typeText(type: Type): string {
  switch (type.kind) {
    case "list":
      return `list(${typeText(type.of)})`;
    case "map":
      return `map(${typeText(type.key)}, ${typeText(type.of)})`;
    case "opaque":
      return type.of.length === 0 ? type.name : `${type.name}(${type.of.map(typeText).join(", ")})`;
    case "type":
      return type.of === undefined ? "type" : `type(${typeText(type.of)})`;
    case "object":
    case "param":
      return type.name;
    case "timestamp":
      return "timestamp";
    case "duration":
      return "duration";
    case "error":
      return "!error!";
    default:
      return "shown" in type && type.shown !== undefined ? type.shown : type.kind;
  }
}

export const isDyn = (type: Type): boolean => type.kind === "dyn" || type.kind === "error";

/** What type parameters stand for so far. */
export class Substitution {
  #bound = new Map<string, Type>();
  #next = 0;

  fresh(): Type {
    this.#next += 1;
    return param(`_var${this.#next}`);
  }

  save(): Map<string, Type> {
    return new Map(this.#bound);
  }

  restore(saved: Map<string, Type>): void {
    this.#bound = saved;
  }

  find(type: Type): Type {
    let at = type;
    while (at.kind === "param") {
      const next = this.#bound.get(at.name);
      if (next === undefined) return at;
      at = next;
    }
    return at;
  }

  /** With every parameter replaced; what is unbound becomes dyn if asked for. */
  apply(type: Type, freeToDyn = false): Type {
    const found = this.find(type);
    switch (found.kind) {
      case "param":
        return freeToDyn ? dynType : found;
      case "list":
        return listOf(this.apply(found.of, freeToDyn));
      case "map":
        return mapOf(this.apply(found.key, freeToDyn), this.apply(found.of, freeToDyn));
      case "opaque":
        return opaque(found.name, ...found.of.map((one) => this.apply(one, freeToDyn)));
      case "type":
        return found.of === undefined ? found : typeOf(this.apply(found.of, freeToDyn));
      default:
        return found;
    }
  }

  #occurs(name: string, type: Type): boolean {
    const found = this.find(type);
    switch (found.kind) {
      case "param":
        return found.name === name;
      case "list":
        return this.#occurs(name, found.of);
      case "map":
        return this.#occurs(name, found.key) || this.#occurs(name, found.of);
      case "opaque":
        return found.of.some((one) => this.#occurs(name, one));
      case "type":
        return found.of !== undefined && this.#occurs(name, found.of);
      default:
        return false;
    }
  }

  #bind(name: string, type: Type): boolean {
    if (type.kind === "param" && type.name === name) return true;
    if (this.#occurs(name, type)) return false;
    this.#bound.set(name, type);
    return true;
  }

  /** Whether a value of type `from` fits where `to` is wanted; binds parameters, and undoes that if it does not. */
  assignable(to: Type, from: Type): boolean {
    const saved = this.save();
    if (this.#fits(to, from)) return true;
    this.restore(saved);
    return false;
  }

  assignableAll(to: readonly Type[], from: readonly Type[]): boolean {
    const saved = this.save();
    if (
      to.length === from.length &&
      to.every((one, index) => this.#fits(one, from[index] ?? dynType))
    )
      return true;
    this.restore(saved);
    return false;
  }

  #fits(wanted: Type, given: Type): boolean {
    const to = this.find(wanted);
    const from = this.find(given);
    if (to.kind === "param") {
      // A parameter that met dyn takes what is wanted of it next.
      return this.#bind(to.name, from);
    }
    if (from.kind === "param") return this.#bind(from.name, to);
    if (isDyn(to) || isDyn(from)) return true;
    switch (to.kind) {
      case "list":
        return from.kind === "list" && this.#fits(to.of, from.of);
      case "map":
        return from.kind === "map" && this.#fits(to.key, from.key) && this.#fits(to.of, from.of);
      case "opaque":
        return (
          from.kind === "opaque" &&
          from.name === to.name &&
          to.of.every((one, index) => this.#fits(one, from.of[index] ?? dynType))
        );
      case "type":
        return from.kind === "type";
      case "object":
        return from.kind === "object" && from.name === to.name;
      default:
        return from.kind === to.kind;
    }
  }
}

/** The more general of two types of which one takes the other. */
export function moreGeneral(a: Type, b: Type): Type {
  if (isDyn(a)) return a;
  if (isDyn(b)) return b;
  if (a.kind === "list" && b.kind === "list") return listOf(moreGeneral(a.of, b.of));
  if (a.kind === "map" && b.kind === "map")
    return mapOf(moreGeneral(a.key, b.key), moreGeneral(a.of, b.of));
  return a;
}

const named: Readonly<Record<string, Type>> = {
  int: intType,
  uint: uintType,
  double: doubleType,
  bool: boolType,
  string: stringType,
  bytes: bytesType,
  null: nullType,
  timestamp: timestampType,
  duration: durationType,
  dyn: dynType,
  type: typeOf(),
};

/** Reads "map<string,list<A>>": one capital letter is a parameter, what is not known is an opaque type's name. */
export function readType(text: string): Type {
  const open = text.indexOf("<");
  if (open === -1) {
    if (/^[A-Z]$/.test(text)) return param(text);
    return Object.hasOwn(named, text) ? (named[text] ?? dynType) : opaque(text);
  }
  const name = text.slice(0, open);
  const inner = splitTypes(text.slice(open + 1, -1)).map(readType);
  const [first = dynType, second = dynType] = inner;
  if (name === "list") return listOf(first);
  if (name === "map") return mapOf(first, second);
  if (name === "type") return typeOf(first);
  return name === "optional" ? optionalOf(first) : opaque(name, ...inner);
}

/** At the commas that are not inside "<…>". */
export function splitTypes(text: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let from = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "<") depth += 1;
    else if (text[at] === ">") depth -= 1;
    else if (text[at] === "," && depth === 0) {
      parts.push(text.slice(from, at).trim());
      from = at + 1;
    }
  }
  const last = text.slice(from).trim();
  return last === "" ? parts : [...parts, last];
}
