/** What a node's own identity may not write, through the whole chain: authorizer and NodeRestriction. */
import { expect, test } from "vitest";
import { memoryCrypto } from "#adapters/memory/crypto.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import { encodeBase64 } from "#machinery/base64.ts";
import { unarmour } from "#machinery/pem.ts";
import { admin, ask, directly, type Loose, makeWorld, objectOf, refusal } from "./api.contract.ts";

const crypto = memoryCrypto(seededRandom("nodes"));
const nodes = "/api/v1/nodes";
const inDefault = "/api/v1/namespaces/default";
const requests = "/apis/certificates.k8s.io/v1/namespaces/default/podcertificaterequests";
const merge = { type: "application/merge-patch+json" };

async function start() {
  const { as } = await makeWorld(directly);
  const root = await as(admin);
  const call = async (method: string, target: string, body?: object): Promise<Loose> =>
    objectOf(await ask(root, method, target, body));
  const node = (name: string) => as({ name: `system:node:${name}`, groups: ["system:nodes"] });
  const one = await node("one");
  const made = await call("POST", nodes, { metadata: { name: "one" } });
  await call("POST", nodes, { metadata: { name: "two" } });
  const account = await call("POST", `${inDefault}/serviceaccounts`, {
    metadata: { name: "default" },
  });
  const projected = {
    sources: [
      {
        podCertificate: {
          signerName: "example.com/one",
          keyType: "ED25519",
          keyPath: "key",
        },
      },
    ],
  };
  const pod = (name: string, nodeName: string) =>
    call("POST", `${inDefault}/pods`, {
      metadata: { name },
      spec: {
        nodeName,
        containers: [{ name: "c", image: "c" }],
        volumes: [{ name: "id", projected }],
      },
    });
  return {
    as,
    call,
    one,
    made,
    account,
    mine: await pod("mine", "one"),
    other: await pod("other", "two"),
  };
}

test("its Node without taints and labels that would draw work to it; nobody else's", async () => {
  const { one } = await start();
  const patch = async (name: string, body: object) =>
    refusal(await ask(one, "PATCH", `${nodes}/${name}`, body, merge))[1];
  expect(await patch("one", { spec: { taints: [{ key: "a", effect: "NoSchedule" }] } })).toBe(
    'nodes "one" is forbidden: node "one" is not allowed to modify taints',
  );
  const label = "node-restriction.kubernetes.io/tier";
  expect(await patch("one", { metadata: { labels: { [label]: "gold" } } })).toBe(
    `nodes "one" is forbidden: is not allowed to modify labels: ${label}`,
  );
  expect(await patch("two", { metadata: { labels: { a: "b" } } })).toBe(
    'nodes "two" is forbidden: node "one" is not allowed to modify node "two"',
  );
  const fine = await ask(one, "PATCH", `${nodes}/one`, { metadata: { labels: { a: "b" } } }, merge);
  expect(objectOf(fine).metadata.labels).toMatchObject({ a: "b" });
});

test("the status of its own pods only, and no pods but mirrors", async () => {
  const { one } = await start();
  const status = { status: { phase: "Running" } };
  const patch = (name: string) =>
    ask(one, "PATCH", `${inDefault}/pods/${name}/status`, status, merge);
  expect(objectOf(await patch("mine")).status).toMatchObject({ phase: "Running" });
  expect(refusal(await patch("other"))[1]).toContain(
    'node "one" can only update pod status for pods with spec.nodeName set to itself',
  );
  const pod = { metadata: { name: "new" }, spec: { containers: [{ name: "c", image: "c" }] } };
  expect(refusal(await ask(one, "POST", `${inDefault}/pods`, pod))[1]).toContain(
    'node "one" can only create mirror pods',
  );
});

test("certificates for its own pods only, from signers that they name, in their account's name", async () => {
  const { one, made, account, mine, other, call } = await start();
  const key = await crypto.generateKey("ED25519");
  const pem = await crypto.request({ user: "", groups: [], names: [] }, key);
  const [stub = new Uint8Array()] = unarmour("CERTIFICATE REQUEST", pem);
  const request = (pod: Loose, more: object = {}) => ({
    metadata: { generateName: "req-" },
    spec: {
      signerName: "example.com/one",
      podName: pod.metadata.name,
      podUID: pod.metadata.uid,
      serviceAccountName: "default",
      serviceAccountUID: account.metadata.uid,
      nodeName: "one",
      nodeUID: made.metadata.uid,
      stubPKCS10Request: encodeBase64(stub),
      ...more,
    },
  });
  const refused = async (pod: Loose, more?: object) =>
    refusal(await ask(one, "POST", requests, request(pod, more)))[1];
  expect(await refused(other)).toContain('pod "default/other" is not running on node "one"');
  expect(await refused(mine, { nodeName: "two" })).toContain(
    'PodCertificateRequest.Spec.NodeName="two", which is not the requesting node "one"',
  );
  expect(await refused(mine, { podUID: "older" })).toContain("which differs from running pod");
  expect(await refused(mine, { serviceAccountName: "root" })).toContain(
    'contains serviceAccountName ("root") that differs from running pod ("default")',
  );
  expect(await refused(mine, { signerName: "example.com/two" })).toContain(
    'does not mount a podCertificate projected volume for signer "example.com/two"',
  );
  expect(await refused(mine, { stubPKCS10Request: "bm9uZQ==" })).toContain(
    "spec.stubPKCS10Request: Invalid value: must be a valid PKCS#10 CSR",
  );
  const own = objectOf(await ask(one, "POST", requests, request(mine)));
  const read = (target: string) => ask(one, "GET", target);
  expect(objectOf(await read(`${requests}/${own.metadata.name}`)).kind).toBe(
    "PodCertificateRequest",
  );
  expect(refusal(await read(requests))[1]).toContain(
    "can only list/watch podcertificaterequests with nodeName field selector",
  );
  expect(
    refusal(await ask(one, "PUT", `${requests}/${own.metadata.name}/status`, own))[1],
  ).toContain("nodes may not access the status subresource");
  expect(await call("GET", `${requests}/${own.metadata.name}`)).toMatchObject({
    spec: { maxExpirationSeconds: 86_400 },
  });
});
