import { expect, test } from "vitest";
import { SteppedClock } from "#adapters/memory/clock.ts";
import { memoryCrypto } from "#adapters/memory/crypto.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import { unarmour } from "#machinery/pem.ts";
import { aggregatorContract } from "./aggregator.contract.ts";
import type { Delegate } from "./aggregator.ts";
import { admin, ask, directly, makeWorld, objectOf } from "./api.contract.ts";
import { requestHeaders } from "./authn/request-headers.ts";
import { overHttp } from "./http-transport.contract.ts";

aggregatorContract("directly", directly);
aggregatorContract("over HTTP", overHttp);

test("a program in this process serves a group version: discovery, authorization, requests", async () => {
  const root = "/apis/metrics.example.com/v1";
  const users: (string | undefined)[] = [];
  const delegate: Delegate = {
    group: "metrics.example.com",
    version: "v1",
    groupPriorityMinimum: 100,
    versionPriority: 100,
    handler({ path, user }) {
      users.push(user?.name);
      const resources = [
        { name: "nodes", singularName: "", namespaced: false, kind: "NodeMetrics", verbs: ["get"] },
      ];
      const list = { kind: "APIResourceList", apiVersion: "v1", groupVersion: "x", resources };
      const object = path === root ? list : { kind: "NodeMetrics", metadata: { name: "a" } };
      return Promise.resolve({ status: 200, headers: {}, content: { type: "object", object } });
    },
  };
  const { as } = await makeWorld(directly, { delegates: [delegate] });
  const handler = await as(admin);
  const groups = objectOf(await ask(handler, "GET", "/apis")) as unknown as {
    groups: { name: string }[];
  };
  expect(groups.groups.map(({ name }) => name)).toContain("metrics.example.com");
  expect(objectOf(await ask(handler, "GET", `${root}/nodes/a`)).kind).toBe("NodeMetrics");
  expect(users).toEqual(["system:kube-aggregator", "admin"]);
  const refused = await ask(await as({ name: "eve", groups: [] }), "GET", `${root}/nodes/a`);
  expect(refused.status).toBe(403);
});

test("headers count from a front proxy only", async () => {
  const clock = new SteppedClock({ startMs: 1000 });
  const crypto = memoryCrypto(seededRandom(5));
  const times = { fromMs: 0, toMs: 1e9 };
  const issue = async (user: string, by?: { certificate: string; privateKey: string }) => {
    const keys = await crypto.generateKey("ES256");
    const uses = [by === undefined ? "ca" : "client auth"] as const;
    const facts = { user, groups: [], names: [], uses, ...times };
    const certificate = await crypto.issue(facts, keys.publicKey, by ?? keys);
    return { certificate, privateKey: keys.privateKey };
  };
  const ca = await issue("front-proxy-ca");
  const other = await issue("other-ca");
  const authenticator = requestHeaders(crypto, clock, ca.certificate);
  const headers = {
    "x-remote-user": "alice",
    "x-remote-group": "devs, ops",
    "x-remote-extra-scopes": "a",
  };
  const asked = async (by: { certificate: string; privateKey: string }, user: string) => {
    const { certificate } = await issue(user, by);
    const peer = { address: "192.0.2.1", certificates: unarmour("CERTIFICATE", certificate) };
    const gone = new AbortController().signal;
    return authenticator.authenticate({
      method: "GET",
      path: "/",
      query: [],
      headers,
      gone,
      direct: false,
      peer,
    });
  };
  expect(await asked(ca, "front-proxy-client")).toEqual({
    name: "alice",
    groups: ["devs", "ops"],
    extra: { scopes: ["a"] },
  });
  expect(await asked(ca, "somebody")).toHaveProperty("refused");
  expect(await asked(other, "front-proxy-client")).toBeUndefined();
});
