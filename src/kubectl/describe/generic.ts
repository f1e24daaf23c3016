/** The description of what has none of its own: its fields, in words. */
import { isObject, type JsonObject, sortedKeys } from "#machinery/object.ts";
import { metaOf, plainText } from "../objects.ts";
import type { Describe } from "./describe.ts";
import { writeEvents } from "./events.ts";
import { type Page, writeAnnotations, writeLabels } from "./page.ts";

const acronyms = new Set(["API", "URL", "UID", "GUID"]);
const skipped = new Set([
  ".metadata.managedFields",
  ".metadata.name",
  ".metadata.namespace",
  ".metadata.labels",
  ".metadata.annotations",
]);

/** "creationTimestamp" is "Creation Timestamp", "apiVersion" is "API Version". */
export function labelOf(field: string): string {
  if (!/^[\p{L}-]*$/u.test(field)) return field;
  const parts = field.match(/\p{Lu}+(?=\p{Lu}\p{Ll})|\p{Lu}?\p{Ll}+|\p{Lu}+|-+/gu) ?? [field];
  return parts
    .map((part) => {
      if (acronyms.has(part.toUpperCase())) return part.toUpperCase();
      return part.toLowerCase() === part ? part.charAt(0).toUpperCase() + part.slice(1) : part;
    })
    .join(" ");
}

function goText(value: unknown): string {
  if (value === null || value === undefined) return "<nil>";
  if (Array.isArray(value)) return `[${value.map(goText).join(" ")}]`;
  return plainText(value);
}

function writeContent(page: Page, level: number, content: JsonObject, prefix: string): void {
  for (const field of sortedKeys(content)) {
    const value = content[field];
    const path = `${prefix}.${field}`;
    if (skipped.has(path)) continue;
    if (isObject(value)) {
      page.line(level, `${labelOf(field)}:`);
      writeContent(page, level + 1, value, path);
    } else if (Array.isArray(value)) {
      page.line(level, `${labelOf(field)}:`);
      for (const item of value) {
        if (isObject(item)) writeContent(page, level + 1, item, path);
        else page.line(level + 1, goText(item));
      }
    } else page.line(level, `${labelOf(field)}:\t${goText(value)}`);
  }
}

export const describeAnything: Describe = async (page, object) => {
  const { name = "", namespace = "", labels, annotations } = metaOf(object);
  page.line(0, `Name:\t${name}`);
  page.line(0, `Namespace:\t${namespace}`);
  writeLabels(page, "Labels", labels);
  writeAnnotations(page, "Annotations", annotations);
  writeContent(page, 0, object, "");
  await writeEvents(page, object);
};
