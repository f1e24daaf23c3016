/** The built-in kinds that the API server serves, in the order of their groups: one line a kind. */

import { MutatingWebhookConfiguration } from "./admissionregistration/v1/mutatingwebhookconfiguration.ts";
import { ValidatingAdmissionPolicy } from "./admissionregistration/v1/validatingadmissionpolicy.ts";
import { ValidatingAdmissionPolicyBinding } from "./admissionregistration/v1/validatingadmissionpolicybinding.ts";
import { ValidatingWebhookConfiguration } from "./admissionregistration/v1/validatingwebhookconfiguration.ts";
import { CustomResourceDefinition } from "./apiextensions/v1/customresourcedefinition.ts";
import { APIService } from "./apiregistration/v1/apiservice.ts";
import { ControllerRevision } from "./apps/v1/controllerrevision.ts";
import { DaemonSet } from "./apps/v1/daemonset.ts";
import { Deployment } from "./apps/v1/deployment.ts";
import { ReplicaSet } from "./apps/v1/replicaset.ts";
import { StatefulSet } from "./apps/v1/statefulset.ts";
import { CronJob } from "./batch/v1/cronjob.ts";
import { Job } from "./batch/v1/job.ts";
import { CertificateSigningRequest } from "./certificates/v1/certificatesigningrequest.ts";
import { ClusterTrustBundle } from "./certificates/v1/clustertrustbundle.ts";
import { PodCertificateRequest } from "./certificates/v1/podcertificaterequest.ts";
import { Lease } from "./coordination/v1/lease.ts";
import { ConfigMap } from "./core/v1/configmap.ts";
import { Endpoints } from "./core/v1/endpoints.ts";
import { Event } from "./core/v1/event.ts";
import { LimitRange } from "./core/v1/limitrange.ts";
import { Namespace } from "./core/v1/namespace.ts";
import { Node } from "./core/v1/node.ts";
import { PersistentVolume } from "./core/v1/persistentvolume.ts";
import { PersistentVolumeClaim } from "./core/v1/persistentvolumeclaim.ts";
import { Pod } from "./core/v1/pod.ts";
import { PodTemplate } from "./core/v1/podtemplate.ts";
import { ReplicationController } from "./core/v1/replicationcontroller.ts";
import { ResourceQuota } from "./core/v1/resourcequota.ts";
import { Secret } from "./core/v1/secret.ts";
import { Service } from "./core/v1/service.ts";
import { ServiceAccount } from "./core/v1/serviceaccount.ts";
import { EndpointSlice } from "./discovery/v1/endpointslice.ts";
import { Event as EventsEvent } from "./events/v1/event.ts";
import { FlowSchema } from "./flowcontrol/v1/flowschema.ts";
import { PriorityLevelConfiguration } from "./flowcontrol/v1/prioritylevelconfiguration.ts";
import { NodeMetrics } from "./metrics/v1beta1/nodemetrics.ts";
import { PodMetrics } from "./metrics/v1beta1/podmetrics.ts";
import { Ingress } from "./networking/v1/ingress.ts";
import { IngressClass } from "./networking/v1/ingressclass.ts";
import { IPAddress } from "./networking/v1/ipaddress.ts";
import { NetworkPolicy } from "./networking/v1/networkpolicy.ts";
import { ServiceCIDR } from "./networking/v1/servicecidr.ts";
import { RuntimeClass } from "./node/v1/runtimeclass.ts";
import { PodDisruptionBudget } from "./policy/v1/poddisruptionbudget.ts";
import { ClusterRole } from "./rbac/v1/clusterrole.ts";
import { ClusterRoleBinding } from "./rbac/v1/clusterrolebinding.ts";
import { Role } from "./rbac/v1/role.ts";
import { RoleBinding } from "./rbac/v1/rolebinding.ts";
import { DeviceClass } from "./resource/v1/deviceclass.ts";
import { DeviceTaintRule } from "./resource/v1/devicetaintrule.ts";
import { ResourceClaim } from "./resource/v1/resourceclaim.ts";
import { ResourceClaimTemplate } from "./resource/v1/resourceclaimtemplate.ts";
import { ResourceSlice } from "./resource/v1/resourceslice.ts";
import type { Resource } from "./resource.ts";
import { PriorityClass } from "./scheduling/v1/priorityclass.ts";
import { CSIDriver } from "./storage/v1/csidriver.ts";
import { CSINode } from "./storage/v1/csinode.ts";
import { CSIStorageCapacity } from "./storage/v1/csistoragecapacity.ts";
import { StorageClass } from "./storage/v1/storageclass.ts";
import { VolumeAttachment } from "./storage/v1/volumeattachment.ts";
import { VolumeAttributesClass } from "./storage/v1/volumeattributesclass.ts";
import { StorageVersionMigration } from "./storagemigration/v1/storageversionmigration.ts";

export const builtInResources: readonly Resource[] = [
  ConfigMap,
  Endpoints,
  Event,
  LimitRange,
  Namespace,
  Node,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  ResourceQuota,
  PodTemplate,
  ReplicationController,
  Secret,
  Service,
  ServiceAccount,
  ControllerRevision,
  DaemonSet,
  Deployment,
  ReplicaSet,
  StatefulSet,
  CronJob,
  Job,
  EventsEvent,
  CertificateSigningRequest,
  ClusterTrustBundle,
  PodCertificateRequest,
  Lease,
  EndpointSlice,
  Ingress,
  IngressClass,
  IPAddress,
  NetworkPolicy,
  ServiceCIDR,
  PodDisruptionBudget,
  ClusterRole,
  ClusterRoleBinding,
  Role,
  RoleBinding,
  RuntimeClass,
  PriorityClass,
  MutatingWebhookConfiguration,
  ValidatingAdmissionPolicy,
  ValidatingAdmissionPolicyBinding,
  ValidatingWebhookConfiguration,
  CustomResourceDefinition,
  DeviceClass,
  DeviceTaintRule,
  ResourceClaim,
  ResourceClaimTemplate,
  ResourceSlice,
  CSIDriver,
  CSINode,
  CSIStorageCapacity,
  StorageClass,
  VolumeAttachment,
  VolumeAttributesClass,
  FlowSchema,
  PriorityLevelConfiguration,
  APIService,
  StorageVersionMigration,
] as readonly unknown[] as readonly Resource[];

/** Kinds that nobody stores: the metrics addon makes them when they are asked for. */
export const metricsResources: readonly Resource[] = [
  NodeMetrics,
  PodMetrics,
] as readonly unknown[] as readonly Resource[];
