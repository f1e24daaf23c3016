/** Group, version and kind: how an apiVersion is read and printed, and how versions are ordered. */

export interface GroupVersion {
  readonly group: string;
  readonly version: string;
}
export interface GroupVersionKind extends GroupVersion {
  readonly kind: string;
}
export interface GroupVersionResource extends GroupVersion {
  readonly resource: string;
}

/** "apps/v1" or "v1"; undefined if there is more than one slash. */
export function parseApiVersion(apiVersion: string): GroupVersion | undefined {
  const slash = apiVersion.indexOf("/");
  if (slash < 0) return { group: "", version: apiVersion };
  if (apiVersion.includes("/", slash + 1)) return undefined;
  return { group: apiVersion.slice(0, slash), version: apiVersion.slice(slash + 1) };
}

export const formatApiVersion = ({ group, version }: GroupVersion): string =>
  group === "" ? version : `${group}/${version}`;

/** As Go prints it in messages: "apps/v1, Kind=Deployment". */
export const formatGroupVersionKind = (gvk: GroupVersionKind): string =>
  `${gvk.group}/${gvk.version}, Kind=${gvk.kind}`;

export const equalGroupVersionKind = (a: GroupVersionKind, b: GroupVersionKind): boolean =>
  a.group === b.group && a.version === b.version && a.kind === b.kind;

const versionText = /^v(\d+)(?:(alpha|beta)(\d+))?$/;
const stability: Readonly<Record<string, number>> = { alpha: 0, beta: 1 };

/**
 * Preferred versions first: stable before beta before alpha, larger numbers first; what is no version of that form comes last,
 * by its text.
 */
export function compareVersions(a: string, b: string): number {
  const left = versionText.exec(a);
  const right = versionText.exec(b);
  if (left === null || right === null) {
    if (left !== null) return -1;
    if (right !== null) return 1;
    return a < b ? -1 : a > b ? 1 : 0;
  }
  const rank = (match: RegExpExecArray): number => stability[match[2] ?? ""] ?? 2;
  return (
    rank(right) - rank(left) ||
    Number(right[1]) - Number(left[1]) ||
    Number(right[3] ?? 0) - Number(left[3] ?? 0)
  );
}
