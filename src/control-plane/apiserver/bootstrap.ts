/**
 * Bootstrap: what every cluster has: its first namespaces, the bootstrap roles and bindings, the system's priority classes, the range of
 * Services' addresses, the CA for extension servers, and Service default/kubernetes with the endpoints of this server, which is put right
 * whenever somebody changes it.
 */
import type { ApiRequest, ApiResponse, Handler } from "#api/request.ts";
import { isObject, type JsonObject } from "#machinery/object.ts";
import { type Status, StatusError } from "#machinery/status-error.ts";
import { formatTime } from "#machinery/time.ts";
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";
import { frontProxyNames } from "./authn/request-headers.ts";
import { ensurePolicy } from "./policy-bootstrap.ts";

export interface BootstrapOptions {
  /** As the server itself. */
  readonly handler: Handler;
  readonly clock: Clock;
  readonly log: Log;
  /** Ids ("group/version/plural") of what is served. */
  readonly kinds: ReadonlySet<string>;
  readonly firstAddress: string;
  readonly family: "IPv4" | "IPv6";
  /** Of the Services' addresses. */
  readonly serviceCidr: string;
  readonly clientCa: () => string;
  /** Undefined: no front proxy is believed. */
  readonly frontProxyCa: string | undefined;
}

const namespaces = ["kube-system", "kube-public", "kube-node-lease", "default"];
/** Upstream: a controller in the server has this name. */
const serviceCidrManager = "kubernetes-service-cidr-controller";
const manager = "kube-apiserver";
const systemPriority = 2_000_000_000;
const retryMs = 1000;
const attemptsMax = 8;

const priorityClass = (name: string, value: number, description: string): JsonObject => ({
  metadata: { name },
  value,
  globalDefault: false,
  description,
});

const never = new AbortController().signal;
const serviceName = "kubernetes";
const endpointLabels = { "endpointslice.kubernetes.io/skip-mirror": "true" };

interface Wanted {
  readonly path: string;
  readonly kind: string;
  readonly object: JsonObject;
}

export class Bootstrap {
  readonly #options: BootstrapOptions;
  readonly #stop = new AbortController();
  #address: { readonly address: string; readonly port: number } | undefined;
  #following = false;
  #done = false;

  constructor(options: BootstrapOptions) {
    this.#options = options;
  }

  get done(): boolean {
    return this.#done;
  }

  async run(): Promise<void> {
    for (const name of namespaces)
      await this.#ensure("/v1/namespaces", "/api/v1/namespaces", { metadata: { name } });
    if (this.#options.kinds.has("rbac.authorization.k8s.io/v1/clusterroles"))
      await ensurePolicy((method, path, body) => this.#request(method, path, body), failed);
    const priority = "/apis/scheduling.k8s.io/v1/priorityclasses";
    const priorityId = "scheduling.k8s.io/v1/priorityclasses";
    const bound = "For system pods that must run on their node.";
    const node = priorityClass("system-node-critical", systemPriority + 1000, bound);
    await this.#ensure(priorityId, priority, node);
    const free = "For system pods that must run, on whichever node.";
    const cluster = priorityClass("system-cluster-critical", systemPriority, free);
    await this.#ensure(priorityId, priority, cluster);
    await this.#serviceCidr();
    await this.#clientCa();
    this.#done = true;
  }

  /** Upstream: made once and never changed, whatever the server is told later; it is Ready unless somebody says otherwise. */
  async #serviceCidr(): Promise<void> {
    const path = "/apis/networking.k8s.io/v1/servicecidrs";
    const { serviceCidr, clock, kinds } = this.#options;
    if (!kinds.has("networking.k8s.io/v1/servicecidrs")) return;
    const metadata = { name: serviceName };
    const spec = { cidrs: [serviceCidr] };
    await this.#ensure("networking.k8s.io/v1/servicecidrs", path, { metadata, spec });
    const found = await this.#request("GET", `${path}/${serviceName}`);
    const object = found.content.type === "object" ? found.content.object : undefined;
    const { spec: stored, status } = (object ?? {}) as JsonObject;
    const ranges = isObject(stored) ? stored.cidrs : undefined;
    const conditions = isObject(status) ? status.conditions : undefined;
    if (Array.isArray(conditions) && conditions.length > 0) return;
    if (!Array.isArray(ranges) || ranges.length !== 1 || ranges[0] !== serviceCidr) return;
    const ready = {
      type: "Ready",
      status: "True",
      message: "Kubernetes default Service CIDR is ready",
      lastTransitionTime: formatTime(clock.now()),
    };
    const patch = {
      apiVersion: "networking.k8s.io/v1",
      kind: "ServiceCIDR",
      metadata,
      status: { conditions: [ready] },
    };
    const answer = await this.#options.handler({
      method: "PATCH",
      path: `${path}/${serviceName}/status`,
      query: [
        ["fieldManager", serviceCidrManager],
        ["force", "true"],
      ],
      headers: { "content-type": "application/apply-patch+yaml" },
      body: { object: patch },
      gone: never,
      direct: true,
    });
    if (answer.status >= 300) throw failed(answer);
  }

  async #clientCa(): Promise<void> {
    if (!this.#options.kinds.has("/v1/configmaps")) return;
    const path = "/api/v1/namespaces/kube-system/configmaps";
    const { clientCa, frontProxyCa } = this.#options;
    const lists = {
      "requestheader-allowed-names": frontProxyNames,
      "requestheader-extra-headers-prefix": ["X-Remote-Extra-"],
      "requestheader-group-headers": ["X-Remote-Group"],
      "requestheader-uid-headers": ["X-Remote-Uid"],
      "requestheader-username-headers": ["X-Remote-User"],
    };
    const data = {
      "client-ca-file": clientCa(),
      ...(frontProxyCa === undefined
        ? {}
        : {
            ...Object.fromEntries(
              Object.entries(lists).map(([key, list]) => [key, JSON.stringify(list)]),
            ),
            "requestheader-client-ca-file": frontProxyCa,
          }),
    };
    const metadata = { name: "extension-apiserver-authentication", namespace: "kube-system" };
    await this.#settle({ path, kind: "ConfigMap", object: { metadata, data } });
  }

  /** Leads Service default/kubernetes here, now and whenever it is changed. */
  async advertise(address: string, port: number): Promise<void> {
    this.#address = { address, port };
    for (const wanted of this.#service()) await this.#settle(wanted);
    if (this.#following) return;
    this.#following = true;
    for (const { path } of this.#service()) this.#follow(path);
  }

  stop(): void {
    this.#stop.abort();
  }

  #service(): readonly Wanted[] {
    const { kinds, firstAddress, family } = this.#options;
    if (this.#address === undefined || !kinds.has("/v1/services")) return [];
    const { address, port } = this.#address;
    const labels = { component: "apiserver", provider: "kubernetes" };
    const metadata = { name: serviceName, namespace: "default" };
    const wanted: Wanted[] = [
      {
        path: "/api/v1/namespaces/default/services",
        kind: "Service",
        object: {
          metadata: { ...metadata, labels },
          spec: {
            type: "ClusterIP",
            clusterIP: firstAddress,
            ipFamilies: [family],
            ipFamilyPolicy: "SingleStack",
            sessionAffinity: "None",
            ports: [{ name: "https", protocol: "TCP", port: 443, targetPort: port }],
          },
        },
      },
    ];
    const ports = [{ name: "https", port, protocol: "TCP" }];
    if (kinds.has("/v1/endpoints")) {
      wanted.push({
        path: "/api/v1/namespaces/default/endpoints",
        kind: "Endpoints",
        object: {
          metadata: { ...metadata, labels: endpointLabels },
          subsets: [{ addresses: [{ ip: address }], ports }],
        },
      });
    }
    if (kinds.has("discovery.k8s.io/v1/endpointslices")) {
      wanted.push({
        path: "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
        kind: "EndpointSlice",
        object: {
          metadata: { ...metadata, labels: { "kubernetes.io/service-name": serviceName } },
          addressType: address.includes(":") ? "IPv6" : "IPv4",
          endpoints: [{ addresses: [address], conditions: { ready: true } }],
          ports,
        },
      });
    }
    return wanted;
  }

  #request(method: string, path: string, body?: object, query: ApiRequest["query"] = []) {
    return this.#options.handler({
      method,
      path,
      query: [...query, ...(body === undefined ? [] : [["fieldManager", manager] as const])],
      headers: { "content-type": "application/json", "user-agent": manager },
      ...(body === undefined ? {} : { body: { object: body } }),
      gone: never,
      direct: true,
    });
  }

  /** Creates what is not there. */
  async #ensure(id: string, path: string, object: JsonObject): Promise<void> {
    if (!this.#options.kinds.has(id)) return;
    const { name } = object.metadata as { name: string };
    const found = await this.#request("GET", `${path}/${name}`);
    if (found.status === 200) return;
    const made = await this.#request("POST", path, object);
    if (made.status !== 201 && made.status !== 409) throw failed(made);
  }

  /** Brings an object to where it shall be; what others added to its metadata stays. */
  async #settle({ path, object }: Wanted): Promise<void> {
    const { name } = object.metadata as { name: string };
    for (let attempt = 1; ; attempt++) {
      const found = await this.#request("GET", `${path}/${name}`);
      let answer: ApiResponse;
      if (found.status === 404) answer = await this.#request("POST", path, object);
      else {
        const patch = { ...object, metadata: metadataOf(object) };
        const query = [["fieldManager", manager]] as const;
        answer = await this.#options.handler({
          method: "PATCH",
          path: `${path}/${name}`,
          query,
          headers: { "content-type": "application/merge-patch+json" },
          body: { object: patch },
          gone: never,
          direct: true,
        });
      }
      if (answer.status < 300) return;
      const again = answer.status === 409 || answer.status === 404;
      if (!again || attempt === attemptsMax) throw failed(answer);
    }
  }

  /** Watches one of the objects and settles it anew whenever it is not as it shall be. */
  #follow(path: string): void {
    const again = (error: unknown): void => {
      if (this.#stop.signal.aborted) return;
      const why = error instanceof Error ? error.message : String(error);
      this.#options.log.write(
        "warn",
        "Service default/kubernetes can not be kept right; trying again.",
        { why },
      );
      const cancel = this.#options.clock.after(retryMs, () => this.#follow(path));
      this.#stop.signal.addEventListener("abort", cancel);
    };
    this.#watch(path).then(() => {
      if (!this.#stop.signal.aborted) this.#follow(path);
    }, again);
  }

  async #watch(path: string): Promise<void> {
    const answer = await this.#options.handler({
      method: "GET",
      path,
      query: [
        ["watch", "true"],
        ["fieldSelector", `metadata.name=${serviceName}`],
      ],
      headers: {},
      gone: this.#stop.signal,
      direct: true,
    });
    if (answer.content.type !== "watch") throw failed(answer);
    for (;;) {
      const batch = await answer.content.events.next();
      if (batch === undefined) return;
      const wanted = this.#service().find((one) => one.path === path);
      if (wanted !== undefined) await this.#settle(wanted);
    }
  }
}

/** Name and namespace are not for patching. */
function metadataOf(object: JsonObject): JsonObject {
  const { labels } = object.metadata as JsonObject;
  return labels === undefined ? {} : { labels };
}

function failed(answer: ApiResponse): StatusError {
  const object = answer.content.type === "object" ? answer.content.object : undefined;
  if (isObject(object) && object.kind === "Status")
    return StatusError.from(object as unknown as Status);
  return new StatusError(answer.status, "", `unexpected answer ${answer.status}`);
}
