/** What every pod of a node shares: the ports and the kubelet's own stores and managers, in one value. */
import type { Service } from "#api/generated/core/v1.ts";
import type { Clock } from "#ports/clock.ts";
import type { Host } from "#ports/host.ts";
import type { Log } from "#ports/log.ts";
import type { Network } from "#ports/network.ts";
import type { Random } from "#ports/random.ts";
import type { Runtime } from "#ports/runtime.ts";
import type { Admission } from "./admission.ts";
import type { KubeletConfig, NodePlaces } from "./config.ts";
import type { DnsInput } from "./dns.ts";
import type { NodeFigures } from "./downward.ts";
import type { EventSink } from "./events.ts";
import type { ImageManager } from "./images.ts";
import type { PodCertificates } from "./pod-certificates.ts";
import type { NodePod } from "./pod-spec.ts";
import type { Prober } from "./prober/prober.ts";
import type { ReferenceStore } from "./references.ts";
import type { RuntimeReader } from "./runtime-status.ts";
import type { StatusManager } from "./status-manager.ts";
import type { TokenStore } from "./tokens.ts";
import type { VolumeManager } from "./volume-manager.ts";

export interface NodeServices {
  readonly runtime: Runtime;
  readonly host: Host;
  readonly clock: Clock;
  readonly random: Random;
  readonly network: Network;
  readonly log: Log;
  readonly config: KubeletConfig;
  readonly places: NodePlaces;
  /** "v1.37.2" */
  readonly version: string;
  readonly events: EventSink;
  readonly references: ReferenceStore;
  readonly images: ImageManager;
  readonly volumes: VolumeManager;
  readonly tokens: TokenStore;
  readonly certificates: PodCertificates;
  readonly statuses: StatusManager;
  readonly prober: Prober;
  readonly reader: RuntimeReader;
  readonly startedAtMs: number;
  /** Of the runtime: containerIDs start with it. */
  runtimeName(): string;
  figures(): NodeFigures;
  /** Whether the node has room for a pod that is here already to become as it is given. */
  resizeVerdict(pod: NodePod): Admission;
  memoryCapacityBytes(): number;
  /** Resolves when the Services of the cluster are known. */
  services(): Promise<Iterable<Service>>;
  dns(): Promise<DnsInput>;
  networkReady(): boolean;
  /** The handler of a RuntimeClass, by the class's name. */
  runtimeHandler(className: string): Promise<string>;
  /** Runtime events that carry this id belong to that pod. */
  claim(id: string, podUid: string): void;
  /**
   * Bounds how many calls start pods in the runtime at once. Containers go before sandboxes: of many pods at once the
   * first run soon, and what is done for a pod that runs is done while others start.
   */
  starting<T>(what: "sandbox" | "container", work: () => Promise<T>): Promise<T>;
}
