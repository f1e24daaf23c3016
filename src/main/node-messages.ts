/** What the cluster's process and the node's thread say to each other. */
import type { Engine } from "#adapters/containerd/engine.ts";
import type { LogLevel } from "#adapters/nodejs/log.ts";
import type { Identity } from "#cluster/certificates.ts";
import type { Address } from "#ports/network.ts";
import type { ClusterPaths } from "./allotment.ts";
import type { ClusterSettings } from "./settings.ts";

/** What the thread needs before there is an API server. */
export interface NodeThreadInput {
  readonly nodeName: string;
  readonly address: string;
  readonly paths: ClusterPaths;
  readonly settings: ClusterSettings;
  /** It is the machine's first node: it has the port and the paths that others expect. */
  readonly isFirst: boolean;
  /** The cluster's number on this machine. */
  readonly clusterIndex: number;
  readonly logLevel: LogLevel;
}

/** Who the node's parts are to the API server, and to whom they answer. */
export interface NodeLink {
  /** The API server: its socket on this machine, or where it is on another one. */
  readonly apiServer: Address;
  readonly authority: string;
  readonly kubelet: Identity;
  readonly proxy: Identity;
  readonly dns: Identity;
  /** Undefined: this node answers for no Ingress. */
  readonly ingress?: Identity;
  readonly server: Identity;
}

export type EngineFacts = Pick<Engine, "pid" | "version">;

export type ToNode =
  /** The cluster's data are ours: open containerd. */
  | { readonly type: "open"; readonly input: NodeThreadInput }
  /** The API server answers on its socket: run. */
  | { readonly type: "begin"; readonly link: NodeLink }
  /** New certificates: from now on these. */
  | { readonly type: "renew"; readonly link: NodeLink }
  /** End. With pods: they stop first, and containerd after them. */
  | { readonly type: "stop"; readonly withPods: boolean }
  /** The last piece of log is written. */
  | { readonly type: "wrote" };

export type FromNode =
  /** containerd answers. */
  | { readonly type: "opened"; readonly engine: EngineFacts | undefined }
  /** Kubelet, proxy and DNS run. */
  | { readonly type: "started" }
  | { readonly type: "log"; readonly text: string };
