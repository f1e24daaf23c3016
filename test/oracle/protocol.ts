/**
 * What holds for every kind alike, asked of a few objects: lists and watches with every parameter, patches of each type, apply by several
 * managers, deletes with every option, and the subresources.
 */
import type { Ask } from "./corpus.ts";
import type { Delta } from "./mask.ts";
import { patchAsks } from "./protocol-patches.ts";

export const root = "/api/v1/namespaces/oracle";
const maps = `${root}/configmaps`;
const mine = "labelSelector=p%3D1";

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
export const ask = (
  id: string,
  method: Method,
  path: string,
  body?: unknown,
  headers?: Readonly<Record<string, string>>,
): Ask => ({
  id,
  method,
  path,
  ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  ...(headers === undefined ? {} : { headers }),
});
export const merge = { "Content-Type": "application/merge-patch+json" };
export const read = (id: string, path: string, from: string, change: Delta): Ask => ({
  id,
  method: "PUT",
  path,
  from,
  change,
});

const map = (name: string, t: string): object => ({
  metadata: { name, labels: { p: "1", t } },
  data: { a: t },
});

function history(): Ask[] {
  return [
    ...["p-1", "p-2", "p-3"].map((name) => ask(`create ${name}`, "POST", maps, map(name, "a"))),
    ask("list start", "GET", `${maps}?${mine}`),
    ask("p-1 leaves", "PATCH", `${maps}/p-1`, { metadata: { labels: { t: "b" } } }, merge),
    ask("p-2 changes", "PATCH", `${maps}/p-2`, { data: { a: "c", b: "d" } }, merge),
    ask("p-3 goes", "DELETE", `${maps}/p-3`),
    ask("create p-4", "POST", maps, map("p-4", "b")),
    ask("p-4 comes", "PATCH", `${maps}/p-4`, { metadata: { labels: { t: "a" } } }, merge),
    ask("list end", "GET", `${maps}?${mine}`),
  ];
}
const start = "{{list start#/metadata/resourceVersion}}";
const end = "{{list end#/metadata/resourceVersion}}";

function lists(): Ask[] {
  const asks: Ask[] = [];
  const list = (id: string, query: string, accept?: string): void => {
    const headers = accept === undefined ? undefined : { Accept: accept };
    asks.push(ask(`list ${id}`, "GET", `${maps}?${mine}&${query}`, undefined, headers));
  };
  const versions = { none: "", zero: "resourceVersion=0", start: `resourceVersion=${start}` };
  for (const [which, version] of Object.entries({ ...versions, end: `resourceVersion=${end}` })) {
    for (const match of ["", "Exact", "NotOlderThan", "Odd"]) {
      for (const limit of ["", "limit=1"]) {
        const query = [version, match === "" ? "" : `resourceVersionMatch=${match}`, limit];
        list(`at ${which} ${match} ${limit}`.trim(), query.filter((one) => one !== "").join("&"));
      }
    }
  }
  const token = (id: string): string => `continue={{list ${id}#/metadata/continue}}`;
  list("further", `limit=1&${token("at none  limit=1")}`);
  list("the rest", token("further"));
  list("further of the start", `limit=1&${token("at start Exact limit=1")}`);
  list("further with a version", `limit=1&${token("further")}&resourceVersion=${end}`);
  list("further with a match", `limit=1&${token("further")}&resourceVersionMatch=Exact`);
  list("further at zero", `limit=1&${token("further")}&resourceVersion=0`);
  list("limit none", "limit=0");
  list("limit more", "limit=500");
  list("by field", "fieldSelector=metadata.name%3Dp-1");
  list("by field, not", "fieldSelector=metadata.name%21%3Dp-1");
  list("by namespace", "fieldSelector=metadata.namespace%3Doracle");
  list("by another namespace", "fieldSelector=metadata.namespace%3Dother");
  list("by labels in", "labelSelector=t%20in%20(a,b)");
  list("by labels notin", "labelSelector=t%20notin%20(a)");
  list("by label there", "labelSelector=t");
  list("by label absent", "labelSelector=!t");
  list("by number", "labelSelector=p%3E0,p%3C2");
  list("by a bad number", "labelSelector=p%3Ea");
  list("by a bad set", "labelSelector=t%20in%20a");
  list("by a bad field", "fieldSelector=metadata.name");
  list("by a bad key", "labelSelector=-a%3Db");
  const meta = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=";
  list("metadata", "", `${meta}v1`);
  list("metadata v1beta1", "", `${meta}v1beta1`);
  const table = "application/json;as=Table;g=meta.k8s.io;v=";
  for (const include of ["None", "Metadata", "Object", "Odd"])
    list(`table with ${include}`, `includeObject=${include}`, `${table}v1`);
  list("table v1beta1", "", `${table}v1beta1`);
  list("as nothing known", "", "application/json;as=Odd;g=meta.k8s.io;v=v1");
  const get = (id: string, query: string, accept?: string): void => {
    const headers = accept === undefined ? undefined : { Accept: accept };
    asks.push(ask(`get ${id}`, "GET", `${maps}/p-1${query}`, undefined, headers));
  };
  get("at zero", "?resourceVersion=0");
  get("at end", `?resourceVersion=${end}`);
  get("at a bad version", "?resourceVersion=a");
  get("metadata", "", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
  get("table with none", "?includeObject=None", `${table}v1`);
  return asks;
}

function watches(): Ask[] {
  const asks: Ask[] = [];
  const watch = (id: string, query: string, accept?: string): void => {
    const path = `${maps}?watch=true&${mine}&timeoutSeconds=1&${query}`;
    const headers = accept === undefined ? undefined : { Accept: accept };
    asks.push(ask(`watch ${id}`, "GET", path, undefined, headers));
  };
  const since = `resourceVersion=${start}`;
  watch("since the start", since);
  watch("since the end", `resourceVersion=${end}`);
  watch("from zero", "resourceVersion=0");
  watch("from anywhere", "");
  watch("by a label that comes and goes", `${since}&labelSelector=t%3Da`);
  watch("by name", `${since}&fieldSelector=metadata.name%3Dp-3`);
  watch("with bookmarks", `${since}&allowWatchBookmarks=true`);
  const matches = ["", "&resourceVersionMatch=NotOlderThan", "&resourceVersionMatch=Exact"];
  for (const [which, version] of [
    ["none", ""],
    ["zero", "resourceVersion=0&"],
    ["start", `${since}&`],
  ]) {
    for (const match of matches) {
      const at = `${which} ${match.slice(22)}`;
      const query = `${version}${match}`;
      watch(`initial events at ${at}`, `${query}&sendInitialEvents=true&allowWatchBookmarks=true`);
      watch(`initial events, no bookmark, at ${at}`, `${query}&sendInitialEvents=true`);
      watch(`no initial events at ${at}`, `${query}&sendInitialEvents=false`);
      watch(`match at ${at}`, query);
    }
  }
  watch("initial events, odd", "sendInitialEvents=odd&resourceVersionMatch=NotOlderThan");
  watch("with a limit", `${since}&limit=1`);
  watch("with continue", `${since}&continue=a`);
  watch("as a table", since, "application/json;as=Table;g=meta.k8s.io;v=v1");
  watch("metadata", since, "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
  const one = `${maps}/p-1?watch=true&timeoutSeconds=1`;
  asks.push(
    ask("watch one", "GET", `${one}&${since}`),
    ask("watch, a bad timeout", "GET", `${maps}?watch=true&timeoutSeconds=a&${mine}`),
    ask(
      "watch in the old way",
      "GET",
      `/api/v1/watch/namespaces/oracle/configmaps?watch=true&timeoutSeconds=1&${mine}&${since}`,
    ),
    ask(
      "watch one in the old way",
      "GET",
      `/api/v1/watch/namespaces/oracle/configmaps/p-1?watch=true&timeoutSeconds=1&${since}`,
    ),
  );
  return asks;
}

function deletes(): Ask[] {
  const asks: Ask[] = [];
  let count = 0;
  /** Of a fresh object each time. */
  const gone = (id: string, options: unknown, query = "", finalizers?: string[]): void => {
    count += 1;
    const name = `d-${count}`;
    const made = `${id}: create`;
    const labels = { d: "1" };
    const metadata = finalizers === undefined ? { name, labels } : { name, labels, finalizers };
    asks.push(ask(made, "POST", maps, { metadata }));
    const text = JSON.stringify(options)?.replace(/OWN\/(\w+)/g, `{{${made}#/metadata/$1}}`);
    const one = ask(id, "DELETE", `${maps}/${name}${query}`);
    asks.push(text === undefined ? one : { ...one, body: text });
    asks.push(ask(`${id}: get`, "GET", `${maps}/${name}`));
  };
  gone("delete", undefined);
  for (const propagationPolicy of ["Background", "Foreground", "Orphan"]) {
    gone(`delete ${propagationPolicy}`, { propagationPolicy });
    gone(
      `delete ${propagationPolicy} by query`,
      undefined,
      `?propagationPolicy=${propagationPolicy}`,
    );
    gone(`delete ${propagationPolicy} with a finalizer`, { propagationPolicy }, "", [
      "example.com/a",
    ]);
  }
  gone("delete, orphans", { orphanDependents: true });
  gone("delete, no orphans", { orphanDependents: false });
  gone("delete, grace", { gracePeriodSeconds: 30 });
  gone("delete, negative grace", { gracePeriodSeconds: -1 });
  gone("delete, dry", { dryRun: ["All"] });
  gone("delete, odd dry", { dryRun: ["Odd"] });
  gone("delete, its uid", { preconditions: { uid: "OWN/uid" } });
  gone("delete, its version", { preconditions: { resourceVersion: "OWN/resourceVersion" } });
  gone("delete, another version", { preconditions: { resourceVersion: "1" } });
  gone("delete, another kind of options", { kind: "Pod", apiVersion: "v1" });
  gone("delete, options named", { kind: "DeleteOptions", apiVersion: "v1" });
  gone("delete, options of meta", { kind: "DeleteOptions", apiVersion: "meta.k8s.io/v1" });
  gone("delete, ignoring errors", { ignoreStoreReadErrorWithClusterBreakingPotential: true });
  gone("delete, an unknown option", { odd: true });
  gone("delete, options of a wrong type", { gracePeriodSeconds: "a" });
  const all = `${maps}?labelSelector=d%3D1`;
  asks.push(
    ask("delete all, dry", "DELETE", `${all}&dryRun=All`),
    ask("delete all, by name", "DELETE", `${all}&fieldSelector=metadata.name%3Dd-6`),
    ask("delete all, limit", "DELETE", `${all}&limit=1`),
    ask("delete all, odd policy", "DELETE", all, { propagationPolicy: "Odd" }),
    ask("delete all, bad selector", "DELETE", `${maps}?labelSelector=-a%3Db`),
    ask("delete all", "DELETE", all, { gracePeriodSeconds: 0 }),
    ask("delete all that is not there", "DELETE", `${maps}?labelSelector=none%3D1`),
    ask(
      "free those with a finalizer",
      "PATCH",
      `${maps}/d-4`,
      { metadata: { finalizers: null } },
      merge,
    ),
    ask(
      "deleted, with a finalizer of its own, changed",
      "PATCH",
      `${maps}/d-7`,
      { data: { a: "b" } },
      merge,
    ),
    ask(
      "deleted, another finalizer",
      "PATCH",
      `${maps}/d-7`,
      { metadata: { finalizers: ["example.com/b"] } },
      merge,
    ),
    ask(
      "deleted, the finalizer taken",
      "PATCH",
      `${maps}/d-7`,
      { metadata: { finalizers: null } },
      merge,
    ),
    ask("deleted, gone", "GET", `${maps}/d-7`),
    ask("what is left", "GET", all),
    ask("delete all of p", "DELETE", `${maps}?${mine}`),
  );
  return asks;
}

const image = "a:1";
const pod = (name: string, spec: object = {}): object => ({
  metadata: { name, labels: { app: name } },
  spec: { containers: [{ name: "a", image }], ...spec },
});

function subresources(): Ask[] {
  const pods = `${root}/pods`;
  const deployments = "/apis/apps/v1/namespaces/oracle/deployments";
  const template = {
    metadata: { labels: { a: "b" } },
    spec: { containers: [{ name: "a", image }] },
  };
  const spec = { replicas: 2, selector: { matchLabels: { a: "b" } }, template };
  const scale = `${deployments}/scaled/scale`;
  const target = (name: string): object => ({
    metadata: { name: "bound" },
    target: { kind: "Node", name },
  });
  const eviction = (name: string, more: object = {}): object => ({ metadata: { name }, ...more });
  const ephemeral = [{ name: "debug", image, targetContainerName: "a" }];
  const eph = `${pods}/bound/ephemeralcontainers`;
  return [
    ask("create scaled", "POST", deployments, { metadata: { name: "scaled" }, spec }),
    ask("scale", "GET", scale),
    read("scale put", scale, "scale", [["/spec/replicas", 3]]),
    read("scale put old", scale, "scale", [["/spec/replicas", 4]]),
    read("scale put negative", scale, "scale put", [["/spec/replicas", -1]]),
    read("scale put another name", scale, "scale put", [["/metadata/name", "other"]]),
    read("scale put a wrong type", scale, "scale put", [["/spec/replicas", "a"]]),
    ask("scale put bare", "PUT", scale, { metadata: { name: "scaled" }, spec: { replicas: 1 } }),
    ask("scale patch", "PATCH", scale, { spec: { replicas: 5 } }, merge),
    ask("scale dry", "PATCH", `${scale}?dryRun=All`, { spec: { replicas: 6 } }, merge),
    ask("scale table", "GET", scale, undefined, {
      Accept: "application/json;as=Table;g=meta.k8s.io;v=v1",
    }),
    ask("scale of nothing", "GET", `${deployments}/none/scale`),
    ask("scaled", "GET", `${deployments}/scaled`),
    ask("delete scaled", "DELETE", `${deployments}/scaled`),
    ask("create bound", "POST", pods, pod("bound")),
    ask("bind to nothing", "POST", `${pods}/bound/binding`, { metadata: { name: "bound" } }),
    ask("bind to a bad name", "POST", `${pods}/bound/binding?dryRun=All`, target("-Bad")),
    ask("bind to another kind", "POST", `${pods}/bound/binding`, {
      metadata: { name: "bound" },
      target: { kind: "Pod", name: "a" },
    }),
    ask("bind another name", "POST", `${pods}/other/binding`, target("a")),
    ask("bind dry", "POST", `${pods}/bound/binding?dryRun=All`, target("node-1")),
    ask("bind", "POST", `${pods}/bound/binding`, target("node-1")),
    ask("bind again", "POST", `${pods}/bound/binding`, target("node-2")),
    ask("bound", "GET", `${pods}/bound`),
    read("ephemeral none", eph, "bound", [["/spec/ephemeralContainers", []]]),
    read("ephemeral", eph, "bound", [["/spec/ephemeralContainers", ephemeral]]),
    read("ephemeral stale", eph, "bound", []),
    read("ephemeral changed", eph, "ephemeral", [["/spec/ephemeralContainers/0/image", "b"]]),
    read("ephemeral taken", eph, "ephemeral", [["/spec/ephemeralContainers", []]]),
    read("ephemeral same name", eph, "ephemeral", [
      ["/spec/ephemeralContainers/1", { name: "a", image }],
    ]),
    read("ephemeral with ports", eph, "ephemeral", [
      [
        "/spec/ephemeralContainers/1",
        { name: "b", image, ports: [{ containerPort: 1 }], resources: { limits: { cpu: "1" } } },
      ],
    ]),
    ask(
      "ephemeral patch",
      "PATCH",
      eph,
      { spec: { ephemeralContainers: [{ name: "more", image }] } },
      { "Content-Type": "application/strategic-merge-patch+json" },
    ),
    ask("ephemeral of nothing", "GET", `${pods}/none/ephemeralcontainers`),
    read("resize", `${pods}/bound/resize`, "ephemeral patch", [
      ["/spec/containers/0/resources", { requests: { cpu: "1" } }],
    ]),
    read("resize an image", `${pods}/bound/resize`, "ephemeral patch", [
      ["/spec/containers/0/image", "b"],
    ]),
    ask("resize get", "GET", `${pods}/bound/resize`),
    ask(
      "status of a pod",
      "PATCH",
      `${pods}/bound/status`,
      { status: { phase: "Running", podIP: "192.0.2.1", podIPs: [{ ip: "192.0.2.1" }] } },
      merge,
    ),
    ask(
      "status and more",
      "PATCH",
      `${pods}/bound/status`,
      { spec: { nodeName: "x" }, metadata: { labels: { b: "c" } } },
      merge,
    ),
    ask("evict dry", "POST", `${pods}/bound/eviction?dryRun=All`, eviction("bound")),
    ask("evict another name", "POST", `${pods}/bound/eviction`, eviction("other")),
    ask("evict in an old version", "POST", `${pods}/bound/eviction`, {
      apiVersion: "policy/v1beta1",
      kind: "Eviction",
      ...eviction("bound"),
    }),
    ask(
      "evict with grace",
      "POST",
      `${pods}/bound/eviction`,
      eviction("bound", { deleteOptions: { gracePeriodSeconds: 5 } }),
    ),
    ask("evicted", "GET", `${pods}/bound`),
    ask("delete evicted, longer", "DELETE", `${pods}/bound`, { gracePeriodSeconds: 50 }),
    ask("delete evicted, sooner", "DELETE", `${pods}/bound`, { gracePeriodSeconds: 2 }),
    ask("delete evicted, now", "DELETE", `${pods}/bound`, { gracePeriodSeconds: 0 }),
    ask("evict nothing", "POST", `${pods}/none/eviction`, eviction("none")),
    ask("log of nothing", "GET", `${pods}/none/log`),
    ask("create a namespace", "POST", "/api/v1/namespaces", { metadata: { name: "ending" } }),
    ask("delete the namespace", "DELETE", "/api/v1/namespaces/ending"),
    ask("create in a namespace that ends", "POST", "/api/v1/namespaces/ending/configmaps", {
      metadata: { name: "a" },
    }),
    ask("finalize with another", "PUT", "/api/v1/namespaces/ending/finalize", {
      metadata: { name: "ending" },
      spec: { finalizers: ["-Bad"] },
    }),
    read("finalize", "/api/v1/namespaces/ending/finalize", "delete the namespace", [
      ["/spec/finalizers", []],
    ]),
    ask("the namespace is gone", "GET", "/api/v1/namespaces/ending"),
  ];
}

export function protocolAsks(): Ask[] {
  return [...history(), ...lists(), ...watches(), ...patchAsks(), ...deletes(), ...subresources()];
}
