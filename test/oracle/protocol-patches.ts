/** Patches of each type and apply by several managers, of a Deployment and a Service: what their lists and maps merge by is upstream's. */
import type { Ask } from "./corpus.ts";

const deployments = "/apis/apps/v1/namespaces/oracle/deployments";
const services = "/api/v1/namespaces/oracle/services";
const types = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
  apply: "application/apply-patch+yaml",
};

const patch = (id: string, type: keyof typeof types, path: string, body: unknown): Ask => ({
  id: `${type}: ${id}`,
  method: "PATCH",
  path,
  headers: { "Content-Type": types[type] },
  body: JSON.stringify(body),
});

const web = (env: object[], more: object = {}): object => ({
  name: "web",
  image: "web:1",
  env,
  ports: [{ name: "http", containerPort: 80 }],
  ...more,
});
const deployment = {
  metadata: { name: "patched", labels: { a: "1", b: "2" }, finalizers: ["example.com/a"] },
  spec: {
    replicas: 2,
    selector: { matchLabels: { app: "p" } },
    template: {
      metadata: { labels: { app: "p" } },
      spec: {
        containers: [
          web([
            { name: "A", value: "1" },
            { name: "B", value: "2" },
          ]),
          { name: "side", image: "side:1" },
        ],
        volumes: [{ name: "v", emptyDir: {} }],
        tolerations: [{ key: "a", operator: "Exists" }],
        nodeSelector: { a: "b" },
      },
    },
  },
};
const at = `${deployments}/patched`;
const inSpec = (spec: object): object => ({ spec: { template: { spec } } });

function json(): Ask[] {
  const one = (id: string, ...ops: object[]): Ask => patch(id, "json", `${at}?dryRun=All`, ops);
  const containers = "/spec/template/spec/containers";
  return [
    one("nothing"),
    one("replace", { op: "replace", path: "/spec/replicas", value: 3 }),
    one("replace what is not there", { op: "replace", path: "/spec/none", value: 3 }),
    one("add", { op: "add", path: "/metadata/labels/c", value: "3" }),
    one("add to a list", { op: "add", path: `${containers}/-`, value: { name: "c", image: "c" } }),
    one("add in a list", { op: "add", path: `${containers}/0`, value: { name: "c", image: "c" } }),
    one("add behind a list", { op: "add", path: `${containers}/9`, value: {} }),
    one("add below nothing", { op: "add", path: "/metadata/none/a", value: "b" }),
    one("remove", { op: "remove", path: "/metadata/labels/a" }),
    one("remove what is not there", { op: "remove", path: "/metadata/labels/none" }),
    one("remove from a list", { op: "remove", path: `${containers}/1` }),
    one("move", { op: "move", from: "/metadata/labels/a", path: "/metadata/labels/c" }),
    one("move what is not there", {
      op: "move",
      from: "/metadata/none",
      path: "/metadata/labels/c",
    }),
    one("copy", { op: "copy", from: "/metadata/labels/a", path: "/metadata/labels/c" }),
    one("test", { op: "test", path: "/spec/replicas", value: 2 }),
    one("test that fails", { op: "test", path: "/spec/replicas", value: 9 }),
    one("test of nothing", { op: "test", path: "/spec/none", value: null }),
    one("odd operation", { op: "odd", path: "/spec/replicas", value: 9 }),
    one("no operation", { path: "/spec/replicas", value: 9 }),
    one("no path", { op: "add", value: 9 }),
    one(
      "escaped",
      { op: "add", path: "/metadata/annotations", value: { "a/b~c": "d" } },
      { op: "remove", path: "/metadata/annotations/a~1b~0c" },
    ),
    one("name", { op: "replace", path: "/metadata/name", value: "other" }),
    one("kind", { op: "replace", path: "/kind", value: "Pod" }),
    one("uid", { op: "replace", path: "/metadata/uid", value: "a" }),
    one("an old version", { op: "add", path: "/metadata/resourceVersion", value: "1" }),
    one("a wrong type", { op: "replace", path: "/spec/replicas", value: "a" }),
    one("an unknown field", { op: "add", path: "/spec/odd", value: 1 }),
    one("invalid", { op: "replace", path: "/spec/replicas", value: -1 }),
    patch("an object", "json", at, { op: "add" }),
    patch("a text", "json", at, "a"),
    patch(
      "too many",
      "json",
      `${at}?dryRun=All`,
      Array.from({ length: 10_001 }, () => ({ op: "test", path: "/spec/replicas", value: 2 })),
    ),
  ];
}

function merges(): Ask[] {
  const one = (id: string, body: unknown, query = ""): Ask =>
    patch(id, "merge", `${at}?dryRun=All${query}`, body);
  return [
    one("nothing", {}),
    one("a list", { spec: { template: { spec: { containers: [{ name: "c", image: "c" }] } } } }),
    one("null", { metadata: { labels: null }, spec: { replicas: null } }),
    one("null inside", { metadata: { labels: { a: null, c: null } } }),
    one("an object instead of a number", { spec: { replicas: {} } }),
    one("an unknown field", { spec: { odd: 1 } }),
    one("an unknown field, strict", { spec: { odd: 1 } }, "&fieldValidation=Strict"),
    one("an unknown field, ignored", { spec: { odd: 1 } }, "&fieldValidation=Ignore"),
    one("immutable", { spec: { selector: { matchLabels: { app: "q" } } } }),
    one("name", { metadata: { name: "other" } }),
    one("namespace", { metadata: { namespace: "other" } }),
    one("an old version", { metadata: { resourceVersion: "1" } }),
    one("status", { status: { replicas: 7 } }),
    one("a text", "a"),
    one("a list as a patch", []),
    patch("through status", "merge", `${at}/status?dryRun=All`, {
      status: { replicas: 7, observedGeneration: 1 },
      spec: { replicas: 9 },
      metadata: { labels: { s: "t" } },
    }),
  ];
}

function strategics(): Ask[] {
  const one = (id: string, body: unknown): Ask => patch(id, "strategic", `${at}?dryRun=All`, body);
  const containers = (...list: object[]): object => inSpec({ containers: list });
  return [
    one("nothing", {}),
    one("by name", containers({ name: "web", image: "web:2" })),
    one("a new one", containers({ name: "c", image: "c" })),
    one("without a name", containers({ image: "c" })),
    one("delete one", containers({ name: "side", $patch: "delete" })),
    one("delete none", containers({ name: "none", $patch: "delete" })),
    one("replace one", containers({ name: "web", image: "web:3", $patch: "replace" })),
    one("replace all", inSpec({ containers: [{ $patch: "replace" }, { name: "c", image: "c" }] })),
    one("odd directive", containers({ name: "web", $patch: "odd" })),
    one(
      "merge inside",
      containers({
        name: "web",
        env: [
          { name: "B", value: "3" },
          { name: "C", value: "4" },
        ],
      }),
    ),
    one(
      "order",
      inSpec({
        "$setElementOrder/containers": [{ name: "side" }, { name: "web" }],
        containers: [{ name: "web", image: "w" }],
      }),
    ),
    one(
      "order without one",
      inSpec({
        "$setElementOrder/containers": [{ name: "side" }],
        containers: [{ name: "web", image: "w" }],
      }),
    ),
    one("replace a map", { metadata: { labels: { $patch: "replace", c: "3" } } }),
    one("delete a map", { metadata: { labels: { $patch: "delete" } } }),
    one("delete of primitives", {
      metadata: { "$deleteFromPrimitiveList/finalizers": ["example.com/a"] },
    }),
    one("add to primitives", { metadata: { finalizers: ["example.com/b"] } }),
    one("retain keys", { spec: { strategy: { $retainKeys: ["type"], type: "Recreate" } } }),
    one("without retain keys", { spec: { strategy: { type: "Recreate" } } }),
    one("retain keys that are not said", {
      spec: { strategy: { $retainKeys: ["rollingUpdate"], type: "Recreate" } },
    }),
    one(
      "a volume's source",
      inSpec({
        volumes: [{ $retainKeys: ["name", "hostPath"], name: "v", hostPath: { path: "/a" } }],
      }),
    ),
    one("an atomic list", inSpec({ tolerations: [{ key: "b", operator: "Exists" }] })),
    one("null of a list", inSpec({ volumes: null })),
    one("null of an item's field", containers({ name: "web", env: null })),
    one("a wrong type", { spec: { replicas: "a" } }),
    one("a list for a map", { metadata: { labels: [] } }),
    one("a text", "a"),
    one("duplicates", containers({ name: "c", image: "c" }, { name: "c", image: "d" })),
    patch("ports by port", "strategic", `${services}/patched?dryRun=All`, {
      spec: { ports: [{ port: 81, name: "b", targetPort: 82 }] },
    }),
    patch("ports changed", "strategic", `${services}/patched?dryRun=All`, {
      spec: { ports: [{ port: 80, targetPort: 82 }] },
    }),
    patch("ports of another protocol", "strategic", `${services}/patched?dryRun=All`, {
      spec: { ports: [{ port: 80, name: "u", protocol: "UDP" }] },
    }),
  ];
}

function applies(): Ask[] {
  const head = { apiVersion: "apps/v1", kind: "Deployment" };
  const metadata = { name: "applied" };
  const template = (spec: object): object => ({ metadata: { labels: { app: "q" } }, spec });
  const selector = { matchLabels: { app: "q" } };
  const whole = (containers: object[], more: object = {}, labels: object = {}): object => ({
    ...head,
    metadata: { ...metadata, labels },
    spec: { selector, template: template({ containers }), ...more },
  });
  const one = (id: string, manager: string, body: unknown, more = ""): Ask =>
    patch(id, "apply", `${deployments}/applied?fieldManager=${manager}${more}`, body);
  const env = (...names: string[]): object[] => names.map((name) => ({ name, value: name }));
  const side = { name: "side", image: "side:1" };
  return [
    one("creates", "one", whole([web(env("A", "B"))], { replicas: 2 }, { l: "1" })),
    one("again", "one", whole([web(env("A", "B"))], { replicas: 2 }, { l: "1" })),
    one("another manager, the same", "two", whole([web(env("A"))], {}, { l: "1" })),
    one("another manager, more", "two", whole([web(env("A", "C")), side], {}, { m: "2" })),
    one("a conflict", "two", whole([web(env("A"), { image: "web:2" })], { replicas: 3 })),
    one(
      "a conflict, dry and forced",
      "two",
      whole([web(env("A"), { image: "web:2" })], { replicas: 3 }),
      "&force=true&dryRun=All",
    ),
    one(
      "forced",
      "two",
      whole([web(env("A"), { image: "web:2" })], { replicas: 3 }),
      "&force=true",
    ),
    one("gives up", "one", whole([{ name: "web", ports: [{ containerPort: 80, name: "http" }] }])),
    one("gives up everything", "two", { ...head, metadata }),
    patch("an update takes over", "merge", `${deployments}/applied?fieldManager=three`, {
      spec: { replicas: 7 },
    }),
    one("a conflict with an update", "one", whole([web([])], { replicas: 8 })),
    one("no conflict with an equal update", "one", whole([web([])], { replicas: 7 })),
    patch("the status", "apply", `${deployments}/applied/status?fieldManager=four`, {
      ...head,
      metadata,
      status: { replicas: 1, conditions: [{ type: "A", status: "True" }] },
    }),
    patch(
      "the status, more conditions",
      "apply",
      `${deployments}/applied/status?fieldManager=five`,
      { ...head, metadata, status: { conditions: [{ type: "B", status: "True" }] } },
    ),
    patch("the scale", "apply", `${deployments}/applied/scale?fieldManager=six&force=true`, {
      apiVersion: "autoscaling/v1",
      kind: "Scale",
      metadata,
      spec: { replicas: 9 },
    }),
    patch("the scale, a conflict", "apply", `${deployments}/applied/scale?fieldManager=seven`, {
      apiVersion: "autoscaling/v1",
      kind: "Scale",
      metadata,
      spec: { replicas: 10 },
    }),
    one("managed fields", "one", { ...head, metadata: { ...metadata, managedFields: [] } }),
    one("an unknown field", "one", { ...whole([web([])]), odd: 1 }),
    one(
      "an unknown field, ignored",
      "one",
      { ...whole([web([])]), odd: 1 },
      "&fieldValidation=Ignore&dryRun=All",
    ),
    one("a wrong type", "one", whole([web([])], { replicas: "a" })),
    one("invalid", "one", whole([web([])], { replicas: -1 }), "&force=true"),
    one("duplicates", "one", whole([web(env("A", "A"))]), "&force=true"),
    one("duplicate containers", "one", whole([side, side]), "&force=true"),
    one("an item without its key", "one", whole([{ image: "a" }]), "&force=true"),
    one("another kind", "one", { ...head, kind: "Other", metadata }),
    one("another version", "one", { ...head, apiVersion: "apps/v2", metadata }),
    one("no kind", "one", { apiVersion: "apps/v1", metadata }),
    one("another name", "one", { ...head, metadata: { name: "other" } }),
    one("no name", "one", { ...head, metadata: {} }),
    one("an old version of it", "one", {
      ...head,
      metadata: { ...metadata, resourceVersion: "1" },
    }),
    one("another uid", "one", {
      ...head,
      metadata: { ...metadata, uid: "00000000-0000-0000-0000-000000000000" },
    }),
    one("a manager with a long name", "a".repeat(129), { ...head, metadata }),
    one("not an object", "one", []),
    {
      ...one("YAML", "one", {}),
      body: "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: applied\n  annotations: {a: b}\n",
    },
    { ...one("bad YAML", "one", {}), body: "a: b: c" },
    {
      ...one("doubled keys", "one", {}),
      body: "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: applied\n  name: applied\n",
    },
    { id: "applied at the end", method: "GET", path: `${deployments}/applied` },
    patch("managed fields taken", "merge", `${deployments}/applied`, {
      metadata: { managedFields: [{}] },
    }),
    patch("managed fields wrong", "merge", `${deployments}/applied`, {
      metadata: { managedFields: [{ operation: "Odd" }] },
    }),
    { id: "delete applied", method: "DELETE", path: `${deployments}/applied` },
  ];
}

export function patchAsks(): Ask[] {
  const ports = [{ name: "a", port: 80, protocol: "TCP" }];
  const service = { metadata: { name: "patched" }, spec: { clusterIP: "10.96.9.9", ports } };
  const post = (id: string, path: string, body: object): Ask => ({
    id,
    method: "POST",
    path,
    body: JSON.stringify(body),
  });
  const gone = (id: string, path: string): Ask => ({ id, method: "DELETE", path });
  const free = { metadata: { finalizers: null } };
  return [
    post("create patched", deployments, deployment),
    post("create the patched service", services, service),
    ...json(),
    ...merges(),
    ...strategics(),
    gone("delete the patched service", `${services}/patched`),
    gone("delete patched", at),
    patch("free patched", "merge", at, free),
    ...applies(),
  ];
}
