/** Changes of JSON values: at a path, by a difference as it is kept, and requests that speak of earlier answers. */
import type { Delta, Json } from "./mask.ts";

export type Path = readonly (string | number)[];

/** `undefined` takes it out. What is not there on the way is made. */
export function changed(object: Json, path: Path, value: Json | undefined): Json {
  const [step, ...rest] = path;
  if (step === undefined) return value ?? null;
  if (Array.isArray(object)) {
    const list = [...(object as Json[])];
    if (rest.length === 0 && value === undefined) list.splice(Number(step), 1);
    else list[Number(step)] = changed(list[Number(step)] ?? null, rest, value);
    return list;
  }
  const next = { ...(object as { [key: string]: Json }) };
  if (rest.length === 0 && value === undefined) delete next[step];
  else next[step] = changed(next[step] ?? null, rest, value);
  return next;
}

export function valueAt(object: Json, path: Path): Json | undefined {
  let at: Json | undefined = object;
  for (const step of path) {
    if (at === null || typeof at !== "object") return undefined;
    at = (at as { readonly [key: string]: Json })[step];
  }
  return at;
}

export const pointerOf = (path: Path): string =>
  path.map((step) => `/${String(step).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
const pathOf = (pointer: string): Path =>
  pointer
    .split("/")
    .slice(1)
    .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));

export const changedBy = (object: Json, delta: Delta): Json =>
  delta.reduce<Json>((now, [pointer, value]) => changed(now, pathOf(pointer), value), object);

/** `{{ID#/pointer}}`: what stood there in the answer to that request. */
const reference = /\{\{([^{}#]*)#([^{}]*)\}\}/g;

export const referred = (text: string, answers: ReadonlyMap<string, string>): string =>
  text.replace(reference, (_, id: string, pointer: string) => {
    const body = JSON.parse(answers.get(id) ?? "null") as Json;
    const found = valueAt(body, pathOf(pointer));
    return typeof found === "string" || typeof found === "number" ? String(found) : "";
  });
