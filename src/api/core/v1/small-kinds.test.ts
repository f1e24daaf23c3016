/** ConfigMap, Secret, Namespace, ServiceAccount, Event and PriorityClass. */
import { expect, test } from "vitest";
import { PriorityClass } from "../../scheduling/v1/priorityclass.ts";
import {
  createErrors,
  decoded,
  formatted,
  prepared,
  testContext,
  updateErrors,
} from "../../test-objects.ts";
import { ConfigMap } from "./configmap.ts";
import { Event } from "./event.ts";
import { Namespace } from "./namespace.ts";
import { Secret } from "./secret.ts";
import { ServiceAccount } from "./serviceaccount.ts";

const metadata = { name: "x", namespace: "ns" };
const base64 = (text: string): string => btoa(text);
const keyForm =
  "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";

test("ConfigMap", () => {
  const map = (fields: object) => ({ metadata, ...fields });
  expect(
    createErrors(ConfigMap, map({ data: { "a b": "1", k: "1" }, binaryData: { k: "AQ==" } })),
  ).toEqual([
    `data[a b]: Invalid value: "a b": ${keyForm}`,
    'data[k]: Invalid value: "k": duplicate of key present in binaryData',
  ]);
  expect(createErrors(ConfigMap, map({ data: { k: "x".repeat(1024 * 1024 + 1) } }))).toEqual([
    ": Too long: may not be more than 1048576 bytes",
  ]);
  const fixed = map({ data: { a: "1" }, immutable: true });
  expect(updateErrors(ConfigMap, fixed, map({ data: { a: "2" } }))).toEqual([
    "immutable: Forbidden: field is immutable when `immutable` is set",
    "data: Forbidden: field is immutable when `immutable` is set",
  ]);
  expect(updateErrors(ConfigMap, fixed, fixed)).toEqual([]);
});

test("Secret: texts become data, the type defaults", () => {
  const secret = decoded(Secret, {
    metadata,
    data: { a: base64("old"), b: base64("kept") },
    stringData: { a: "nëu" },
  });
  expect(secret.type).toBe("Opaque");
  expect(secret.stringData).toBeUndefined();
  expect(secret.data).toEqual({ a: "bsOrdQ==", b: base64("kept") });
});

test.each<[string, object, string[]]>([
  ["opaque", { data: { k: "AQ==" } }, []],
  [
    "TLS",
    { type: "kubernetes.io/tls" },
    ["data[tls.crt]: Required value", "data[tls.key]: Required value"],
  ],
  [
    "a registry's, missing",
    { type: "kubernetes.io/dockerconfigjson" },
    ["data[.dockerconfigjson]: Required value"],
  ],
  [
    "a registry's, broken",
    { type: "kubernetes.io/dockerconfigjson", stringData: { ".dockerconfigjson": "[]" } },
    [
      'data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": json: cannot unmarshal array into Go value of type map[string]interface {}',
    ],
  ],
  [
    "a registry's",
    { type: "kubernetes.io/dockerconfigjson", stringData: { ".dockerconfigjson": "{}" } },
    [],
  ],
  ["a password", { type: "kubernetes.io/basic-auth", stringData: { password: "" } }, []],
  [
    "no password",
    { type: "kubernetes.io/basic-auth" },
    ["data[username]: Required value", "data[password]: Required value"],
  ],
  ["SSH", { type: "kubernetes.io/ssh-auth" }, ["data[ssh-privatekey]: Required value"]],
  [
    "a token of nobody",
    { type: "kubernetes.io/service-account-token" },
    ["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
  ],
  [
    "too large",
    { stringData: { k: "x".repeat(1024 * 1024 + 1) } },
    ["data: Too long: may not be more than 1048576 bytes"],
  ],
])("Secret: %s", (_name, fields, expected) => {
  expect(createErrors(Secret, { metadata, ...fields })).toEqual(expected);
});

test("Secret: its type stays; immutable it stays as it is", () => {
  expect(updateErrors(Secret, { metadata }, { metadata, type: "x/y" })).toEqual([
    'type: Invalid value: "x/y": field is immutable',
  ]);
  const fixed = { metadata, immutable: true, data: { a: "AQ==" } };
  expect(updateErrors(Secret, fixed, { ...fixed, data: {} })).toEqual([
    "data: Forbidden: field is immutable when `immutable` is set",
  ]);
  const tls = decoded(Secret, {
    metadata,
    type: "kubernetes.io/tls",
    stringData: { "tls.crt": "x" },
  });
  expect(Secret.strategy.warnings?.(tls, undefined)).toEqual([
    "tls: failed to find any PEM data in certificate input",
  ]);
});

test("Namespace: label, finalizer, phase", () => {
  const made = prepared(Namespace, { metadata: { name: "n" }, spec: { finalizers: ["a/b"] } });
  expect(made.metadata.labels).toEqual({ "kubernetes.io/metadata.name": "n" });
  expect(made.spec.finalizers).toEqual(["a/b", "kubernetes"]);
  expect(made.status.phase).toBe("Active");
  expect(createErrors(Namespace, { metadata: { name: "n" }, spec: { finalizers: ["x"] } })).toEqual(
    [
      'spec.finalizers: Invalid value: "x": name is neither a standard finalizer name nor is it fully qualified',
    ],
  );
});

test("Namespace: finalizers change through /finalize only, the phase tells of the end", () => {
  const old = prepared(Namespace, { metadata: { name: "n" } });
  const next = decoded(Namespace, { metadata: { name: "n" } });
  Namespace.strategy.prepareForUpdate?.(next, old, { ...testContext, subresource: "" });
  expect(next.spec.finalizers).toEqual(["kubernetes"]);
  const final = decoded(Namespace, { metadata: { name: "n" } });
  Namespace.strategy.prepareForUpdate?.(final, old, { ...testContext, subresource: "finalize" });
  expect(final.spec.finalizers).toBeUndefined();
  const ending = decoded(Namespace, { metadata: { name: "n" }, status: { phase: "Terminating" } });
  expect(formatted(Namespace.strategy.validateStatusUpdate?.(ending, old))).toEqual([
    "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty",
  ]);
});

test("ServiceAccount: of secrets only the names stay", () => {
  const secrets = [{ name: "s", namespace: "other", kind: "Secret" }];
  expect(prepared(ServiceAccount, { metadata, secrets }).secrets).toEqual([{ name: "s" }]);
});

const involvedObject = { kind: "Pod", name: "p", namespace: "ns" };
const oldStyle = { metadata, involvedObject, reason: "Started", message: " hi ", type: "Normal" };
const newStyle = {
  ...oldStyle,
  eventTime: "2024-01-01T00:00:00.000000Z",
  reportingComponent: "example.com/c",
  reportingInstance: "c-1",
  action: "Start",
};

test.each<[string, object, string, string[]]>([
  ["old style", oldStyle, "", []],
  [
    "old style from elsewhere",
    { ...oldStyle, involvedObject: { ...involvedObject, namespace: "b" } },
    "",
    ['involvedObject.namespace: Invalid value: "b": does not match event.namespace'],
  ],
  ["new style", newStyle, "events.k8s.io", []],
  [
    "new style, incomplete",
    { ...newStyle, reportingInstance: "", action: "" },
    "",
    ["reportingInstance: Required value", "action: Required value"],
  ],
  [
    "old style where the new is asked for",
    { ...oldStyle, count: 1 },
    "events.k8s.io",
    ["eventTime: Required value", 'count: Invalid value: "": needs to be unset'],
  ],
  [
    "a series of one",
    { ...newStyle, series: { count: 1 } },
    "events.k8s.io",
    [
      'series.count: Invalid value: "": should be at least 2',
      "series.lastObservedTime: Required value",
    ],
  ],
])("Event: %s", (_name, object, group, expected) => {
  const event = prepared(Event, object);
  const context = { ...testContext, requestVersion: { group, version: "v1" } };
  expect(formatted(Event.strategy.validate?.(event, context))).toEqual(expected);
});

test("Event: the new style does not change, but its series", () => {
  const old = prepared(Event, newStyle);
  const context = { ...testContext, requestVersion: { group: "events.k8s.io", version: "v1" } };
  const series = { count: 2, lastObservedTime: "2024-01-01T00:00:00.000000Z" };
  const next = decoded(Event, { ...newStyle, series, reason: "Other" });
  expect(formatted(Event.strategy.validateUpdate?.(next, old, context))).toEqual([
    'reason: Invalid value: "Other": field is immutable',
  ]);
  expect(Event.strategy.validateUpdate?.(next, old)).toEqual([]);
});

test("Event: columns and selectable fields", () => {
  const now = Date.parse("2024-01-01T00:05:00Z");
  const event = decoded(Event, {
    ...oldStyle,
    source: { component: "kubelet", host: "n1" },
    firstTimestamp: "2024-01-01T00:00:00Z",
    lastTimestamp: "2024-01-01T00:04:30Z",
    count: 3,
  });
  expect(Event.printerColumns.map((column) => column.value(event, now))).toEqual([
    "30s",
    "Normal",
    "Started",
    "pod/p",
    "",
    "kubelet, n1",
    "hi",
    "5m",
    3,
    "x",
  ]);
  expect(Event.selectableFields["involvedObject.name"]?.(event)).toBe("p");
  expect(Event.selectableFields["source"]?.(event)).toBe("kubelet");
});

test.each<[string, object, string[]]>([
  ["a plain one", { metadata: { name: "high" }, value: 1000 }, []],
  [
    "too high",
    { metadata: { name: "high" }, value: 1_000_000_001 },
    ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
  ],
  ["the system's", { metadata: { name: "system-node-critical" }, value: 2_000_001_000 }, []],
  [
    "the system's with another value",
    { metadata: { name: "system-node-critical" }, value: 1 },
    [
      "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: value of system-node-critical PriorityClass must be 2000001000",
    ],
  ],
  [
    "a name of the system's",
    { metadata: { name: "system-x" }, value: 1 },
    [
      "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-x is not a known system priority class",
    ],
  ],
  [
    "a policy that is none",
    { metadata: { name: "x" }, value: 1, preemptionPolicy: "x" },
    ['preemptionPolicy: Unsupported value: "x": supported values: "PreemptLowerPriority", "Never"'],
  ],
])("PriorityClass: %s", (_name, object, expected) => {
  expect(createErrors(PriorityClass, object)).toEqual(expected);
});

test("PriorityClass: what it means stays", () => {
  const one = { metadata: { name: "x" }, value: 1 };
  expect(updateErrors(PriorityClass, one, { ...one, value: 2, preemptionPolicy: "Never" })).toEqual(
    [
      "value: Forbidden: may not be changed in an update.",
      'preemptionPolicy: Invalid value: "Never": field is immutable',
    ],
  );
});
