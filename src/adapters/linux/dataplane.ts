/**
 * The dataplane on Linux: Services, host ports and masquerading by nftables (one table of the cluster's own, changed element by
 * element in atomic transactions), routes by iproute2. Rule sets go to nft as a file: it cannot read the sockets that Node uses as pipes.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Dataplane, DataplaneFact, RouteFact, TunnelFact } from "#ports/dataplane.ts";
import type { Log } from "#ports/log.ts";
import type { Source } from "#ports/stream.ts";
import type { Rendered } from "./nft-parts.ts";
import { renderGate, renderPolicy } from "./nft-policy.ts";
import {
  renderHostPort,
  renderMasquerade,
  renderService,
  renderTunnel,
  tableFrame,
} from "./nft-rules.ts";
import { isBehindRouter, Overlay } from "./overlay.ts";
import { conntrackDeletions, type StaleFlows, staleFlows } from "./udp-flows.ts";

const run = promisify(execFile);
const outputBytesMax = 16 << 20;

export interface DataplaneOptions {
  /** Name of the nftables table: letters, digits, dashes. */
  readonly table: string;
  /** A folder of our own for rule files; made if it is not there. */
  readonly stateDirectory: string;
  /** Routes carry this protocol number, by which ours are known. */
  readonly routeProtocol: number;
  readonly log: Log;
}

export function linuxDataplane(options: DataplaneOptions): Dataplane {
  return new NftDataplane(options);
}

const sameFact = (a: DataplaneFact | undefined, b: DataplaneFact | undefined): boolean =>
  JSON.stringify(a) === JSON.stringify(b);

class NftDataplane implements Dataplane {
  readonly #options: DataplaneOptions;
  readonly #facts = new Map<string, DataplaneFact>();
  readonly #rendered = new Map<string, Rendered>();
  /** Element → the facts that want it; the first one's value is in the kernel. */
  readonly #wanted = new Map<string, Map<string, string>>();
  readonly #overlay: Overlay;
  /** Destinations that are reached by it, and the nodes behind which they are. */
  readonly #tunnelled = new Map<string, string>();
  #files = 0;
  #last: Promise<void> = Promise.resolve();
  #monitor: TableMonitor | undefined;

  constructor(options: DataplaneOptions) {
    this.#options = options;
    this.#overlay = new Overlay(`whx${options.routeProtocol}`);
  }

  apply(changes: ReadonlyMap<string, DataplaneFact | undefined>): Promise<void> {
    return this.#inTurn(() => this.#apply(changes));
  }
  replace(facts: ReadonlyMap<string, DataplaneFact>): Promise<void> {
    return this.#inTurn(() => this.#replace(facts));
  }
  remove(): Promise<void> {
    return this.#inTurn(async () => {
      this.#monitor?.stop();
      await this.#replaceRoutes([], undefined);
      await this.#overlay.remove();
      const { table } = this.#options;
      await this.#nft(`table ip ${table}\ndelete table ip ${table}\n`);
      this.#forget();
    });
  }
  disturbed(): Source<string> {
    this.#monitor ??= new TableMonitor(this.#options.table, this.#options.log);
    return this.#monitor;
  }

  /** One change at a time, in order. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }
  #forget(): void {
    this.#facts.clear();
    this.#rendered.clear();
    this.#wanted.clear();
    this.#tunnelled.clear();
  }

  async #replace(facts: ReadonlyMap<string, DataplaneFact>): Promise<void> {
    await allowForwarding();
    this.#forget();
    await this.#replaceRoutes(routesOf(facts), tunnelOf(facts));
    const frame = tableFrame(this.#options.table);
    this.#monitor?.expectOwnReplacement();
    const commit = this.#change(facts);
    await this.#nft(frame + commit.text);
    commit.done();
  }

  async #apply(changes: ReadonlyMap<string, DataplaneFact | undefined>): Promise<void> {
    const real = new Map(
      [...changes].filter(([key, fact]) => !sameFact(this.#facts.get(key), fact)),
    );
    const next = new Map(this.#facts);
    for (const [key, fact] of real) {
      if (fact === undefined) next.delete(key);
      else next.set(key, fact);
    }
    const tunnel = tunnelOf(next);
    if (!sameFact(tunnelOf(this.#facts), tunnel)) {
      await this.#replaceRoutes(routesOf(next), tunnel);
    } else {
      for (const [key, fact] of real) {
        const before = this.#facts.get(key);
        if (before?.type === "route" && fact === undefined) await this.#removeRoute(before);
        if (fact?.type === "route") await this.#putRoute(fact, tunnel);
      }
    }
    const stale = staleFlows(this.#facts, real);
    const commit = this.#change(real);
    if (commit.text !== "") await this.#nft(commit.text);
    commit.done();
    for (const flows of stale) await this.#forgetFlows(flows);
  }

  /** The transaction's text; `done` takes the new state over once the kernel has it. */
  #change(changes: ReadonlyMap<string, DataplaneFact | undefined>): {
    text: string;
    done: () => void;
  } {
    const table = `ip ${this.#options.table}`;
    const removedElements: string[] = [];
    const flushedChains: string[] = [];
    const removedChains: string[] = [];
    const removedSets: string[] = [];
    const addedSets: string[] = [];
    const addedChains: string[] = [];
    const rules: string[] = [];
    const addedElements: string[] = [];
    /** The elements that this change touches, as they will be wanted. */
    const wanted = new Map<string, Map<string, string>>();
    const wantersOf = (name: string): Map<string, string> => {
      const known = wanted.get(name) ?? new Map(this.#wanted.get(name));
      wanted.set(name, known);
      return known;
    };
    const next = new Map<string, Rendered>();
    for (const [key, fact] of changes) {
      const before = this.#rendered.get(key);
      const now = fact === undefined ? undefined : render(key, fact, this.#overlay.device);
      if (now !== undefined) next.set(key, now);
      for (const name of before?.elements.keys() ?? []) wantersOf(name).delete(key);
      for (const [name, value] of now?.elements ?? []) wantersOf(name).set(key, value);
      for (const [chain, lines] of before?.chains ?? []) {
        const still = now?.chains.get(chain);
        if (still === undefined) flushedChains.push(`flush chain ${table} ${chain}`);
        else if (still.join("\n") !== lines.join("\n")) rules.push(`flush chain ${table} ${chain}`);
      }
      for (const chain of [...(before?.chains.keys() ?? [])].toReversed()) {
        if (now?.chains.has(chain) !== true) removedChains.push(`delete chain ${table} ${chain}`);
      }
      for (const set of before?.sets.keys() ?? []) {
        if (now?.sets.has(set) !== true) removedSets.push(`delete set ${table} ${set}`);
      }
      for (const [set, definition] of now?.sets ?? []) {
        if (before?.sets.get(set) !== definition)
          addedSets.push(`add set ${table} ${set} ${definition}`);
      }
      for (const [chain, lines] of now?.chains ?? []) {
        const old = before?.chains.get(chain);
        if (old?.join("\n") === lines.join("\n")) continue;
        if (old === undefined) {
          addedChains.push(`add chain ${table} ${chain} ${now?.hooks.get(chain) ?? ""}`);
        }
        for (const line of lines) rules.push(`add rule ${table} ${chain} ${line}`);
      }
    }
    for (const [name, by] of wanted) {
      const [before] = this.#wanted.get(name)?.values() ?? [];
      const [now] = by.values();
      if (before === now) continue;
      const [map = "", ...keyParts] = name.split(" ");
      const key = keyParts.join(" ");
      if (before !== undefined) removedElements.push(`delete element ${table} ${map} { ${key} }`);
      if (now !== undefined) {
        const value = now === "" ? key : `${key} : ${now}`;
        addedElements.push(`add element ${table} ${map} { ${value} }`);
      }
    }
    const order = [
      ...removedElements,
      ...addedSets,
      ...addedChains,
      ...rules,
      ...addedElements,
      // Emptied first: what one of them jumps to may be another.
      ...flushedChains,
      ...removedChains,
      ...removedSets,
    ];
    return {
      text: order.map((line) => `${line}\n`).join(""),
      done: () => {
        for (const [key, fact] of changes) {
          const now = next.get(key);
          if (fact === undefined) this.#facts.delete(key);
          else this.#facts.set(key, fact);
          if (now === undefined) this.#rendered.delete(key);
          else this.#rendered.set(key, now);
        }
        for (const [name, by] of wanted) {
          if (by.size === 0) this.#wanted.delete(name);
          else this.#wanted.set(name, by);
        }
      },
    };
  }

  async #nft(text: string): Promise<void> {
    await mkdir(this.#options.stateDirectory, { recursive: true });
    const file = join(this.#options.stateDirectory, `rules-${process.pid}-${this.#files++}.nft`);
    await writeFile(file, text);
    try {
      await run("nft", ["-f", file], { maxBuffer: outputBytesMax });
    } catch (error) {
      throw new Error(`nft refused the rules: ${messageOf(error)}`, { cause: error });
    } finally {
      await rm(file, { force: true });
    }
  }

  /** By the network that both are on; by the tunnel where a router is between. Without a tunnel that waits for one. */
  async #putRoute(fact: RouteFact, tunnel: TunnelFact | undefined): Promise<void> {
    const { destination, gateway, source } = fact;
    try {
      const far =
        gateway !== undefined && !gateway.includes(":") && (await isBehindRouter(gateway));
      const near = gateway === undefined ? ["dev", "lo"] : ["via", gateway];
      const before = this.#tunnelled.get(destination);
      this.#tunnelled.delete(destination);
      if (before !== undefined && (!far || before !== gateway)) await this.#forgetNode(before);
      if (far) {
        if (tunnel === undefined) return;
        await this.#overlay.open(tunnel);
        await this.#overlay.reach(gateway);
        this.#tunnelled.set(destination, gateway);
        near.push("dev", this.#overlay.device, "onlink");
      }
      const from = source === undefined ? [] : ["src", source];
      await run("ip", ["route", "replace", destination, ...near, ...this.#protocol, ...from]);
    } catch (error) {
      throw new Error(`the route to ${destination} was refused: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }
  async #removeRoute({ destination }: RouteFact): Promise<void> {
    // It went with its device, if that is gone.
    await run("ip", ["route", "del", destination, ...this.#protocol]).catch(() => undefined);
    const node = this.#tunnelled.get(destination);
    this.#tunnelled.delete(destination);
    if (node !== undefined) await this.#forgetNode(node);
  }
  async #forgetNode(node: string): Promise<void> {
    if (![...this.#tunnelled.values()].includes(node)) await this.#overlay.forget(node);
  }
  get #protocol(): readonly string[] {
    return ["proto", String(this.#options.routeProtocol)];
  }
  async #replaceRoutes(
    routes: readonly RouteFact[],
    tunnel: TunnelFact | undefined,
  ): Promise<void> {
    const { stdout } = await run("ip", ["-j", "route", "show", ...this.#protocol]);
    const there = JSON.parse(stdout === "" ? "[]" : stdout) as { dst: string }[];
    const wanted = new Set(routes.map(({ destination }) => destination));
    for (const { dst } of there) {
      if (!wanted.has(dst)) await run("ip", ["route", "del", dst, ...this.#protocol]);
    }
    for (const route of routes) await this.#putRoute(route, tunnel);
    await this.#overlay.keepOnly(new Set(this.#tunnelled.values()));
  }

  /** The kernel remembers UDP flows for minutes: those to backends that are gone must be forgotten. */
  async #forgetFlows(flows: StaleFlows): Promise<void> {
    for (const asked of conntrackDeletions(flows)) {
      await run("conntrack", ["-D", "-p", "udp", ...asked]).catch((error: unknown) => {
        // It exits with 1 when there was nothing to forget.
        if (messageOf(error).includes("0 flow entries")) return;
        this.#options.log.write("warn", "old UDP flows could not be forgotten", {
          error: messageOf(error),
        });
      });
    }
  }
}

const routesOf = (facts: ReadonlyMap<string, DataplaneFact>): RouteFact[] =>
  [...facts.values()].filter((fact) => fact.type === "route");
const tunnelOf = (facts: ReadonlyMap<string, DataplaneFact>): TunnelFact | undefined =>
  [...facts.values()].find((fact) => fact.type === "tunnel");

/** Routes are not nftables' business. */
function render(key: string, fact: DataplaneFact, device: string): Rendered | undefined {
  switch (fact.type) {
    case "service":
      return renderService(key, fact);
    case "hostPort":
      return renderHostPort(key, fact);
    case "masquerade":
      return renderMasquerade(key, fact);
    case "tunnel":
      return renderTunnel(key, fact, device);
    case "gate":
      return renderGate(key, fact);
    case "policy":
      return renderPolicy(key, fact);
    default:
      return undefined;
  }
}

const messageOf = (error: unknown): string => {
  const { stderr } = error as { stderr?: string };
  return stderr?.trim() || (error instanceof Error ? error.message : String(error));
};

/** Packets between pods are forwarded, and 127.0.0.1:nodePort may leave this machine towards a pod. */
async function allowForwarding(): Promise<void> {
  for (const name of ["ip_forward", "conf/all/route_localnet"]) {
    const file = `/proc/sys/net/ipv4/${name}`;
    if ((await readFile(file, "utf8")).trim() !== "1") await writeFile(file, "1");
  }
}

/**
 * nft, for as long as we hold the shell's standard input open: one that outlived us would hear of no table for ever, and keep the
 * network namespace alive that it was started in.
 */
const monitorScript = `
exec 3<&0
nft monitor destroy tables </dev/null 3<&- & nft=$!
{ read -r _ <&3; kill $nft; } >/dev/null 2>&1 &
wait $nft`;

/** Watches the kernel's notices for our table being deleted by someone else (nft flush ruleset, a firewall's restart). */
class TableMonitor implements Source<string> {
  readonly #child: ChildProcess;
  readonly #seen: string[] = [];
  #wake: (() => void) | undefined;
  #ended = false;
  #own = 0;

  constructor(table: string, log: Log) {
    this.#child = spawn("/bin/sh", ["-c", monitorScript], { stdio: ["pipe", "pipe", "ignore"] });
    this.#child.stdin?.on("error", () => undefined);
    let rest = "";
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (line.trim() !== `delete table ip ${table}`) continue;
        if (this.#own > 0) this.#own--;
        else this.#tell(line.trim());
      }
    });
    this.#child.on("error", (error) => {
      log.write("warn", "nft monitor does not run; a flushed rule set will go unnoticed", {
        error: error.message,
      });
      this.#end();
    });
    this.#child.on("exit", () => this.stop());
  }
  /** Writing the whole table anew deletes it first. */
  expectOwnReplacement(): void {
    this.#own++;
  }
  async next(): Promise<readonly string[] | undefined> {
    if (this.#seen.length === 0 && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#seen.length > 0 ? this.#seen.splice(0) : undefined;
  }
  stop(): void {
    this.#child.stdin?.end();
    this.#end();
  }
  #tell(line: string): void {
    if (this.#seen.length < 16) this.#seen.push(line);
    this.#wake?.();
  }
  #end(): void {
    this.#ended = true;
    this.#wake?.();
  }
}
