/** Stories of validating admission policies that every way to the API server must tell alike. */
import { describe, expect, test } from "vitest";
import type { JsonObject } from "#machinery/object.ts";
import {
  admin,
  ask,
  configMap,
  configMaps,
  makeWorld,
  refusal,
  type Transport,
} from "./api.contract.ts";

const root = "/apis/admissionregistration.k8s.io/v1";
const policies = `${root}/validatingadmissionpolicies`;
const bindings = `${root}/validatingadmissionpolicybindings`;

const policy = (spec: JsonObject): JsonObject => ({
  apiVersion: "admissionregistration.k8s.io/v1",
  kind: "ValidatingAdmissionPolicy",
  metadata: { name: "rule" },
  spec: {
    matchConstraints: {
      resourceRules: [
        {
          operations: ["CREATE", "UPDATE"],
          apiGroups: [""],
          apiVersions: ["v1"],
          resources: ["configmaps"],
        },
      ],
    },
    ...spec,
  },
});
const binding = (spec: JsonObject): JsonObject => ({
  apiVersion: "admissionregistration.k8s.io/v1",
  kind: "ValidatingAdmissionPolicyBinding",
  metadata: { name: "here" },
  spec: { policyName: "rule", validationActions: ["Deny"], ...spec },
});

export function policiesContract(name: string, transport: Transport): void {
  describe(`validating admission policies, ${name}`, () => {
    async function start(spec: JsonObject, bound: JsonObject = {}) {
      const { as } = await makeWorld(transport);
      const handler = await as(admin);
      const call = (method: string, path: string, object?: object) =>
        ask(handler, method, path, object);
      const made = await call("POST", policies, policy(spec));
      const put = await call("POST", bindings, binding(bound));
      expect([made.status, put.status]).toEqual([201, 201]);
      return call;
    }
    const head = `configmaps "a" is forbidden: ValidatingAdmissionPolicy 'rule' with binding 'here' denied request: `;

    test("refuse, with the expression, a message, or one that is worked out", async () => {
      const expression = "object.metadata.name != 'a'";
      const told = { expression, messageExpression: "'not ' + object.metadata.name" };
      const call = await start({ validations: [told] });
      expect((await call("POST", configMaps, configMap("b"))).status).toBe(201);
      const answer = await call("POST", configMaps, configMap("a"));
      expect(answer.status).toBe(422);
      expect(refusal(answer)).toEqual([422, `${head}not a`]);
    });

    test("name variables, the request, the namespace and the authorizer", async () => {
      const call = await start({
        variables: [
          { name: "name", expression: "object.metadata.name" },
          { name: "long", expression: "variables.name.size() > 3" },
        ],
        validations: [
          { expression: "variables.long || request.operation == 'UPDATE'", reason: "Forbidden" },
          { expression: "namespaceObject.metadata.name == 'default'" },
          { expression: "authorizer.requestResource.check('create').allowed()" },
          { expression: "authorizer.group('').resource('pods').check('get').allowed()" },
        ],
      });
      expect((await call("POST", configMaps, configMap("long-enough"))).status).toBe(201);
      const answer = await call("POST", configMaps, configMap("a"));
      expect(refusal(answer)).toEqual([
        403,
        `${head}failed expression: variables.long || request.operation == 'UPDATE'`,
      ]);
    });

    test("fail closed or open, skip what their conditions do not meet", async () => {
      const validations = [{ expression: "object.gone.x == 1" }];
      const closed = await start({ validations });
      expect(refusal(await closed("POST", configMaps, configMap("a")))[1]).toBe(
        `${head}expression 'object.gone.x == 1' resulted in error: no such key: gone`,
      );
      const open = await start({ validations, failurePolicy: "Ignore" });
      expect((await open("POST", configMaps, configMap("a"))).status).toBe(201);
      const matchConditions = [{ name: "b", expression: "object.metadata.name == 'b'" }];
      const only = await start({ validations, matchConditions });
      expect((await only("POST", configMaps, configMap("a"))).status).toBe(201);
    });

    test("take parameters, and say when there are none", async () => {
      const paramRef = { name: "limits", parameterNotFoundAction: "Deny" };
      const spec = {
        paramKind: { apiVersion: "v1", kind: "ConfigMap" },
        validations: [{ expression: "object.metadata.name != params.data.key" }],
        matchConditions: [{ name: "x", expression: "object.metadata.name != 'limits'" }],
      };
      const call = await start(spec, { paramRef });
      expect(refusal(await call("POST", configMaps, configMap("a")))[1]).toBe(
        `${head}failed to configure binding: no params found for policy binding with \`Deny\` parameterNotFoundAction`,
      );
    });

    test("warn instead", async () => {
      const call = await start(
        { validations: [{ expression: "false", message: "better not" }] },
        { validationActions: ["Warn", "Audit"] },
      );
      const answer = await call("POST", configMaps, configMap("a"));
      expect(answer.status).toBe(201);
      expect(JSON.stringify(answer.headers)).toContain(
        "Validation failed for ValidatingAdmissionPolicy 'rule' with binding 'here': better not",
      );
    });

    test("what is wrong with a policy or binding is told when it is written", async () => {
      const { as } = await makeWorld(transport);
      const handler = await as(admin);
      const bad = policy({ validations: [{ expression: "1 + 1" }, { expression: "nobody" }] });
      expect(refusal(await ask(handler, "POST", policies, bad))[1]).toBe(
        'ValidatingAdmissionPolicy.admissionregistration.k8s.io "rule" is invalid: [' +
          'spec.validations[0].expression: Invalid value: "1 + 1": must evaluate to bool but got int, ' +
          "spec.validations[1].expression: Invalid value: \"nobody\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'nobody' (in container '')\n | nobody\n | ^]",
      );
      const both = binding({ validationActions: ["Deny", "Warn"] });
      expect(refusal(await ask(handler, "POST", bindings, both))[1]).toContain(
        "must not contain both Deny and Warn",
      );
    });
  });
}
