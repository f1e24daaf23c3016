/**
 * The cluster's certificates: an authority of its own, and what it issued to servers and clients. Kept as files through the Host
 * port; issued anew when they are near their end, or when the names that they must carry have changed.
 */
import type { Clock } from "#ports/clock.ts";
import type { CertificateFacts, Crypto } from "#ports/crypto.ts";
import type { Host } from "#ports/host.ts";

export interface Identity {
  readonly certificate: string;
  readonly privateKey: string;
}
const dayMs = 86_400_000;
const authorityDays = 3650;
const leafDays = 365;
/** Leaves are replaced when less than this is left. */
const renewalDays = 90;

export type Leaf = Pick<CertificateFacts, "user" | "groups" | "names" | "uses">;

export interface CertificateStore {
  /** The authority's certificate, made if there is none. */
  authority(): Promise<string>;
  /** The authority with its key, for the cluster's signers. */
  signer(): Promise<Identity>;
  /** The identity of that name: from its files, or issued now. */
  identity(name: string, leaf: Leaf): Promise<Identity>;
  /** What the API server shows to extension servers, issued by an authority that is trusted for nothing else. */
  frontProxy(): Promise<{ readonly ca: string; readonly client: Identity }>;
  signingKey(name: string): Promise<{ privateKey: string; publicKey: string }>;
}

export function certificateStore(ports: {
  readonly host: Host;
  readonly crypto: Crypto;
  readonly clock: Clock;
  /** Made with mode 0700. */
  readonly directory: string;
}): CertificateStore {
  return new FileCertificates(ports);
}

const decoder = new TextDecoder();
const encoder = new TextEncoder();
const sameList = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.toSorted().every((one, i) => one === b.toSorted()[i]);

class FileCertificates implements CertificateStore {
  readonly #ports: Parameters<typeof certificateStore>[0];
  #authority: Promise<Identity> | undefined;

  constructor(ports: Parameters<typeof certificateStore>[0]) {
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
      ...this.#validity(clock.now(), authorityDays),
    };
    const certificate = await crypto.issue(facts, keys.publicKey, { privateKey: keys.privateKey });
    return this.#write(name, { certificate, privateKey: keys.privateKey });
  }

  /** From an hour ago, so that clocks that differ a little agree. */
  #validity(nowMs: number, days: number): { fromMs: number; toMs: number } {
    return { fromMs: nowMs - 3_600_000, toMs: nowMs + days * dayMs };
  }

  async identity(name: string, leaf: Leaf): Promise<Identity> {
    return this.#identity(name, leaf, await this.#ca());
  }

  async frontProxy(): Promise<{ readonly ca: string; readonly client: Identity }> {
    const ca = await this.#readOrMakeAuthority("front-proxy-ca", "front-proxy-ca");
    const leaf: Leaf = { user: "front-proxy-client", groups: [], names: [], uses: ["client auth"] };
    const client = await this.#identity("front-proxy-client", leaf, ca);
    return { ca: ca.certificate, client };
  }

  async #identity(name: string, leaf: Leaf, ca: Identity): Promise<Identity> {
    const { crypto, clock } = this.#ports;
    const known = await this.#read(name);
    if (known !== undefined) {
      const facts = crypto.readCertificate(known.certificate);
      const lasts = facts.toMs - clock.now() > renewalDays * dayMs;
      const same =
        facts.user === leaf.user &&
        sameList(facts.groups, leaf.groups) &&
        sameList(facts.names, leaf.names);
      if (lasts && same) return known;
    }
    const keys = await crypto.generateKey("ES256");
    const facts = { ...leaf, ...this.#validity(clock.now(), leafDays) };
    const certificate = await crypto.issue(facts, keys.publicKey, {
      certificate: ca.certificate,
      privateKey: ca.privateKey,
    });
    return this.#write(name, { certificate, privateKey: keys.privateKey });
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
