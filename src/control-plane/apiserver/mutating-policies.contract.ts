/** Stories of mutating admission policies that every way to the API server must tell alike. */
import { describe, expect, test } from "vitest";
import type { JsonObject } from "#machinery/object.ts";
import {
  admin,
  ask,
  configMap,
  configMaps,
  makeWorld,
  objectOf,
  refusal,
  type Transport,
} from "./api.contract.ts";

const root = "/apis/admissionregistration.k8s.io/v1";
const policies = `${root}/mutatingadmissionpolicies`;
const bindings = `${root}/mutatingadmissionpolicybindings`;
const deployments = "/apis/apps/v1/namespaces/default/deployments";

const rule = (apiGroup: string, resource: string): JsonObject => ({
  resourceRules: [
    {
      operations: ["CREATE", "UPDATE"],
      apiGroups: [apiGroup],
      apiVersions: ["v1"],
      resources: [resource],
    },
  ],
});
const onConfigMaps = rule("", "configmaps");
const policy = (spec: JsonObject, name = "change"): JsonObject => ({
  apiVersion: "admissionregistration.k8s.io/v1",
  kind: "MutatingAdmissionPolicy",
  metadata: { name },
  spec: { matchConstraints: onConfigMaps, reinvocationPolicy: "Never", ...spec },
});
const binding = (spec: JsonObject, policyName = "change"): JsonObject => ({
  apiVersion: "admissionregistration.k8s.io/v1",
  kind: "MutatingAdmissionPolicyBinding",
  metadata: { name: policyName },
  spec: { policyName, ...spec },
});
const apply = (expression: string): JsonObject => ({
  patchType: "ApplyConfiguration",
  applyConfiguration: { expression },
});
const patch = (expression: string): JsonObject => ({
  patchType: "JSONPatch",
  jsonPatch: { expression },
});
const deployment = {
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "web" },
  spec: {
    selector: { matchLabels: { app: "web" } },
    template: {
      metadata: { labels: { app: "web" } },
      spec: { containers: [{ name: "one", image: "web:1" }] },
    },
  },
};

export function mutatingPoliciesContract(name: string, transport: Transport): void {
  describe(`mutating admission policies, ${name}`, () => {
    async function start(spec: JsonObject, bound: JsonObject = {}) {
      const { as } = await makeWorld(transport);
      const handler = await as(admin);
      const call = (method: string, path: string, object?: object) =>
        ask(handler, method, path, object);
      const made = await call("POST", policies, policy(spec));
      const put = await call("POST", bindings, binding(bound));
      expect([made.status === 201 || refusal(made), put.status]).toEqual([true, 201]);
      return call;
    }
    const denied = `policy 'change' with binding 'change' denied request: `;

    test("merge a configuration by the lists' keys, and see the defaults of what they add", async () => {
      const side = `Object.spec.template.spec.containers{name: "side", image: "side:1"}`;
      const call = await start({
        matchConstraints: rule("apps", "deployments"),
        mutations: [
          apply(`Object{
            metadata: Object.metadata{annotations: {"by": "policy"}},
            spec: Object.spec{
              replicas: 7,
              template: Object.spec.template{spec: Object.spec.template.spec{containers: [${side}]}},
            },
          }`),
        ],
      });
      const answer = await call("POST", deployments, deployment);
      expect(answer.status).toBe(201);
      expect(objectOf(answer)).toMatchObject({
        metadata: { annotations: { by: "policy" } },
        spec: {
          replicas: 7,
          template: {
            spec: {
              containers: [
                { name: "one" },
                { name: "side", image: "side:1", imagePullPolicy: "IfNotPresent" },
              ],
            },
          },
        },
      });
    });

    test("apply JSON patches, with keys escaped, and none whose test fails", async () => {
      const key = `jsonpatch.escapeKey("example.com/a")`;
      const call = await start({
        variables: [{ name: "size", expression: "string(object.data.size())" }],
        mutations: [
          patch(`[
            JSONPatch{op: "add", path: "/metadata/annotations", value: {}},
            JSONPatch{op: "add", path: "/metadata/annotations/" + ${key}, value: variables.size},
          ]`),
          patch(`[
            JSONPatch{op: "test", path: "/data/gone", value: "x"},
            JSONPatch{op: "remove", path: "/data"},
          ]`),
        ],
      });
      const answer = await call("POST", configMaps, {
        ...configMap("a"),
        data: { x: "1", y: "2" },
      });
      expect(objectOf(answer)).toMatchObject({
        metadata: { annotations: { "example.com/a": "2" } },
        data: { x: "1", y: "2" },
      });
    });

    test("see what those before them made of the object, and are asked again if they wish", async () => {
      const { as } = await makeWorld(transport);
      const handler = await as(admin);
      const counting = (label: string, reinvocationPolicy: string) => ({
        reinvocationPolicy,
        mutations: [
          apply(
            `Object{data: {"${label}": string(object.data.size()) + object.data[?"${label}"].orValue("")}}`,
          ),
        ],
      });
      const given = { a: "IfNeeded", b: "Never", c: "Never" };
      for (const [label, again] of Object.entries(given)) {
        await ask(handler, "POST", policies, policy(counting(label, again), label));
        await ask(handler, "POST", bindings, binding({}, label));
      }
      const answer = await ask(handler, "POST", configMaps, { ...configMap("m"), data: { x: "" } });
      expect(objectOf(answer)).toMatchObject({ data: { a: "41", b: "2", c: "3" } });
    });

    test("take parameters, conditions and resource names", async () => {
      const { as } = await makeWorld(transport);
      const handler = await as(admin);
      const limits = { ...configMap("limits"), data: { tier: "gold" } };
      expect((await ask(handler, "POST", configMaps, limits)).status).toBe(201);
      const spec = {
        paramKind: { apiVersion: "v1", kind: "ConfigMap" },
        matchConditions: [{ name: "only", expression: "object.metadata.name.startsWith('t')" }],
        mutations: [apply(`Object{metadata: Object.metadata{labels: {"tier": params.data.tier}}}`)],
      };
      const paramRef = { name: "limits", parameterNotFoundAction: "Deny" };
      await ask(handler, "POST", policies, policy(spec));
      await ask(handler, "POST", bindings, binding({ paramRef }));
      const told = await ask(handler, "POST", configMaps, configMap("told"));
      const other = await ask(handler, "POST", configMaps, configMap("other"));
      expect(objectOf(told)).toMatchObject({ metadata: { labels: { tier: "gold" } } });
      expect(JSON.stringify(objectOf(other))).not.toContain("gold");
    });

    test("refuse what they can not change, or let it pass", async () => {
      const atomic = `Object{spec: Object.spec{selector: Object.spec.selector{matchLabels: {"a": "b"}}}}`;
      const constraints = { matchConstraints: rule("apps", "deployments") };
      const call = await start({ ...constraints, mutations: [apply(atomic)] });
      expect(refusal(await call("POST", deployments, deployment))).toEqual([
        403,
        `${denied}error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.selector`,
      ]);
      const named = await start({
        mutations: [apply("Object{metadata: Object.wrong{name: 'x'}}")],
      });
      expect(refusal(await named("POST", configMaps, configMap("a")))[1]).toBe(
        `${denied}type mismatch: unexpected type name "Object.wrong", expected "Object.metadata", which matches field name path from root Object type`,
      );
      const strict = await start({
        mutations: [patch(`[JSONPatch{op: "add", path: "/dat", value: {}}]`)],
      });
      expect(refusal(await strict("POST", configMaps, configMap("a")))).toEqual([
        500,
        'Internal error occurred: strict decoding error: unknown field "dat"',
      ]);
      const mutations = [apply("Object{data: {'x': object.gone}}")];
      const closed = await start({ mutations });
      expect(refusal(await closed("POST", configMaps, configMap("a")))[1]).toBe(
        `${denied}expression 'Object{data: {'x': object.gone}}' resulted in error: no such key: gone`,
      );
      const open = await start({ mutations, failurePolicy: "Ignore" });
      expect((await open("POST", configMaps, configMap("a"))).status).toBe(201);
    });

    test("what is wrong with a policy or binding is told when it is written", async () => {
      const { as } = await makeWorld(transport);
      const handler = await as(admin);
      const mutations = [
        apply("[1]"),
        patch("Object{}"),
        { patchType: "JSONPatch", applyConfiguration: { expression: "Object{}" } },
        patch("[JSONPatch{op: 1}]"),
      ];
      const bad = policy({ mutations, reinvocationPolicy: "Always" });
      expect(refusal(await ask(handler, "POST", policies, bad))[1]).toBe(
        'MutatingAdmissionPolicy.admissionregistration.k8s.io "change" is invalid: [' +
          'spec.mutations[0].applyConfiguration.expression: Invalid value: "[1]": must evaluate to Object but got list(int), ' +
          'spec.mutations[1].jsonPatch.expression: Invalid value: "Object{}": must evaluate to list(JSONPatch) but got Object, ' +
          "spec.mutations[2].jsonPatch: Required value: must be specified when patchType is JSONPatch, " +
          'spec.mutations[2].applyConfiguration: Invalid value: "{applyConfiguration}": must not be specified when patchType is JSONPatch, ' +
          'spec.mutations[3].jsonPatch.expression: Invalid value: "[JSONPatch{op: 1}]": compilation failed: ' +
          "ERROR: <input>:1:14: expected type of field 'op' is 'string' but provided type is 'int'\n | [JSONPatch{op: 1}]\n | .............^, " +
          'spec.reinvocationPolicy: Unsupported value: "Always": supported values: "IfNeeded", "Never"]',
      );
      const rules = { resourceRules: [{ ...rule("", "pods"), operations: ["DELETE"] }] };
      expect(
        refusal(await ask(handler, "POST", bindings, binding({ matchResources: rules })))[1],
      ).toContain(
        'spec.matchResources.resourceRules.operations: Unsupported value: "DELETE": supported values: "*", "CONNECT", "CREATE", "UPDATE"',
      );
    });
  });
}
