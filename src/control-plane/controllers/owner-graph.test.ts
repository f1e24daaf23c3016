import { expect, test } from "vitest";
import type { ApiObject, OwnerReference, Stored } from "#machinery/meta.ts";
import type { DiscoveredKind } from "./discovery.ts";
import { judge, OwnerGraph } from "./owner-graph.ts";

const kind: DiscoveredKind = {
  group: "",
  version: "v1",
  kind: "Pod",
  plural: "pods",
  namespaced: true,
  verbs: [],
  preferred: true,
};
const owner = (uid: string): OwnerReference => ({ apiVersion: "v1", kind: "Pod", name: uid, uid });
const object = (uid: string, owners: readonly string[] = [], over: object = {}) =>
  ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: uid, namespace: "d", uid, ownerReferences: owners.map(owner), ...over },
  }) as unknown as Stored<ApiObject>;
const uids = (entries: readonly { readonly uid: string }[]) => entries.map((one) => one.uid).sort();

test("dependents are found whichever of the two was seen first", () => {
  const graph = new OwnerGraph();
  graph.set(kind, object("a", ["o"]));
  expect(uids(graph.dependentsOf("o"))).toEqual(["a"]);
  graph.set(kind, object("o"));
  graph.set(kind, object("b", ["o"]));
  expect(uids(graph.dependentsOf("o"))).toEqual(["a", "b"]);
  graph.set(kind, object("a"));
  expect(uids(graph.remove("o"))).toEqual(["b"]);
  expect(uids(graph.dependentsOf("o"))).toEqual(["b"]);
  graph.remove("b");
  expect(graph.dependentsOf("o")).toEqual([]);
  expect(graph.size).toBe(1);
});

test("finalizers count only once it is being deleted", () => {
  const graph = new OwnerGraph();
  const finalizers = ["foregroundDeletion"];
  expect(graph.set(kind, object("a", [], { finalizers })).entry.deletingDependents).toBe(false);
  const deletionTimestamp = "2030-01-01T00:00:00Z";
  const { entry } = graph.set(kind, object("a", [], { finalizers, deletionTimestamp }));
  expect(entry.deletingDependents).toBe(true);
});

test("one solid owner keeps it; without any it goes, as its finalizers say", () => {
  const none = { dependents: new Set<never>() };
  const states = { solid: [], dangling: [owner("x")], waiting: [] };
  expect(judge({ ...states, solid: [owner("s")] }, none, [])).toEqual({
    keep: true,
    drop: [owner("x")],
  });
  expect(judge(states, none, [])).toMatchObject({ keep: false, policy: "Background" });
  expect(judge(states, none, ["orphan"])).toMatchObject({ policy: "Orphan" });
  expect(judge(states, none, ["foregroundDeletion"])).toMatchObject({ policy: "Foreground" });
});

test("below an owner that waits, dependents go first; a circle is broken", () => {
  const graph = new OwnerGraph();
  graph.set(kind, object("middle", ["top"]));
  const deleting = {
    deletionTimestamp: "2030-01-01T00:00:00Z",
    finalizers: ["foregroundDeletion"],
  };
  graph.set(kind, object("leaf", ["middle"]));
  const middle = graph.get("middle");
  if (middle === undefined) throw new Error("lost");
  const states = { solid: [], dangling: [], waiting: [owner("top")] };
  expect(judge(states, middle, [])).toEqual({ keep: false, policy: "Foreground", unblock: false });
  graph.set(kind, object("leaf", ["middle"], deleting));
  expect(judge(states, middle, [])).toMatchObject({ unblock: true });
});
