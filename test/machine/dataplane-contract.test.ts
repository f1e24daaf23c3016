/**
 * The contract of the dataplane on nftables: two pods are network namespaces behind veth pairs, as the ptp plugin makes them. In each, and
 * on the machine itself, a small program serves and asks for us, told what to do by lines of JSON.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect } from "vitest";
import { linuxDataplane } from "#adapters/linux/dataplane.ts";
import { type DataplaneWorld, dataplaneContract, type Place } from "#ports/dataplane.contract.ts";
import type { Log } from "#ports/log.ts";
import { describeWith } from "./requirements.ts";

const id = `wc${process.pid}`;
const addresses = { a: "10.251.8.11", b: "10.251.8.12", host: "10.251.8.1" } as const;
const service = "10.252.8.10";
const routeProtocol = 232;
const ip = (...args: string[]): string => execFileSync("ip", args, { encoding: "utf8" });
const silent: Log = { write: () => {}, child: () => silent };

/** How long nothing must be heard for it to be silence. */
const silenceMs = 1000;
const agentProgram = `
const net = require("node:net"), dgram = require("node:dgram"), name = process.argv[1];
const kept = new Map();
const reply = (id, answer) => console.log(JSON.stringify({ id, answer }));
if (name !== "host") for (const port of [8080, 9090]) {
  net.createServer((c) => { c.on("data", () => c.write(name)); c.on("error", () => {}); c.on("end", () => c.end()); }).listen(port, "0.0.0.0");
  const s = dgram.createSocket("udp4", (_, from) => s.send(name, from.port, from.address)); s.bind(port);
}
const open = {
  TCP: (at) => new Promise((ok) => {
    const c = net.connect(at.port, at.address); let got;
    const late = setTimeout(() => { c.destroy(); ok("silence"); }, ${silenceMs});
    c.once("connect", () => { clearTimeout(late); ok({ say: (got_) => { got = got_; c.write("?"); }, end: () => c.destroy() }); });
    c.on("data", (d) => got?.(String(d)));
    c.on("error", (e) => { clearTimeout(late); ok(e.code === "ECONNREFUSED" ? "refused" : "silence"); });
  }),
  UDP: (at) => new Promise((ok) => {
    let got; const s = dgram.createSocket("udp4", (d) => got?.(String(d)));
    s.on("error", () => got?.("refused"));
    s.bind(0, () => ok({ say: (got_) => { got = got_; s.send("?", at.port, at.address); }, end: () => s.close() }));
  }),
};
require("node:readline").createInterface({ input: process.stdin }).on("line", async (line) => {
  const { id, what, talk, ...at } = JSON.parse(line);
  if (what === "open") { const one = await open[at.protocol](at); if (typeof one === "string") return reply(id, one); kept.set(id, one); return reply(id, "open"); }
  if (what === "end") { kept.get(talk)?.end(); kept.delete(talk); return; }
  let done = false; const say = (answer) => { if (!done) { done = true; clearTimeout(late); reply(id, answer); } };
  const late = setTimeout(() => say("silence"), ${silenceMs});
  kept.get(talk)?.say(say);
});
console.log("ready");`;

class Agent {
  readonly child: ChildProcess;
  readonly ready: Promise<unknown>;
  readonly #waiting = new Map<number, (answer: string) => void>();
  #last = 0;

  constructor(place: Place) {
    const own = ["-e", agentProgram, place];
    const inside = ["netns", "exec", `${id}${place}`, process.execPath, ...own];
    const stdio = ["pipe", "pipe", "inherit"] as const;
    this.child =
      place === "host"
        ? spawn(process.execPath, own, { stdio: [...stdio] })
        : spawn("ip", inside, { stdio: [...stdio] });
    const { stdout } = this.child;
    if (stdout === null) throw new Error("the program has no output");
    this.ready = new Promise((resolve) => stdout.once("data", resolve));
    createInterface({ input: stdout }).on("line", (line) => {
      if (!line.startsWith("{")) return;
      const { id: of, answer } = JSON.parse(line) as { id: number; answer: string };
      this.#waiting.get(of)?.(answer);
      this.#waiting.delete(of);
    });
  }
  tell(order: object): number {
    const number = ++this.#last;
    this.child.stdin?.write(`${JSON.stringify({ id: number, ...order })}\n`);
    return number;
  }
  async ask(order: object): Promise<{ readonly number: number; readonly answer: string }> {
    const number = this.tell(order);
    const answer = await new Promise<string>((resolve) => this.#waiting.set(number, resolve));
    return { number, answer };
  }
}

function makePod(place: "a" | "b"): void {
  const name = `${id}${place}`;
  ip("netns", "add", name);
  ip("link", "add", `v${name}`, "type", "veth", "peer", "name", "eth0", "netns", name);
  ip("addr", "add", `${addresses.host}/32`, "dev", `v${name}`);
  ip("link", "set", `v${name}`, "up");
  ip("-n", name, "link", "set", "lo", "up");
  ip("-n", name, "addr", "add", `${addresses[place]}/32`, "dev", "eth0");
  ip("-n", name, "link", "set", "eth0", "up");
  ip("-n", name, "route", "add", addresses.host, "dev", "eth0");
  ip("-n", name, "route", "add", "default", "via", addresses.host);
  ip("route", "add", addresses[place], "dev", `v${name}`);
}

describeWith(["root", "nft"], "the dataplane's contract", () => {
  const stateDirectory = mkdtempSync(join(tmpdir(), "wherry-dpc-"));
  const agents = new Map<Place, Agent>();
  const dataplane = linuxDataplane({
    table: `wherry-${id}`,
    stateDirectory,
    routeProtocol,
    log: silent,
  });
  const talk: DataplaneWorld["talk"] = async (from, protocol, address, port) => {
    const agent = agents.get(from);
    if (agent === undefined) throw new Error(`nobody is at ${from}`);
    const { number, answer } = await agent.ask({ what: "open", protocol, address, port });
    if (answer !== "open") return { say: async () => answer, end: () => {} };
    return {
      say: async () => (await agent.ask({ what: "say", talk: number })).answer,
      end: () => void agent.tell({ what: "end", talk: number }),
    };
  };
  const world: DataplaneWorld = {
    dataplane,
    addresses,
    service,
    fixed: { route: { type: "route", destination: "10.252.8.0/24", source: addresses.host } },
    talk,
    ask: async (...to) => {
      const kept = await talk(...to);
      const answer = await kept.say();
      kept.end();
      return answer;
    },
  };
  beforeAll(async () => {
    for (const place of ["a", "b"] as const) makePod(place);
    for (const place of ["a", "b", "host"] as const) agents.set(place, new Agent(place));
    await Promise.all([...agents.values()].map((agent) => agent.ready));
  });
  afterAll(async () => {
    await dataplane.remove();
    const ended = [...agents.values()].map(
      ({ child }) => new Promise((resolve) => child.once("exit", resolve)),
    );
    for (const { child } of agents.values()) child.kill();
    await Promise.all(ended);
    for (const place of ["a", "b"]) ip("netns", "del", `${id}${place}`);
    rmSync(stateDirectory, { recursive: true });
    expect(execFileSync("nft", ["list", "tables"], { encoding: "utf8" })).not.toContain(id);
  });
  dataplaneContract("nftables", () => world);
});
