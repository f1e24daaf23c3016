/** Stories of admission webhooks that every way to the API server must tell alike; the webhook answers where nodes are reached. */
import { describe, expect, test } from "vitest";
import { encodeBase64 } from "#machinery/base64.ts";
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
import type { NodeProxy, ProxyTarget } from "./node-proxy.ts";

const root = "/apis/admissionregistration.k8s.io/v1";
const encode = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

interface Question {
  readonly target: ProxyTarget;
  readonly path: string;
  readonly request: JsonObject & { readonly uid: string; readonly object?: JsonObject | null };
}
/** What the webhook says to a question; "silent": it never answers. */
type Answer = (question: Question) => JsonObject | "silent";

function webhookAt(answer: Answer, asked: Question[]): NodeProxy {
  return {
    async forward(target, path, { body, gone }) {
      if (body === undefined || !("bytes" in body)) throw new Error("a body was expected");
      const review = JSON.parse(new TextDecoder().decode(body.bytes)) as JsonObject;
      const question = { target, path, request: review.request as Question["request"] };
      asked.push(question);
      const response = answer(question);
      if (response === "silent")
        return await new Promise((_, reject) => {
          gone.addEventListener("abort", () => reject(new Error("canceled")));
        });
      const { uid } = question.request;
      const bytes = encode({ ...review, request: undefined, response: { uid, ...response } });
      return {
        status: 200,
        headers: {},
        content: { type: "bytes", mediaType: "application/json", bytes },
      };
    },
  };
}

const configuration = (kind: string, hook: JsonObject): JsonObject => ({
  apiVersion: "admissionregistration.k8s.io/v1",
  kind,
  metadata: { name: "hooks" },
  webhooks: [
    {
      name: "check.example.com",
      clientConfig: { url: "https://192.0.2.50:8443/check", caBundle: "Q0E=" },
      rules: [
        { operations: ["*"], apiGroups: [""], apiVersions: ["v1"], resources: ["configmaps"] },
      ],
      admissionReviewVersions: ["v1"],
      sideEffects: "None",
      ...hook,
    },
  ],
});

export function webhooksContract(how: string, transport: Transport): void {
  const start = async (answer: Answer) => {
    const asked: Question[] = [];
    const { as, clock } = await makeWorld(transport, { nodeProxy: webhookAt(answer, asked) });
    const handler = await as(admin);
    const call = (method: string, target: string, body?: object) =>
      ask(handler, method, target, body);
    const register = async (kind: "Mutating" | "Validating", hook: JsonObject = {}) => {
      const name = `${kind}WebhookConfiguration`;
      const made = await call("POST", `${root}/${name.toLowerCase()}s`, configuration(name, hook));
      expect(made.status).toBe(201);
      asked.length = 0;
    };
    return { call, register, asked, clock };
  };

  describe(`admission webhooks, ${how}`, () => {
    test("one changes what is written, and is told who writes what", async () => {
      const patch = [{ op: "add", path: "/metadata/labels", value: { seen: "yes" } }];
      const { call, register, asked } = await start(() => ({
        allowed: true,
        patchType: "JSONPatch",
        patch: encodeBase64(encode(patch)),
        warnings: ["careful"],
      }));
      await register("Mutating");
      const made = await call("POST", configMaps, configMap("a", { k: "v" }));
      expect(objectOf(made).metadata.labels).toEqual({ seen: "yes" });
      expect(made.headers.warning).toBe('299 - "careful"');
      expect(asked).toHaveLength(1);
      expect(asked[0]).toMatchObject({
        target: {
          host: "192.0.2.50",
          port: 8443,
          scheme: "https",
          tls: { roots: "CA", serverName: "192.0.2.50" },
        },
        path: "/check?timeout=10s",
        request: {
          operation: "CREATE",
          kind: { group: "", version: "v1", kind: "ConfigMap" },
          resource: { group: "", version: "v1", resource: "configmaps" },
          name: "a",
          namespace: "default",
          userInfo: { username: "admin" },
          object: { kind: "ConfigMap", metadata: { name: "a" }, data: { k: "v" } },
          oldObject: null,
          dryRun: false,
        },
      });
    });

    test("one is asked by what somebody connects, and with which options", async () => {
      const { call, register, asked } = await start(() => ({
        allowed: false,
        status: { code: 403, message: "no shells here" },
      }));
      const rule = { operations: ["CONNECT"], apiGroups: [""], apiVersions: ["v1"] };
      await register("Validating", { rules: [{ ...rule, resources: ["pods/exec"] }] });
      const target = "/api/v1/namespaces/default/pods/a/exec?command=sh&command=-c&stdin=true";
      expect(refusal(await call("POST", target))).toEqual([
        403,
        'admission webhook "check.example.com" denied the request: no shells here',
      ]);
      expect(asked[0]?.request).toMatchObject({
        operation: "CONNECT",
        kind: { group: "", version: "v1", kind: "PodExecOptions" },
        subResource: "exec",
        name: "a",
        object: {
          kind: "PodExecOptions",
          apiVersion: "v1",
          stdin: true,
          stdout: true,
          stderr: true,
          command: ["sh", "-c"],
        },
        options: null,
      });
      expect((await call("GET", "/api/v1/namespaces/default/pods/a/log")).status).toBe(404);
      expect(asked).toHaveLength(1);
    });

    test("one refuses, in its own words", async () => {
      const { call, register, asked } = await start(({ request }) =>
        request.operation === "DELETE"
          ? { allowed: false }
          : { allowed: request.name !== "bad", status: { code: 403, message: "no bad ones" } },
      );
      await register("Validating", { objectSelector: { matchLabels: { watch: "me" } } });
      const labels = { watch: "me" };
      expect((await call("POST", configMaps, configMap("unseen"))).status).toBe(201);
      expect(asked).toHaveLength(0);
      expect(refusal(await call("POST", configMaps, configMap("bad", {}, labels)))).toEqual([
        403,
        'admission webhook "check.example.com" denied the request: no bad ones',
      ]);
      expect((await call("POST", configMaps, configMap("good", {}, labels))).status).toBe(201);
      expect(refusal(await call("DELETE", `${configMaps}/good`))).toEqual([
        400,
        'admission webhook "check.example.com" denied the request without explanation',
      ]);
    });

    test("one that is silent stops the write, unless its failure is to be ignored", async () => {
      const { call, register, clock } = await start(() => "silent");
      await register("Validating", { timeoutSeconds: 2 });
      const waiting = call("POST", configMaps, configMap("a"));
      await clock.advance(2000);
      expect(refusal(await waiting)).toEqual([
        500,
        'Internal error occurred: failed calling webhook "check.example.com": failed to call webhook: Post "https://192.0.2.50:8443/check?timeout=2s": context deadline exceeded',
      ]);
      await call("DELETE", `${root}/validatingwebhookconfigurations/hooks`);
      await register("Validating", { timeoutSeconds: 1, failurePolicy: "Ignore" });
      const fine = call("POST", configMaps, configMap("a"));
      await clock.advance(1000);
      expect((await fine).status).toBe(201);
    });

    test("a service that is not there cannot be asked", async () => {
      const { call, register } = await start(() => ({ allowed: true }));
      await register("Validating", {
        clientConfig: { service: { namespace: "default", name: "hook", path: "/x" } },
      });
      expect(refusal(await call("POST", configMaps, configMap("a")))[1]).toContain(
        'failed to call webhook: service "hook" not found',
      );
    });

    test("bad configurations are refused", async () => {
      const { call } = await start(() => ({ allowed: true }));
      const bad = configuration("ValidatingWebhookConfiguration", {
        name: "short",
        sideEffects: "Some",
        clientConfig: { url: "http://example.com/?a=b" },
        rules: [{ operations: ["CREATE", "*"], apiGroups: [], apiVersions: [""], resources: [] }],
        matchConditions: [{ name: "a", expression: "true" }],
      });
      expect(refusal(await call("POST", `${root}/validatingwebhookconfigurations`, bad))[1]).toBe(
        'ValidatingWebhookConfiguration.admissionregistration.k8s.io "hooks" is invalid: [' +
          'webhooks[0].name: Invalid value: "short": should be a domain with at least three segments separated by dots, ' +
          'webhooks[0].rules[0].operations: Invalid value: ["CREATE","*"]: if \'*\' is present, must not specify other operations, ' +
          "webhooks[0].rules[0].apiGroups: Required value, " +
          "webhooks[0].rules[0].apiVersions[0]: Required value, " +
          "webhooks[0].rules[0].resources: Required value, " +
          'webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun", ' +
          "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path], " +
          'webhooks[0].clientConfig.url: Invalid value: "a=b": query parameters are not permitted in the URL, ' +
          "webhooks[0].matchConditions: Forbidden: this server does not evaluate CEL expressions; narrow the webhook by rules and selectors instead]",
      );
    });
  });
}
