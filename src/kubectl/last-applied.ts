/** The annotation in which client-side apply keeps what was applied last. */
import { cloneJson, isObject, type JsonObject } from "#machinery/object.ts";
import { compactJson } from "./json-print.ts";
import { metaOf } from "./objects.ts";

export const lastAppliedKey = "kubectl.kubernetes.io/last-applied-configuration";

/** What was applied last, if the object says so. */
export function lastAppliedOf(object: JsonObject): JsonObject | undefined {
  const text = metaOf(object).annotations?.[lastAppliedKey];
  if (text === undefined || text === "") return undefined;
  const parsed: unknown = JSON.parse(text);
  return isObject(parsed) ? parsed : undefined;
}

/** The object with itself in its annotation. */
export function withLastApplied<T extends JsonObject>(object: T): T {
  const bare = cloneJson(object) as JsonObject;
  const metadata = isObject(bare["metadata"]) ? bare["metadata"] : {};
  const annotations = isObject(metadata["annotations"]) ? { ...metadata["annotations"] } : {};
  delete annotations[lastAppliedKey];
  const plain = { ...bare, metadata: { ...metadata, annotations } };
  const text = `${compactJson(plain)}\n`;
  return {
    ...plain,
    metadata: { ...metadata, annotations: { ...annotations, [lastAppliedKey]: text } },
  } as unknown as T;
}
