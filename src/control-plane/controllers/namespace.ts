/**
 * Namespace controller: empties a namespace that is being deleted, says in its conditions what is
 * still there, and lets it go when nothing is. Reads Namespaces and discovery; deletes everything
 * in the namespace, whatever kinds there are.
 */
import { Namespace } from "#api/core/v1/namespace.ts";
import { Pod } from "#api/core/v1/pod.ts";
import type { NamespaceCondition } from "#api/generated/core/v1.ts";
import { type Client, pathOf } from "#client/client.ts";
import type { Stored } from "#machinery/meta.ts";
import { equalObjects } from "#machinery/object.ts";
import { StatusError } from "#machinery/status-error.ts";
import { formatTime } from "#machinery/time.ts";
import { requeueAfter } from "./controller.ts";
import { type DiscoveredKind, type Discovery, discover, oncePerResource } from "./discovery.ts";
import { defineController } from "./runner.ts";

const finalizer = "kubernetes";
/** How soon to look again at what others must finalize first. */
const recheckMs = 5_000;

/** What was found when all that can be deleted was told to go. */
export interface Remains {
  readonly discoveryFailures: readonly string[];
  readonly failures: readonly string[];
  /** How many instances are left, by "plural.group". */
  readonly left: ReadonlyMap<string, number>;
  /** How many of them wait for a finalizer, by finalizer. */
  readonly finalizers: ReadonlyMap<string, number>;
  /** When graceful deletions may be over. */
  readonly waitMs: number;
}

export const namespaceController = defineController<Namespace>({
  name: "namespace",
  reconciles: Namespace,
  workers: 10,
  async reconcile(namespace, { client, now }) {
    if (namespace.metadata.deletionTimestamp === undefined) return {};
    if (!(namespace.spec.finalizers ?? []).includes(finalizer)) return {};
    let current = namespace;
    if (current.status.phase !== "Terminating") {
      const status = { ...current.status, phase: "Terminating" as const };
      current = await client.updateStatus(Namespace, { ...current, status });
    }
    const discovery = await discover(client);
    const remains = await empty(client, current.metadata.name, discovery);
    const conditions = namespaceConditions(current.status.conditions ?? [], remains, now);
    if (!equalObjects(conditions, current.status.conditions ?? [])) {
      const status = { ...current.status, conditions: [...conditions] };
      current = await client.updateStatus(Namespace, { ...current, status });
    }
    if (isBlocked(remains)) {
      return requeueAfter(remains.waitMs > 0 ? Math.min(remains.waitMs, recheckMs) : recheckMs);
    }
    await finalize(client, current);
    return {};
  },
});

const isBlocked = (remains: Remains): boolean =>
  remains.discoveryFailures.length > 0 || remains.failures.length > 0 || remains.left.size > 0;

async function finalize(client: Client, namespace: Stored<Namespace>): Promise<void> {
  const finalizers = (namespace.spec.finalizers ?? []).filter((one) => one !== finalizer);
  const { metadata, status } = namespace;
  const response = await client.handler({
    method: "PUT",
    path: pathOf(Namespace, { name: metadata.name, subresource: "finalize" }),
    query: [],
    headers: {
      accept: "application/json",
      "content-type": "application/json",
      "user-agent": "kube-controller-manager",
    },
    body: {
      object: { apiVersion: "v1", kind: "Namespace", metadata, spec: { finalizers }, status },
    },
    gone: new AbortController().signal,
    direct: true,
  });
  // 404: someone else was faster.
  if (response.status >= 400 && response.status !== 404) {
    throw new StatusError(
      response.status,
      response.status === 409 ? "Conflict" : "",
      `the namespace ${metadata.name} could not be finalized (status ${response.status})`,
    );
  }
}

async function empty(client: Client, namespace: string, discovery: Discovery): Promise<Remains> {
  const kinds = oncePerResource(
    discovery.kinds.filter(({ namespaced, verbs }) => namespaced && verbs.includes("delete")),
  );
  const left = new Map<string, number>();
  const finalizers = new Map<string, number>();
  const failures: string[] = [];
  let waitMs = 0;
  // Pods may need the rest while they end.
  const ordered = [...kinds].sort((a, b) => Number(isPod(b)) - Number(isPod(a)));
  for (const kind of ordered) {
    try {
      await deleteAll(client, kind, namespace);
      const { items } = await client.list(kind, { namespace });
      if (items.length === 0) continue;
      left.set(`${kind.plural}.${kind.group}`, items.length);
      for (const item of items) {
        for (const one of item.metadata.finalizers ?? []) {
          finalizers.set(one, (finalizers.get(one) ?? 0) + 1);
        }
        waitMs = Math.max(waitMs, (item.metadata.deletionGracePeriodSeconds ?? 0) * 1000);
      }
      if (isPod(kind)) break;
    } catch (error) {
      // A kind that went away meanwhile holds nothing any more.
      if (error instanceof StatusError && (error.code === 404 || error.code === 405)) continue;
      failures.push(error instanceof Error ? error.message : String(error));
    }
  }
  const discoveryFailures = [...discovery.failed].map(([group, why]) => `${group}: ${why}`);
  return { discoveryFailures, failures, left, finalizers, waitMs };
}

const isPod = (kind: { readonly group: string; readonly plural: string }): boolean =>
  kind.group === Pod.group && kind.plural === Pod.plural;

async function deleteAll(client: Client, kind: DiscoveredKind, namespace: string): Promise<void> {
  const options = { propagationPolicy: "Background" } as const;
  if (!kind.verbs.includes("deletecollection")) {
    const { items } = await client.list(kind, { namespace });
    for (const { metadata } of items) {
      await client.delete(kind, { namespace, name: metadata.name }, options);
    }
    return;
  }
  const response = await client.handler({
    method: "DELETE",
    path: pathOf(kind, { namespace }),
    query: [],
    headers: {
      accept: "application/json",
      "content-type": "application/json",
      "user-agent": "kube-controller-manager",
    },
    body: { object: { apiVersion: "v1", kind: "DeleteOptions", ...options } },
    gone: new AbortController().signal,
    direct: true,
  });
  if (response.status < 400) return;
  const { content } = response;
  const status = content.type === "object" ? (content.object as { message?: string }) : {};
  throw new StatusError(
    response.status,
    "",
    status.message ?? `deleting all ${kind.plural} was answered with ${response.status}`,
  );
}

type Finding = Pick<NamespaceCondition, "status" | "reason" | "message">;

function findings(remains: Remains): readonly (readonly [type: string, finding: Finding])[] {
  const yes = (reason: string, message: string): Finding => ({ status: "True", reason, message });
  const no = (reason: string, message: string): Finding => ({ status: "False", reason, message });
  const { discoveryFailures, failures } = remains;
  const left = [...remains.left].sort(([a], [b]) => (a < b ? -1 : 1));
  const waiting = [...remains.finalizers].sort(([a], [b]) => (a < b ? -1 : 1));
  const discoveryText = `Discovery failed for some groups, ${discoveryFailures.length} failing: unable to retrieve the complete list of server APIs: ${discoveryFailures.join(", ")}`;
  const failureText = `Failed to delete all resource types, ${failures.length} remaining: ${[...failures].sort().join(", ")}`;
  const leftText = left
    .map(([name, count]) => `${name} has ${count} resource instances`)
    .join(", ");
  const waitingText = waiting
    .map(([name, count]) => `${name} in ${count} resource instances`)
    .join(", ");
  return [
    [
      "NamespaceDeletionDiscoveryFailure",
      discoveryFailures.length > 0
        ? yes("DiscoveryFailed", discoveryText)
        : no("ResourcesDiscovered", "All resources successfully discovered"),
    ],
    [
      "NamespaceDeletionGroupVersionParsingFailure",
      no("ParsedGroupVersions", "All legacy kube types successfully parsed"),
    ],
    [
      "NamespaceDeletionContentFailure",
      failures.length > 0
        ? yes("ContentDeletionFailed", failureText)
        : no("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
    ],
    [
      "NamespaceContentRemaining",
      left.length > 0
        ? yes("SomeResourcesRemain", `Some resources are remaining: ${leftText}`)
        : no("ContentRemoved", "All content successfully removed"),
    ],
    [
      "NamespaceFinalizersRemaining",
      waiting.length > 0
        ? yes(
            "SomeFinalizersRemain",
            `Some content in the namespace has finalizers remaining: ${waitingText}`,
          )
        : no("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
    ],
  ];
}

/** What the namespace's conditions should say; each keeps its time while nothing in it changes. */
export function namespaceConditions(
  old: readonly NamespaceCondition[],
  remains: Remains,
  now: number,
): readonly NamespaceCondition[] {
  const fresh = findings(remains).map(([type, finding]): NamespaceCondition => {
    const known = old.find((condition) => condition.type === type);
    const same =
      known?.status === finding.status &&
      known.reason === finding.reason &&
      known.message === finding.message;
    return same ? known : { type, ...finding, lastTransitionTime: formatTime(now) };
  });
  const types = new Set<string>(fresh.map((condition) => condition.type));
  return [...old.filter((condition) => !types.has(condition.type)), ...fresh];
}
