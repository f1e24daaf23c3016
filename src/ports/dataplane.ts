/**
 * Dataplane: what the kernel (or the simulation) does with packets, said as keyed facts, never as rules.
 * The key names the fact for good: `service/ns/name:port`, `hostport/uid/8080`, `masquerade/…`.
 */
import type { Source } from "./stream.ts";

export type Protocol = "TCP" | "UDP" | "SCTP";
export interface Backend {
  readonly address: string;
  readonly port: number;
  readonly local: boolean;
}
/** One port of a Service. Without backends connections to it are refused at once. */
export interface ServiceFact {
  readonly type: "service";
  readonly protocol: Protocol;
  readonly port: number;
  /** Cluster IPs. */
  readonly addresses: readonly string[];
  /** What others route to a node and a Service answers (externalIPs). */
  readonly externalAddresses: readonly string[];
  /** Of its load balancer. */
  readonly balancerAddresses: readonly string[];
  readonly nodePort?: number;
  readonly backends: readonly Backend[];
  /**
   * Only local backends for traffic that came from outside (keeps the source address), or from inside. From this machine itself and its
   * pods what is outside may go to every backend all the same.
   */
  readonly externalLocal: boolean;
  readonly internalLocal: boolean;
  /** ClientIP affinity. */
  readonly affinitySeconds?: number;
  /** CIDRs that may use balancerAddresses; empty: all. */
  readonly sourceRanges: readonly string[];
}
/** A container's hostPort. */
export interface HostPortFact {
  readonly type: "hostPort";
  readonly protocol: Protocol;
  /** Empty: every address of the host. */
  readonly hostAddress: string;
  readonly hostPort: number;
  readonly backend: { readonly address: string; readonly port: number };
}
/** Traffic from `source` to anywhere but `except` leaves with the host's address. */
export interface MasqueradeFact {
  readonly type: "masquerade";
  readonly source: string;
  readonly except: readonly string[];
}
/** A packet route: to another node's pods, or (gateway undefined) one that only has to exist. */
export interface RouteFact {
  readonly type: "route";
  readonly destination: string;
  readonly gateway?: string;
  /** The host's own address that packets of its own carry. */
  readonly source?: string;
}
/**
 * This node's end of the tunnel that leads to nodes which are not on one network with it (routes to their pods go through it by
 * themselves). Without one such routes wait.
 */
export interface TunnelFact {
  readonly type: "tunnel";
  /** Our address in it, which no pod has. */
  readonly address: string;
  /** The node's own, between which the tunnel runs. */
  readonly endpoint: string;
  /** The same on all nodes of a cluster: 24 bits. */
  readonly network: number;
  /** Packets of others than these carry our address in the tunnel, so that answers come back by it. */
  readonly source: string;
}
export type Direction = "ingress" | "egress";
/**
 * Pods that only speak with whom a policy names, in one direction: everything but what one of `policies` (keys of PolicyFacts) lets
 * through is dropped. Always let through: what belongs to a connection that was, the pod itself, this machine to its pods.
 */
export interface GateFact {
  readonly type: "gate";
  readonly direction: Direction;
  /** A pod of this node. */
  readonly address: string;
  readonly policies: readonly string[];
}
/** What it lets through, at the gates that name it. */
export interface PolicyFact {
  readonly type: "policy";
  readonly direction: Direction;
  readonly rules: readonly PolicyRule[];
}
export interface PolicyRule {
  /** The other side; undefined: anyone. */
  readonly peers?: {
    readonly addresses: readonly string[];
    readonly blocks: readonly { readonly cidr: string; readonly except: readonly string[] }[];
  };
  /** Where the connection goes to; undefined: every port of every protocol. */
  readonly ports?: readonly PolicyPort[];
}
export interface PolicyPort {
  readonly protocol: Protocol;
  /** First and last; undefined: all. */
  readonly range?: readonly [number, number];
  /** Only at these addresses: the pods that call it by the name that the policy uses. */
  readonly at?: readonly string[];
}
export type DataplaneFact =
  | ServiceFact
  | HostPortFact
  | MasqueradeFact
  | RouteFact
  | TunnelFact
  | GateFact
  | PolicyFact;

export interface Dataplane {
  /** One atomic change as seen by packets; undefined deletes. Only what really changed is touched. */
  apply(changes: ReadonlyMap<string, DataplaneFact | undefined>): Promise<void>;
  /** Everything that is to hold from now on; what an earlier life left behind and is not in it goes. */
  replace(facts: ReadonlyMap<string, DataplaneFact>): Promise<void>;
  /** Someone else changed or flushed what we put there: the caller answers with replace(). */
  disturbed(): Source<string>;
  /** Takes everything of ours away. */
  remove(): Promise<void>;
}
