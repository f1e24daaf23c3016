/**
 * The simulated cluster's control plane: one machine on the memory network, with a disk and certificates that outlive the programs on
 * it. Also the ways to it: in this process, or by HTTPS with a certificate for each component.
 */
import type { MemoryHost } from "#adapters/memory/host.ts";
import type { MemoryNetwork } from "#adapters/memory/network.ts";
import { type MemoryDisk, MemoryStorage } from "#adapters/memory/storage.ts";
import type { Handler, User } from "#api/request.ts";
import { remoteHandler } from "#client/remote.ts";
import { type RenewableHandler, renewable } from "#client/renewable.ts";
import { type CertificateStore, certificateStore, type Identity } from "#cluster/certificates.ts";
import {
  apiServerNames,
  type ControlPlane,
  identityOf,
  startControlPlane,
} from "#cluster/control-plane.ts";
import { nodeProxy } from "#control-plane/apiserver/node-proxy.ts";
import type { ApiServer } from "#control-plane/apiserver/server.ts";
import type { ControllerSettings } from "#control-plane/controllers/controller.ts";
import { serviceUnavailable } from "#machinery/status-error.ts";
import type { Clock } from "#ports/clock.ts";
import type { Crypto } from "#ports/crypto.ts";
import type { Log } from "#ports/log.ts";
import type { Random } from "#ports/random.ts";
import type { Store } from "#ports/store.ts";
import { type ApiConnection, directConnection } from "./direct-link.ts";

/** How components reach the API server. */
export type Transport = "direct" | "https";

export interface SimulatedControlPlaneOptions {
  readonly transport: Transport;
  readonly address: string;
  readonly network: MemoryNetwork;
  readonly clock: Clock;
  readonly random: Random;
  readonly crypto: Crypto;
  readonly log: Log;
  readonly host: MemoryHost;
  readonly disk: MemoryDisk;
  readonly podCidr: string;
  readonly serviceCidr: string;
  readonly domain: string;
  readonly controllers?: Partial<ControllerSettings>;
  readonly certificateMs?: number;
}

export const apiServerPort = 6443;
const requestMsMax = 60_000;
const certificatesDirectory = "/etc/kubernetes/pki";
const everyone = "system:authenticated";
export const admin: User = { name: "kubernetes-admin", groups: ["system:masters", everyone] };

const fileNameOf = (name: string): string => name.replaceAll(":", "-");
const tlsIdentity = ({ certificate, privateKey }: Identity) => ({
  chain: certificate,
  key: privateKey,
});

export class SimulatedControlPlane {
  readonly certificates: CertificateStore;
  readonly #options: SimulatedControlPlaneOptions;
  /** Those of its own components, which end with it. */
  readonly #own: ApiConnection[] = [];
  /** Open ones: each shows the new certificate when its own was issued anew. */
  readonly #remotes = new Set<RenewableHandler>();
  #now: ControlPlane | undefined;
  #lives = 0;

  constructor(options: SimulatedControlPlaneOptions) {
    this.#options = options;
    const { host, crypto, clock, log, certificateMs: leafMs } = options;
    this.certificates = certificateStore({
      host,
      crypto,
      clock,
      log,
      directory: certificatesDirectory,
      ...(leafMs === undefined ? {} : { leafMs }),
    });
    this.certificates.onRenewal(() => {
      for (const remote of this.#remotes) remote.renew();
    });
  }

  get address(): string {
    return this.#options.address;
  }
  /** Of this life. */
  get store(): Store {
    return this.#running().store;
  }
  get isRunning(): boolean {
    return this.#now !== undefined;
  }

  async start(): Promise<void> {
    const { network, address, disk, random, host, transport, ...rest } = this.#options;
    await host.makeDirectory("/etc/kubernetes", 0o755);
    const authority = await this.certificates.authority();
    const client = await this.#clientIdentity({
      name: "kube-apiserver-kubelet-client",
      groups: ["system:masters"],
    });
    const place = network.host(address);
    this.#now = await startControlPlane({
      ...rest,
      storage: new MemoryStorage(disk),
      random: random.fork(`life ${++this.#lives}`),
      hostname: (await host.facts()).hostname,
      authority,
      authorityKey: (await this.certificates.signer()).privateKey,
      serviceAccountKey: await this.certificates.signingKey("sa"),
      frontProxy: await this.certificates.frontProxy(),
      nodeProxy: nodeProxy({
        network: place,
        identity: () => tlsIdentity(client()),
        roots: authority,
      }),
      transport: async (apiServer) => {
        await this.#serve(apiServer);
        if (transport === "direct") return (name) => apiServer.as(identityOf(name));
        return (name) => {
          const connection = this.#remote(address, identityOf(name));
          this.#own.push(connection);
          return connection.handler;
        };
      },
    });
  }

  async stop(): Promise<void> {
    const now = this.#now;
    this.#now = undefined;
    await now?.stop();
    for (const connection of this.#own.splice(0)) connection.close();
  }

  /** A new way to the API server for that component on the machine with that address. */
  connect(component: string, from: string): ApiConnection {
    return this.connectAs(identityOf(component), from);
  }

  connectAs(user: User, from: string): ApiConnection {
    const { transport, network, address, clock } = this.#options;
    if (transport === "https") return this.#remote(from, user);
    const handler: Handler = async (request) => this.#running().apiServer.as(user)(request);
    const link = () => {
      const [here, there] = [network.hostAt(from), network.hostAt(address)];
      return here === undefined || there === undefined
        ? undefined
        : network.linkBetween(here, there);
    };
    return directConnection(handler, link, clock);
  }

  #running(): ControlPlane {
    if (this.#now !== undefined) return this.#now;
    throw serviceUnavailable("the API server cannot be reached: it does not run");
  }

  async #serve(apiServer: ApiServer): Promise<void> {
    const { network, address, serviceCidr, domain } = this.#options;
    const identity = await this.certificates.kept("apiserver", {
      user: "kube-apiserver",
      groups: [],
      names: [...apiServerNames(serviceCidr, domain), address],
      uses: ["server auth"],
    });
    const tls = { identity: () => tlsIdentity(identity()) };
    await apiServer.serveHttp(network.host(address), { host: address, port: apiServerPort }, tls);
    await apiServer.advertise(address, apiServerPort);
  }

  /** By HTTPS; its certificate is issued before the first request. */
  #remote(from: string, user: User): ApiConnection {
    const { network, clock, address } = this.#options;
    const remotes = this.#remotes;
    let closed = false;
    const opened = (async () => {
      const roots = await this.certificates.authority();
      const identity = await this.#clientIdentity(user);
      const server = { host: address, port: apiServerPort };
      const tls = { roots, identity: () => tlsIdentity(identity()) };
      const how = { tls, version: 2, timeoutMs: requestMsMax } as const;
      const open = () => remoteHandler(network.host(from), clock, server, how);
      const remote = renewable(open, clock, requestMsMax);
      if (closed) remote.close();
      else remotes.add(remote);
      return remote;
    })();
    return {
      handler: async (request) => (await opened).handler(request),
      close() {
        closed = true;
        opened.then(
          (remote) => {
            remotes.delete(remote);
            remote.close();
          },
          () => {},
        );
      },
    };
  }

  #clientIdentity({ name, groups }: User): Promise<() => Identity> {
    return this.certificates.kept(fileNameOf(name), {
      user: name,
      groups: groups.filter((group) => group !== everyone),
      names: [],
      uses: ["client auth"],
    });
  }
}
