/**
 * The dataplane on Linux: Services, host ports and masquerading by nftables (one table of the cluster's own, changed element by
 * element in atomic transactions), routes by iproute2. Rule sets go to nft as a file: it cannot read the sockets that Node uses as pipes.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Dataplane, DataplaneFact, RouteFact } from "#ports/dataplane.ts";
import type { Log } from "#ports/log.ts";
import type { Source } from "#ports/stream.ts";
import type { Rendered } from "./nft-parts.ts";
import { renderGate, renderPolicy } from "./nft-policy.ts";
import { renderHostPort, renderMasquerade, renderService, tableFrame } from "./nft-rules.ts";
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
  #files = 0;
  #last: Promise<void> = Promise.resolve();
  #monitor: TableMonitor | undefined;

  constructor(options: DataplaneOptions) {
    this.#options = options;
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
      await this.#replaceRoutes([]);
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
  }

  async #replace(facts: ReadonlyMap<string, DataplaneFact>): Promise<void> {
    await allowForwarding();
    this.#forget();
    const routes = [...facts.values()].filter((fact) => fact.type === "route");
    await this.#replaceRoutes(routes);
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
    for (const [key, fact] of real) {
      const before = this.#facts.get(key);
      if (before?.type === "route" && fact === undefined) await this.#route("del", before);
      if (fact?.type === "route") await this.#route("replace", fact);
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
      const now = fact === undefined ? undefined : render(key, fact);
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

  async #route(action: "replace" | "del", fact: RouteFact): Promise<void> {
    const via = fact.gateway === undefined ? ["dev", "lo"] : ["via", fact.gateway];
    const protocol = ["proto", String(this.#options.routeProtocol)];
    const source = fact.source === undefined ? [] : ["src", fact.source];
    const asked = ["route", action, fact.destination, ...via, ...protocol, ...source];
    await run("ip", asked).catch((error: unknown) => {
      if (action === "replace") throw new Error(`the route was refused: ${messageOf(error)}`);
    });
  }
  async #replaceRoutes(routes: readonly RouteFact[]): Promise<void> {
    const protocol = String(this.#options.routeProtocol);
    const { stdout } = await run("ip", ["-j", "route", "show", "proto", protocol]);
    const there = JSON.parse(stdout === "" ? "[]" : stdout) as { dst: string }[];
    const wanted = new Set(routes.map(({ destination }) => destination));
    for (const { dst } of there) {
      if (!wanted.has(dst)) await run("ip", ["route", "del", dst, "proto", protocol]);
    }
    for (const route of routes) await this.#route("replace", route);
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

/** Routes are not nftables' business. */
function render(key: string, fact: DataplaneFact): Rendered | undefined {
  switch (fact.type) {
    case "service":
      return renderService(key, fact);
    case "hostPort":
      return renderHostPort(key, fact);
    case "masquerade":
      return renderMasquerade(key, fact);
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

/** Watches the kernel's notices for our table being deleted by someone else (nft flush ruleset, a firewall's restart). */
class TableMonitor implements Source<string> {
  readonly #child: ChildProcess;
  readonly #seen: string[] = [];
  #wake: (() => void) | undefined;
  #ended = false;
  #own = 0;

  constructor(table: string, log: Log) {
    this.#child = spawn("nft", ["monitor", "destroy", "tables"], {
      stdio: ["ignore", "pipe", "ignore"],
    });
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
    this.#child.on("exit", () => this.#end());
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
    this.#child.kill();
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
