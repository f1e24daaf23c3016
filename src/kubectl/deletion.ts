/** Deleting objects and waiting until they are gone. */
import { isStatus } from "#machinery/status-error.ts";
import { resourcePath } from "./discovery.ts";
import { CommandError } from "./errors.ts";
import { metaOf, textAt } from "./objects.ts";
import type { Query } from "./rest.ts";
import type { Target } from "./selection.ts";
import type { Session } from "./session.ts";
import { watchEvents } from "./watch.ts";

export interface DeleteRules {
  /** Below 0: the object's own. */
  readonly gracePeriodSeconds: number;
  readonly propagation?: string;
  readonly dryRun?: boolean;
}

export function propagationOf(cascade: string): string {
  const known: Readonly<Record<string, string>> = {
    "": "Background",
    true: "Background",
    background: "Background",
    foreground: "Foreground",
    false: "Orphan",
    orphan: "Orphan",
  };
  const found = known[cascade];
  if (found === undefined) {
    throw new CommandError(
      `invalid cascade value (${cascade}). Must be "background", "foreground", or "orphan"`,
    );
  }
  return found;
}

/** The UID of what is going, as far as the server says. */
export async function deleteTarget(
  session: Session,
  target: Target,
  rules: DeleteRules,
): Promise<string> {
  const rest = await session.rest();
  const answer = await rest.json(
    "DELETE",
    resourcePath(target.resource, target.namespace, target.name),
    {
      body: {
        apiVersion: "v1",
        kind: "DeleteOptions",
        ...(rules.gracePeriodSeconds < 0 ? {} : { gracePeriodSeconds: rules.gracePeriodSeconds }),
        propagationPolicy: rules.propagation ?? "Background",
        ...(rules.dryRun === true ? { dryRun: ["All"] } : {}),
      },
    },
  );
  return textAt(answer, "details", "uid") || (metaOf(answer).uid ?? "");
}

/** Follows one object until it is gone or another of its name is there. Throws when it takes too long (0: for ever). */
export async function waitGone(
  session: Session,
  target: Target,
  uid: string,
  timeoutMs: number,
): Promise<void> {
  const rest = await session.rest();
  const path = resourcePath(target.resource, target.namespace);
  const query: Query = [["fieldSelector", `metadata.name=${target.name}`]];
  const abort = new AbortController();
  const cancel =
    timeoutMs > 0 ? session.around.clock.after(timeoutMs, () => abort.abort()) : () => {};
  const late = (): CommandError =>
    new CommandError(
      `timed out waiting for the condition on ${target.resource.plural}/${target.name}`,
    );
  const isGone = (object: object, type: string): boolean => {
    const found = metaOf(object as Record<string, unknown>);
    return type === "DELETED" ? uid === "" || found.uid === uid : uid !== "" && found.uid !== uid;
  };
  try {
    for (;;) {
      const list = await rest.json("GET", path, { query });
      const items = list["items"];
      const [item] = Array.isArray(items) ? (items as object[]) : [];
      if (item === undefined || isGone(item, "")) return;
      const from: Query = [
        ...query,
        ["resourceVersion", textAt(list, "metadata", "resourceVersion")],
      ];
      for await (const { type, object } of watchEvents(rest, path, from, {
        signal: abort.signal,
      })) {
        if (type !== "BOOKMARK" && isGone(object, type)) return;
      }
      if (abort.signal.aborted) throw late();
    }
  } catch (error) {
    if (abort.signal.aborted) throw late();
    // Who may delete need not be allowed to watch.
    if (isStatus(error, "Forbidden") || isStatus(error, "MethodNotAllowed")) return;
    throw error;
  } finally {
    cancel();
  }
}

export async function deleteAndWait(
  session: Session,
  target: Target,
  rules: DeleteRules & { readonly timeoutMs: number },
): Promise<void> {
  const uid = await deleteTarget(session, target, rules);
  await waitGone(session, target, uid, rules.timeoutMs);
}
