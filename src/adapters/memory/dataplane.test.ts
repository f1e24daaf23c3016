import { expect, test } from "vitest";
import type { DataplaneFact, ServiceFact } from "#ports/dataplane.ts";
import type { Bytes } from "#ports/stream.ts";
import { SteppedClock } from "./clock.ts";
import { MemoryDataplane } from "./dataplane.ts";
import { memoryLog } from "./log.ts";
import { MemoryNetwork } from "./network.ts";
import { seededRandom } from "./random.ts";

const near = { address: "10.0.1.2", port: 8080, local: true };
const far = { address: "10.0.2.2", port: 8080, local: false };
const service = (more: Partial<ServiceFact> = {}): ServiceFact => ({
  type: "service",
  protocol: "TCP",
  port: 80,
  addresses: ["10.96.0.5"],
  externalAddresses: [],
  balancerAddresses: ["203.0.113.7"],
  nodePort: 30080,
  backends: [near, far],
  externalLocal: false,
  internalLocal: false,
  sourceRanges: [],
  ...more,
});
async function dataplane(facts: Readonly<Record<string, DataplaneFact>>) {
  const clock = new SteppedClock({ startMs: 0 });
  const made = new MemoryDataplane({ clock, random: seededRandom(1), addresses: ["192.0.2.1"] });
  await made.replace(new Map(Object.entries(facts)));
  const many = (address: string, port: number, from = "10.0.1.9"): string[] => {
    const seen = Array.from({ length: 50 }, () => {
      const to = made.translate("TCP", address, port, from);
      return typeof to === "object" ? `${to.address}:${to.port}` : String(to);
    });
    return [...new Set(seen)].toSorted();
  };
  return { clock, made, many };
}
const both = ["10.0.1.2:8080", "10.0.2.2:8080"];

test("cluster IPs, external addresses and node ports lead to every backend", async () => {
  const { made, many } = await dataplane({ a: service() });
  expect(many("10.96.0.5", 80)).toEqual(both);
  expect(many("203.0.113.7", 80)).toEqual(both);
  expect(many("192.0.2.1", 30080)).toEqual(both);
  expect(many("127.0.0.1", 30080)).toEqual(both);
  expect(many("192.0.2.2", 30080)).toEqual(["undefined"]);
  expect(many("10.96.0.5", 81)).toEqual(["undefined"]);
  expect(made.translate("UDP", "10.96.0.5", 80, "10.0.1.9")).toBeUndefined();
});

test("without backends it refuses; with none that may be used it drops", async () => {
  const none = await dataplane({ a: service({ backends: [] }) });
  expect(none.many("10.96.0.5", 80)).toEqual(["refused"]);
  expect(none.many("192.0.2.1", 30080)).toEqual(["refused"]);
  const outer = await dataplane({ a: service({ externalLocal: true }) });
  expect(outer.many("192.0.2.1", 30080)).toEqual(["10.0.1.2:8080"]);
  expect(outer.many("10.96.0.5", 80)).toEqual(both);
  const inner = await dataplane({ a: service({ internalLocal: true, backends: [far] }) });
  expect(inner.many("10.96.0.5", 80)).toEqual(["dropped"]);
  expect(inner.many("192.0.2.1", 30080)).toEqual(["10.0.2.2:8080"]);
  const ranges = await dataplane({ a: service({ sourceRanges: ["198.51.100.0/24"] }) });
  expect(ranges.many("203.0.113.7", 80, "198.51.100.9")).toEqual(both);
  expect(ranges.many("203.0.113.7", 80, "203.0.113.9")).toEqual(["dropped"]);
});

test("a client with affinity keeps its backend until it has been away, or the backend is gone", async () => {
  const { made, many, clock } = await dataplane({ a: service({ affinitySeconds: 60 }) });
  const first = many("10.96.0.5", 80, "10.0.1.9");
  expect(first.length).toBe(1);
  const clients = () =>
    Array.from({ length: 40 }, (_, i) => many("10.96.0.5", 80, `10.0.3.${i}`)[0]);
  const before = clients();
  expect(new Set(before).size).toBe(2);
  await clock.advance(59_000);
  expect(many("10.96.0.5", 80, "10.0.1.9")).toEqual(first);
  expect(clients()).toEqual(before);
  await clock.advance(61_000);
  expect(clients()).not.toEqual(before);
  const other = many("10.96.0.5", 80, "10.0.1.9")[0] === both[0] ? far : near;
  await made.apply(new Map([["a", service({ affinitySeconds: 60, backends: [other] })]]));
  expect(many("10.96.0.5", 80, "10.0.1.9")).toEqual([`${other.address}:8080`]);
});

test("host ports are on the addresses that they name", async () => {
  const backend = { address: "10.0.1.2", port: 53 };
  const fact = (hostAddress: string, hostPort: number): DataplaneFact => ({
    type: "hostPort",
    protocol: "TCP",
    hostAddress,
    hostPort,
    backend,
  });
  const { made, many } = await dataplane({ a: fact("", 5300), b: fact("127.0.0.1", 5301) });
  expect(many("192.0.2.1", 5300)).toEqual(["10.0.1.2:53"]);
  expect(many("127.0.0.1", 5301)).toEqual(["10.0.1.2:53"]);
  expect(many("192.0.2.1", 5301)).toEqual(["undefined"]);
  await made.apply(new Map([["a", undefined]]));
  expect(many("192.0.2.1", 5300)).toEqual(["undefined"]);
});

test("who flushes it disturbs whoever keeps it", async () => {
  const { made, many } = await dataplane({ a: service() });
  const notices = made.disturbed();
  const told = notices.next();
  made.flush();
  expect(await told).toEqual(["the facts were flushed"]);
  expect(many("10.96.0.5", 80)).toEqual(["undefined"]);
  notices.stop();
  expect(await notices.next()).toBeUndefined();
});

/** Two machines, a pod on each, a client outside. */
async function hub() {
  const clock = new SteppedClock({ startMs: 0 });
  const network = new MemoryNetwork({ clock, log: memoryLog() });
  const facts = new Map<string, DataplaneFact>();
  const machines = ["192.0.2.1", "192.0.2.2"].map((address) => {
    const random = seededRandom(address);
    const plane = new MemoryDataplane({ clock, random, addresses: [address] });
    network.host(address);
    network.translate(address, (...packet) => plane.translate(...packet));
    return plane;
  });
  const tell = async (key: string, fact: DataplaneFact): Promise<void> => {
    facts.set(key, fact);
    for (const plane of machines) await plane.replace(facts);
  };
  const near1 = network.pod("10.0.1.2", "192.0.2.1");
  const far2 = network.pod("10.0.2.2", "192.0.2.2");
  return { clock, network, tell, pods: [near1, far2] as const };
}

test("connections go to the backends, from pods, from machines and from outside", async () => {
  const { network, tell, pods, clock } = await hub();
  const got: string[] = [];
  for (const [i, pod] of pods.entries()) {
    const at = { host: i === 0 ? "10.0.1.2" : "10.0.2.2", port: 8080 };
    await pod.listen(at, {}, (connection, from) => {
      if ("host" in from) got.push(`${i} from ${from.host}`);
      connection.end();
    });
  }
  await tell("a", service({ backends: [far] }));
  const connect = async (from: string, host: string, port: number): Promise<unknown> =>
    (await network.host(from).connect({ host, port })).read();
  await (await pods[0].connect({ host: "10.96.0.5", port: 80 })).read();
  await connect("192.0.2.1", "127.0.0.1", 30080);
  await connect("192.0.2.99", "192.0.2.1", 30080);
  expect(got).toEqual(["1 from 10.0.1.2", "1 from 192.0.2.1", "1 from 192.0.2.99"]);
  // A pod's 127.0.0.1 is its own, and outside the cluster nobody translates cluster IPs.
  await expect(pods[0].connect({ host: "127.0.0.1", port: 30080 })).rejects.toThrow("ECONNREFUSED");
  await expect(connect("192.0.2.99", "10.96.0.5", 80)).rejects.toThrow("EHOSTUNREACH");

  await tell("a", service({ backends: [] }));
  await expect(connect("192.0.2.1", "10.96.0.5", 80)).rejects.toThrow("ECONNREFUSED");
  await tell("a", service({ backends: [far], internalLocal: true }));
  const dropped = expect(connect("192.0.2.1", "10.96.0.5", 80)).rejects.toThrow("ETIMEDOUT");
  await clock.advance(60_000);
  await dropped;
});

test("pods share their machine's links, and go with it", async () => {
  const { network, pods, clock } = await hub();
  const server = { host: "10.0.2.2", port: 8080 };
  await pods[1].listen(server, {}, () => {});
  const open = await pods[0].connect(server);
  network.cut("192.0.2.1", "192.0.2.2");
  const waiting = pods[0].connect(server, { timeoutMs: 1000 });
  const late = expect(waiting).rejects.toThrow("ETIMEDOUT");
  await clock.advance(2000);
  await late;
  network.heal("192.0.2.1", "192.0.2.2");
  const again = await pods[0].connect(server);
  network.remove("192.0.2.2");
  await expect(open.read()).rejects.toThrow("ECONNRESET");
  await expect(again.read()).rejects.toThrow("ECONNRESET");
  await expect(pods[0].connect(server)).rejects.toThrow("EHOSTUNREACH");
  await expect(pods[1].connect({ host: "10.0.1.2", port: 1 })).rejects.toThrow("EHOSTUNREACH");
});

test("datagrams go to a backend, and its answer comes from the Service", async () => {
  const { tell, pods, clock } = await hub();
  await tell("dns", service({ protocol: "UDP", port: 53, backends: [far] }));
  const server = await pods[1].udp({ host: "10.0.2.2", port: 8080 }, (bytes, from) => {
    server.send(bytes, from);
  });
  const answers: { readonly bytes: Bytes; readonly from: unknown }[] = [];
  const socket = await pods[0].udp({ host: "0.0.0.0", port: 0 }, (bytes, from) => {
    answers.push({ bytes, from });
  });
  socket.send(Uint8Array.of(7), { host: "10.96.0.5", port: 53 });
  await clock.settle();
  expect(answers).toEqual([{ bytes: Uint8Array.of(7), from: { host: "10.96.0.5", port: 53 } }]);
});
