/** Reading a compose file: values by path, and what is said of what cannot be translated, with its line. */
import { isObject, type JsonObject } from "#machinery/object.ts";
import { plainScalar } from "./scalar.ts";

/** Wrong as it stands: nothing is made of the file. */
export class ComposeError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "ComposeError";
  }
}

export type Path = readonly (string | number)[];

export class Report {
  readonly #file: string;
  readonly #lineOf: (path: Path) => number | undefined;
  /** "compose.yaml:12: services.web.links: …" */
  readonly notes: string[] = [];

  constructor(file: string, lineOf: (path: Path) => number | undefined) {
    this.#file = file;
    this.#lineOf = lineOf;
  }
  #where(path: Path): string {
    const line = this.#lineOf(path);
    return `${this.#file}${line === undefined ? "" : `:${line}`}: ${path.join(".")}`;
  }
  /** It is left out, and the rest goes on. */
  leftOut(path: Path, why: string): void {
    const note = `${this.#where(path)}: ${why}`;
    if (!this.notes.includes(note)) this.notes.push(note);
  }
  fail(path: Path, why: string): never {
    throw new ComposeError(`${this.#where(path)}: ${why}`);
  }
}

/** One mapping of the file, read key by key; what nobody asked for is named in the end. */
export class Section {
  readonly path: Path;
  readonly report: Report;
  readonly #value: JsonObject;
  readonly #read = new Set<string>();

  constructor(report: Report, path: Path, value: unknown) {
    if (value !== null && value !== undefined && !isObject(value))
      report.fail(path, "must be a mapping");
    this.report = report;
    this.path = path;
    this.#value = isObject(value) ? value : {};
  }
  has(key: string): boolean {
    return this.#value[key] !== undefined && this.#value[key] !== null;
  }
  raw(key: string): unknown {
    this.#read.add(key);
    return this.#value[key] ?? undefined;
  }
  get keys(): readonly string[] {
    return Object.keys(this.#value);
  }
  at(...more: Path): Path {
    return [...this.path, ...more];
  }
  text(key: string): string | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    return plainScalar(value) ?? this.report.fail(this.at(key), "must be a text");
  }
  truth(key: string): boolean {
    const value = this.raw(key);
    return value === true || value === "true";
  }
  /** A text is a list of one. */
  texts(key: string): string[] {
    const value = this.raw(key);
    if (value === undefined) return [];
    const list: unknown[] = Array.isArray(value) ? value : [value];
    return list.map(
      (one, i) => plainScalar(one) ?? this.report.fail(this.at(key, i), "must be a text"),
    );
  }
  list(key: string): unknown[] {
    const value = this.raw(key);
    if (value === undefined) return [];
    return Array.isArray(value) ? value : this.report.fail(this.at(key), "must be a list");
  }
  section(key: string): Section {
    return new Section(this.report, this.at(key), this.raw(key));
  }
  /** "a: b" or "- a=b"; a name without a value has none. */
  pairs(key: string): [name: string, value: string | undefined][] {
    const value = this.raw(key);
    if (value === undefined) return [];
    if (Array.isArray(value)) {
      return value.map((one: unknown, i) => {
        const text = plainScalar(one) ?? this.report.fail(this.at(key, i), "must be NAME=VALUE");
        const equals = text.indexOf("=");
        return equals < 0 ? [text, undefined] : [text.slice(0, equals), text.slice(equals + 1)];
      });
    }
    if (!isObject(value)) return this.report.fail(this.at(key), "must be a mapping or a list");
    return Object.entries(value).map(([name, one]) => [
      name,
      one === null
        ? undefined
        : (plainScalar(one) ?? this.report.fail(this.at(key, name), "must be a text")),
    ]);
  }
  leaveOut(key: string, why: string): void {
    if (!this.has(key)) return;
    this.#read.add(key);
    this.report.leftOut(this.at(key), why);
  }
  /** Known, and nothing to do for. */
  ignore(...keys: readonly string[]): void {
    for (const key of keys) this.#read.add(key);
  }
  /** Names what was not read. */
  finish(): void {
    for (const key of this.keys) {
      if (this.#read.has(key) || key.startsWith("x-")) continue;
      this.report.leftOut(this.at(key), "has no counterpart here and is left out");
    }
  }
}
