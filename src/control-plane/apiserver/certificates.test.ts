/** CertificateSigningRequests through the API server: what is refused, who approves, what may change. */
import { expect, test } from "vitest";
import { memoryCrypto } from "#adapters/memory/crypto.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import { encodeBase64 } from "#machinery/base64.ts";
import { admin, ask, directly, makeWorld, objectOf, refusal } from "./api.contract.ts";

const path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const crypto = memoryCrypto(seededRandom("requests"));

async function requestFor(user: string, groups: string[]): Promise<string> {
  const key = await crypto.generateKey("ES256");
  const pem = await crypto.request({ user, groups, names: [] }, key);
  return encodeBase64(new TextEncoder().encode(pem));
}

async function start() {
  const world = await makeWorld(directly);
  const handler = await world.as(admin);
  const call = (method: string, target: string, body?: object) =>
    ask(handler, method, target, body);
  const request = await requestFor("jane", ["devs"]);
  const csr = (more: object = {}, name = "jane") => ({
    metadata: { name },
    spec: {
      request,
      signerName: "kubernetes.io/kube-apiserver-client",
      usages: ["client auth"],
      ...more,
    },
  });
  return { ...world, call, csr };
}

test("what is asked for must be whole", async () => {
  const { call, csr } = await start();
  const refused = async (more: object) => refusal(await call("POST", path, csr(more)))[1];
  expect(await refused({ request: "bm9uZQ==" })).toBe(
    'CertificateSigningRequest.certificates.k8s.io "jane" is invalid: spec.request: Invalid value: "bm9uZQ==": PEM block type must be CERTIFICATE REQUEST',
  );
  expect(await refused({ usages: [] })).toContain("spec.usages: Required value");
  expect(await refused({ usages: ["flying"] })).toContain(
    'spec.usages[0]: Unsupported value: "flying": supported values: "any", "cert sign"',
  );
  expect(await refused({ signerName: "mine" })).toContain(
    "spec.signerName: Invalid value: \"mine\": must be a fully qualified domain and path of the form 'example.com/signer-name'",
  );
  expect(await refused({ signerName: "kubernetes.io/legacy-unknown" })).toContain(
    "the legacy signerName is not allowed via this API version",
  );
  expect(await refused({ expirationSeconds: 60 })).toContain(
    "may not specify a duration less than 600 seconds (10 minutes)",
  );
  const masters = await requestFor("jane", ["system:masters"]);
  expect(await refused({ request: masters })).toBe(
    'certificatesigningrequests.certificates.k8s.io "jane" is forbidden: use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed',
  );
});

test("the requester is who asked; approval says the verdict, status the certificate, each with its right", async () => {
  const { call, csr, as } = await start();
  const made = objectOf(await call("POST", path, csr({ username: "root" })));
  expect(made.spec).toMatchObject({
    username: "admin",
    groups: ["system:masters", "system:authenticated"],
  });
  const approved = { type: "Approved", status: "True", reason: "KubectlApprove" };
  const body = (condition: object) => ({ ...made, status: { conditions: [condition] } });
  const rbac = "/apis/rbac.authorization.k8s.io/v1";
  const rule = {
    verbs: ["get", "update"],
    apiGroups: ["certificates.k8s.io"],
    resources: ["certificatesigningrequests/approval", "certificatesigningrequests/status"],
  };
  await call("POST", `${rbac}/clusterroles`, { metadata: { name: "judge" }, rules: [rule] });
  await call("POST", `${rbac}/clusterrolebindings`, {
    metadata: { name: "judge" },
    roleRef: { kind: "ClusterRole", name: "judge" },
    subjects: [{ kind: "User", name: "joe" }],
  });
  const joe = await as({ name: "joe", groups: [] });
  expect(refusal(await ask(joe, "PUT", `${path}/jane/approval`, body(approved)))).toEqual([
    403,
    'certificatesigningrequests.certificates.k8s.io "jane" is forbidden: user not permitted to approve requests with signerName "kubernetes.io/kube-apiserver-client"',
  ]);
  expect(refusal(await call("PUT", `${path}/jane/status`, body(approved)))).toEqual([
    422,
    'CertificateSigningRequest.certificates.k8s.io "jane" is invalid: status.conditions: Forbidden: updates may not add a condition of type "Approved"',
  ]);
  const done = objectOf(await call("PUT", `${path}/jane/approval`, body(approved)));
  expect(done.status?.conditions).toMatchObject([{ type: "Approved", reason: "KubectlApprove" }]);
  const { conditions: [condition] = [] } = done.status as {
    conditions?: { lastTransitionTime: string }[];
  };
  expect(condition?.lastTransitionTime).toMatch(/^2026-/);
  const both = {
    ...done,
    status: {
      conditions: [
        ...((done.status?.conditions ?? []) as object[]),
        { type: "Denied", status: "True" },
      ],
    },
  };
  expect(refusal(await call("PUT", `${path}/jane/approval`, both))[1]).toContain(
    "Approved and Denied conditions are mutually exclusive",
  );
  const none = { ...done, status: { conditions: [] } };
  expect(refusal(await call("PUT", `${path}/jane/approval`, none))[1]).toContain(
    'updates may not remove a condition of type "Approved"',
  );
  const nonsense = { ...done, status: { ...done.status, certificate: "eA==" } };
  expect(refusal(await call("PUT", `${path}/jane/status`, nonsense))[1]).toContain(
    'status.certificate: Invalid value: "<certificate data>": must contain at least one CERTIFICATE PEM block',
  );
  const pem = encodeBase64(
    new TextEncoder().encode("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
  );
  const certificate = { ...done, status: { ...done.status, certificate: pem } };
  expect(refusal(await ask(joe, "PUT", `${path}/jane/status`, certificate))[1]).toContain(
    "user not permitted to sign requests with signerName",
  );
  const issued = objectOf(await call("PUT", `${path}/jane/status`, certificate));
  expect(issued.status?.certificate).toBe(pem);
  expect(issued.status?.conditions).toHaveLength(1);
  const changed = { ...issued, spec: { ...issued.spec, usages: ["any"] } };
  expect(objectOf(await call("PUT", `${path}/jane`, changed)).spec).toEqual(issued.spec);
});
