/** One compose service: its workload, the Services in front of it, and the image to build. */
import { isObject, type JsonObject } from "#machinery/object.ts";
import { convertContainer } from "./container.ts";
import { absolutePath, type ConversionContext, type ImageToBuild, labelsFor } from "./context.ts";
import { type Dependency, dependenciesOf } from "./dependencies.ts";
import { mountsOf } from "./mounts.ts";
import type { Section } from "./report.ts";
import { plainScalar } from "./scalar.ts";
import { kubernetesName, type PortMapping, portMappings, seconds } from "./values.ts";

export interface Service {
  readonly name: string;
  /** "deployment", "daemonset" or "job". */
  readonly workload: string;
  readonly published: readonly PortMapping[];
  readonly objects: readonly JsonObject[];
  readonly build?: ImageToBuild;
  /** What must be there before it is started. */
  readonly after: readonly Dependency[];
}

function portsOf(section: Section): PortMapping[] {
  return section.list("ports").flatMap((one, i) => {
    const path = section.at("ports", i);
    if (isObject(one)) {
      const [target, published] = [Number(one["target"]), one["published"]];
      const protocol = one["protocol"] === "udp" ? "UDP" : "TCP";
      if (!(target > 0)) return section.report.fail(path, "needs a target port");
      const text = published === undefined ? "" : (plainScalar(published) ?? "");
      const ip = plainScalar(one["host_ip"]);
      const mapped = portMappings(
        `${text === "" ? "" : `${text}:`}${target}/${protocol.toLowerCase()}`,
      );
      return (mapped ?? section.report.fail(path, `${text} is no port`)).map((port) => ({
        ...port,
        ...(ip === undefined ? {} : { host: ip }),
      }));
    }
    const text = plainScalar(one) ?? "";
    return (
      portMappings(text) ??
      section.report.fail(path, `${text} is no port mapping; write HOST:CONTAINER`)
    );
  });
}

const portName = ({ target, protocol }: PortMapping): string =>
  `${protocol.toLowerCase()}-${target}`;

function unique(ports: readonly PortMapping[]): PortMapping[] {
  return ports.filter(
    (one, at) =>
      ports.findIndex((other) => other.target === one.target && other.protocol === one.protocol) ===
      at,
  );
}

/** How others find it: its name (and aliases), with the ports that are open inside. */
function servicesFor(
  context: ConversionContext,
  name: string,
  labels: Readonly<Record<string, string>>,
  inside: readonly PortMapping[],
  published: readonly PortMapping[],
  aliases: readonly string[],
): JsonObject[] {
  const ports = unique(inside).map((port) => ({
    name: portName(port),
    port: port.target,
    targetPort: port.target,
    protocol: port.protocol,
  }));
  const selector = labelsFor(context.project, name);
  const names = [...new Set([name, ...aliases].map(kubernetesName))];
  const objects: JsonObject[] = names.map((one) => ({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: one, labels },
    // Without ports the name still leads to the pods.
    spec: ports.length === 0 ? { clusterIP: "None", selector } : { selector, ports },
  }));
  const outside = published.filter(({ published: port }) => port !== undefined);
  if (outside.length === 0) return objects;
  const loadBalancer = outside.map((port) => ({
    name: `${portName(port)}-${port.published ?? 0}`,
    port: port.published ?? port.target,
    targetPort: port.target,
    protocol: port.protocol,
  }));
  return [
    ...objects,
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: kubernetesName(`${name}-published`), labels },
      spec: { type: "LoadBalancer", selector, ports: loadBalancer },
    },
  ];
}

function networksOf(
  context: ConversionContext,
  section: Section,
): { aliases: string[]; host: boolean } {
  const mode = section.text("network_mode");
  if (mode !== undefined && !["host", "bridge", "default"].includes(mode)) {
    section.leaveOut(
      "network_mode",
      `${mode}: pods have a network of their own, or (host) the node's`,
    );
  }
  const networks = section.raw("networks");
  const aliases: string[] = [];
  if (isObject(networks)) {
    const inner = section.section("networks");
    for (const name of inner.keys) {
      const network = inner.section(name);
      aliases.push(...network.texts("aliases"));
      for (const key of ["ipv4_address", "ipv6_address"])
        network.leaveOut(key, "addresses of pods are the cluster's to give");
      network.ignore("priority");
      network.finish();
    }
  }
  for (const link of section.texts("links")) {
    const [target = "", alias] = link.split(":");
    if (!context.serviceNames.includes(target))
      section.report.fail(section.at("links"), `there is no service ${target}`);
    if (alias !== undefined && alias !== target)
      section.report.leftOut(
        section.at("links"),
        `${link}: give ${target} the alias in its networks instead`,
      );
  }
  return { aliases, host: mode === "host" };
}

/** Which kind of workload, and how its pods restart. */
function shapeOf(
  section: Section,
  deploy: Section,
  mustComplete: boolean,
): { kind: "Deployment" | "DaemonSet" | "Job"; restartPolicy: string; retries?: number } {
  const mode = deploy.text("mode") ?? "replicated";
  const restart = section.text("restart") ?? "";
  const policy = deploy.section("restart_policy");
  const condition = policy.text("condition");
  policy.ignore("delay", "max_attempts", "window");
  policy.finish();
  if (mode === "global") return { kind: "DaemonSet", restartPolicy: "Always" };
  const isJob =
    mode.endsWith("-job") ||
    restart === "no" ||
    (mustComplete && restart === "" && condition === undefined) ||
    condition === "none" ||
    restart.startsWith("on-failure") ||
    condition === "on-failure";
  if (!isJob) return { kind: "Deployment", restartPolicy: "Always" };
  const retriesOnFailure = restart.startsWith("on-failure") || condition === "on-failure";
  const [, count] = restart.split(":");
  return {
    kind: "Job",
    restartPolicy: retriesOnFailure ? "OnFailure" : "Never",
    ...(retriesOnFailure
      ? count === undefined
        ? {}
        : { retries: Number(count) }
      : { retries: 0 }),
  };
}

function buildOf(
  context: ConversionContext,
  section: Section,
  name: string,
): { image: string; build?: ImageToBuild } {
  const image = section.text("image");
  const raw = section.raw("build");
  if (raw === undefined) {
    return { image: image ?? section.report.fail(section.path, "needs an image or a build") };
  }
  const tag = image ?? `${context.project}-${name}:latest`;
  const folder = plainScalar(raw);
  if (folder !== undefined)
    return {
      image: tag,
      build: { image: tag, context: absolutePath(context.input.folder, folder) },
    };
  const build = section.section("build");
  const where = build.text("context") ?? ".";
  const dockerfile = build.text("dockerfile");
  const target = build.text("target");
  const args = build.pairs("args");
  for (const key of ["dockerfile_inline", "additional_contexts", "secrets", "ssh"]) {
    build.leaveOut(key, "build this image with wherry image build, and name it in `image`");
  }
  build.ignore(
    "tags",
    "labels",
    "pull",
    "no_cache",
    "platforms",
    "network",
    "shm_size",
    "cache_from",
  );
  build.finish();
  const from = absolutePath(context.input.folder, where);
  return {
    image: tag,
    build: {
      image: tag,
      context: from,
      ...(dockerfile === undefined ? {} : { dockerfile: absolutePath(from, dockerfile) }),
      ...(target === undefined ? {} : { target }),
      ...(args.length === 0 ? {} : { args }),
    },
  };
}

function podExtras(section: Section): JsonObject {
  const grace = section.text("stop_grace_period");
  const hosts = section
    .pairs("extra_hosts")
    .map(([name, value]) =>
      value === undefined ? (name.split(/:(.*)/s) as [string, string]) : [name, value],
    );
  const dns = section.texts("dns");
  const search = section.texts("dns_search");
  const sysctls = section.pairs("sysctls");
  const hostname = section.text("hostname");
  if (section.text("pid") !== undefined && section.text("pid") !== "host")
    section.leaveOut("pid", "containers share the node's processes (host) or have their own");
  return {
    ...(grace === undefined
      ? {}
      : {
          terminationGracePeriodSeconds:
            seconds(grace) ??
            section.report.fail(section.at("stop_grace_period"), `${grace} is no duration`),
        }),
    ...(hosts.length === 0
      ? {}
      : { hostAliases: hosts.map(([name, ip]) => ({ ip, hostnames: [name] })) }),
    ...(dns.length + search.length === 0
      ? {}
      : {
          dnsConfig: {
            ...(dns.length === 0 ? {} : { nameservers: dns }),
            ...(search.length === 0 ? {} : { searches: search }),
          },
        }),
    ...(sysctls.length === 0
      ? {}
      : {
          securityContext: {
            sysctls: sysctls.map(([name, value]) => ({ name, value: value ?? "" })),
          },
        }),
    ...(hostname === undefined ? {} : { hostname: kubernetesName(hostname) }),
    ...(section.text("pid") === "host" ? { hostPID: true } : {}),
  };
}

const placeless: readonly (readonly [key: string, why: string])[] = [
  ["container_name", "pods are named by the cluster; others find the service by its own name"],
  ["extends", "write out what the other service says, or use a YAML anchor"],
  ["external_links", "a name in the same namespace needs no link"],
  ["logging", "logs are the node's; kubectl logs reads them"],
  ["ulimits", "limits of processes are the runtime's"],
  ["devices", "devices need a device plugin"],
  ["stop_signal", "the image says how it is stopped"],
  ["ipc", "containers of one pod share memory; others do not"],
  ["cgroup_parent", "control groups are the kubelet's"],
  ["runtime", "a RuntimeClass is chosen in the object itself"],
  ["gpus", "devices need a device plugin"],
  ["develop", "watching files is for the workstation"],
];

export function convertService(
  context: ConversionContext,
  name: string,
  section: Section,
): Service {
  const deploy = section.section("deploy");
  const shape = shapeOf(section, deploy, context.completing.has(name));
  if (context.completing.has(name) && shape.kind !== "Job") {
    section.report.fail(
      section.path,
      'others wait until it has completed, and it is restarted whenever it ends; say restart: "no" or on-failure',
    );
  }
  const { image, build } = buildOf(context, section, name);
  const published = portsOf(section);
  const exposed = section
    .texts("expose")
    .flatMap(
      (text) =>
        portMappings(text) ?? section.report.fail(section.at("expose"), `${text} is no port`),
    );
  const inside = unique([...published, ...exposed]);
  for (const { host } of published) {
    if (host !== undefined)
      section.report.leftOut(
        section.at("ports"),
        `the address ${host}: published ports answer at every address of the nodes`,
      );
  }
  const network = networksOf(context, section);
  const after = dependenciesOf(context, section);
  for (const [key, why] of placeless) section.leaveOut(key, why);
  section.ignore("attach", "init", "links", "scale", "profiles");
  const mounts = mountsOf(context, name, section);
  const container = convertContainer(context, name, section, deploy, {
    image,
    isBuilt: build !== undefined,
    ports: inside.map((port) => ({
      name: portName(port),
      containerPort: port.target,
      protocol: port.protocol,
    })),
    mounts: mounts.mounts,
  });
  const labels = labelsFor(context.project, name);
  const notes = Object.fromEntries(
    [...section.pairs("labels"), ...section.pairs("annotations")].map(([key, value]) => [
      key,
      value ?? "",
    ]),
  );
  const replicas = Number(deploy.text("replicas") ?? section.text("scale") ?? 1);
  const platform = section.text("platform")?.split("/")[1];
  const template = {
    metadata: { labels, ...(Object.keys(notes).length === 0 ? {} : { annotations: notes }) },
    spec: {
      ...(network.host ? { hostNetwork: true, dnsPolicy: "ClusterFirstWithHostNet" } : {}),
      ...podExtras(section),
      ...(platform === undefined ? {} : { nodeSelector: { "kubernetes.io/arch": platform } }),
      ...(shape.kind === "Job" ? { restartPolicy: shape.restartPolicy } : {}),
      containers: [container],
      ...(mounts.volumes.length === 0 ? {} : { volumes: mounts.volumes }),
    },
  };
  deploy.ignore("mode", "replicas", "labels", "endpoint_mode");
  for (const key of ["update_config", "rollback_config", "placement"])
    deploy.leaveOut(key, "set it on the object itself: kubectl edit");
  deploy.finish();
  const workload = workloadOf(
    kubernetesName(name),
    labels,
    shape,
    replicas,
    template,
    mounts.keepsData,
  );
  const services = servicesFor(context, name, labels, inside, published, network.aliases);
  return {
    name: kubernetesName(name),
    workload: shape.kind.toLowerCase(),
    published,
    objects: [workload, ...services],
    after,
    ...(build === undefined ? {} : { build }),
  };
}

function workloadOf(
  name: string,
  labels: JsonObject,
  shape: ReturnType<typeof shapeOf>,
  replicas: number,
  template: JsonObject,
  keepsData: boolean,
): JsonObject {
  const metadata = { name, labels };
  if (shape.kind === "Job") {
    const retries = shape.retries === undefined ? {} : { backoffLimit: shape.retries };
    return {
      apiVersion: "batch/v1",
      kind: "Job",
      metadata,
      spec: {
        ...retries,
        ...(replicas > 1 ? { completions: replicas, parallelism: replicas } : {}),
        template,
      },
    };
  }
  const selector = { matchLabels: labels };
  if (shape.kind === "DaemonSet")
    return { apiVersion: "apps/v1", kind: "DaemonSet", metadata, spec: { selector, template } };
  // Two pods at once must not write the same data.
  const strategy = keepsData ? { strategy: { type: "Recreate" } } : {};
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata,
    spec: { replicas, selector, ...strategy, template },
  };
}
