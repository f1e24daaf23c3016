/** Custom resources as a user of kubectl lives with them, on a cluster with simulated nodes: no container is needed for it. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestCluster } from "./cluster.ts";

const definition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: crontabs.stable.example.com }
spec:
  group: stable.example.com
  scope: Namespaced
  names: { plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct], categories: [all] }
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: { specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas }
    additionalPrinterColumns:
    - { name: Spec, type: string, jsonPath: .spec.cronSpec }
    - { name: Replicas, type: integer, jsonPath: .spec.replicas }
    - { name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status' }
    schema:
      openAPIV3Schema:
        description: Something that is done again and again.
        type: object
        properties:
          spec:
            description: What is wanted.
            type: object
            required: [cronSpec]
            properties:
              cronSpec: { type: string, pattern: '^(\\S+\\s){4}\\S+$', description: When it is done. }
              replicas: { type: integer, default: 1, minimum: 1 }
              image: { type: string }
          status: { type: object, x-kubernetes-preserve-unknown-fields: true }
`;
const cronTab = (name: string, image = "busybox"): string => `
apiVersion: stable.example.com/v1
kind: CronTab
metadata: { name: ${name} }
spec: { cronSpec: "* * * * */5", image: ${image} }
`;

describe("custom resources", () => {
  const cluster = new TestCluster("crd", ["--runtime", "simulated", "--nodes", "1"]);
  beforeAll(() => cluster.start());
  afterAll(() => cluster.purge());

  test("a kind that nobody knows is said to be unknown, and known once it is defined", async () => {
    expect(await cluster.refused("get", "crontabs")).toContain(
      'the server doesn\'t have a resource type "crontabs"',
    );
    expect(await cluster.apply(definition)).toContain("crontabs.stable.example.com created");
    await cluster.ok(
      "wait",
      "--for=condition=Established",
      "crd/crontabs.stable.example.com",
      "--timeout=30s",
    );
    expect(await cluster.ok("api-resources", "--api-group=stable.example.com")).toMatch(
      /crontabs +ct +stable\.example\.com\/v1 +true +CronTab/,
    );
    expect(await cluster.ok("explain", "ct.spec")).toContain("cronSpec\t<string> -required-");
  });

  test("apply, get, diff, scale, patch, edit by server-side apply", async () => {
    expect(await cluster.apply(cronTab("mine"))).toContain(
      "crontab.stable.example.com/mine created",
    );
    expect(await cluster.apply(cronTab("mine"))).toContain("unchanged");
    expect(await cluster.ok("get", "ct")).toMatch(
      /NAME +SPEC +REPLICAS +READY\nmine +\* \* \* \* \*\/5 +1 +\n/,
    );
    expect(await cluster.ok("get", "all")).toContain("crontab.stable.example.com/mine");
    const diff = await cluster.kubectl(["diff", "-f", "-"], { input: cronTab("mine", "new") });
    expect(diff.stdout).toContain("+  image: new");
    expect(await cluster.apply(cronTab("mine", "new"))).toContain("configured");
    await cluster.ok("scale", "ct/mine", "--replicas=3");
    const status = '{"status":{"conditions":[{"type":"Ready","status":"True"}]}}';
    await cluster.ok("patch", "ct", "mine", "--type=merge", "--subresource=status", "-p", status);
    expect(await cluster.ok("get", "ct", "mine")).toMatch(/mine +\* \* \* \* \*\/5 +3 +True/);
    await cluster.ok("wait", "--for=condition=Ready", "ct/mine", "--timeout=10s");
    expect(
      await cluster.refused("patch", "ct", "mine", "--type=merge", "-p", '{"spec":{"replicas":0}}'),
    ).toContain("spec.replicas in body should be greater than or equal to 1");
    expect(await cluster.refused("patch", "ct", "mine", "-p", "{}")).toContain(
      "application/strategic-merge-patch+json is not supported",
    );
    const { code, stderr } = await cluster.kubectl(["create", "-f", "-"], {
      input: cronTab("odd").replace("cronSpec", "chronSpec"),
    });
    expect(code).not.toBe(0);
    expect(stderr).toContain('strict decoding error: unknown field "spec.chronSpec"');
  });

  test("a bad definition is refused", async () => {
    const bad = definition.replace("group: stable.example.com", "group: stable.example.org");
    const { stderr } = await cluster.kubectl(["create", "-f", "-"], { input: bad });
    expect(stderr).toContain('must be spec.names.plural+"."+spec.group');
  });

  test("owners of custom kinds count, and a namespace takes its custom objects with it", async () => {
    const uid = await cluster.ok("get", "ct", "mine", "-o", "jsonpath={.metadata.uid}");
    await cluster.apply(`
apiVersion: v1
kind: ConfigMap
metadata:
  name: owned
  ownerReferences: [{ apiVersion: stable.example.com/v1, kind: CronTab, name: mine, uid: ${uid} }]
`);
    await cluster.ok("delete", "ct", "mine");
    await cluster.ok("wait", "--for=delete", "configmap/owned", "--timeout=30s");
    await cluster.ok("create", "namespace", "walled");
    await cluster.kubectl(["create", "-n", "walled", "-f", "-"], { input: cronTab("inside") });
    await cluster.ok("delete", "namespace", "walled", "--timeout=30s");
  });

  test("everything is there after a restart, and goes with its definition", async () => {
    await cluster.apply(cronTab("kept"));
    expect((await cluster.down()).code).toBe(0);
    await cluster.start();
    expect(await cluster.ok("get", "ct", "-o", "name")).toContain("kept");
    await cluster.ok("delete", "crd", "crontabs.stable.example.com", "--timeout=30s");
    await cluster.apply(definition);
    await cluster.ok("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s");
    expect((await cluster.kubectl(["get", "ct"])).stderr).toContain("No resources found");
  });
});
