/**
 * What Ingresses mean for requests: pure, from Ingresses, Services, their endpoints and Secrets to a table of routes, and what there is to
 * say about each Ingress. Where two want the same, the older Ingress has it.
 */
import type { Secret } from "#api/core/v1/secret.ts";
import type { Service } from "#api/core/v1/service.ts";
import type { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import type { HTTPIngressPath, IngressBackend } from "#api/generated/networking/v1.ts";
import type { Ingress } from "#api/networking/v1/ingress.ts";
import { decodeBase64 } from "#machinery/base64.ts";
import { keyOf, type Stored } from "#machinery/meta.ts";
import { compareUtf8 } from "#machinery/object.ts";
import type {
  ProxyBackend,
  ProxyCertificate,
  ProxyEndpoint,
  ProxyRoute,
  ProxyTable,
} from "#ports/http-proxy.ts";

export interface IngressWorld {
  /** Of our classes. */
  readonly ingresses: Iterable<Stored<Ingress>>;
  readonly service: (key: string) => Stored<Service> | undefined;
  readonly slicesOf: (serviceKey: string) => readonly EndpointSlice[];
  /** Of type kubernetes.io/tls. */
  readonly secret: (key: string) => Stored<Secret> | undefined;
  /** Whether that is a certificate with its key. */
  readonly isCertificate: (chain: string, key: string) => boolean;
}
export interface Problem {
  readonly ingress: Stored<Ingress>;
  readonly reason: string;
  readonly message: string;
}
export interface IngressPlan {
  readonly table: ProxyTable;
  readonly backends: ReadonlyMap<string, ProxyBackend>;
  readonly problems: readonly Problem[];
}

const isBefore = (a: Stored<Ingress>, b: Stored<Ingress>): number =>
  compareUtf8(a.metadata.creationTimestamp ?? "", b.metadata.creationTimestamp ?? "") ||
  compareUtf8(keyOf(a), keyOf(b));

export function planIngress(world: IngressWorld): IngressPlan {
  const plan = new Plan(world);
  const ingresses = [...world.ingresses].toSorted(isBefore);
  for (const ingress of ingresses) plan.addRules(ingress);
  for (const ingress of ingresses) plan.addDefault(ingress);
  for (const ingress of ingresses) plan.addCertificates(ingress);
  return plan;
}

class Plan implements IngressPlan {
  readonly backends = new Map<string, ProxyBackend>();
  readonly problems: Problem[] = [];
  readonly #world: IngressWorld;
  readonly #hosts = new Map<string, ProxyRoute[]>();
  readonly #certificates: ProxyCertificate[] = [];
  readonly #certified = new Set<string>();

  constructor(world: IngressWorld) {
    this.#world = world;
  }

  get table(): ProxyTable {
    const hosts = [...this.#hosts].map(([host, routes]) => ({ host, routes }));
    hosts.sort((a, b) => compareUtf8(a.host, b.host));
    return { hosts, certificates: this.#certificates };
  }

  addRules(ingress: Stored<Ingress>): void {
    for (const { host = "", http } of ingress.spec.rules ?? []) {
      // A rule without paths sends everything to the default backend.
      for (const path of http?.paths ?? []) this.#addPath(ingress, host, path);
    }
  }

  #addPath(ingress: Stored<Ingress>, host: string, { path, pathType, backend }: HTTPIngressPath) {
    const key = this.#backendKey(ingress, backend);
    if (key === undefined) return;
    const match = pathType === "Exact" ? "exact" : "prefix";
    this.#add(host, { match, path: path === undefined || path === "" ? "/" : path, backend: key });
  }

  #add(host: string, route: ProxyRoute): void {
    const routes = this.#hosts.get(host) ?? [];
    this.#hosts.set(host, routes);
    const same = ({ match, path }: ProxyRoute): boolean =>
      match === route.match && path === route.path;
    if (!routes.some(same)) routes.push(route);
  }

  /** For what no path of its hosts takes, and, unless an older one does, for every other host. */
  addDefault(ingress: Stored<Ingress>): void {
    const { defaultBackend, rules = [] } = ingress.spec;
    if (defaultBackend === undefined) return;
    const backend = this.#backendKey(ingress, defaultBackend);
    if (backend === undefined) return;
    for (const host of new Set([...rules.map((rule) => rule.host ?? ""), ""])) {
      this.#add(host, { match: "prefix", path: "/", backend });
    }
  }

  addCertificates(ingress: Stored<Ingress>): void {
    const { tls = [], rules = [] } = ingress.spec;
    for (const { hosts = [], secretName = "" } of tls) {
      // Without a Secret it is only said that TLS is wanted; without hosts, for those of the rules.
      if (secretName === "") continue;
      const named = hosts.length > 0 ? hosts : rules.map(({ host }) => host ?? "");
      const wanted = [...new Set(named)].filter(
        (host) => host !== "" && !this.#certified.has(host),
      );
      const pair = this.#certificate(ingress, secretName);
      if (pair === undefined || wanted.length === 0) continue;
      for (const host of wanted) this.#certified.add(host);
      this.#certificates.push({ hosts: wanted, ...pair });
    }
  }

  #certificate(ingress: Stored<Ingress>, secretName: string) {
    const name = `${ingress.metadata.namespace}/${secretName}`;
    const secret = this.#world.secret(name);
    const of = (key: string): string => {
      const decoded = decodeBase64(secret?.data?.[key] ?? "");
      return "bytes" in decoded ? new TextDecoder().decode(decoded.bytes) : "";
    };
    const pair = { chain: of("tls.crt"), key: of("tls.key") };
    if (secret !== undefined && this.#world.isCertificate(pair.chain, pair.key)) return pair;
    const why =
      secret === undefined
        ? `there is no Secret ${name} of type kubernetes.io/tls`
        : `the Secret ${name} holds no certificate with its key in tls.crt and tls.key`;
    const message = `${why}; its hosts are served with a certificate that nobody trusts`;
    this.#problem(ingress, "CertificateMissing", message);
    return undefined;
  }

  #problem(ingress: Stored<Ingress>, reason: string, message: string): void {
    this.problems.push({ ingress, reason, message });
  }

  /** Undefined: what is asked for is none of our kinds of backends. */
  #backendKey(ingress: Stored<Ingress>, backend: IngressBackend): string | undefined {
    const { service, resource } = backend;
    if (service === undefined) {
      const what = `${resource?.kind ?? ""} ${resource?.name ?? ""}`;
      this.#problem(
        ingress,
        "BackendUnsupported",
        `the backend ${what} is a resource; this controller leads to Services only`,
      );
      return undefined;
    }
    const name = `${ingress.metadata.namespace}/${service.name}`;
    const port = service.port.name || String(service.port.number ?? "");
    const key = `${name}:${port}`;
    if (!this.backends.has(key)) {
      this.backends.set(key, this.#backend(ingress, name, service.port));
    }
    return key;
  }

  #backend(
    ingress: Stored<Ingress>,
    name: string,
    wanted: { readonly name?: string; readonly number?: number },
  ): ProxyBackend {
    const none: ProxyBackend = { endpoints: [], protocol: "http" };
    const service = this.#world.service(name);
    if (service === undefined) {
      this.#problem(ingress, "ServiceNotFound", `there is no Service ${name}`);
      return none;
    }
    if (service.spec.type === "ExternalName") {
      const message = `the Service ${name} is of type ExternalName; this controller leads to endpoints only`;
      this.#problem(ingress, "BackendUnsupported", message);
      return none;
    }
    const port = (service.spec.ports ?? []).find((one) =>
      wanted.name ? one.name === wanted.name : one.port === wanted.number,
    );
    if (port === undefined) {
      const what = wanted.name || String(wanted.number ?? "");
      this.#problem(ingress, "PortNotFound", `the Service ${name} has no port ${what}`);
      return none;
    }
    const endpoints = endpointsOf(this.#world.slicesOf(name), port.name ?? "");
    return { endpoints, protocol: protocolOf(port.appProtocol ?? "") };
  }
}

/** Names as KEP-3726 and IANA have them. */
function protocolOf(appProtocol: string): ProxyBackend["protocol"] {
  if (appProtocol === "kubernetes.io/h2c") return "h2c";
  return ["https", "kubernetes.io/wss"].includes(appProtocol.toLowerCase()) ? "https" : "http";
}

/** Ready ones; where there is none, those that still serve while they end. */
function endpointsOf(slices: readonly EndpointSlice[], portName: string): ProxyEndpoint[] {
  const ready = new Map<string, ProxyEndpoint>();
  const ending = new Map<string, ProxyEndpoint>();
  for (const { addressType, ports, endpoints } of slices) {
    const port = ports?.find((one) => (one.name ?? "") === portName)?.port;
    if (port === undefined || addressType === "FQDN") continue;
    for (const { addresses, conditions } of endpoints ?? []) {
      const [address] = addresses;
      if (address === undefined) continue;
      const into =
        conditions.ready !== false
          ? ready
          : conditions.serving === true && conditions.terminating === true
            ? ending
            : undefined;
      into?.set(`${address} ${port}`, { address, port });
    }
  }
  const chosen = ready.size > 0 ? ready : ending;
  return [...chosen.keys()].toSorted(compareUtf8).map((key) => chosen.get(key) as ProxyEndpoint);
}
