/** What the commands of one run share: the kubeconfig, the connection, what the server serves. Each is read when first needed. */
import { Discovery } from "./discovery.ts";
import { CommandError } from "./errors.ts";
import type { Flags } from "./flags.ts";
import { type Access, accessOf, type Kubeconfig, loadConfig } from "./kubeconfig.ts";
import { Rest } from "./rest.ts";
import type { Surroundings } from "./surroundings.ts";

export class Session {
  readonly around: Surroundings;
  readonly #flags: Flags;
  #config: Kubeconfig | undefined;
  #access: Promise<Access> | undefined;
  #rest: Promise<Rest> | undefined;
  #discovery: Promise<Discovery> | undefined;
  #openRest: Rest | undefined;

  constructor(around: Surroundings, flags: Flags) {
    this.around = around;
    this.#flags = flags;
  }

  out(text: string): void {
    this.around.terminal.out(text);
  }
  error(text: string): void {
    this.around.terminal.error(text);
  }
  warn(text: string): void {
    this.error(`Warning: ${text}\n`);
  }

  get config(): Kubeconfig {
    this.#config ??= loadConfig(this.#flags, this.around);
    return this.#config;
  }
  access(): Promise<Access> {
    this.#access ??= accessOf(this.config, this.#flags, this.around);
    return this.#access;
  }
  rest(): Promise<Rest> {
    this.#rest ??= this.#connect();
    return this.#rest;
  }
  discovery(): Promise<Discovery> {
    this.#discovery ??= this.rest().then((rest) => Discovery.read(rest));
    return this.#discovery;
  }
  async namespace(): Promise<string> {
    return (await this.access()).namespace;
  }

  async #connect(): Promise<Rest> {
    const rest = new Rest(await this.access(), {
      network: this.around.network,
      clock: this.around.clock,
      userAgent: `kubectl/${this.around.version} (wherry)`,
      timeoutMs: timeoutMs(this.#flags.text("request-timeout")),
      warn: (text) => this.warn(text),
    });
    this.#openRest = rest;
    return rest;
  }
  close(): void {
    this.#openRest?.close();
  }
}

/** "0" (for ever), "30" (seconds), "1m". */
function timeoutMs(text: string): number {
  const match = /^(\d+)(ms|s|m|h)?$/.exec(text);
  if (match === null) {
    throw new CommandError(
      `invalid timeout value ${JSON.stringify(text)}. Timeout must be a single integer in seconds, or an integer followed by a corresponding time unit (e.g. 1s | 2m | 3h)`,
    );
  }
  const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  return Number(match[1]) * (units[match[2] ?? "s"] ?? 1000);
}
