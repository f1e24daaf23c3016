/** Performs the bootstrap policy: makes the roles and bindings that are missing, and adds to those that stand there what they lack. */
import type { ApiResponse } from "#api/request.ts";
import type { JsonObject } from "#machinery/object.ts";
import {
  ownPolicy,
  type PolicyObject,
  reconcilePolicy,
  upstreamPolicy,
} from "./authz/bootstrap-policy.ts";

/** As the server itself. Bodies and answers are values. */
export type Ask = (method: string, path: string, body?: object) => Promise<ApiResponse>;

const attemptsMax = 8;
const plurals: Readonly<Record<string, string>> = {
  ClusterRole: "clusterroles",
  ClusterRoleBinding: "clusterrolebindings",
  Role: "roles",
  RoleBinding: "rolebindings",
};

function collectionOf({ kind, metadata }: PolicyObject): string {
  const place = metadata.namespace === undefined ? "" : `/namespaces/${metadata.namespace}`;
  return `/apis/rbac.authorization.k8s.io/v1${place}/${plurals[kind] ?? ""}`;
}

/** Undefined: done; an answer: it could not be done, and this is why. */
async function attempt(ask: Ask, expected: PolicyObject): Promise<ApiResponse | undefined> {
  const collection = collectionOf(expected);
  const path = `${collection}/${encodeURIComponent(expected.metadata.name ?? "")}`;
  const found = await ask("GET", path);
  const make = async (object: PolicyObject) => {
    const made = await ask("POST", collection, object);
    return made.status === 201 ? undefined : made;
  };
  if (found.status === 404) return await make(expected);
  if (found.status !== 200 || found.content.type !== "object") return found;
  const existing = found.content.object as PolicyObject;
  const plan = reconcilePolicy(existing, expected);
  if (plan.step === "none") return undefined;
  if (plan.step === "update") {
    const put = await ask("PUT", path, plan.object);
    return put.status === 200 ? undefined : put;
  }
  const preconditions = { uid: existing.metadata.uid };
  const gone = await ask("DELETE", path, { preconditions } satisfies JsonObject);
  if (gone.status >= 300 && gone.status !== 404) return gone;
  return await make(plan.object);
}

async function ensure(ask: Ask, expected: PolicyObject, failed: (answer: ApiResponse) => Error) {
  for (let tries = 1; ; tries++) {
    const answer = await attempt(ask, expected);
    if (answer === undefined) return;
    const raced = answer.status === 409 || answer.status === 404;
    if (!raced || tries === attemptsMax) throw failed(answer);
  }
}

/** All at once: what is written together shares one commit. */
export async function ensurePolicy(
  ask: Ask,
  failed: (answer: ApiResponse) => Error,
): Promise<void> {
  const expected = [...upstreamPolicy(), ...ownPolicy()];
  await Promise.all(expected.map((one) => ensure(ask, one, failed)));
}
