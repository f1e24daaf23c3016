/**
 * The containers of a pod's spec: which there are, in which order they are looked at, what kind
 * each is. Pure.
 */
import type { Container, EphemeralContainer, PodSpec } from "../../generated/core/v1.ts";

export type ContainerKind = "initContainers" | "containers" | "ephemeralContainers";

export interface VisitedContainer {
  /** Ephemeral containers have one field more, which nobody looks at here. */
  readonly container: Container;
  readonly kind: ContainerKind;
  readonly index: number;
  /** "spec.containers[0]" below `path`. */
  readonly path: string;
}

/**
 * Init containers first, then the regular ones, then the ephemeral ones: upstream's order of
 * visiting.
 */
export function visitContainers(spec: PodSpec, path = "spec"): VisitedContainer[] {
  const visit = (
    containers: readonly (Container | EphemeralContainer)[] | null | undefined,
    kind: ContainerKind,
  ): VisitedContainer[] =>
    (containers ?? []).map((container, index) => ({
      container,
      kind,
      index,
      path: `${path}.${kind}[${index}]`,
    }));
  return [
    ...visit(spec.initContainers, "initContainers"),
    ...visit(spec.containers, "containers"),
    ...visit(spec.ephemeralContainers, "ephemeralContainers"),
  ];
}

/** The same without paths. */
export const allContainersOf = (spec: PodSpec): Container[] => [
  ...(spec.initContainers ?? []),
  ...(spec.containers ?? []),
  ...(spec.ephemeralContainers ?? []),
];

/** An init container that keeps running beside the regular ones. */
export const isSidecar = (container: Container | undefined): boolean =>
  container?.restartPolicy === "Always";

export function probesOf(container: Container): NonNullable<Container["livenessProbe"]>[] {
  const { livenessProbe, readinessProbe, startupProbe } = container;
  return [livenessProbe, readinessProbe, startupProbe].filter((probe) => probe !== undefined);
}
export function handlersOf({ lifecycle }: Container) {
  return [lifecycle?.postStart, lifecycle?.preStop].filter((handler) => handler !== undefined);
}
