/**
 * A cluster's settings: from flags, from --config FILE (upstream's configuration kinds; flags win) and from its earlier life. What
 * the data depend on is fixed at the first start and kept in cluster.json.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { kindSchema } from "#api/facts.ts";
import type { KubeSchedulerConfiguration } from "#api/generated/kubescheduler-config/v1.ts";
import { schedulerSettings } from "#control-plane/scheduler/configuration.ts";
import type { SchedulerSettings } from "#control-plane/scheduler/scheduler.ts";
import { decodeObject } from "#machinery/decode.ts";
import { formatFieldError } from "#machinery/field-error.ts";
import { goDurationToMs } from "#machinery/go-duration.ts";
import { cidrSize, cidrsOverlap, parseCidr } from "#machinery/ip.ts";
import { parseQuantity, quantityToNumber } from "#machinery/quantity.ts";
import { readYamlDocuments } from "#machinery/yaml.ts";
import type { KubeletConfig } from "#node/kubelet/config.ts";
import { type Allotment, podCidrOf, portOf, serviceCidrOf } from "./allotment.ts";
import { type Arguments, readDuration, readInteger, UsageError } from "./arguments.ts";

export type RuntimeKind = "containerd" | "simulated";

/** Fixed for the cluster's life. */
export interface FixedSettings {
  readonly runtime: RuntimeKind;
  readonly podCidr: string;
  readonly serviceCidr: string;
  readonly domain: string;
  /** Of the containerd that was there already; undefined: one of our own. */
  readonly containerdSocket?: string;
  /** How many it had when it last started. */
  readonly nodes?: number;
}
export interface ClusterSettings extends FixedSettings {
  readonly name: string;
  readonly port: number;
  /** The port was asked for, so that another one will not do. */
  readonly portGiven: boolean;
  readonly nodes: number;
  /** Names that the server's certificate carries besides the usual ones. */
  readonly certificateNames: readonly string[];
  readonly kubelet: Partial<KubeletConfig>;
  /** Undefined: upstream's. */
  readonly scheduler?: SchedulerSettings;
  readonly timeoutMs: number;
}

/** What a configuration file says, as far as we act on it. */
export interface FileSettings {
  readonly podCidr?: string;
  readonly serviceCidr?: string;
  readonly domain?: string;
  readonly port?: number;
  readonly certificateNames?: readonly string[];
  readonly kubelet?: Partial<KubeletConfig>;
  readonly scheduler?: SchedulerSettings;
}

const nodesMax = 1000;
const realNodesMax = 16;
const fixedKeys = ["runtime", "podCidr", "serviceCidr", "domain", "containerdSocket"] as const;

export function settingsOf(
  given: Arguments,
  allotment: Allotment,
  kept: FixedSettings | undefined,
): ClusterSettings {
  const configFile = given.text("config");
  const file = configFile === undefined ? {} : readConfigFile(configFile);
  const asked = given.text("runtime") ?? "auto";
  if (!["auto", "containerd", "simulated"].includes(asked)) {
    throw new UsageError(`--runtime ${asked}: the runtimes are auto, containerd and simulated.`);
  }
  const runtime = asked === "auto" ? (kept?.runtime ?? "containerd") : (asked as RuntimeKind);
  const containerdSocket = given.text("containerd") ?? kept?.containerdSocket;
  const fixed: FixedSettings = {
    runtime,
    ...(containerdSocket === undefined ? {} : { containerdSocket }),
    podCidr: given.text("pod-cidr") ?? file.podCidr ?? kept?.podCidr ?? podCidrOf(allotment.index),
    serviceCidr:
      given.text("service-cidr") ??
      file.serviceCidr ??
      kept?.serviceCidr ??
      serviceCidrOf(allotment.index),
    domain: file.domain ?? kept?.domain ?? "cluster.local",
  };
  checkRanges(fixed);
  if (kept !== undefined) refuseChanges(kept, fixed, allotment);
  const portText = given.text("port");
  const nodes = readInteger(
    "--nodes",
    given.given("nodes") ? (given.text("nodes") ?? "1") : String(kept?.nodes ?? 1),
    1,
    nodesMax,
  );
  if (runtime !== "simulated" && nodes > realNodesMax) {
    throw new UsageError(
      `--nodes ${nodes}: at most ${realNodesMax} real nodes fit on one machine; more can be simulated: --runtime simulated.`,
    );
  }
  if (runtime !== "simulated" && nodes > 1 && containerdSocket !== undefined)
    throw new UsageError("--containerd serves one node; leave it out, or --nodes.");
  return {
    ...fixed,
    name: allotment.name,
    port:
      portText === undefined
        ? (file.port ?? portOf(allotment.index))
        : readInteger("--port", portText, 1, 65_535),
    portGiven: portText !== undefined || file.port !== undefined,
    nodes,
    certificateNames: file.certificateNames ?? [],
    kubelet: file.kubelet ?? {},
    ...(file.scheduler === undefined ? {} : { scheduler: file.scheduler }),
    timeoutMs: readDuration("--timeout", given.text("timeout") ?? "60s"),
  };
}

function checkRanges({ podCidr, serviceCidr }: FixedSettings): void {
  const ranges = { "--pod-cidr": podCidr, "--service-cidr": serviceCidr };
  for (const [flag, text] of Object.entries(ranges)) {
    const parsed = parseCidr(text);
    if (parsed === undefined || text.includes(":")) {
      throw new UsageError(`${flag} ${text}: not an IPv4 address range such as 10.244.0.0/16.`);
    }
    const least = flag === "--pod-cidr" ? 256n : 16n;
    if (cidrSize(parsed.cidr) < least) {
      throw new UsageError(`${flag} ${text}: too small; it must hold at least ${least} addresses.`);
    }
  }
  const [pods, services] = [parseCidr(podCidr), parseCidr(serviceCidr)];
  if (pods !== undefined && services !== undefined && cidrsOverlap(pods.cidr, services.cidr)) {
    throw new UsageError(
      `--pod-cidr ${podCidr} and --service-cidr ${serviceCidr} overlap; choose two ranges apart.`,
    );
  }
}

function refuseChanges(kept: FixedSettings, now: FixedSettings, { name }: Allotment): void {
  for (const key of fixedKeys) {
    if (kept[key] === now[key]) continue;
    const made = kept[key] === undefined ? `without ${key}` : `with ${key} ${kept[key]}`;
    throw new UsageError(
      `The cluster ${name} was made ${made}; ${now[key]} would not fit its data. ` +
        "Leave it out, choose another --name, or start over after wherry down --purge.",
    );
  }
}

export function readKept(file: string): FixedSettings | undefined {
  if (!existsSync(file)) return undefined;
  return JSON.parse(readFileSync(file, "utf8")) as FixedSettings;
}
export function keep(file: string, settings: FixedSettings): void {
  const { nodes } = settings;
  const kept = { ...Object.fromEntries(fixedKeys.map((key) => [key, settings[key]])), nodes };
  mkdirSync(dirname(file), { recursive: true, mode: 0o711 });
  writeFileSync(`${file}.new`, `${JSON.stringify(kept, null, 2)}\n`);
  renameSync(`${file}.new`, file);
}

type Document = Record<string, unknown>;
const kubeletFields = new Map<string, (value: never) => Partial<KubeletConfig>>([
  ["maxPods", (value: number) => ({ maxPods: value })],
  ["clusterDNS", (value: string[]) => ({ clusterDNS: value })],
  ["resolvConf", (value: string) => ({ resolvConf: value })],
  ["systemReserved", (value: Record<string, string>) => ({ systemReserved: value })],
  ["kubeReserved", (value: Record<string, string>) => ({ kubeReserved: value })],
  [
    "nodeStatusUpdateFrequency",
    (value: string) => ({ nodeStatusUpdateFrequencyMs: millis(value) }),
  ],
  [
    "nodeStatusReportFrequency",
    (value: string) => ({ nodeStatusReportFrequencyMs: millis(value) }),
  ],
  ["nodeLeaseDurationSeconds", (value: number) => ({ nodeLeaseDurationSeconds: value })],
  ["nodeStatusMaxImages", (value: number) => ({ nodeStatusMaxImages: value })],
  ["podPidsLimit", (value: number) => ({ podPidsLimit: value < 0 ? undefined : value })],
  ["containerLogMaxSize", (value: string) => ({ containerLogMaxBytes: bytesOf(value) })],
  ["containerLogMaxFiles", (value: number) => ({ containerLogMaxFiles: value })],
  [
    "containerLogMonitorInterval",
    (value: string) => ({ containerLogMonitorIntervalMs: millis(value) }),
  ],
  ["maxParallelImagePulls", (value: number) => ({ parallelImagePullsMax: value })],
] as [string, (value: never) => Partial<KubeletConfig>][]);

function millis(text: string): number {
  const ms = goDurationToMs(text);
  if (ms === undefined) throw new UsageError(`${text} is not a duration; write 10s or 5m.`);
  return ms;
}
function bytesOf(text: string): number {
  const parsed = parseQuantity(text);
  if ("problem" in parsed) throw new UsageError(`${text}: ${parsed.problem}`);
  return quantityToNumber(parsed.quantity);
}

/** Every document, checked against its kind's schema. What is known to Kubernetes but not acted on here is refused by name. */
export function readConfigFile(path: string): FileSettings {
  if (!existsSync(path)) throw new UsageError(`--config ${path}: there is no such file.`);
  let documents: unknown[];
  try {
    documents = readYamlDocuments(readFileSync(path, "utf8")).map(({ value }) => value);
  } catch (error) {
    throw new UsageError(
      `--config ${path}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  let settings: FileSettings = {};
  for (const document of documents) {
    if (document === null || document === undefined) continue;
    settings = { ...settings, ...readDocument(path, document as Document) };
  }
  return settings;
}

function readDocument(path: string, document: Document): FileSettings {
  const { apiVersion, kind } = document;
  switch (`${String(apiVersion)} ${String(kind)}`) {
    case "kubelet.config.k8s.io/v1beta1 KubeletConfiguration":
      return readKubelet(path, document);
    case "kubeadm.k8s.io/v1beta4 ClusterConfiguration":
      return readClusterConfiguration(path, document);
    case "kubescheduler.config.k8s.io/v1 KubeSchedulerConfiguration":
      return readScheduler(path, document);
    default:
      throw new UsageError(
        `--config ${path}: ${String(kind)} of ${String(apiVersion)} is not a configuration that is read here; ` +
          "there are KubeletConfiguration (kubelet.config.k8s.io/v1beta1), KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1) " +
          "and ClusterConfiguration (kubeadm.k8s.io/v1beta4).",
      );
  }
}

function checkFields(path: string, group: string, version: string, document: Document): void {
  const schema = kindSchema(group, version, String(document["kind"]));
  if (schema === undefined) throw new Error(`no schema of ${String(document["kind"])}`);
  try {
    const { strictErrors } = decodeObject(schema, document, { strict: true });
    if (strictErrors.length > 0) throw new UsageError(strictErrors.join(", "));
  } catch (error) {
    throw new UsageError(
      `--config ${path}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

function readScheduler(path: string, document: Document): FileSettings {
  checkFields(path, "kubescheduler.config.k8s.io", "v1", document);
  const read = schedulerSettings(document as unknown as KubeSchedulerConfiguration);
  if ("settings" in read) return { scheduler: read.settings };
  throw new UsageError(`--config ${path}: ${read.errors.map(formatFieldError).join("; ")}`);
}

function readKubelet(path: string, document: Document): FileSettings {
  checkFields(path, "kubelet.config.k8s.io", "v1beta1", document);
  let kubelet: Partial<KubeletConfig> = {};
  let domain: string | undefined;
  for (const [field, value] of Object.entries(document)) {
    if (field === "apiVersion" || field === "kind") continue;
    if (field === "clusterDomain") {
      domain = value as string;
      continue;
    }
    const read = kubeletFields.get(field);
    if (read === undefined) throw new UsageError(notActedOn(path, `KubeletConfiguration.${field}`));
    kubelet = { ...kubelet, ...read(value as never) };
  }
  return { kubelet, ...(domain === undefined ? {} : { domain }) };
}

const notActedOn = (path: string, field: string): string =>
  `--config ${path}: ${field} is not acted on by this version; take it out.`;

function readClusterConfiguration(path: string, document: Document): FileSettings {
  const known = new Set(["apiVersion", "kind", "clusterName", "networking", "apiServer"]);
  for (const field of Object.keys(document)) {
    if (!known.has(field)) throw new UsageError(notActedOn(path, `ClusterConfiguration.${field}`));
  }
  const networking = (document["networking"] ?? {}) as Document;
  const apiServer = (document["apiServer"] ?? {}) as Document;
  const text = (value: unknown, field: string): string | undefined => {
    if (value === undefined || typeof value === "string") return value;
    throw new UsageError(`--config ${path}: ClusterConfiguration.${field} must be a text.`);
  };
  const podCidr = text(networking["podSubnet"], "networking.podSubnet");
  const serviceCidr = text(networking["serviceSubnet"], "networking.serviceSubnet");
  const domain = text(networking["dnsDomain"], "networking.dnsDomain");
  const names = apiServer["certSANs"];
  return {
    ...(podCidr === undefined ? {} : { podCidr }),
    ...(serviceCidr === undefined ? {} : { serviceCidr }),
    ...(domain === undefined ? {} : { domain }),
    ...(Array.isArray(names) ? { certificateNames: names.map(String) } : {}),
  };
}
