/**
 * The cluster's certificates: an authority of its own, and what it issued to servers and clients. Kept as files through the Host
 * port; issued anew when they are near their end, or when the names that they must carry have changed. What is kept is issued anew in time,
 * also while everything runs.
 */
import type { Clock } from "#ports/clock.ts";
import type { CertificateFacts, Crypto } from "#ports/crypto.ts";
import type { Host } from "#ports/host.ts";
import type { Log } from "#ports/log.ts";

export interface Identity {
  readonly certificate: string;
  readonly privateKey: string;
}
const dayMs = 86_400_000;
const authorityDays = 3650;
const leafDays = 365;
/** Leaves are replaced when less than this share of their life is left. */
const renewalShare = 0.25;
const renewRetryMs = 60_000;
/** Timers hold no more than 24 days. */
const sleepMsMax = 20 * dayMs;

export type Leaf = Pick<CertificateFacts, "user" | "groups" | "names" | "uses">;

export interface CertificateStore {
  /** The authority's certificate, made if there is none. */
  authority(): Promise<string>;
  /** The authority with its key, for the cluster's signers. */
  signer(): Promise<Identity>;
  /** The identity of that name: from its files, or issued now. */
  identity(name: string, leaf: Leaf): Promise<Identity>;
  /** As identity(); what the result gives is issued anew in time, until stop(). */
  kept(name: string, leaf: Leaf): Promise<() => Identity>;
  /** Hears each time after kept identities were issued anew. */
  onRenewal(listener: () => void): void;
  /** What the API server shows to extension servers, issued by an authority that is trusted for nothing else; kept. */
  frontProxy(): Promise<{ readonly ca: string; readonly client: () => Identity }>;
  signingKey(name: string): Promise<{ privateKey: string; publicKey: string }>;
  /** Nothing is issued anew any more. */
  stop(): void;
}

export interface CertificatePorts {
  readonly host: Host;
  readonly crypto: Crypto;
  readonly clock: Clock;
  readonly log: Log;
  /** Made with mode 0700. */
  readonly directory: string;
  /** How long what is issued holds; a year if it is not said. */
  readonly leafMs?: number;
}

export function certificateStore(ports: CertificatePorts): CertificateStore {
  return new FileCertificates(ports);
}

interface Kept {
  issue: () => Promise<Identity>;
  now: Identity;
}

const decoder = new TextDecoder();
const encoder = new TextEncoder();
const sameList = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.toSorted().every((one, i) => one === b.toSorted()[i]);

class FileCertificates implements CertificateStore {
  readonly #ports: CertificatePorts;
  readonly #kept = new Map<string, Kept>();
  readonly #listeners: (() => void)[] = [];
  #authority: Promise<Identity> | undefined;
  #cancelRenewal: () => void = () => {};
  #stopped = false;

  constructor(ports: CertificatePorts) {
    this.#ports = ports;
  }

  async authority(): Promise<string> {
    return (await this.#ca()).certificate;
  }

  signer(): Promise<Identity> {
    return this.#ca();
  }

  #ca(): Promise<Identity> {
    this.#authority ??= this.#readOrMakeAuthority("ca", "wherry-ca");
    return this.#authority;
  }
  async #readOrMakeAuthority(name: string, user: string): Promise<Identity> {
    const { host, crypto, clock, directory } = this.#ports;
    await host.makeDirectory(directory, 0o700);
    const known = await this.#read(name);
    if (known !== undefined) return known;
    const keys = await crypto.generateKey("ES256");
    const facts: CertificateFacts = {
      user,
      groups: [],
      names: [],
      uses: ["ca"],
      ...this.#validity(clock.now(), authorityDays * dayMs),
    };
    const certificate = await crypto.issue(facts, keys.publicKey, { privateKey: keys.privateKey });
    return this.#write(name, { certificate, privateKey: keys.privateKey });
  }

  /** From an hour ago, so that clocks that differ a little agree. */
  #validity(nowMs: number, ms: number): { fromMs: number; toMs: number } {
    return { fromMs: nowMs - 3_600_000, toMs: nowMs + ms };
  }
  get #leafMs(): number {
    return this.#ports.leafMs ?? leafDays * dayMs;
  }
  /** From then on it is issued anew. */
  #renewalMs({ certificate }: Identity): number {
    return this.#ports.crypto.readCertificate(certificate).toMs - this.#leafMs * renewalShare;
  }

  async identity(name: string, leaf: Leaf): Promise<Identity> {
    return this.#identity(name, leaf, await this.#ca());
  }

  async frontProxy(): Promise<{ readonly ca: string; readonly client: () => Identity }> {
    const ca = await this.#readOrMakeAuthority("front-proxy-ca", "front-proxy-ca");
    const leaf: Leaf = { user: "front-proxy-client", groups: [], names: [], uses: ["client auth"] };
    const name = "front-proxy-client";
    const client = await this.#keep(name, () => this.#identity(name, leaf, ca));
    return { ca: ca.certificate, client };
  }

  async #identity(name: string, leaf: Leaf, ca: Identity): Promise<Identity> {
    const { crypto, clock } = this.#ports;
    const known = await this.#read(name);
    if (known !== undefined) {
      const facts = crypto.readCertificate(known.certificate);
      const lasts = this.#renewalMs(known) > clock.now();
      const same =
        facts.user === leaf.user &&
        sameList(facts.groups, leaf.groups) &&
        sameList(facts.names, leaf.names);
      if (lasts && same) return known;
    }
    const keys = await crypto.generateKey("ES256");
    const facts = { ...leaf, ...this.#validity(clock.now(), this.#leafMs) };
    const certificate = await crypto.issue(facts, keys.publicKey, {
      certificate: ca.certificate,
      privateKey: ca.privateKey,
    });
    return this.#write(name, { certificate, privateKey: keys.privateKey });
  }

  kept(name: string, leaf: Leaf): Promise<() => Identity> {
    return this.#keep(name, () => this.identity(name, leaf));
  }

  async #keep(name: string, issue: () => Promise<Identity>): Promise<() => Identity> {
    const now = await issue();
    // Who asked before shall have the same one.
    const kept = this.#kept.get(name) ?? { issue, now };
    kept.issue = issue;
    kept.now = now;
    this.#kept.set(name, kept);
    this.#renewLater();
    return () => kept.now;
  }

  onRenewal(listener: () => void): void {
    this.#listeners.push(listener);
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelRenewal();
  }

  #renewLater(msMin = 0): void {
    this.#cancelRenewal();
    if (this.#stopped) return;
    const { clock, log } = this.#ports;
    const due = Math.min(...[...this.#kept.values()].map(({ now }) => this.#renewalMs(now)));
    const waitMs = Math.min(sleepMsMax, Math.max(msMin, due - clock.now()));
    this.#cancelRenewal = clock.after(waitMs, () => {
      this.#renew().then(
        () => this.#renewLater(),
        (error: unknown) => {
          const why = error instanceof Error ? error.message : String(error);
          log.write("error", "certificates could not be renewed; trying again", { why });
          this.#renewLater(renewRetryMs);
        },
      );
    });
  }

  async #renew(): Promise<void> {
    const renewed: string[] = [];
    for (const [name, kept] of this.#kept) {
      const before = kept.now;
      kept.now = await kept.issue();
      if (kept.now.certificate !== before.certificate) renewed.push(name);
    }
    if (renewed.length === 0) return;
    this.#ports.log.write("info", "certificates were renewed", { names: renewed.join(" ") });
    for (const listener of this.#listeners) listener();
  }

  async signingKey(name: string): Promise<{ privateKey: string; publicKey: string }> {
    const { host, crypto, directory } = this.#ports;
    await this.#ca();
    const file = `${directory}/${name}.key`;
    const publicFile = `${directory}/${name}.pub`;
    const [privateKey, publicKey] = await Promise.all([host.read(file), host.read(publicFile)]);
    if (privateKey !== undefined && publicKey !== undefined) {
      return { privateKey: decoder.decode(privateKey), publicKey: decoder.decode(publicKey) };
    }
    const keys = await crypto.generateKey("ES256");
    await host.write(publicFile, encoder.encode(keys.publicKey), { mode: 0o644 });
    await host.write(file, encoder.encode(keys.privateKey), { mode: 0o600 });
    return keys;
  }

  async #read(name: string): Promise<Identity | undefined> {
    const { host, directory } = this.#ports;
    const certificate = await host.read(`${directory}/${name}.crt`);
    const privateKey = await host.read(`${directory}/${name}.key`);
    if (certificate === undefined || privateKey === undefined) return undefined;
    return { certificate: decoder.decode(certificate), privateKey: decoder.decode(privateKey) };
  }
  /** The key first: a certificate without its key would be taken for whole. */
  async #write(name: string, identity: Identity): Promise<Identity> {
    const { host, directory } = this.#ports;
    await host.write(`${directory}/${name}.key`, encoder.encode(identity.privateKey), {
      mode: 0o600,
    });
    await host.write(`${directory}/${name}.crt`, encoder.encode(identity.certificate), {
      mode: 0o644,
    });
    return identity;
  }
}
