/**
 * Slow start: the same work for many objects, in batches that double from one as long as all
 * succeed, so that a hopeless thousand costs one refusal.
 */

/** Work of one pass that goes out together. */
const batchMax = 500;

export interface SlowStart<R> {
  readonly done: readonly R[];
  /** The first refusal; what came after its batch was not tried. */
  readonly error?: unknown;
}

export async function slowStart<T, R>(
  items: readonly T[],
  act: (item: T) => Promise<R>,
): Promise<SlowStart<R>> {
  const done: R[] = [];
  let size = 1;
  for (let at = 0; at < items.length; at += size, size = Math.min(size * 2, batchMax)) {
    const errors: unknown[] = [];
    for (const result of await Promise.allSettled(items.slice(at, at + size).map(act))) {
      if (result.status === "fulfilled") done.push(result.value);
      else errors.push(result.reason);
    }
    if (errors.length > 0) return { done, error: errors[0] };
  }
  return { done };
}
