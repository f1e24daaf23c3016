/** The network on real containers: load balancers, session affinity, UDP, policies, and that all of it goes again. */
import { createSocket } from "node:dgram";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestCluster } from "./cluster.ts";
import { fetchText } from "./load.ts";
import { buildNetApp, netDeployment } from "./net-app.ts";
import { describeWith } from "./requirements.ts";

interface Said {
  readonly name: string;
  readonly from: string;
}

describeWith(["root", "containerd", "runc", "cni", "nft"], "the network", () => {
  const cluster = new TestCluster("network");
  const say = async (url: string): Promise<Said> => JSON.parse(await fetchText(url)) as Said;
  const podOf = async (app: string): Promise<string> =>
    cluster.ok("get", "pods", "-l", `app=${app}`, "-o", "jsonpath={.items[0].metadata.name}");
  /** From a pod: the name of who answers, or how it failed. */
  const fromPod = async (app: string, url: string): Promise<string> => {
    const pod = await podOf(app);
    const fetching = `fetch(${JSON.stringify(url)}, { signal: AbortSignal.timeout(1500) })`;
    const program = `${fetching}.then((r) => r.json()).then((a) => console.log(a.name), (e) => console.log(e.name === "TimeoutError" ? "silence" : e.cause?.code))`;
    return (await cluster.ok("exec", pod, "--", "node", "-e", program)).trim();
  };
  let address = "";

  beforeAll(async () => {
    await cluster.start();
    await buildNetApp(cluster);
    await cluster.apply(
      netDeployment("web", 2) + netDeployment("friend", 1) + netDeployment("stranger", 1),
    );
    for (const name of ["web", "friend", "stranger"]) {
      await cluster.ok("rollout", "status", `deployment/${name}`, "--timeout=60s");
    }
    const path = 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}';
    address = await cluster.ok("get", "nodes", "-o", path);
  }, 120_000);
  afterAll(() => cluster.purge(), 120_000);

  test("a LoadBalancer has an address at once, and answers there", async () => {
    await cluster.apply(`
apiVersion: v1
kind: Service
metadata: { name: balanced }
spec:
  type: LoadBalancer
  selector: { app: web }
  ports: [{ port: 18980, targetPort: http }]
`);
    const wanted = new RegExp(address.replaceAll(".", "\\."));
    await cluster.until("service/balanced", ".status.loadBalancer.ingress[0].ip", wanted);
    expect(await cluster.ok("get", "service", "balanced")).toContain(address);
    const names = new Set<string>();
    for (let i = 0; i < 20; i++) names.add((await say(`http://${address}:18980/`)).name);
    expect(names.size).toBe(2);
    expect(await fromPod("friend", `http://${address}:18980/`)).toMatch(/^web-/);
  });

  test("a port that something has is told, and stays what it was", async () => {
    await cluster.apply(`
apiVersion: v1
kind: Service
metadata: { name: second }
spec: { type: LoadBalancer, selector: { app: friend }, ports: [{ port: 18980, targetPort: http }] }
`);
    const said = /port 18980\/TCP is in use by Service default\/balanced/;
    const events = cluster.background("get", "events", "-w", "-o", 'jsonpath={.message}{"\\n"}');
    await events.prints(said);
    await events.stop("SIGKILL");
    expect(await cluster.ok("get", "service", "second")).toContain("<pending>");
    expect((await say(`http://${address}:18980/`)).name).toMatch(/^web-/);
    await cluster.ok("delete", "service", "second");
  });

  test("session affinity keeps a client with its pod", async () => {
    const affinity = { sessionAffinity: "ClientIP" };
    const patch = JSON.stringify({ spec: affinity });
    await cluster.ok("patch", "service", "balanced", "-p", patch);
    const ip = await cluster.ok("get", "service", "balanced", "-o", "jsonpath={.spec.clusterIP}");
    const names = async () => {
      const seen = new Set<string>();
      for (let i = 0; i < 12; i++) seen.add((await say(`http://${ip}:18980/`)).name);
      return seen.size;
    };
    await expect.poll(names, { timeout: 5000 }).toBe(1);
  });

  test("UDP: a socket that goes on asking finds the pod that replaced the one it had", async () => {
    await cluster.apply(`
apiVersion: v1
kind: Service
metadata: { name: asked }
spec: { selector: { app: friend }, ports: [{ port: 5353, protocol: UDP, targetPort: ask }] }
`);
    const ip = await cluster.ok("get", "service", "asked", "-o", "jsonpath={.spec.clusterIP}");
    let heard = "";
    const socket = createSocket("udp4", (bytes) => {
      heard = String(bytes);
    });
    const ask = async (): Promise<string> => {
      socket.send("?", 5353, ip);
      await new Promise((resolve) => setTimeout(resolve, 50));
      return heard;
    };
    const old = await podOf("friend");
    await expect.poll(ask, { timeout: 5000 }).toBe(old);
    await cluster.ok("delete", "pod", old);
    await cluster.ok("rollout", "status", "deployment/friend", "--timeout=60s");
    const next = await podOf("friend");
    await expect.poll(ask, { timeout: 10_000 }).toBe(next);
    socket.close();
  });

  test("a policy closes pods, and opens them for whom it names; the node may always probe", async () => {
    await cluster.ok("expose", "deployment", "web", "--port=80", "--target-port=http");
    const url = "http://web/";
    await expect.poll(() => fromPod("stranger", url), { timeout: 5000 }).toMatch(/^web-/);
    await cluster.apply(`
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web }
spec:
  podSelector: { matchLabels: { app: web } }
  ingress:
    - from: [{ podSelector: { matchLabels: { app: friend } } }]
      ports: [{ port: http }]
`);
    await expect.poll(() => fromPod("stranger", url), { timeout: 10_000 }).toBe("silence");
    expect(await fromPod("friend", url)).toMatch(/^web-/);
    // Probes come from the node: it stays ready.
    await cluster.ok("wait", "pod", "-l", "app=web", "--for=condition=Ready", "--timeout=5s");
    await cluster.apply(`
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: friend }
spec:
  podSelector: { matchLabels: { app: friend } }
  policyTypes: [Egress]
  egress:
    - to: [{ namespaceSelector: {}, podSelector: { matchLabels: { k8s-app: kube-dns } } }]
      ports: [{ port: 53, protocol: UDP }]
`);
    // The name is found, and nobody may be reached.
    await expect.poll(() => fromPod("friend", url), { timeout: 10_000 }).toBe("silence");
    await cluster.ok("delete", "networkpolicy", "web", "friend");
    await expect.poll(() => fromPod("stranger", url), { timeout: 10_000 }).toMatch(/^web-/);
    expect(await fromPod("friend", url)).toMatch(/^web-/);
  }, 60_000);
});
