/** Stories of trust bundles on simulated machines: published, shown in pods, kept up to date. */
import { afterEach, expect, test } from "vitest";
import { memoryCrypto } from "#adapters/memory/crypto.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import { ClusterTrustBundle } from "#api/certificates/v1/clustertrustbundle.ts";
import { ConfigMap } from "#api/core/v1/configmap.ts";
import { Event } from "#api/core/v1/event.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { fileShowing } from "./file-showing.ts";
import { createWorld, isReady, type World } from "./world.ts";

let world: World | undefined;
afterEach(async () => {
  const ended = world;
  world = undefined;
  await ended?.stop();
  expect(ended?.clock.waiting ?? 0).toBe(0);
});

const namespace = "default";
const crypto = memoryCrypto(seededRandom("bundles"));

async function authority(user: string): Promise<string> {
  const { privateKey, publicKey } = await crypto.generateKey("ES256");
  const facts = { user, groups: [], names: [], uses: ["ca"] as const, fromMs: 0, toMs: 4e12 };
  return crypto.issue(facts, publicKey, { privateKey });
}

const { program: showing, read } = fileShowing("/ca/all.pem");
const pod = (name: string, source: string): string => `
apiVersion: v1
kind: Pod
metadata: { name: ${name} }
spec:
  terminationGracePeriodSeconds: 0
  volumes:
    - { name: ca, projected: { sources: [{ clusterTrustBundle: { path: all.pem, ${source} } }] } }
  containers:
    - { name: show, image: show:1, volumeMounts: [{ name: ca, mountPath: /ca }] }
`;
const bundle = (name: string, trustBundle: string, labels: Record<string, string> = {}) => ({
  metadata: { name: `example.com:one:${name}`, labels },
  spec: { signerName: "example.com/one", trustBundle },
});

test("a pod shows the authorities of all bundles that its labels choose, and sees them change", async () => {
  const on = await createWorld({ seed: 3, nodes: 1, transport: "direct", programs: [showing] });
  world = on;
  const [a, b, c] = [await authority("a"), await authority("b"), await authority("c")];
  const source = "signerName: example.com/one, labelSelector: { matchLabels: { use: web } }";
  await on.apply(pod("one", source));
  const missing = "combination of signerName and labelSelector matched zero ClusterTrustBundles";
  await on.until(async () => {
    const { items } = await on.client.list(Event, { namespace });
    return items.some((event) => event.message?.includes(missing));
  }, 60_000);
  await on.client.create(ClusterTrustBundle, bundle("a", `${a}${b}`, { use: "web" }));
  await on.client.create(ClusterTrustBundle, bundle("other", c));
  const ready = async () => isReady(await on.client.get(Pod, { namespace, name: "one" }));
  await on.until(ready, 300_000);
  expect(await read()).toBe([a, b].toSorted().join(""));
  await on.client.create(ClusterTrustBundle, bundle("b", `${b}${c}`, { use: "web" }));
  await on.until(async () => (await read()) === [a, b, c].toSorted().join(""), 120_000);
});

test("an optional bundle that is not there is an empty file; the cluster's own is published", async () => {
  const on = await createWorld({ seed: 4, nodes: 1, transport: "direct", programs: [showing] });
  world = on;
  await on.apply(pod("none", "name: nobody, optional: true"));
  await on.until(
    async () => isReady(await on.client.get(Pod, { namespace, name: "none" })),
    60_000,
  );
  expect(await read()).toBe("");
  const { items } = await on.client.list(ClusterTrustBundle, {});
  const root = await on.client.get(ConfigMap, { namespace, name: "kube-root-ca.crt" });
  expect(items.map(({ spec }) => spec)).toEqual([
    {
      signerName: "kubernetes.io/kube-apiserver-serving",
      trustBundle: root.data?.["ca.crt"],
    },
  ]);
});
