import { expect, test } from "vitest";
import { Event } from "./event.ts";

const event: Event = {
  apiVersion: "events.k8s.io/v1",
  kind: "Event",
  metadata: { name: "e", namespace: "default" },
  eventTime: "1970-01-01T00:01:00.000000Z",
  reportingController: "example.com/c",
  reportingInstance: "c-1",
  reason: "Because",
  regarding: { kind: "Pod", name: "p", fieldPath: "spec" },
  type: "Normal",
  note: "so it is\n",
  deprecatedSource: {},
  deprecatedFirstTimestamp: "",
  deprecatedLastTimestamp: "",
};
const cells = (one: Event): unknown[] =>
  Event.printerColumns.map(({ value }) => value(one, 120_000));

test("cells of a single event, of a series, and of the old style", () => {
  expect(cells(event)).toEqual([
    "60s",
    "Normal",
    "Because",
    "pod/p",
    "spec",
    "example.com/c, c-1",
    "so it is",
    "60s",
    1,
    "e",
  ]);
  const series = { count: 7, lastObservedTime: "1970-01-01T00:01:50.000000Z" };
  expect(cells({ ...event, series })).toMatchObject({ 0: "10s", 7: "60s", 8: 7 });
  const old = {
    ...event,
    deprecatedSource: { component: "kubelet", host: "n1" },
    deprecatedFirstTimestamp: "1970-01-01T00:00:30Z",
    deprecatedLastTimestamp: "1970-01-01T00:01:40Z",
    deprecatedCount: 3,
  };
  expect(cells(old)).toMatchObject({ 0: "20s", 5: "kubelet, n1", 7: "90s", 8: 3 });
});

test("fields to select by", () => {
  const read = (field: string) => Event.selectableFields[field]?.(event);
  expect(read("regarding.name")).toBe("p");
  expect(read("regarding.namespace")).toBe("");
  expect(read("reportingController")).toBe("example.com/c");
});
