/** What is asked of a server as such: discovery, what it carries from the start, and requests that no kind is needed to refuse. */
import type { Ask } from "./corpus.ts";

const discovery = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const pods = "/api/v1/namespaces/oracle/pods";
const maps = "/api/v1/namespaces/oracle/configmaps";
const json = { "Content-Type": "application/json" };

const groups = [
  "admissionregistration.k8s.io",
  "apiextensions.k8s.io",
  "apiregistration.k8s.io",
  "apps",
  "batch",
  "certificates.k8s.io",
  "coordination.k8s.io",
  "discovery.k8s.io",
  "events.k8s.io",
  "flowcontrol.apiserver.k8s.io",
  "networking.k8s.io",
  "node.k8s.io",
  "rbac.authorization.k8s.io",
  "scheduling.k8s.io",
  "storage.k8s.io",
  "storagemigration.k8s.io",
];
const roots = ["/api/v1", ...groups.map((group) => `/apis/${group}/v1`)];

export function systemAsks(): Ask[] {
  const get = (path: string, more: Partial<Ask> = {}): Ask => ({
    id: `get ${path}`,
    method: "GET",
    path,
    ...more,
  });
  const ask = (id: string, method: string, path: string, more: Partial<Ask> = {}): Ask => ({
    id,
    method,
    path,
    ...more,
  });
  const object = JSON.stringify({ metadata: { name: "a", namespace: "elsewhere" } });
  return [
    get("/api"),
    get("/apis"),
    ask("aggregated discovery of the core", "GET", "/api", { headers: { Accept: discovery } }),
    ask("aggregated discovery of the groups", "GET", "/apis", { headers: { Accept: discovery } }),
    ...roots.map((one) => get(one)),
    get("/apis/rbac.authorization.k8s.io/v1/clusterroles"),
    get("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"),
    get("/apis/rbac.authorization.k8s.io/v1/roles"),
    get("/apis/rbac.authorization.k8s.io/v1/rolebindings"),
    get("/apis/scheduling.k8s.io/v1/priorityclasses"),
    get("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas"),
    get("/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations"),
    get("/api/v1/componentstatuses?labelSelector=a%3Db"),
    get("/api/v1/componentstatuses/none"),
    get("/apis/apiregistration.k8s.io/v1/apiservices"),
    get("/apis/none.example.com"),
    get("/apis/none.example.com/v1"),
    get("/apis/apps/v9"),
    get("/api/v1/nothing"),
    get(`${pods}/none`),
    get("/nothing"),
    get("/api/v1/namespaces/none/pods"),
    get("/api/v1/pods?limit=x"),
    get(`${pods}?watch=maybe&timeoutSeconds=1`),
    ask("create in a namespace that is not there", "POST", "/api/v1/namespaces/none/configmaps", {
      body: JSON.stringify({ metadata: { name: "a" } }),
    }),
    ask("create at a name", "POST", `${maps}/a`, { body: JSON.stringify({}) }),
    ask("put a collection", "PUT", maps, { body: JSON.stringify({}) }),
    ask("patch a collection", "PATCH", maps, { body: JSON.stringify({}) }),
    ask("delete without a name, subresource", "DELETE", `${pods}/a/status`),
    ask("create with another namespace", "POST", maps, { body: object }),
    ask("create without a name", "POST", maps, { body: JSON.stringify({ metadata: {} }) }),
    ask("create with a generated name", "POST", `${maps}?dryRun=All`, {
      body: JSON.stringify({ metadata: { generateName: "made-" } }),
    }),
    ask("create nothing", "POST", maps, { headers: json }),
    ask("create what is not JSON", "POST", maps, { body: "{" }),
    ask("create a list", "POST", maps, { body: "[]" }),
    ask("create a text", "POST", maps, { body: '"a"' }),
    ask("create a number where a text belongs", "POST", maps, {
      body: JSON.stringify({ metadata: { name: 1 } }),
    }),
    ask("create another kind", "POST", maps, {
      body: JSON.stringify({ apiVersion: "v1", kind: "Secret", metadata: { name: "a" } }),
    }),
    ask("create another version", "POST", maps, {
      body: JSON.stringify({ apiVersion: "v2", kind: "ConfigMap", metadata: { name: "a" } }),
    }),
    ask("create with a revision", "POST", maps, {
      body: JSON.stringify({ metadata: { name: "a", resourceVersion: "7" } }),
    }),
    ask("put with another name", "PUT", `${maps}/b`, {
      body: JSON.stringify({ metadata: { name: "a" } }),
    }),
    ask("put what is not there", "PUT", `${maps}/none`, {
      body: JSON.stringify({ metadata: { name: "none" } }),
    }),
    ask("patch what is not there", "PATCH", `${maps}/none`, {
      headers: { "Content-Type": "application/merge-patch+json" },
      body: "{}",
    }),
    ask("a patch of no type", "PATCH", `${maps}/kube-root-ca.crt`, {
      headers: { "Content-Type": "text/plain" },
      body: "{}",
    }),
    ask("a body of no type", "POST", maps, {
      headers: { "Content-Type": "text/plain" },
      body: "{}",
    }),
    ask("an answer of no type", "GET", maps, { headers: { Accept: "text/html" } }),
    ask("dry run of something", "POST", `${maps}?dryRun=Some`, {
      body: JSON.stringify({ metadata: { name: "a" } }),
    }),
    ask("field validation of no kind", "POST", `${maps}?fieldValidation=Odd`, {
      body: JSON.stringify({ metadata: { name: "a" } }),
    }),
    ask("field manager with a control character", "POST", `${maps}?fieldManager=%00`, {
      body: JSON.stringify({ metadata: { name: "a" } }),
    }),
    ask("apply without a manager", "PATCH", `${maps}/a`, {
      headers: { "Content-Type": "application/apply-patch+yaml" },
      body: JSON.stringify({ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a" } }),
    }),
    ask("force without apply", "PATCH", `${maps}/a?force=true`, {
      headers: { "Content-Type": "application/merge-patch+json" },
      body: "{}",
    }),
  ];
}
