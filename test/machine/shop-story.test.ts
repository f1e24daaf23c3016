/**
 * The whole shop on three real nodes, behind its Ingress over TLS and under load: a container is killed, a version rolled out, a node
 * dies. No request is lost but those that were under way on what was killed.
 */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestCluster } from "./cluster.ts";
import { cgroupsOf, leftoversOf } from "./leftovers.ts";
import { fetchText, startLoad } from "./load.ts";
import { describeWith } from "./requirements.ts";

const host = "shop.example";
const perSecond = 30;

describeWith(["root", "containerd", "runc", "cni", "nft", "openssl"], "the whole shop", () => {
  const cluster = new TestCluster("shopstory", ["--nodes", "3"]);
  let port = 443;
  let ca = Buffer.alloc(0);
  const tls = () => ({ ca, servername: host, headers: { host } });
  const url = (): string => `https://127.0.0.1:${port}/version`;
  const textOf = (what: string, path: string): Promise<string> =>
    cluster.ok(...what.split(" "), "-o", `jsonpath=${path}`);

  const inWorker = (program: string): Promise<string> =>
    cluster.ok("exec", "deploy/worker", "--", "node", "-e", program);

  beforeAll(async () => {
    await cluster.start("--timeout", "120s");
    for (const name of ["api", "worker", "web", "ledger"]) {
      const words = ["image", "build", `examples/shop/${name}`, "-t", `shop-${name}:1`];
      const built = await cluster.wherry([...words, "--name", cluster.name]);
      expect(built.code, built.stderr).toBe(0);
    }
    const [key, cert] = ["key", "crt"].map((kind) => join(cluster.folder, `tls.${kind}`));
    const subject = ["-subj", `/CN=${host}`, "-addext", `subjectAltName=DNS:${host}`];
    const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    const files = ["-keyout", key ?? "", "-out", cert ?? ""];
    execFileSync("openssl", ["req", "-x509", ...kind, ...subject, ...files], { stdio: "ignore" });
    ca = readFileSync(cert ?? "");
    await cluster.ok("create", "secret", "tls", "shop-tls", `--key=${key}`, `--cert=${cert}`);
  }, 240_000);
  afterAll(() => cluster.purge(), 240_000);

  test("one command applies it, and everything becomes ready", async () => {
    await cluster.ok("apply", "-f", "examples/shop/", "-f", "examples/shop/whole/");
    for (const workload of ["deployment/api", "deployment/worker", "deployment/web"])
      await cluster.ok("rollout", "status", workload, "--timeout=120s");
    await cluster.ok("rollout", "status", "statefulset/ledger", "--timeout=120s");
    await cluster.ok("wait", "hpa/web", "--for=condition=ScalingActive", "--timeout=120s");
    expect(await cluster.ok("get", "pvc")).toMatch(/data-ledger-0\s+Bound[^\n]*\n[^\n]*-1\s+Bound/);
    const nodes = await textOf("get pods -l app=web", "{.items[*].spec.nodeName}");
    expect(new Set(nodes.split(" ")).size).toBe(3);
    await cluster.until("ingress/shop", ".status.loadBalancer.ingress[0].ip", /\d/);
    // Another program of this machine may have the usual ports.
    const ingress = JSON.parse(await cluster.ok("get", "ingress", "shop", "-o", "json")) as {
      status: { loadBalancer: { ingress: { ports?: { port: number; error?: string }[] }[] } };
    };
    const free = ingress.status.loadBalancer.ingress[0]?.ports?.filter((one) => !one.error);
    port = free?.[1]?.port ?? port;
    await expect
      .poll(() => fetchText(url(), tls()).catch(String), { timeout: 15_000 })
      .toMatch(/^1 web-/);
  }, 240_000);

  test("an order is written into the ledger, and the nightly report counts it", async () => {
    const order = `fetch("http://web/order", { method: "POST", redirect: "manual", body: new URLSearchParams({ item: "tea" }) })`;
    expect(await inWorker(`${order}.then(({ status }) => console.log(status))`)).toBe("303\n");
    const ledger = () => cluster.ok("exec", "ledger-0", "--", "cat", "/data/orders.jsonl");
    await expect.poll(() => ledger().catch(String), { timeout: 30_000 }).toContain('"item":"tea"');
    await cluster.ok("create", "job", "tonight", "--from=cronjob/nightly");
    await cluster.ok("wait", "job/tonight", "--for=condition=Complete", "--timeout=60s");
    expect(await cluster.ok("logs", "job/tonight")).toContain("1 x tea");
  }, 120_000);

  test("the walls hold: nobody else reaches the ledgers; the keeper may roll the front only", async () => {
    const asked = `fetch("http://ledger-0.ledger:8082/orders", { signal: AbortSignal.timeout(2000) })`;
    const said = `${asked}.then(() => console.log("reached"), ({ name }) => console.log(name))`;
    expect(await inWorker(said)).toBe("TimeoutError\n");
    const as = "--as=system:serviceaccount:default:keeper";
    const may = async (verb: string, what: string): Promise<string> =>
      (await cluster.kubectl(["auth", "can-i", verb, what, as])).stdout.trim();
    expect(await may("patch", "deployments.apps/web")).toBe("yes");
    expect(await may("patch", "deployments.apps/api")).toBe("no");
    expect(await may("get", "secrets")).toBe("no");
  }, 60_000);

  test("a container killed with -9 under load: only what was under way on it is lost", async () => {
    const load = startLoad(url(), perSecond, tls());
    const node = `${cluster.name}-node-2`;
    const on = `get pods -l app=web --field-selector spec.nodeName=${node}`;
    const pod = await textOf(on, "{.items[0].metadata.name}");
    const id = await textOf(on, "{.items[0].status.containerStatuses[0].containerID}");
    const underWay = load.underWay();
    process.kill(readPidOf(node, id.replace("containerd://", "")), "SIGKILL");
    await cluster.until(`pod/${pod}`, ".status.containerStatuses[0].restartCount", /^[1-9]/m);
    await cluster.ok("wait", `pod/${pod}`, "--for=condition=Ready", "--timeout=90s");
    const { failed, lost, sent } = await load.stop();
    expect(sent).toBeGreaterThan(perSecond);
    expect(
      lost.filter((request) => !underWay.has(request)),
      failed.join(", "),
    ).toEqual([]);
  }, 180_000);

  test("a new version rolled out under load loses no request", async () => {
    const load = startLoad(url(), perSecond, tls());
    await cluster.ok("set", "env", "deployment/web", "SHOP_VERSION=2");
    await cluster.ok("rollout", "status", "deployment/web", "--timeout=150s");
    const { failed, bodies } = await load.stop();
    expect(failed).toEqual([]);
    expect(new Set([...bodies.keys()].map((body) => body.split(" ")[0]))).toEqual(
      new Set(["1", "2"]),
    );
  }, 240_000);

  test("a node dies under load: only what was under way there is lost; the shop goes on", async () => {
    const node = `${cluster.name}-node-3`;
    const load = startLoad(url(), perSecond, tls());
    const before = load.underWay();
    const crashed = await cluster.wherry(["down", "--name", node, "--crash"]);
    expect(crashed.code, crashed.stderr).toBe(0);
    // When the power went is known no better: those, and what was sent until then.
    const sentUntilGone = load.sent();
    await cluster.ok("wait", "--for=condition=Ready=Unknown", `node/${node}`, "--timeout=120s");
    const elsewhere = (): Promise<string> =>
      textOf(
        "get pods -l app=web",
        `{range .items[?(@.spec.nodeName!="${node}")]}{.status.conditions[?(@.type=="Ready")].status}{" "}{end}`,
      );
    await expect.poll(elsewhere, { timeout: 120_000, interval: 500 }).toBe("True True True ");
    const { failed, lost } = await load.stop();
    const [first = 0] = before;
    expect(
      lost.filter((request) => request < first || request >= sentUntilGone),
      failed.join(", "),
    ).toEqual([]);
    expect(await fetchText(url(), tls())).toMatch(/^2 web-/);
  }, 360_000);

  test("after the purge nothing of it is left, the dead node's neither", async () => {
    const uids = await cluster.podUids();
    expect(cgroupsOf(...uids)).not.toEqual([]);
    await cluster.purge();
    expect(leftoversOf(cluster.name, uids)).toEqual([]);
  }, 240_000);
});

/** The first process of a container: containerd's runc keeps its number in the task's folder. */
function readPidOf(node: string, id: string): number {
  const state = `/run/wherry/${node}/state/io.containerd.runtime.v2.task/k8s.io`;
  return Number(readFileSync(`${state}/${id}/init.pid`, "utf8"));
}
