/** All controllers, in the order in which they start. A new one is a file and a line here. */
import type { Client } from "#client/client.ts";
import { createInformers, type Informers } from "#client/informer.ts";
import type { Metrics } from "#machinery/metrics.ts";
import type { Clock } from "#ports/clock.ts";
import type { Log } from "#ports/log.ts";
import type { Random } from "#ports/random.ts";
import { certificateController } from "./certificates.ts";
import { clusterRoleAggregationController } from "./clusterrole-aggregation.ts";
import {
  type Controller,
  type ControllerSettings,
  type ControllerWorld,
  defaultSettings,
  type Running,
} from "./controller.ts";
import { cronJobController } from "./cronjob.ts";
import { daemonSetController } from "./daemonset.ts";
import { deploymentController } from "./deployment.ts";
import { disruptionController, staleDisruptionController } from "./disruption.ts";
import { endpointsController } from "./endpoints.ts";
import { endpointSliceController } from "./endpointslice.ts";
import { endpointSliceMirroringController } from "./endpointslice-mirroring.ts";
import { ephemeralVolumeController } from "./ephemeral-volume.ts";
import { garbageCollector } from "./garbage-collector.ts";
import { horizontalPodAutoscalerController } from "./horizontal-pod-autoscaler.ts";
import { ingressServiceController } from "./ingress-service.ts";
import { ingressStatusController } from "./ingress-status.ts";
import { jobController } from "./job.ts";
import { namespaceController } from "./namespace.ts";
import { nodeIpamController } from "./node-ipam.ts";
import { nodeLifecycleController } from "./node-lifecycle.ts";
import { persistentVolumeBinder } from "./persistent-volume-binder.ts";
import { persistentVolumeClaimBinder } from "./persistent-volume-claim-binder.ts";
import { podCertificateCleaner } from "./pod-certificate-cleaner.ts";
import { podGcController } from "./pod-gc.ts";
import { policyTypesController } from "./policy-types.ts";
import { replicaSetController } from "./replicaset.ts";
import { replicationController } from "./replicationcontroller.ts";
import { resourceQuotaController } from "./resourcequota.ts";
import { rootCaCertPublisher } from "./root-ca-cert-publisher.ts";
import { serviceLoadBalancerController } from "./service-load-balancer.ts";
import { serviceAccountController } from "./serviceaccount.ts";
import { statefulSetController } from "./statefulset.ts";
import {
  pvcProtectionController,
  pvProtectionController,
  vacProtectionController,
} from "./storage-protection.ts";
import { taintEvictionController } from "./taint-eviction.ts";
import { tokenCleanerController } from "./token-cleaner.ts";
import { trustBundlePublisher } from "./trust-bundle-publisher.ts";
import { ttlAfterFinishedController } from "./ttl-after-finished.ts";

export const controllers: readonly Controller[] = [
  serviceAccountController,
  rootCaCertPublisher,
  trustBundlePublisher,
  clusterRoleAggregationController,
  certificateController,
  tokenCleanerController,
  podCertificateCleaner,
  namespaceController,
  nodeIpamController,
  nodeLifecycleController,
  taintEvictionController,
  replicaSetController,
  replicationController,
  deploymentController,
  statefulSetController,
  daemonSetController,
  jobController,
  cronJobController,
  ttlAfterFinishedController,
  disruptionController,
  staleDisruptionController,
  horizontalPodAutoscalerController,
  endpointSliceController,
  endpointSliceMirroringController,
  endpointsController,
  serviceLoadBalancerController,
  ingressServiceController,
  ingressStatusController,
  persistentVolumeClaimBinder,
  persistentVolumeBinder,
  pvcProtectionController,
  pvProtectionController,
  vacProtectionController,
  ephemeralVolumeController,
  podGcController,
  resourceQuotaController,
  policyTypesController,
  garbageCollector,
];

export interface ControllersOptions {
  /**
   * Upstream's names: "system:kube-controller-manager", "system:serviceaccount:kube-system:NAME".
   */
  readonly clientFor: (identity: string) => Client;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly settings?: Partial<ControllerSettings>;
  readonly metrics?: Metrics;
  /**
   * Shared with others in the process; stays running when the controllers stop. Default: their own.
   */
  readonly informers?: Informers;
  /** Default: all. */
  readonly controllers?: readonly Controller[];
}

/** Runs them until stop(), which resolves when no work is under way any more. */
export function startControllers(options: ControllersOptions): Running {
  const { clientFor, clock, random, log } = options;
  const own = options.informers === undefined;
  const informers =
    options.informers ??
    createInformers(clientFor("system:kube-controller-manager"), {
      clock,
      random: random.fork("informers"),
      log,
    });
  const settings = { ...defaultSettings, ...options.settings };
  const counted = options.metrics === undefined ? {} : { metrics: options.metrics };
  const world: ControllerWorld = { clientFor, informers, clock, random, log, settings, ...counted };
  const running = (options.controllers ?? controllers).map((controller) => controller.start(world));
  return {
    async stop() {
      await Promise.all(running.map((one) => one.stop()));
      if (own) informers.stop();
    },
  };
}
