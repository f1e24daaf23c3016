/** The runtime's configuration of a pod's sandbox. Pure. */
import type { SandboxConfig } from "#ports/runtime.ts";
import type { DnsSettings } from "./dns.ts";
import { type RuntimeLabels, sandboxLabels } from "./labels.ts";
import { isHostNetwork, type NodePod } from "./pod-spec.ts";
import { sandboxSecurity } from "./security.ts";

export interface SandboxInput {
  readonly pod: NodePod;
  readonly attempt: number;
  readonly hostname: string;
  readonly dns: DnsSettings;
  readonly logDirectory: string;
  readonly cgroupParent: string;
  readonly owned: RuntimeLabels;
}

export function sandboxConfig(input: SandboxInput): SandboxConfig {
  const { pod } = input;
  const sysctls = Object.fromEntries(
    (pod.spec.securityContext?.sysctls ?? []).map(({ name, value }) => [
      name.replaceAll("/", "."),
      value,
    ]),
  );
  return {
    name: pod.metadata.name,
    namespace: pod.metadata.namespace,
    uid: pod.metadata.uid,
    attempt: input.attempt,
    hostname: isHostNetwork(pod) ? "" : input.hostname,
    logDirectory: input.logDirectory,
    dns: input.dns,
    labels: sandboxLabels(pod, input.owned),
    annotations: pod.metadata.annotations ?? {},
    cgroupParent: input.cgroupParent,
    ...(Object.keys(sysctls).length === 0 ? {} : { sysctls }),
    security: sandboxSecurity(pod),
  };
}
