/** Bad input gets upstream's answer, as kubectl shows it, and nothing is stored of it. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { ApiClient } from "./api-client.ts";
import { TestCluster } from "./cluster.ts";
import { describeWith } from "./requirements.ts";

const deployment = (over: string): string => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: bad }
spec:
${over}
  template:
    metadata: { labels: { app: bad } }
    spec:
      containers: [{ name: main, image: x }]
`;

describeWith(["root", "containerd", "runc", "cni", "nft"], "bad input", () => {
  const cluster = new TestCluster("bad");
  beforeAll(() => cluster.start());
  afterAll(() => cluster.purge());

  const refused = async (manifest: string, command = "create"): Promise<string> => {
    const { code, stdout, stderr } = await cluster.kubectl([command, "-f", "-"], {
      input: manifest,
    });
    expect(code, stdout).not.toBe(0);
    return stderr.trim();
  };

  test("an unknown field", async () => {
    expect(
      await refused(deployment("  replicass: 1\n  selector: { matchLabels: { app: bad } }")),
    ).toBe(
      'Error from server (BadRequest): error when creating "STDIN": Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.replicass"',
    );
  });

  test("a wrong type", async () => {
    expect(
      await refused(deployment('  replicas: "three"\n  selector: { matchLabels: { app: bad } }')),
    ).toBe(
      'Error from server (BadRequest): error when creating "STDIN": Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32',
    );
  });

  test("an invalid name", async () => {
    expect(
      await refused("apiVersion: v1\nkind: ConfigMap\nmetadata: { name: Bad_Name }"),
    ).toContain(
      `The ConfigMap "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'`,
    );
  });

  test("a missing selector, and one that does not match", async () => {
    const missing = await refused(deployment("  replicas: 1"));
    expect(missing).toContain('The Deployment "bad" is invalid:');
    expect(missing).toContain("* spec.selector: Required value");
    expect(missing).toContain("`selector` does not match template `labels`");
    expect(await refused(deployment("  selector: { matchLabels: { app: other } }"))).toBe(
      'The Deployment "bad" is invalid: spec.template.metadata.labels: Invalid value: {"app":"bad"}: `selector` does not match template `labels`',
    );
  });

  test("a duplicate, and what is not there", async () => {
    await cluster.ok("create", "configmap", "twice");
    expect((await cluster.refused("create", "configmap", "twice")).trim()).toBe(
      'error: failed to create configmap: configmaps "twice" already exists',
    );
    expect((await cluster.refused("get", "pod", "none")).trim()).toBe(
      'Error from server (NotFound): pods "none" not found',
    );
    expect((await cluster.refused("create", "configmap", "x", "-n", "nowhere")).trim()).toBe(
      'error: failed to create configmap: namespaces "nowhere" not found',
    );
  });

  test("a stale resourceVersion", async () => {
    await cluster.ok("create", "configmap", "raced", "--from-literal=a=1");
    const first = await cluster.ok("get", "configmap", "raced", "-o", "yaml");
    await cluster.ok("patch", "configmap", "raced", "-p", '{"data":{"a":"2"}}');
    expect(await refused(first.replace('a: "1"', 'a: "3"'), "replace")).toBe(
      'Error from server (Conflict): error when replacing "STDIN": Operation cannot be fulfilled on configmaps "raced": the object has been modified; please apply your changes to the latest version and try again',
    );
    expect(await cluster.ok("get", "configmap", "raced", "-o", "jsonpath={.data.a}")).toBe("2");
  });

  test("an unknown kind", async () => {
    const message = await refused(
      "apiVersion: example.com/v1\nkind: Nope\nmetadata: { name: one }",
    );
    expect(message).toContain('no matches for kind "Nope" in version "example.com/v1"');
    expect(await cluster.refused("get", "nopes")).toContain(
      'error: the server doesn\'t have a resource type "nopes"',
    );
  });

  test("an object of 3 MB, and one above the store's limit", async () => {
    const client = new ApiClient(cluster.kubeconfig);
    const path = "/api/v1/namespaces/default/configmaps";
    const sized = (bytes: number) => ({
      metadata: { name: "huge" },
      data: { a: "x".repeat(bytes) },
    });
    const tooLarge = await client.send("POST", path, sized(3 * 1024 * 1024));
    expect(tooLarge.status).toBe(413);
    expect(tooLarge.body).toMatchObject({ reason: "RequestEntityTooLarge", code: 413 });
    const invalid = await client.send("POST", path, sized(1_100_000));
    expect(invalid.status).toBe(422);
    client.close();
    expect((await cluster.kubectl(["get", "configmap", "huge"])).code).toBe(1);
  });

  test("what is no JSON, no object, or of another kind", async () => {
    const client = new ApiClient(cluster.kubeconfig);
    const path = "/api/v1/namespaces/default/configmaps";
    const wrongKind = await client.send("POST", path, {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "s" },
    });
    expect(wrongKind.status).toBe(400);
    const wrongNamespace = await client.send("POST", path, {
      metadata: { name: "s", namespace: "other" },
    });
    expect(wrongNamespace).toMatchObject({
      status: 400,
      body: {
        message:
          "the namespace of the provided object does not match the namespace sent on the request",
      },
    });
    const nothing = await client.send("POST", path, {});
    expect(nothing.status).toBe(422);
    expect(nothing.body).toMatchObject({ reason: "Invalid" });
    const noRoute = await client.send("GET", "/apis/none/v9/things");
    expect(noRoute.status).toBe(404);
    client.close();
  });

  test("a Service of an impossible kind, address and port", async () => {
    const service = (spec: string) =>
      `apiVersion: v1\nkind: Service\nmetadata: { name: s }\nspec: ${spec}`;
    expect(await refused(service("{ type: Wrong, ports: [{ port: 80 }] }"))).toContain(
      'spec.type: Unsupported value: "Wrong": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"',
    );
    expect(await refused(service("{ ports: [{ port: 80000 }] }"))).toContain(
      "must be between 1 and 65535, inclusive",
    );
    expect(
      await refused(service("{ type: NodePort, ports: [{ port: 80, nodePort: 80 }] }")),
    ).toContain("provided port is not in the valid range. The range of valid ports is 30000-32767");
    expect(await refused(service("{ clusterIP: 192.0.2.1, ports: [{ port: 80 }] }"))).toContain(
      "192.0.2.1",
    );
  });

  test.each([
    [
      "an Ingress's path and its type",
      "networking.k8s.io/v1 Ingress { rules: [{ http: { paths: [{ path: x, pathType: Prefix, backend: { service: { name: web, port: { number: 80 } } } }, { path: /, backend: {} }] } }] }",
      [
        'spec.rules[0].http.paths[0].path: Invalid value: "x": must be an absolute path',
        "spec.rules[0].http.paths[1].pathType: Required value: pathType must be specified",
      ],
    ],
    [
      "a policy's block and port",
      "networking.k8s.io/v1 NetworkPolicy { podSelector: {}, ingress: [{ from: [{ ipBlock: { cidr: 10.0.0.0/33 } }], ports: [{ port: 0 }] }] }",
      [
        "spec.ingress[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        'spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "10.0.0.0/33": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)',
      ],
    ],
    [
      "a claim for nothing",
      "v1 PersistentVolumeClaim { resources: { requests: { storage: 0 } } }",
      [
        "spec.accessModes: Required value: at least 1 access mode is required",
        'spec.resources[storage]: Invalid value: "0": must be greater than zero',
      ],
    ],
    [
      "more asked for than is allowed, and a probe that asks nothing",
      "v1 Pod { containers: [{ name: main, image: x, resources: { requests: { cpu: 2 }, limits: { cpu: 1 } }, livenessProbe: { periodSeconds: -1 } }] }",
      [
        'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
        "spec.containers[0].livenessProbe: Required value: must specify a handler type",
        "spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
      ],
    ],
    [
      "a budget with two bounds",
      "policy/v1 PodDisruptionBudget { minAvailable: 1, maxUnavailable: 1, selector: {} }",
      [
        'spec: Invalid value: {"minAvailable":1,"selector":{},"maxUnavailable":1}: minAvailable and maxUnavailable cannot be both set',
      ],
    ],
  ])("%s", async (_what, words, said) => {
    const [apiVersion = "", kind = "", ...spec] = words.split(" ");
    const object = `apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata: { name: bad }\nspec: ${spec.join(" ")}`;
    const stderr = await refused(object);
    for (const one of said) expect(stderr).toContain(one);
    expect(await cluster.refused("get", kind.toLowerCase(), "bad")).toContain("NotFound");
  });

  test("keys and types of ConfigMaps and Secrets; a definition without a schema", async () => {
    expect(
      await refused('apiVersion: v1\nkind: ConfigMap\nmetadata: { name: bad }\ndata: { "a b": x }'),
    ).toContain(
      "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    );
    const tls = await refused(
      "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\nmetadata: { name: bad }",
    );
    for (const key of ["tls.crt", "tls.key"]) expect(tls).toContain(`data[${key}]: Required value`);
    const definition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: loaves.bakery.example }
spec:
  group: bakery.example
  scope: Namespaced
  names: { kind: Loaf, plural: loaves }
  versions: [{ name: v1, served: true, storage: true }]
`;
    expect(await refused(definition)).toContain(
      "spec.versions[0].schema.openAPIV3Schema: Required value",
    );
  });

  test("who may: a binding's role is for good, and a role of nothing", async () => {
    await cluster.ok("create", "role", "reader", "--verb=get", "--resource=pods");
    await cluster.ok("create", "rolebinding", "readers", "--role=reader", "--user=ann");
    const other = '{"roleRef":{"name":"other"}}';
    expect(await cluster.refused("patch", "rolebinding", "readers", "-p", other)).toContain(
      'The RoleBinding "readers" is invalid: roleRef: Invalid value: {"APIGroup":"rbac.authorization.k8s.io","Kind":"Role","Name":"other"}: field is immutable',
    );
    expect(
      await cluster.refused("create", "role", "bad", "--verb=get", "--resource=nothings"),
    ).toContain('the server doesn\'t have a resource type "nothings"');
    expect(await cluster.refused("create", "token", "nobody")).toContain(
      'error: failed to create token: serviceaccounts "nobody" not found',
    );
  });

  test("operations on what is not there", async () => {
    await cluster.ok("create", "deployment", "idle", "--image=x", "--replicas=0");
    const on = "deployment/idle";
    for (const [words, said] of [
      [
        ["rollout", "undo", on, "--to-revision=99"],
        "unable to find specified revision 99 in history",
      ],
      [["set", "image", on, "nope=x:2"], 'unable to find container named "nope"'],
      [["scale", on, "--replicas=-1"], "COUNT must be greater than or equal to 0"],
      [["expose", "deployment/none", "--port=80"], 'deployments.apps "none" not found'],
      [["drain", "nowhere"], 'nodes "nowhere" not found'],
      [["taint", "nodes", "--all", "bad"], "at least one taint update is required"],
    ] as const) {
      expect(await cluster.refused(...words)).toContain(said);
    }
    await cluster.ok("delete", on);
  });

  test("a pod that no node can run says why", async () => {
    await cluster.apply(`
apiVersion: v1
kind: Pod
metadata: { name: large }
spec:
  containers: [{ name: main, image: x, resources: { requests: { cpu: "1000" } } }]
`);
    await cluster.until(
      "pod/large",
      ".status.conditions[0].message",
      /0\/1 nodes are available: 1 Insufficient cpu/,
    );
    expect(await cluster.ok("get", "pod", "large")).toContain("Pending");
  });

  test("who shows no credentials may do next to nothing", async () => {
    const anonymous = await cluster.kubectl(["get", "pods", "--as=nobody"]);
    expect(anonymous.stderr.trim()).toBe(
      'Error from server (Forbidden): pods is forbidden: User "nobody" cannot list resource "pods" in API group "" in the namespace "default"',
    );
  });
});
