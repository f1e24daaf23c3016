import { expect, test } from "vitest";
import { ConfigMap } from "#api/core/v1/configmap.ts";
import { Event } from "#api/core/v1/event.ts";
import { Pod } from "#api/core/v1/pod.ts";
import type { Resource } from "#api/resource.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { applyDefaults } from "./object-codec.ts";
import { tableOf } from "./table.ts";

interface Table {
  columnDefinitions: { name: string; format: string; priority: number }[];
  rows: { cells: unknown[]; conditions?: object[]; object: ApiObject | null }[];
}
const now = 1_767_225_600_000;
const creationTimestamp = "2025-12-31T23:58:30Z";

function table(resource: Resource, object: object): Table {
  const made = { kind: resource.kind, apiVersion: resource.version, ...object } as ApiObject;
  applyDefaults(resource, made);
  const options = { version: "v1", includeObject: "None", now } as const;
  return tableOf(resource, [made], {}, options) as Table;
}

test("a kind without columns has its name and its age", () => {
  const columns = { ...(ConfigMap as unknown as Resource), printerColumns: [] };
  const { columnDefinitions, rows } = table(columns, {
    metadata: { name: "a", creationTimestamp },
  });
  expect(columnDefinitions.map(({ name, format }) => [name, format])).toEqual([
    ["Name", "name"],
    ["Age", ""],
  ]);
  expect(rows).toEqual([{ cells: ["a", "90s"], object: null }]);
});

test("a kind that has a column Name of its own decides where it stands", () => {
  const { columnDefinitions, rows } = table(Event as unknown as Resource, {
    metadata: { name: "e", creationTimestamp },
    involvedObject: { kind: "Pod", name: "p" },
    source: { component: "c" },
    message: "so it is",
  });
  const names = columnDefinitions.map(({ name }) => name);
  expect([names.at(0), names.at(-1)]).toEqual(["Last Seen", "Name"]);
  expect(names.filter((name) => name === "Name")).toHaveLength(1);
  expect([rows[0]?.cells.length, rows[0]?.cells.at(-1)]).toEqual([names.length, "e"]);
});

test("rows say what is done with", () => {
  const pod = (phase: string): object => ({
    metadata: { name: "p", creationTimestamp },
    spec: { containers: [{ name: "c", image: "web:1" }] },
    status: { phase },
  });
  const resource = Pod as unknown as Resource;
  expect(table(resource, pod("Running")).rows[0]).not.toHaveProperty("conditions");
  expect(table(resource, pod("Succeeded")).rows[0]?.conditions).toEqual([
    {
      type: "Completed",
      status: "True",
      reason: "Succeeded",
      message: "The pod has completed successfully.",
    },
  ]);
});
