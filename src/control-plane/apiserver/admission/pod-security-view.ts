/** What the checks of pod security look at: a pod, or what a template will make one of. */
import type { Container, EphemeralContainer, PodSpec } from "#api/generated/core/v1.ts";

export interface SecurityView {
  readonly spec: PodSpec;
  readonly annotations: Readonly<Record<string, string>>;
  /** Init, regular, ephemeral. */
  readonly containers: readonly (Container | EphemeralContainer)[];
}

export const viewOf = (
  spec: PodSpec,
  annotations: Readonly<Record<string, string>> | undefined,
): SecurityView => ({
  spec,
  annotations: annotations ?? {},
  containers: [
    ...(spec.initContainers ?? []),
    ...(spec.containers ?? []),
    ...(spec.ephemeralContainers ?? []),
  ],
});

export const podsWindows = ({ spec }: SecurityView): boolean => spec.os?.name === "windows";
