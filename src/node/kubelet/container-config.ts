/** The runtime's configuration of a container, from its spec and what was prepared for it. Pure but for sub-paths. */
import type { Container, VolumeMount } from "#api/generated/core/v1.ts";
import type { ContainerConfig, Image, Mount } from "#ports/runtime.ts";
import { ConfigError } from "./environment.ts";
import { expand } from "./expansion.ts";
import { parseImage } from "./image-reference.ts";
import { containerAnnotations, containerLabels, type RuntimeLabels } from "./labels.ts";
import { containerLogPath } from "./paths.ts";
import type { NodePod } from "./pod-spec.ts";
import { containerResources } from "./resources.ts";
import { containerSecurity } from "./security.ts";
import type { MountedVolumes } from "./volume-manager.ts";
import type { MountedVolume } from "./volumes/volume.ts";

export interface ContainerInput {
  readonly pod: NodePod;
  readonly container: Container;
  readonly attempt: number;
  readonly imageReference: string;
  readonly image: Image | undefined;
  readonly environment: ReadonlyMap<string, string>;
  readonly mounts: readonly Mount[];
  readonly memoryCapacityBytes: number;
  readonly seccompDirectory: string;
  readonly owned: RuntimeLabels;
  /** The container whose processes an ephemeral one wants to see. */
  readonly targetId: string | undefined;
}

export function containerConfig(input: ContainerInput): ContainerConfig {
  const { pod, container, environment } = input;
  const expanded = (texts: readonly string[] | undefined): string[] =>
    (texts ?? []).map((text) => expand(text, (name) => environment.get(name)));
  return {
    name: container.name,
    attempt: input.attempt,
    image: input.imageReference,
    command: expanded(container.command),
    args: expanded(container.args),
    ...((container.workingDir ?? "") === ""
      ? {}
      : { workingDirectory: container.workingDir ?? "" }),
    env: [...environment].map(([name, value]) => ({ name, value })),
    mounts: input.mounts,
    labels: containerLabels(pod, container.name, input.owned),
    annotations: containerAnnotations(pod, container, input.attempt),
    logPath: containerLogPath(container.name, input.attempt),
    stdin: container.stdin === true,
    stdinOnce: container.stdinOnce === true,
    tty: container.tty === true,
    resources: containerResources(pod, container, input.memoryCapacityBytes),
    security: {
      ...containerSecurity(pod, container, input.image, input.seccompDirectory),
      ...(input.targetId === undefined ? {} : { pid: "target", pidTarget: input.targetId }),
    },
  };
}

/** subPath, or subPathExpr with every variable known. */
export function subPathOf(mount: VolumeMount, environment: ReadonlyMap<string, string>): string {
  const expression = mount.subPathExpr ?? "";
  if (expression === "") return mount.subPath ?? "";
  const missing = new Set<string>();
  const path = expand(expression, (name) => {
    const value = environment.get(name) ?? "";
    if (value === "") missing.add(name);
    return value;
  });
  if (missing.size > 0) throw new ConfigError(`missing value for ${[...missing].join(", ")}`);
  return path;
}

const propagations: Readonly<Record<string, "private" | "hostToContainer" | "bidirectional">> = {
  None: "private",
  HostToContainer: "hostToContainer",
  Bidirectional: "bidirectional",
};

export async function volumeMounts(
  container: Container,
  volumes: MountedVolumes,
  environment: ReadonlyMap<string, string>,
  pathOf: (mount: VolumeMount, subPath: string, mounted: MountedVolume) => Promise<string>,
): Promise<Mount[]> {
  const mounts: Mount[] = [];
  for (const mount of container.volumeMounts ?? []) {
    const mounted = volumes.get(mount.name);
    if (mounted === undefined) {
      throw new ConfigError(
        `cannot find volume "${mount.name}" to mount into container "${container.name}"`,
      );
    }
    const { mountPath } = mount;
    const containerPath = mountPath.startsWith("/") ? mountPath : `/${mountPath}`;
    if (mounted.image !== undefined) {
      const parsed = parseImage(mounted.image.reference);
      const reference = "problem" in parsed ? mounted.image.reference : parsed.reference;
      const subPath = subPathOf(mount, environment);
      // Upstream: images are never mounted with propagation.
      mounts.push({ containerPath, hostPath: "", image: { reference, subPath }, readonly: true });
      continue;
    }
    mounts.push({
      containerPath,
      hostPath: await pathOf(mount, subPathOf(mount, environment), mounted),
      readonly: mount.readOnly === true || mounted.readOnly === true,
      propagation: propagations[mount.mountPropagation ?? "None"] ?? "private",
    });
  }
  return mounts;
}
