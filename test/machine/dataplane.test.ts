/**
 * The nftables dataplane between real network namespaces: two "pods" behind veth pairs as the ptp plugin makes them, and what
 * each may reach through Services, node ports and host ports.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { linuxDataplane } from "#adapters/linux/dataplane.ts";
import type { Backend, DataplaneFact, ServiceFact } from "#ports/dataplane.ts";
import { describeWith } from "./requirements.ts";

const run = promisify(execFile);
const ip = (...args: string[]): string => execFileSync("ip", args, { encoding: "utf8" });
const id = `wt${process.pid}`;
const pods = [
  { name: `${id}a`, address: "10.251.7.11" },
  { name: `${id}b`, address: "10.251.7.12" },
] as const;
const [podA, podB] = pods;
const gateway = "10.251.7.1";
const vip = "10.252.7.10";

/** Answers with its own name and the address that it sees the client under. */
const serverProgram = `
  require("node:http").createServer((q, r) => r.end(process.argv[1] + " " + q.socket.remoteAddress))
    .listen(8080, "0.0.0.0", () => console.log("listening"));`;

function makePod(name: string, address: string): void {
  ip("netns", "add", name);
  ip("link", "add", `v${name}`, "type", "veth", "peer", "name", "eth0", "netns", name);
  ip("addr", "add", `${gateway}/32`, "dev", `v${name}`);
  ip("link", "set", `v${name}`, "up");
  ip("-n", name, "link", "set", "lo", "up");
  ip("-n", name, "addr", "add", `${address}/32`, "dev", "eth0");
  ip("-n", name, "link", "set", "eth0", "up");
  ip("-n", name, "route", "add", gateway, "dev", "eth0");
  ip("-n", name, "route", "add", "default", "via", gateway);
  ip("route", "add", address, "dev", `v${name}`);
}

async function startServer(name: string, label: string): Promise<ChildProcess> {
  const child = spawn("ip", ["netns", "exec", name, process.execPath, "-e", serverProgram, label], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await new Promise((resolve) => child.stdout?.once("data", resolve));
  return child;
}

/** What curl got: the body, or its exit code (7: refused, 28: no answer in time). */
async function ask(url: string, from?: string): Promise<string> {
  const curl = ["curl", "-s", "-m", "2", url];
  const [program = "", ...args] =
    from === undefined ? curl : ["ip", "netns", "exec", from, ...curl];
  try {
    return (await run(program, args)).stdout;
  } catch (error) {
    return `exit ${(error as { code?: number }).code}`;
  }
}

const backend = (pod: (typeof pods)[number], local = true): Backend => ({
  address: pod.address,
  port: 8080,
  local,
});
const service = (over: Partial<ServiceFact>): ServiceFact => ({
  type: "service",
  protocol: "TCP",
  port: 80,
  addresses: [vip],
  externalAddresses: [],
  balancerAddresses: [],
  backends: [],
  externalLocal: false,
  internalLocal: false,
  sourceRanges: [],
  ...over,
});

describeWith(["root", "nft"], "the nftables dataplane", () => {
  const stateDirectory = mkdtempSync(join(tmpdir(), "wherry-dp-"));
  const dataplane = linuxDataplane({
    table: `wherry-${id}`,
    stateDirectory,
    routeProtocol: 231,
    log: { write: () => {}, child: () => ({ write: () => {}, child: () => never() }) },
  });
  const never = (): never => {
    throw new Error("no child log is needed");
  };
  const servers: ChildProcess[] = [];
  const set = (facts: Record<string, DataplaneFact>): Promise<void> =>
    dataplane.replace(new Map(Object.entries(facts)));
  const repeat = async (count: number, url: string, from?: string): Promise<string[]> => {
    const answers: string[] = [];
    for (let i = 0; i < count; i++) answers.push(await ask(url, from));
    return answers;
  };

  beforeAll(async () => {
    for (const { name, address } of pods) makePod(name, address);
    servers.push(await startServer(podA.name, "a"), await startServer(podB.name, "b"));
    // A machine without a default route has no way towards the address of a Service.
    await set({ route: { type: "route", destination: "10.252.7.0/24", source: gateway } });
  });
  afterAll(async () => {
    await dataplane.remove();
    const ended = servers.map((child) => new Promise((resolve) => child.once("exit", resolve)));
    for (const child of servers) child.kill();
    await Promise.all(ended);
    for (const { name } of pods) ip("netns", "del", name);
    rmSync(stateDirectory, { recursive: true });
    expect(execFileSync("nft", ["list", "tables"], { encoding: "utf8" })).not.toContain(id);
    expect(ip("route", "show", "proto", "231")).toBe("");
  });

  test("a Service spreads over its backends, from the host, from a pod and from the backend itself", async () => {
    await set({
      route: { type: "route", destination: "10.252.7.0/24", source: gateway },
      web: service({ backends: [backend(podA), backend(podB)] }),
    });
    for (const from of [undefined, podA.name]) {
      const answers = await repeat(12, `http://${vip}/`, from);
      expect(new Set(answers.map((one) => one.slice(0, 1)))).toEqual(new Set(["a", "b"]));
    }
    const seen = await repeat(12, `http://${vip}/`, podA.name);
    expect(
      seen.filter((one) => one.startsWith("b")).every((one) => one.endsWith(podA.address)),
    ).toBe(true);
  });

  test("no backend: refused at once; one comes: served; it goes: refused again", async () => {
    await dataplane.apply(new Map([["web", service({})]]));
    expect(await ask(`http://${vip}/`)).toBe("exit 7");
    expect(await ask(`http://${vip}/`, podB.name)).toBe("exit 7");
    await dataplane.apply(new Map([["web", service({ backends: [backend(podB)] })]]));
    expect(await ask(`http://${vip}/`, podA.name)).toBe(`b ${podA.address}`);
    await dataplane.apply(new Map([["web", undefined]]));
    expect(await ask(`http://${vip}/`, podA.name)).not.toMatch(/^b/);
  });

  test("a node port answers on every address of the host, 127.0.0.1 too", async () => {
    await dataplane.apply(
      new Map([["web", service({ nodePort: 31_999, backends: [backend(podA)] })]]),
    );
    expect(await ask("http://127.0.0.1:31999/")).toMatch(/^a /);
    expect(await ask(`http://${gateway}:31999/`)).toMatch(/^a /);
    expect(await ask(`http://${gateway}:31999/`, podB.name)).toBe(`a ${gateway}`);
    await dataplane.apply(new Map([["web", service({ nodePort: 31_999 })]]));
    expect(await ask("http://127.0.0.1:31999/")).toBe("exit 7");
  });

  test("externalTrafficPolicy Local keeps the client's address and serves only from here", async () => {
    const local = (backends: Backend[]) =>
      service({ nodePort: 31_999, externalLocal: true, backends });
    await dataplane.apply(new Map([["web", local([backend(podA)])]]));
    expect(await ask(`http://${gateway}:31999/`, podB.name)).toBe(`a ${podB.address}`);
    await dataplane.apply(new Map([["web", local([backend(podA, false)])]]));
    expect(await ask(`http://${gateway}:31999/`, podB.name)).toBe("exit 28");
    expect(await ask(`http://${vip}/`, podB.name)).toMatch(/^a /);
  });

  test("session affinity: one client, one backend, also after another backend has gone", async () => {
    const both = [backend(podA), backend(podB)];
    await dataplane.apply(new Map([["web", service({ affinitySeconds: 600, backends: both })]]));
    const answers = new Set(await repeat(10, `http://${vip}/`, podA.name));
    expect(answers.size).toBe(1);
    const stays = [...answers][0]?.startsWith("a") ? podA : podB;
    await dataplane.apply(
      new Map([["web", service({ affinitySeconds: 600, backends: [backend(stays)] })]]),
    );
    expect(new Set(await repeat(3, `http://${vip}/`, podA.name))).toEqual(answers);
  });

  test("a host port reaches its pod; two facts may share a backend", async () => {
    const hostPort: DataplaneFact = {
      type: "hostPort",
      protocol: "TCP",
      hostAddress: "",
      hostPort: 31_998,
      backend: { address: podB.address, port: 8080 },
    };
    await dataplane.apply(
      new Map<string, DataplaneFact>([
        ["hp", hostPort],
        ["web", service({ backends: [backend(podB)] })],
      ]),
    );
    expect(await ask("http://127.0.0.1:31998/")).toMatch(/^b /);
    expect(await ask(`http://${gateway}:31998/`, podA.name)).toBe(`b ${podA.address}`);
    await dataplane.apply(new Map([["hp", undefined]]));
    expect(await ask("http://127.0.0.1:31998/")).toBe("exit 7");
    // The pod still reaches itself through the Service: the shared hairpin element stayed.
    expect(await ask(`http://${vip}/`, podB.name)).toMatch(/^b /);
  });

  test("pods leave with the host's address, but not towards what is excepted", async () => {
    await set({
      route: { type: "route", destination: "10.252.7.0/24", source: gateway },
      out: { type: "masquerade", source: "10.251.7.11/32", except: ["10.252.0.0/16"] },
    });
    expect(await ask(`http://${podB.address}:8080/`, podA.name)).toBe(`b ${gateway}`);
    await set({
      route: { type: "route", destination: "10.252.7.0/24", source: gateway },
      out: { type: "masquerade", source: "10.251.7.11/32", except: ["10.251.7.0/24"] },
    });
    expect(await ask(`http://${podB.address}:8080/`, podA.name)).toBe(`b ${podA.address}`);
  });

  test("someone deletes our table: we are told, and our own replacements are no disturbance", async () => {
    const disturbed = dataplane.disturbed();
    const facts = {
      route: { type: "route", destination: "10.252.7.0/24", source: gateway } as const,
      web: service({ backends: [backend(podA)] }),
    };
    await set(facts);
    const told = { seen: false };
    const noticed = disturbed.next().then(() => {
      told.seen = true;
    });
    // The monitor starts beside us: the deletion is repeated until it has noticed one.
    while (!told.seen) {
      await run("nft", ["delete", "table", "ip", `wherry-${id}`]).catch(() => undefined);
      await set(facts);
      await run("nft", ["list", "tables"]);
    }
    await noticed;
    await set(facts);
    expect(await ask(`http://${vip}/`)).toMatch(/^a /);
  });

  test("a thousand Services are one transaction", async () => {
    const facts = new Map<string, DataplaneFact>();
    for (let i = 0; i < 1000; i++) {
      const addresses = [`10.252.${8 + (i >> 8)}.${i & 255}`];
      facts.set(`many/${i}`, service({ addresses, backends: [backend(podA), backend(podB)] }));
    }
    await dataplane.replace(facts);
    const list = (await run("nft", ["list", "table", "ip", `wherry-${id}`], { maxBuffer: 1 << 26 }))
      .stdout;
    expect(list.match(/numgen random mod 2/g)?.length).toBe(1000);
    await dataplane.replace(new Map());
  });
});
