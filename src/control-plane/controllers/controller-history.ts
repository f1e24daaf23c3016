/**
 * History of the kinds whose past templates are ControllerRevisions: StatefulSet and DaemonSet.
 * What a revision holds is a patch that puts its template back: `kubectl rollout undo` applies it.
 */
import { ControllerRevision } from "#api/apps/v1/controllerrevision.ts";
import type { PodTemplateSpec } from "#api/generated/core/v1.ts";
import type { Kind } from "#api/resource.ts";
import type { New } from "#client/client.ts";
import { fnv1a32 } from "#machinery/hash.ts";
import type { ApiObject, Stored } from "#machinery/meta.ts";
import { safeEncode } from "#machinery/names.ts";
import { compareUtf8, equalObjects, isObject } from "#machinery/object.ts";
import { isStatus } from "#machinery/status-error.ts";
import { controllerReference, type ReconcileContext } from "./controller.ts";
import { canonicalText } from "./template-hash.ts";

export type Revision = Stored<ControllerRevision>;

const prefixLengthMax = 223;
/** How many names a revision may find taken by others in one pass. */
const collisionsMax = 100;

/** Labels of a revision, and of the Pods that are of it. */
export const revisionHashLabel = "controller-revision-hash";

/** Upstream: keys in order, as Go prints maps: others compare revisions as text. */
function inOrder(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inOrder);
  if (!isObject(value)) return value;
  const entries = Object.entries(value).sort(([a], [b]) => compareUtf8(a, b));
  return Object.fromEntries(entries.map(([key, one]) => [key, inOrder(one)]));
}

export const templatePatch = (template: PodTemplateSpec): object =>
  inOrder({ spec: { template: { ...template, $patch: "replace" } } }) as object;

/** The template that a revision holds. */
export function templateOf(revision: ControllerRevision): PodTemplateSpec | undefined {
  const { data } = revision;
  const spec = isObject(data) ? data["spec"] : undefined;
  const template = isObject(spec) ? spec["template"] : undefined;
  if (!isObject(template)) return undefined;
  const { $patch: _, ...rest } = template;
  return rest as unknown as PodTemplateSpec;
}

export const holds = (revision: ControllerRevision, template: PodTemplateSpec): boolean =>
  equalObjects(revision.data, templatePatch(template));

/** Oldest first. */
export const byRevision = (a: Revision, b: Revision): number =>
  a.revision - b.revision ||
  compareUtf8(a.metadata.creationTimestamp, b.metadata.creationTimestamp) ||
  compareUtf8(a.metadata.name, b.metadata.name);

export const revisionHash = (template: PodTemplateSpec, collisions: number): string =>
  safeEncode(String(fnv1a32(canonicalText(templatePatch(template)) + String(collisions))));

export const revisionName = (owner: string, hash: string): string =>
  `${owner.slice(0, prefixLengthMax)}-${hash}`;

/** An owner with a template, as far as its history is concerned. */
type Templated = ApiObject & { readonly spec: { readonly template: PodTemplateSpec } };

export interface Wanted<T extends Templated> {
  readonly kind: Kind;
  readonly owner: Stored<T>;
  readonly revision: number;
  /** The label that carries the hash, which is the end of the revision's name. */
  readonly hashLabel: string;
}

function newRevision<T extends Templated>(
  { kind, owner, revision, hashLabel }: Wanted<T>,
  hash: string,
): New<ControllerRevision> {
  const { name, namespace, annotations } = owner.metadata;
  const { template } = owner.spec;
  return {
    metadata: {
      name: revisionName(name, hash),
      ...(namespace === undefined ? {} : { namespace }),
      labels: { ...template.metadata?.labels, [hashLabel]: hash },
      ...(annotations === undefined ? {} : { annotations }),
      ownerReferences: [controllerReference(kind, owner)],
    },
    data: templatePatch(template),
    revision,
  };
}

/** Creates it under the first name that no other revision has, counting those that were taken. */
export async function createRevision<T extends Templated>(
  wanted: Wanted<T>,
  collisions: number,
  context: ReconcileContext,
): Promise<{ readonly revision: Revision; readonly collisions: number }> {
  const { owner } = wanted;
  const { namespace } = owner.metadata;
  const { template } = owner.spec;
  for (let count = collisions; count < collisions + collisionsMax; count += 1) {
    const hash = revisionHash(template, count);
    const body = newRevision(wanted, hash);
    try {
      const revision = await context.client.create(ControllerRevision, body);
      return { revision, collisions: count };
    } catch (error) {
      if (!isStatus(error, "AlreadyExists")) throw error;
    }
    const taken = await context.client.get(ControllerRevision, {
      name: revisionName(owner.metadata.name, hash),
      ...(namespace === undefined ? {} : { namespace }),
    });
    if (holds(taken, template)) return { revision: taken, collisions: count };
  }
  throw new Error(
    `${collisionsMax} names for a revision of ${owner.metadata.name} are taken by other templates`,
  );
}

export async function setRevision(
  revision: Revision,
  number: number,
  context: ReconcileContext,
): Promise<Revision> {
  if (revision.revision === number) return revision;
  return context.client.update(ControllerRevision, { ...revision, revision: number });
}

export async function removeRevision(
  { metadata: { name, namespace } }: Revision,
  context: ReconcileContext,
): Promise<void> {
  try {
    await context.client.delete(ControllerRevision, {
      name,
      ...(namespace === undefined ? {} : { namespace }),
    });
  } catch (error) {
    if (!isStatus(error, "NotFound")) throw error;
  }
}
