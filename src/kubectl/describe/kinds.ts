/** The list of descriptions, by "Kind" or "Kind.group"; what is not in it is described by its fields. */
import { describeHorizontalPodAutoscaler } from "./autoscalers.ts";
import {
  describeCsiNode,
  describeIngressClass,
  describeIpAddress,
  describePodDisruptionBudget,
  describeServiceCidr,
  describeStorageClass,
  describeVolumeAttributesClass,
} from "./classes.ts";
import {
  describeLimitRange,
  describeNamespace,
  describeNode,
  describePersistentVolume,
  describePersistentVolumeClaim,
  describeResourceQuota,
} from "./cluster.ts";
import {
  describeConfigMap,
  describePriorityClass,
  describeRole,
  describeRoleBinding,
  describeSecret,
  describeServiceAccount,
} from "./configuration.ts";
import type { Describe } from "./describe.ts";
import { describeAnything } from "./generic.ts";
import {
  describeEndpointSlice,
  describeEndpoints,
  describeIngress,
  describeService,
} from "./network.ts";
import { describeNetworkPolicy } from "./network-policy.ts";
import {
  describeCronJob,
  describeDaemonSet,
  describeDeployment,
  describeJob,
  describePod,
  describeReplicaSet,
  describeReplicationController,
  describeStatefulSet,
} from "./workloads.ts";

const kinds: Readonly<Record<string, Describe>> = {
  Pod: describePod,
  ReplicationController: describeReplicationController,
  Node: describeNode,
  Service: describeService,
  Endpoints: describeEndpoints,
  ConfigMap: describeConfigMap,
  Secret: describeSecret,
  ServiceAccount: describeServiceAccount,
  Namespace: describeNamespace,
  PersistentVolume: describePersistentVolume,
  PersistentVolumeClaim: describePersistentVolumeClaim,
  ResourceQuota: describeResourceQuota,
  LimitRange: describeLimitRange,
  "Deployment.apps": describeDeployment,
  "ReplicaSet.apps": describeReplicaSet,
  "StatefulSet.apps": describeStatefulSet,
  "DaemonSet.apps": describeDaemonSet,
  "HorizontalPodAutoscaler.autoscaling": describeHorizontalPodAutoscaler,
  "Job.batch": describeJob,
  "CronJob.batch": describeCronJob,
  "EndpointSlice.discovery.k8s.io": describeEndpointSlice,
  "PriorityClass.scheduling.k8s.io": describePriorityClass,
  "Ingress.networking.k8s.io": describeIngress,
  "IngressClass.networking.k8s.io": describeIngressClass,
  "IPAddress.networking.k8s.io": describeIpAddress,
  "NetworkPolicy.networking.k8s.io": describeNetworkPolicy,
  "ServiceCIDR.networking.k8s.io": describeServiceCidr,
  "PodDisruptionBudget.policy": describePodDisruptionBudget,
  "StorageClass.storage.k8s.io": describeStorageClass,
  "CSINode.storage.k8s.io": describeCsiNode,
  "VolumeAttributesClass.storage.k8s.io": describeVolumeAttributesClass,
  "Role.rbac.authorization.k8s.io": describeRole,
  "ClusterRole.rbac.authorization.k8s.io": describeRole,
  "RoleBinding.rbac.authorization.k8s.io": describeRoleBinding,
  "ClusterRoleBinding.rbac.authorization.k8s.io": describeRoleBinding,
};

export function descriptionOf({
  kind,
  group,
}: {
  readonly kind: string;
  readonly group: string;
}): Describe {
  return kinds[group === "" ? kind : `${kind}.${group}`] ?? describeAnything;
}
