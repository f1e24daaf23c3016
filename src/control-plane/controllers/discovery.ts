/**
 * What the API server serves, asked of it: for controllers that work on kinds they do not know.
 * Reads discovery only.
 */
import type { Kind } from "#api/resource.ts";
import type { Client } from "#client/client.ts";
import { StatusError } from "#machinery/status-error.ts";

interface ResourceLine {
  readonly name: string;
  readonly namespaced: boolean;
  readonly kind: string;
  readonly verbs: readonly string[];
}
export interface DiscoveredKind extends Kind {
  readonly verbs: readonly string[];
  /** Whether clients should prefer this of the versions of its group. */
  readonly preferred: boolean;
}
export interface Discovery {
  readonly kinds: readonly DiscoveredKind[];
  /** Group versions that did not answer, and why. */
  readonly failed: ReadonlyMap<string, string>;
}

/** The object at a path. */
export async function ask<T>(client: Client, path: string): Promise<T> {
  const response = await client.handler({
    method: "GET",
    path,
    query: [],
    headers: { accept: "application/json", "user-agent": "kube-controller-manager" },
    gone: new AbortController().signal,
    direct: true,
  });
  const { content } = response;
  if (response.status === 200 && content.type === "object") return content.object as T;
  if (response.status === 200 && content.type === "bytes") {
    return JSON.parse(new TextDecoder().decode(content.bytes)) as T;
  }
  throw new StatusError(response.status, "", `GET ${path} was answered with ${response.status}`);
}

/** Kinds that have a name of their own (no subresources), of every version. */
export async function discover(client: Client): Promise<Discovery> {
  interface Group {
    readonly name: string;
    readonly versions: readonly { readonly groupVersion: string; readonly version: string }[];
    readonly preferredVersion?: { readonly version: string };
  }
  const core = await ask<{ readonly versions: readonly string[] }>(client, "/api");
  const named = await ask<{ readonly groups: readonly Group[] }>(client, "/apis");
  const wanted = [
    ...core.versions.map((version) => ({
      group: "",
      version,
      preferred: true,
      path: `/api/${version}`,
    })),
    ...named.groups.flatMap(({ name, versions, preferredVersion }) =>
      versions.map(({ groupVersion, version }) => ({
        group: name,
        version,
        preferred: version === (preferredVersion?.version ?? versions[0]?.version),
        path: `/apis/${groupVersion}`,
      })),
    ),
  ];
  const failed = new Map<string, string>();
  const lists = await Promise.all(
    wanted.map(async ({ group, version, preferred, path }) => {
      try {
        const list = await ask<{ readonly resources: readonly ResourceLine[] }>(client, path);
        return list.resources
          .filter(({ name }) => !name.includes("/"))
          .map(({ name: plural, namespaced, kind, verbs }): DiscoveredKind => {
            return { group, version, plural, namespaced, kind, verbs, preferred };
          });
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error);
        failed.set(path.replace(/^\/apis?\//, ""), text);
        return [];
      }
    }),
  );
  return { kinds: lists.flat(), failed };
}

/** Each resource once, in its preferred version where that has it. */
export function oncePerResource(kinds: readonly DiscoveredKind[]): readonly DiscoveredKind[] {
  const chosen = new Map<string, DiscoveredKind>();
  for (const kind of kinds) {
    const id = `${kind.group}/${kind.plural}`;
    const known = chosen.get(id);
    if (known === undefined || (kind.preferred && !known.preferred)) chosen.set(id, kind);
  }
  return [...chosen.values()];
}
