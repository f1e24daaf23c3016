/**
 * Fields of features that are off by default in this version: dropped from what is written, unless
 * the object used them before. Pure.
 */
import type { Container, Pod, PodSpec, PodStatus, Volume } from "../../generated/core/v1.ts";
import { allContainersOf, handlersOf, probesOf } from "./pod-containers.ts";

type Visit = (holder: object, field: string) => void;

function visitUsers(volume: Volume, visit: Visit): void {
  const paths = (list: readonly object[] | undefined): void => {
    for (const item of list ?? []) visit(item, "user");
  };
  for (const source of [volume.secret, volume.configMap, volume.downwardAPI, volume.projected]) {
    if (source !== undefined) visit(source, "defaultUser");
  }
  for (const source of [volume.secret, volume.configMap, volume.downwardAPI]) paths(source?.items);
  for (const source of volume.projected?.sources ?? []) {
    for (const one of [source.secret, source.configMap, source.downwardAPI]) paths(one?.items);
    const { serviceAccountToken, clusterTrustBundle, podCertificate } = source;
    for (const one of [serviceAccountToken, clusterTrustBundle, podCertificate]) {
      if (one !== undefined) visit(one, "user");
    }
  }
}

const eachContainer =
  (run: (container: Container, visit: Visit) => void) =>
  (spec: PodSpec, visit: Visit): void => {
    for (const container of allContainersOf(spec)) run(container, visit);
  };

/** A line a feature: where its fields stand. */
const specFeatures: Readonly<Record<string, (spec: PodSpec, visit: Visit) => void>> = {
  AtomicWriteVolumeUserFields(spec, visit) {
    for (const volume of spec.volumes ?? []) visitUsers(volume, visit);
  },
  EmptyDirVolumeMode(spec, visit) {
    for (const { emptyDir } of spec.volumes ?? []) {
      if (emptyDir !== undefined) visit(emptyDir, "mode");
    }
  },
  GenericWorkload: (spec, visit) => visit(spec, "schedulingGroup"),
  EvictionRequestAPI: (spec, visit) => visit(spec, "evictionResponders"),
  VolumeBindMountOptions: eachContainer((container, visit) => {
    for (const mount of container.volumeMounts ?? []) visit(mount, "bindMountOptions");
  }),
  GRPCContainerProbeTLS: eachContainer((container, visit) => {
    for (const { grpc } of probesOf(container)) if (grpc !== undefined) visit(grpc, "mode");
  }),
  H2CContainerProbe: eachContainer((container, visit) => {
    for (const { httpGet } of [...probesOf(container), ...handlersOf(container)]) {
      if (httpGet !== undefined) visit(httpGet, "protocol");
    }
  }),
  ContainerStopSignals: eachContainer(({ lifecycle }, visit) => {
    if (lifecycle !== undefined) visit(lifecycle, "stopSignal");
  }),
};

const initContainerAnnotations = ["beta", "alpha"].flatMap((stage) =>
  ["init-containers", "init-container-statuses"].map(
    (name) => `pod.${stage}.kubernetes.io/${name}`,
  ),
);

function isUsed(
  feature: (spec: PodSpec, visit: Visit) => void,
  spec: PodSpec | undefined,
): boolean {
  let used = false;
  if (spec === undefined) return false;
  feature(spec, (holder, field) => {
    if (Object.hasOwn(holder, field)) used = true;
  });
  return used;
}

/** For pods and for the pod templates of workloads. */
export function dropDisabledTemplateFields(
  template: Pick<Pod, "metadata" | "spec">,
  old: Pick<Pod, "spec"> | undefined,
): void {
  const containers = allContainersOf(template.spec);
  const signalled = containers.filter(({ lifecycle }) => lifecycle?.stopSignal !== undefined);
  for (const feature of Object.values(specFeatures)) {
    if (isUsed(feature, old?.spec)) continue;
    feature(template.spec, (holder, field) => Reflect.deleteProperty(holder, field));
  }
  for (const container of signalled) {
    if (Object.keys(container.lifecycle ?? {}).length === 0) delete container.lifecycle;
  }
  const { annotations } = template.metadata ?? {};
  for (const key of initContainerAnnotations) delete annotations?.[key];
}

export function dropDisabledStatusFields(status: PodStatus, old: PodStatus | undefined): void {
  const keeps = (list: readonly unknown[] | undefined): boolean => (list ?? []).length > 0;
  if (!keeps(old?.nodeAllocatableResourceClaimStatuses)) {
    delete status.nodeAllocatableResourceClaimStatuses;
  }
  if (!keeps(old?.volumeHealth)) delete status.volumeHealth;
  const mountsOf = (one: PodStatus | undefined) =>
    [one?.initContainerStatuses, one?.containerStatuses, one?.ephemeralContainerStatuses]
      .flatMap((list) => list ?? [])
      .flatMap(({ volumeMounts }) => volumeMounts ?? []);
  if (mountsOf(old).some(({ volumeStatus }) => volumeStatus !== undefined)) return;
  for (const mount of mountsOf(status)) delete mount.volumeStatus;
}
