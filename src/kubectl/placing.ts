/** The object of a file: where it goes, and whether a selector means it. */
import type { JsonObject } from "#machinery/object.ts";
import { type AnyObject, metaOf } from "./objects.ts";
import type { Target } from "./selection.ts";

/** Equality terms only: what files hold is matched here, without a server. */
export function matchesSelector(object: JsonObject, selector: string): boolean {
  const labels = metaOf(object).labels ?? {};
  return selector
    .split(",")
    .filter((term) => term !== "")
    .every((term) => {
      const match = /^([^!=\s]+)\s*(==|=|!=)\s*(.*)$/.exec(term.trim());
      if (match === null)
        return term.startsWith("!")
          ? labels[term.slice(1)] === undefined
          : labels[term.trim()] !== undefined;
      const [, key = "", operator, value = ""] = match;
      return operator === "!=" ? labels[key] !== value : labels[key] === value;
    });
}

/** The file's object with the namespace that it goes to. */
export function placed({ manifest, namespace }: Target): AnyObject {
  const object = manifest?.object ?? {};
  const meta = metaOf(object);
  return { ...object, metadata: { ...meta, ...(namespace === "" ? {} : { namespace }) } };
}
