/** A rule's fieldPath (".spec.replicas", ".labels['a/b']") as a path of a field error; only what the schema knows is one. */

import { type Props, propertyOf, valuesOf } from "./pruning.ts";

const step = /(?:\.([^.[\]']+)|\['((?:[^'\\]|\\.)*)'\])/y;

/** Undefined: no path, or not of this schema. */
export function normalizePath(text: string, props: Props): string | undefined {
  let at: Props = props;
  let path = "";
  step.lastIndex = 0;
  while (step.lastIndex < text.length) {
    const found = step.exec(text);
    if (found === null) return undefined;
    const name = (found[1] ?? found[2] ?? "").replace(/\\(.)/g, "$1");
    const values = valuesOf(at);
    const next = at.properties === undefined ? values : propertyOf(at, name);
    if (next === undefined) return undefined;
    if (at.properties === undefined) path += `[${name}]`;
    else path = path === "" ? name : `${path}.${name}`;
    at = next;
  }
  return path === "" ? undefined : path;
}
