/** ClusterTrustBundles through the API server: what they may hold, how they are named, who may write those of a signer. */
import { expect, test } from "vitest";
import { memoryCrypto } from "#adapters/memory/crypto.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import { admin, ask, directly, makeWorld, objectOf, refusal } from "./api.contract.ts";

const path = "/apis/certificates.k8s.io/v1/clustertrustbundles";
const crypto = memoryCrypto(seededRandom("bundles"));

async function certificate(user: string, isAuthority = true): Promise<string> {
  const { privateKey, publicKey } = await crypto.generateKey("ES256");
  const uses = isAuthority ? (["ca"] as const) : (["client auth"] as const);
  const facts = { user, groups: [], names: [], uses, fromMs: 0, toMs: 4e12 };
  return crypto.issue(facts, publicKey, { privateKey });
}

async function start() {
  const { as } = await makeWorld(directly);
  const handler = await as(admin);
  const call = (method: string, target: string, body?: object) =>
    ask(handler, method, target, body);
  const bundle = (name: string, trustBundle: string, signerName?: string) => ({
    metadata: { name },
    spec: { trustBundle, ...(signerName === undefined ? {} : { signerName }) },
  });
  return { as, call, bundle };
}

test("a bundle is certificates of authorities, each once", async () => {
  const { call, bundle } = await start();
  const one = await certificate("one");
  const two = await certificate("two");
  const leaf = await certificate("leaf", false);
  const refused = async (text: string) =>
    refusal(await call("POST", path, bundle("mine", text)))[1];
  expect(await refused("")).toContain("at least one trust anchor must be provided");
  expect(await refused(`${one}${one}`)).toContain("duplicate trust anchor (indices [0 1])");
  expect(await refused(`${one}${leaf}`)).toContain("entry 1 does not have the CA bit set");
  expect(await refused(one.replaceAll("CERTIFICATE", "PRIVATE KEY"))).toContain(
    "entry 0 has bad block type: PRIVATE KEY",
  );
  const headed = one.replace("-----\n", "-----\nA: b\n\n");
  expect(await refused(headed)).toContain("entry 0 has PEM block headers");
  const made = objectOf(await call("POST", path, bundle("mine", `My own:\n${one}${two}`)));
  expect(made.spec).toEqual({ trustBundle: `My own:\n${one}${two}` });
});

test("a bundle of a signer is named after it, and stays with it", async () => {
  const { call, bundle } = await start();
  const one = await certificate("one");
  const said = async (name: string, signerName?: string) =>
    refusal(await call("POST", path, bundle(name, one, signerName)))[1];
  expect(await said("a:b")).toContain(
    'metadata.name: Invalid value: "a:b": ClusterTrustBundle without signer name must not have ":" in its name',
  );
  expect(await said("mine", "example.com/one")).toContain(
    "ClusterTrustBundle for signerName example.com/one must be named with prefix example.com:one:",
  );
  expect(await said("mine", "one")).toContain("spec.signerName: Invalid value");
  const name = "example.com:one:mine";
  const made = objectOf(await call("POST", path, bundle(name, one, "example.com/one")));
  const moved = { ...made, spec: { ...made.spec, signerName: "example.com/two" } };
  expect(refusal(await call("PUT", `${path}/${name}`, moved))[1]).toContain(
    "spec.signerName: Invalid value",
  );
  const { items } = objectOf(
    await call("GET", `${path}?fieldSelector=spec.signerName%3Dexample.com/one`),
  ) as unknown as { items: object[] };
  expect(items).toHaveLength(1);
});

test("who writes a bundle of a signer must be allowed to attest for it", async () => {
  const { as, call, bundle } = await start();
  const one = await certificate("one");
  const rbac = "/apis/rbac.authorization.k8s.io/v1";
  const rules = [
    {
      verbs: ["create", "patch"],
      apiGroups: ["certificates.k8s.io"],
      resources: ["clustertrustbundles"],
    },
    {
      verbs: ["attest"],
      apiGroups: ["certificates.k8s.io"],
      resources: ["signers"],
      resourceNames: ["example.com/*"],
    },
  ];
  await call("POST", `${rbac}/clusterroles`, { metadata: { name: "attester" }, rules });
  await call("POST", `${rbac}/clusterrolebindings`, {
    metadata: { name: "attester" },
    roleRef: { kind: "ClusterRole", name: "attester" },
    subjects: [{ kind: "User", name: "joe" }],
  });
  const joe = await as({ name: "joe", groups: [] });
  const other = bundle("example.org:one:a", one, "example.org/one");
  expect(refusal(await ask(joe, "POST", path, other))).toEqual([
    403,
    'clustertrustbundles.certificates.k8s.io "example.org:one:a" is forbidden: user not permitted to attest for signerName "example.org/one"',
  ]);
  objectOf(await ask(joe, "POST", path, bundle("example.com:one:a", one, "example.com/one")));
  objectOf(await ask(joe, "POST", path, bundle("of-nobody", one)));
  // The garbage collector's own fields ask for no right of the signer.
  objectOf(await call("POST", path, other));
  const merge = (body: object) =>
    ask(joe, "PATCH", `${path}/example.org:one:a`, body, { type: "application/merge-patch+json" });
  const kept = objectOf(await merge({ metadata: { finalizers: ["example.com/keep"] } }));
  expect(kept.metadata.finalizers).toEqual(["example.com/keep"]);
  expect(refusal(await merge({ metadata: { labels: { a: "b" } } }))[0]).toBe(403);
});
