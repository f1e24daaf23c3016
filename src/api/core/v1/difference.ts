/** What differs between two values of one type, for people to read. Pure. */
import { decodeObject } from "#machinery/decode.ts";
import { unifiedDiff } from "#machinery/unified-diff.ts";
import { typeSchema } from "../../facts.ts";

/** Line by line; both sides with their fields in the schema's order. */
export function differenceOf(type: string, old: object, next: object): string {
  const schema = typeSchema(`io.k8s.api.core.v1.${type}`);
  const print = (value: object): string =>
    JSON.stringify(decodeObject(schema, value, { strict: false }).object, undefined, 1);
  return unifiedDiff(print(old), print(next));
}
