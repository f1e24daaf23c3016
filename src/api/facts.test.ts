import { describe, expect, test } from "vitest";
import type { Field, ObjectSchema, Schema } from "#machinery/schema.ts";
import {
  groupOrder,
  kindSchema,
  resourceFacts,
  resourceFactsOf,
  typeNames,
  typeSchema,
} from "./facts.ts";

const core = (name: string): ObjectSchema => typeSchema(`io.k8s.api.core.v1.${name}`);

function field(schema: Schema, name: string): Field {
  if (schema.type !== "object") throw new Error(`${name}: not an object`);
  const found = schema.fields.get(name);
  if (found === undefined) throw new Error(`${schema.name} has no ${name}`);
  return found;
}

function innermost(schema: Schema): Schema {
  if (schema.type === "list") return innermost(schema.items);
  return schema.type === "map" ? innermost(schema.values) : schema;
}

describe("types", () => {
  test("every type decodes, with distinct names and resolvable references", () => {
    const names = typeNames();
    expect(new Set(names).size).toBe(names.length);
    expect(names.length).toBeGreaterThan(1000);
    for (const name of names) {
      const schema = typeSchema(name);
      expect(schema.name).toBe(name);
      for (const one of schema.fields.values()) {
        const inner = innermost(one.schema);
        if (inner.type === "object") expect(typeSchema(inner.name).fields).toBe(inner.fields);
      }
    }
  });

  test("a type is one value, and its fields stand in Go's order", () => {
    const pod = core("Pod");
    expect(core("Pod")).toBe(pod);
    expect(kindSchema("", "v1", "Pod")).toBe(pod);
    expect([...pod.fields.keys()]).toEqual(["kind", "apiVersion", "metadata", "spec", "status"]);
    expect([...core("PodSpec").fields.keys()].slice(0, 3)).toEqual([
      "volumes",
      "initContainers",
      "containers",
    ]);
  });

  test("a field may own a type's fields one by one though the type is of a piece", () => {
    const claimRef = field(core("PersistentVolumeSpec"), "claimRef").schema;
    expect(claimRef).toMatchObject({ mapType: "granular", plain: core("ObjectReference") });
    expect(core("ObjectReference").mapType).toBe("atomic");
  });

  test("Pod: merge keys, protobuf numbers, what is printed when empty", () => {
    const containers = field(core("PodSpec"), "containers");
    expect(containers).toMatchObject({
      omit: "never",
      required: true,
      pointer: false,
      proto: 2,
      patchStrategy: ["merge"],
      patchMergeKey: "name",
      schema: { type: "list", listType: "map", keys: ["name"] },
    });
    expect(field(core("PodSpec"), "restartPolicy").enum).toEqual(["Always", "Never", "OnFailure"]);
    expect(field(core("Container"), "resources")).toMatchObject({ omit: "empty", pointer: false });
    expect(field(core("PodSpec"), "volumes").patchStrategy).toEqual(["merge", "retainKeys"]);
    expect(field(core("PodSpec"), "nodeSelector").schema).toMatchObject({
      type: "map",
      mapType: "atomic",
    });
    expect(field(core("PodSpec"), "terminationGracePeriodSeconds")).toMatchObject({
      pointer: true,
      proto: 4,
      schema: { type: "int64" },
    });
  });

  test("Service: its ports are a map by port and protocol", () => {
    expect(field(core("ServiceSpec"), "ports")).toMatchObject({
      patchMergeKey: "port",
      schema: { type: "list", listType: "map", keys: ["port", "protocol"] },
    });
    expect(field(core("ServicePort"), "targetPort").schema.type).toBe("intOrString");
    expect(field(core("ServicePort"), "protocol").default).toBe("TCP");
    expect(field(core("ContainerPort"), "protocol").default).toBe("TCP");
    expect("default" in field(core("ContainerPort"), "hostIP")).toBe(false);
  });

  test("inlined structs: their fields stand among the others, and protobuf nests them", () => {
    expect(field(core("Volume"), "emptyDir")).toMatchObject({
      proto: 2,
      protoInline: { name: "volumeSource", number: 2 },
    });
    expect(field(core("Probe"), "exec").protoInline).toEqual({ name: "handler", number: 1 });
    const rule = typeSchema("io.k8s.api.admissionregistration.v1.NamedRuleWithOperations");
    expect(field(rule, "apiGroups")).toMatchObject({
      proto: 1,
      protoInline: {
        name: "ruleWithOperations",
        number: 2,
        inner: { name: "rule", number: 2 },
      },
    });
    expect(field(rule, "operations").protoInline).toEqual({
      name: "ruleWithOperations",
      number: 2,
    });
  });

  test("Deployment and the atomic types", () => {
    const spec = typeSchema("io.k8s.api.apps.v1.DeploymentSpec");
    expect(field(spec, "selector")).toMatchObject({ required: true, pointer: true });
    expect(field(spec, "selector").schema).toMatchObject({
      name: "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector",
      mapType: "atomic",
    });
    expect(field(spec, "strategy").patchStrategy).toEqual(["retainKeys"]);
    const ref = field(core("ResourceClaim"), "name");
    expect(ref.required).toBe(true);
  });

  test("quantities, times, bytes, wrapped lists", () => {
    const limits = field(core("ResourceRequirements"), "limits").schema;
    expect(limits).toMatchObject({ type: "map", values: { type: "quantity" } });
    expect(field(core("Secret"), "data").schema).toMatchObject({ values: { type: "bytes" } });
    const meta = typeSchema("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    expect(field(meta, "creationTimestamp")).toMatchObject({
      omit: "zero",
      proto: 8,
      schema: { type: "time" },
    });
    expect(field(meta, "finalizers").schema).toMatchObject({ listType: "set" });
    expect(field(meta, "ownerReferences").patchMergeKey).toBe("uid");
    const lease = typeSchema("io.k8s.api.coordination.v1.LeaseSpec");
    expect(field(lease, "renewTime").schema.type).toBe("microTime");
    const user = typeSchema("io.k8s.api.authentication.v1.UserInfo");
    expect(field(user, "extra").schema).toMatchObject({ values: { protoWrapped: true } });
    expect(field(core("PodCondition"), "lastTransitionTime").omit).toBe("never");
  });

  test("recursive and many-formed types", () => {
    const crd = kindSchema("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    expect(crd?.fields.get("spec")?.required).toBe(true);
    const props = typeSchema(
      "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps",
    );
    expect(innermost(field(props, "properties").schema)).toBe(props);
    const items = field(props, "items").schema;
    if (items.type !== "any") throw new Error("items: any is expected");
    expect(items.alternatives?.map((one) => [one.name, one.proto])).toEqual([
      ["schema", 1],
      ["jSONSchemas", 2],
    ]);
    expect(items.alternatives?.[0]?.schema).toBe(props);
    expect(() => typeSchema(items.name ?? "")).toThrow("many forms");
  });

  test("enums with spaces, unions, defaults that are objects", () => {
    const csr = typeSchema("io.k8s.api.certificates.v1.CertificateSigningRequestSpec");
    expect(field(csr, "usages").enum).toContain("digital signature");
    const slice = typeSchema("io.k8s.api.discovery.v1.EndpointSlice");
    expect(field(slice, "addressType").enum).toEqual(["FQDN", "IPv4", "IPv6"]);
    expect(core("SeccompProfile").unions).toEqual([
      { discriminator: "type", fields: ["localhostProfile"] },
    ]);
    const group = typeSchema("io.k8s.api.scheduling.v1alpha3.PodGroupSpec");
    expect(field(group, "disruptionMode").default).toEqual({ single: {} });
  });

  test("what is not there", () => {
    expect(kindSchema("", "v1", "PodSpec")).toBeUndefined();
    expect(kindSchema("apps", "v2", "Deployment")).toBeUndefined();
    expect(kindSchema("", "v1", "constructor")).toBeUndefined();
    expect(kindSchema("", "v1", "Status")?.name).toBe(
      "io.k8s.apimachinery.pkg.apis.meta.v1.Status",
    );
    expect(() => core("Nothing")).toThrow("no type Nothing");
    expect(() => typeSchema("com.example.Thing")).toThrow("unknown package");
  });
});

describe("resources", () => {
  test("every kind of every resource and subresource has a schema", () => {
    for (const facts of resourceFacts) {
      const { group, version, kind } = facts;
      expect(kindSchema(group, version, kind), `${group}/${version} ${kind}`).toBeDefined();
      if (facts.verbs.includes("list")) {
        const list = kindSchema(group, version, `${kind}List`);
        expect(list && innermost(field(list, "items").schema)).toBe(
          kindSchema(group, version, kind),
        );
      }
      for (const sub of facts.subresources) {
        expect(kindSchema(sub.group, sub.version, sub.kind), sub.kind).toBeDefined();
      }
    }
  });

  test("pods", () => {
    const pods = resourceFactsOf("", "v1", "pods");
    expect(pods).toMatchObject({
      kind: "Pod",
      singular: "pod",
      namespaced: true,
      shortNames: ["po"],
      categories: ["all"],
      storageVersionHash: "xPOwRZ+Yhw8=",
      servedByDefault: true,
    });
    expect(pods?.subresources.map((sub) => sub.name)).toEqual([
      "attach",
      "binding",
      "ephemeralcontainers",
      "eviction",
      "exec",
      "log",
      "portforward",
      "proxy",
      "resize",
      "status",
    ]);
    const eviction = pods?.subresources.find((sub) => sub.name === "eviction");
    expect(eviction).toEqual({
      name: "eviction",
      group: "policy",
      version: "v1",
      kind: "Eviction",
      verbs: ["create"],
    });
    expect(resourceFactsOf("apps", "v1", "pods")).toBeUndefined();
  });

  test("counts and order", () => {
    const served = resourceFacts.filter((facts) => facts.servedByDefault);
    expect([served.length, resourceFacts.length]).toEqual([72, 100]);
    const groups = groupOrder.filter((group) => group.versions.some((one) => one.served));
    expect(groups.slice(0, 4).map((group) => group.group)).toEqual([
      "",
      "apiregistration.k8s.io",
      "apps",
      "events.k8s.io",
    ]);
    const autoscaling = groupOrder.find((group) => group.group === "autoscaling");
    expect(autoscaling?.versions.map((one) => one.version)).toEqual(["v2", "v1"]);
    expect(resourceFactsOf("", "v1", "bindings")?.storageVersionHash).toBeUndefined();
  });
});
