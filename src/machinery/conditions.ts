/** Conditions of a status: finding and setting them by the law that lastTransitionTime changes with status and nothing else. */

export interface Condition {
  type: string;
  status: string;
  observedGeneration?: number;
  lastTransitionTime?: string | null;
  reason?: string;
  message?: string;
}

export const findCondition = <C extends { readonly type: string }>(
  conditions: readonly C[] | null | undefined,
  type: string,
): C | undefined => conditions?.find((condition) => condition.type === type);

export const isConditionTrue = (
  conditions: readonly { readonly type: string; readonly status: string }[] | null | undefined,
  type: string,
): boolean => findCondition(conditions, type)?.status === "True";

/**
 * The list with `condition` in it: in its old place, or last. It keeps its old lastTransitionTime while its status stays, else it
 * takes the given one, or `now` (both as printed, RFC 3339). The input is not changed; if nothing changes, it is returned.
 */
export function setCondition<C extends Condition>(
  conditions: readonly C[] | null | undefined,
  condition: C,
  now: string,
): readonly C[] {
  const list = conditions ?? [];
  const old = findCondition(list, condition.type);
  if (old === undefined) {
    return [...list, { ...condition, lastTransitionTime: condition.lastTransitionTime ?? now }];
  }
  const lastTransitionTime =
    old.status === condition.status
      ? (old.lastTransitionTime ?? condition.lastTransitionTime ?? now)
      : (condition.lastTransitionTime ?? now);
  const next: C = { ...old, ...condition, lastTransitionTime };
  const keys = Object.keys(next) as (keyof C)[];
  if (keys.every((key) => next[key] === old[key])) return list;
  return list.map((one) => (one === old ? next : one));
}

/** The list without the condition; the same list if it was not there. */
export function removeCondition<C extends { readonly type: string }>(
  conditions: readonly C[] | null | undefined,
  type: string,
): readonly C[] {
  const list = conditions ?? [];
  return findCondition(list, type) === undefined ? list : list.filter((one) => one.type !== type);
}
