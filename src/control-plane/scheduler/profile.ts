/**
 * Profiles: which plugins there are, in upstream's order, with which settings, and what their scores weigh. The list is the order.
 */
import type { Plugin } from "./plugin.ts";
import { defaultBinder } from "./plugins/default-binder.ts";
import { type DefaultPreemptionArgs, defaultPreemption } from "./plugins/default-preemption.ts";
import { imageLocality } from "./plugins/image-locality.ts";
import { type InterPodAffinityArgs, interPodAffinity } from "./plugins/inter-pod-affinity.ts";
import { type NodeAffinityArgs, nodeAffinity } from "./plugins/node-affinity.ts";
import { nodeName } from "./plugins/node-name.ts";
import { nodePorts } from "./plugins/node-ports.ts";
import {
  type BalancedAllocationArgs,
  nodeResourcesBalancedAllocation,
} from "./plugins/node-resources-balanced-allocation.ts";
import { type NodeResourcesFitArgs, nodeResourcesFit } from "./plugins/node-resources-fit.ts";
import { nodeUnschedulable } from "./plugins/node-unschedulable.ts";
import { nodeVolumeLimits } from "./plugins/node-volume-limits.ts";
import {
  type PodTopologySpreadArgs,
  podTopologySpread,
  systemDefaultConstraints,
} from "./plugins/pod-topology-spread.ts";
import { prioritySort } from "./plugins/priority-sort.ts";
import { schedulingGates } from "./plugins/scheduling-gates.ts";
import { taintToleration } from "./plugins/taint-toleration.ts";
import { type VolumeBindingArgs, volumeBinding } from "./plugins/volume-binding.ts";
import { volumeRestrictions } from "./plugins/volume-restrictions.ts";
import { volumeZone } from "./plugins/volume-zone.ts";

export interface ProfilePlugin {
  readonly plugin: Plugin;
  readonly weight: number;
}
export interface Profile {
  /** Pods ask for it by this name. */
  readonly schedulerName: string;
  readonly plugins: readonly ProfilePlugin[];
  /** How many fitting nodes are enough, of a hundred; 0: upstream's share. */
  readonly percentageOfNodesToScore: number;
}

/** Settings of those plugins that have some, by the plugin's name. */
export interface PluginArgs {
  readonly DefaultPreemption: DefaultPreemptionArgs;
  readonly InterPodAffinity: InterPodAffinityArgs;
  readonly NodeAffinity: NodeAffinityArgs;
  readonly NodeResourcesBalancedAllocation: BalancedAllocationArgs;
  readonly NodeResourcesFit: NodeResourcesFitArgs;
  readonly PodTopologySpread: PodTopologySpreadArgs;
  readonly VolumeBinding: VolumeBindingArgs;
}

const cpuAndMemory = [
  { name: "cpu", weight: 1 },
  { name: "memory", weight: 1 },
];
export const defaultPluginArgs: PluginArgs = {
  DefaultPreemption: { minCandidateNodesPercentage: 10, minCandidateNodesAbsolute: 100 },
  InterPodAffinity: { hardPodAffinityWeight: 1, ignorePreferredTermsOfExistingPods: false },
  NodeAffinity: { addedAffinity: undefined },
  NodeResourcesBalancedAllocation: { resources: cpuAndMemory },
  NodeResourcesFit: {
    ignoredResources: [],
    ignoredResourceGroups: [],
    scoringStrategy: { type: "LeastAllocated", resources: cpuAndMemory, shape: [] },
  },
  PodTopologySpread: { defaultConstraints: systemDefaultConstraints, isSystemDefaulted: true },
  VolumeBinding: { bindTimeoutSeconds: 600 },
};

/** All plugins, in the order and with the weights of the default profile. */
export const allPlugins = (args: PluginArgs): readonly ProfilePlugin[] => [
  { plugin: schedulingGates, weight: 0 },
  { plugin: prioritySort, weight: 0 },
  { plugin: nodeName, weight: 0 },
  { plugin: nodeUnschedulable, weight: 0 },
  { plugin: taintToleration, weight: 3 },
  { plugin: nodeAffinity(args.NodeAffinity), weight: 2 },
  { plugin: nodePorts, weight: 0 },
  { plugin: nodeResourcesFit(args.NodeResourcesFit), weight: 1 },
  { plugin: volumeRestrictions, weight: 0 },
  { plugin: nodeVolumeLimits, weight: 0 },
  { plugin: volumeBinding(args.VolumeBinding), weight: 0 },
  { plugin: volumeZone, weight: 0 },
  { plugin: podTopologySpread(args.PodTopologySpread), weight: 2 },
  { plugin: interPodAffinity(args.InterPodAffinity), weight: 2 },
  { plugin: defaultPreemption(args.DefaultPreemption), weight: 0 },
  { plugin: nodeResourcesBalancedAllocation(args.NodeResourcesBalancedAllocation), weight: 1 },
  { plugin: imageLocality, weight: 1 },
  { plugin: defaultBinder, weight: 0 },
];

export const defaultProfile: Profile = {
  schedulerName: "default-scheduler",
  plugins: allPlugins(defaultPluginArgs),
  percentageOfNodesToScore: 0,
};
