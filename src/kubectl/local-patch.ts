/** A patch applied here, for dry runs and --local. */
import { kindSchema } from "#api/facts.ts";
import { isObject } from "#machinery/object.ts";
import { jsonPatch, mergePatch, strategicMergePatch } from "#machinery/patch.ts";
import type { Resource } from "./discovery.ts";
import { CommandError } from "./errors.ts";
import type { AnyObject } from "./objects.ts";

export function mergePatchLocally(
  resource: Pick<Resource, "group" | "version" | "kind">,
  object: AnyObject,
  patch: unknown,
  mediaType: string,
): AnyObject {
  const patched = ((): unknown => {
    if (mediaType === "application/json-patch+json") return jsonPatch(object, patch);
    if (mediaType === "application/merge-patch+json") return mergePatch(object, patch);
    const schema = kindSchema(resource.group, resource.version, resource.kind);
    if (schema === undefined) {
      const gvk = `${resource.group}/${resource.version}, Kind=${resource.kind}`;
      throw new CommandError(
        `strategic merge patch is not supported for ${gvk} locally, try --type merge`,
      );
    }
    return strategicMergePatch(schema, object, patch);
  })();
  if (!isObject(patched)) throw new CommandError("the patch leaves no object");
  return patched;
}
