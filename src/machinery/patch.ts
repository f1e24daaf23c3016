/**
 * Patches on plain JSON values: JSON patch (RFC 6902) and merge patch (RFC 7386) here, strategic merge patch in a file of its own.
 * Nothing that is handed in is changed, and the result shares nothing with it. Where upstream's library (evanphx/json-patch v4)
 * departs from the RFCs or words an error, so does this.
 */
import { cloneJson, equalObjects, getKey, isObject, type JsonObject, setKey } from "./object.ts";
import { PatchError } from "./patch-error.ts";

export { PatchError } from "./patch-error.ts";
export { strategicMergePatch } from "./strategic-patch.ts";

const operationsMax = 10_000;
const copiedBytesMax = 3 * 1024 * 1024;

/** Applies a JSON patch. Throws PatchError. */
export function jsonPatch(document: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch) || !patch.every(isObject)) {
    throw new PatchError("BadRequest", `${describePatch(patch)} of type jsonpatch.Patch`);
  }
  if (patch.length > operationsMax) {
    throw new PatchError(
      "RequestEntityTooLarge",
      `The allowed maximum operations in a JSON patch is ${operationsMax}, got ${patch.length}`,
    );
  }
  const run = new JsonPatchRun(cloneJson(document));
  for (const operation of patch) run.apply(operation);
  return run.root;
}
function describePatch(patch: unknown): string {
  const bad = Array.isArray(patch) ? patch.find((one) => !isObject(one)) : patch;
  const name = Array.isArray(bad) ? "array" : typeof bad === "boolean" ? "bool" : typeof bad;
  return `json: cannot unmarshal ${bad === null ? "null" : name} into Go value`;
}

const fail = (message: string): never => {
  throw new PatchError("Invalid", message);
};
const missing = "missing value";
const invalidIndex = (index: number): never =>
  fail(`Unable to access invalid index: ${index}: invalid index referenced`);

const decodePointerPart = (part: string): string =>
  part.includes("~") ? part.replaceAll("~1", "/").replaceAll("~0", "~") : part;

/** Go's strconv.Atoi: signs and leading zeros are fine. */
function parseIndex(key: string): number {
  if (!/^[+-]?\d{1,15}$/.test(key)) {
    return fail(`strconv.Atoi: parsing ${JSON.stringify(key)}: invalid syntax`);
  }
  return Number(key);
}
/** Upstream: negative indices count from the end. */
function resolveIndex(key: string, length: number): number {
  const index = parseIndex(key);
  if (index < -length || index >= length) invalidIndex(index);
  return index < 0 ? index + length : index;
}

type Container = JsonObject | unknown[];

class JsonPatchRun {
  root: unknown;
  #copiedBytes = 0;

  constructor(root: unknown) {
    this.root = root;
  }

  apply(operation: JsonObject): void {
    const kind = getKey(operation, "op");
    switch (kind) {
      case "add":
        return this.#add(operation);
      case "remove":
        return this.#remove(operation);
      case "replace":
        return this.#replace(operation);
      case "move":
        return this.#move(operation);
      case "copy":
        return this.#copy(operation);
      case "test":
        return this.#test(operation);
      default:
        return fail(`Unexpected kind: ${typeof kind === "string" ? kind : "unknown"}`);
    }
  }

  /** The container that holds the last step of a pointer; undefined if the way there does not exist. */
  #find(pointer: string): { readonly container: Container; readonly key: string } | undefined {
    const parts = pointer.split("/");
    if (parts.length < 2) return undefined;
    let at = this.root;
    for (const part of parts.slice(1, -1)) {
      const key = decodePointerPart(part);
      if (Array.isArray(at)) {
        const length: number = at.length;
        if (!/^[+-]?\d{1,15}$/.test(key)) return undefined;
        const index = Number(key) < 0 ? Number(key) + length : Number(key);
        at = at[index];
      } else at = isObject(at) ? getKey(at, key) : undefined;
      if (at === undefined || at === null) return undefined;
    }
    if (!Array.isArray(at) && !isObject(at)) return undefined;
    return { container: at, key: decodePointerPart(parts.at(-1) ?? "") };
  }

  #pointer(operation: JsonObject, name: "path" | "from", problem: string): string {
    const pointer = getKey(operation, name);
    return typeof pointer === "string" ? pointer : fail(problem);
  }

  #add(operation: JsonObject): void {
    const path = this.#pointer(
      operation,
      "path",
      `add operation failed to decode path: ${missing}`,
    );
    const place = this.#find(path);
    if (place === undefined) {
      return fail(`add operation does not apply: doc is missing path: "${path}": ${missing}`);
    }
    this.#insert(place, valueOf(operation), `error in add for path: '${path}'`);
  }

  #insert(
    { container, key }: { readonly container: Container; readonly key: string },
    value: unknown,
    context: string,
  ): void {
    within(context, () => {
      if (!Array.isArray(container)) setKey(container, key, value);
      else if (key === "-") container.push(value);
      else {
        const index = within(`value was not a proper array index: '${key}'`, () => parseIndex(key));
        const length = container.length + 1;
        if (index >= length || index < -length) invalidIndex(index);
        container.splice(index < 0 ? index + length : index, 0, value);
      }
    });
  }

  #remove(operation: JsonObject): void {
    const problem = `remove operation failed to decode path: ${missing}`;
    const path = this.#pointer(operation, "path", problem);
    const place = this.#find(path);
    if (place === undefined) {
      return fail(`remove operation does not apply: doc is missing path: "${path}": ${missing}`);
    }
    within(`error in remove for path: '${path}'`, () => removeKey(place.container, place.key));
  }

  #replace(operation: JsonObject): void {
    const problem = `replace operation failed to decode path: operation missing path field: ${missing}`;
    const path = this.#pointer(operation, "path", problem);
    const value = valueOf(operation);
    if (path === "") {
      if (!isObject(value) && !Array.isArray(value)) {
        fail("replace operation value must be object or array: %!w(<nil>)");
      }
      this.root = value;
      return;
    }
    const place = this.#find(path);
    if (place === undefined) {
      return fail(`replace operation does not apply: doc is missing path: ${path}: ${missing}`);
    }
    const { container, key } = place;
    // Upstream: a key that is not there may be "replaced" all the same.
    if (!Array.isArray(container)) return setKey(container, key, value);
    if (!isIndexWithin(key, container.length)) {
      fail(`replace operation does not apply: doc is missing key: ${path}: ${missing}`);
    }
    container[resolveIndex(key, container.length)] = value;
  }

  #move(operation: JsonObject): void {
    const problem = `move operation failed to decode from: operation, missing from field: ${missing}`;
    const from = this.#pointer(operation, "from", problem);
    const source = this.#find(from);
    if (source === undefined) {
      return fail(`move operation does not apply: doc is missing from path: ${from}: ${missing}`);
    }
    const value = within(`error in move for path: '${source.key}'`, () => {
      const found = readKey(source.container, source.key);
      removeKey(source.container, source.key);
      return found;
    });
    const path = this.#pointer(
      operation,
      "path",
      `move operation failed to decode path: operation missing path field: ${missing}`,
    );
    const target = this.#find(path);
    if (target === undefined) {
      return fail(
        `move operation does not apply: doc is missing destination path: ${path}: ${missing}`,
      );
    }
    this.#insert(target, value ?? null, `error in move for path: '${path}'`);
  }

  #copy(operation: JsonObject): void {
    const problem = `copy operation failed to decode from: operation, missing from field: ${missing}`;
    const from = this.#pointer(operation, "from", problem);
    const source = this.#find(from);
    if (source === undefined) {
      return fail(`copy operation does not apply: doc is missing from path: ${from}: ${missing}`);
    }
    const value = within(`error in copy for from: '${from}'`, () =>
      readKey(source.container, source.key),
    );
    const path = this.#pointer(
      operation,
      "path",
      `copy operation failed to decode path: ${missing}`,
    );
    const target = this.#find(path);
    if (target === undefined) {
      return fail(
        `copy operation does not apply: doc is missing destination path: ${path}: ${missing}`,
      );
    }
    this.#copiedBytes += JSON.stringify(value ?? null).length;
    if (this.#copiedBytes > copiedBytesMax) {
      fail(
        `Unable to complete the copy, the accumulated size increase of copy is ${this.#copiedBytes}, exceeding the limit ${copiedBytesMax}`,
      );
    }
    this.#insert(target, cloneJson(value ?? null), "error while adding value during copy");
  }

  #test(operation: JsonObject): void {
    const problem = `test operation failed to decode path: operation missing path field: ${missing}`;
    const path = this.#pointer(operation, "path", problem);
    const wanted = valueOf(operation);
    let actual = this.root;
    if (path !== "") {
      const place = this.#find(path);
      if (place === undefined) {
        return fail(`test operation does not apply: is missing path: ${path}: ${missing}`);
      }
      actual = within(`error in test for path: '${path}'`, () =>
        readKey(place.container, place.key),
      );
    }
    // Upstream: an absent value equals null.
    if (!equalObjects(actual ?? null, wanted)) fail(`testing value ${path} failed: test failed`);
  }
}

/** Runs `step`; its failure is said within `context`, as Go wraps errors. */
function within<T>(context: string, step: () => T): T {
  try {
    return step();
  } catch (error) {
    if (error instanceof PatchError)
      throw new PatchError(error.failure, `${context}: ${error.message}`);
    throw error;
  }
}
const valueOf = (operation: JsonObject): unknown => cloneJson(getKey(operation, "value") ?? null);
const isIndexWithin = (key: string, length: number): boolean =>
  /^[+-]?\d{1,15}$/.test(key) && Number(key) < length && Number(key) >= -length;

const readKey = (container: Container, key: string): unknown =>
  Array.isArray(container)
    ? container[resolveIndex(key, container.length)]
    : getKey(container, key);

function removeKey(container: Container, key: string): void {
  if (Array.isArray(container)) container.splice(resolveIndex(key, container.length), 1);
  else if (!Object.hasOwn(container, key)) {
    fail(`Unable to remove nonexistent key: ${key}: ${missing}`);
  } else delete container[key];
}

/** Applies a merge patch. Throws PatchError if the patch is no object. */
export function mergePatch(document: unknown, patch: unknown): unknown {
  if (patch === null || patch === undefined)
    throw new PatchError("BadRequest", "Invalid JSON Patch");
  return merge(cloneJson(document), cloneJson(patch));
}
function merge(document: unknown, patch: unknown): unknown {
  if (!isObject(document)) return withoutNulls(patch);
  if (!isObject(patch)) return patch;
  for (const key of Object.keys(patch)) {
    const value = patch[key];
    if (value === null) delete document[key];
    else {
      const current = getKey(document, key);
      const isNew = current === undefined || current === null;
      setKey(document, key, isNew ? withoutNulls(value) : merge(current, value));
    }
  }
  return document;
}
/** Upstream: what replaces a value that was no object loses its nulls, except those that are items of lists. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) {
    for (const item of value) withoutNulls(item);
  } else if (isObject(value)) {
    for (const key of Object.keys(value)) {
      if (value[key] === null) delete value[key];
      else withoutNulls(value[key]);
    }
  }
  return value;
}

/** The merge patch that turns one value into the other; undefined if they are equal. */
export function createMergePatch(before: JsonObject, after: JsonObject): JsonObject | undefined {
  const patch: JsonObject = {};
  for (const key of Object.keys(before)) {
    const value = getKey(after, key);
    if (value === undefined || value === null) setKey(patch, key, null);
  }
  for (const key of Object.keys(after)) {
    const value = after[key];
    if (value === undefined || value === null) continue;
    const old = getKey(before, key);
    if (isObject(value) && isObject(old)) {
      const nested = createMergePatch(old, value);
      if (nested !== undefined) setKey(patch, key, nested);
    } else if (!equalObjects(old, value)) setKey(patch, key, cloneJson(value));
  }
  return Object.keys(patch).length === 0 ? undefined : patch;
}
