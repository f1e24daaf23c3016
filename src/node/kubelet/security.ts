/** Security contexts, of pod and container taken together, in the runtime's terms. Pure. */
import type { Container, SeccompProfile, SecurityContext } from "#api/generated/core/v1.ts";
import type {
  ContainerSecurity,
  Image,
  NamespaceMode,
  SandboxSecurity,
  SecurityProfile,
} from "#ports/runtime.ts";
import { formatPod, isHostNetwork, isPrivileged, type NodePod } from "./pod-spec.ts";

const maskedPaths = [
  "/proc/asound",
  "/proc/acpi",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/sys/firmware",
  "/sys/devices/virtual/powercap",
];
const readonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

const networkMode = (pod: NodePod): NamespaceMode => (isHostNetwork(pod) ? "node" : "pod");
const ipcMode = (pod: NodePod): NamespaceMode => (pod.spec.hostIPC === true ? "node" : "pod");
function pidMode(pod: NodePod): NamespaceMode {
  if (pod.spec.hostPID === true) return "node";
  return pod.spec.shareProcessNamespace === true ? "pod" : "container";
}

function supplementalGroups(pod: NodePod): number[] {
  const context = pod.spec.securityContext;
  return [
    ...(context?.fsGroup === undefined ? [] : [context.fsGroup]),
    ...(context?.supplementalGroups ?? []),
  ];
}

export function sandboxSecurity(pod: NodePod): SandboxSecurity {
  const context = pod.spec.securityContext;
  return {
    network: networkMode(pod),
    pid: pidMode(pod),
    ipc: ipcMode(pod),
    privileged: isPrivileged(pod),
    ...(context?.runAsUser === undefined ? {} : { runAsUser: context.runAsUser }),
    ...(context?.runAsGroup === undefined ? {} : { runAsGroup: context.runAsGroup }),
    supplementalGroups: supplementalGroups(pod),
    // The sandbox's own process needs nothing: it always runs confined.
    seccomp: { type: "RuntimeDefault" },
  };
}

/** The container's own context over the pod's. */
export function effectiveSecurityContext(pod: NodePod, container: Container): SecurityContext {
  const { runAsUser, runAsGroup, runAsNonRoot, seccompProfile, appArmorProfile } =
    pod.spec.securityContext ?? {};
  return {
    ...(runAsUser === undefined ? {} : { runAsUser }),
    ...(runAsGroup === undefined ? {} : { runAsGroup }),
    ...(runAsNonRoot === undefined ? {} : { runAsNonRoot }),
    ...(seccompProfile === undefined ? {} : { seccompProfile }),
    ...(appArmorProfile === undefined ? {} : { appArmorProfile }),
    ...container.securityContext,
  };
}

/** Undefined: nothing is said. */
function profile(from: SeccompProfile | undefined, root: string): SecurityProfile | undefined {
  if (from === undefined) return undefined;
  if (from.type === "Localhost") {
    return { type: "Localhost", path: `${root}${from.localhostProfile ?? ""}` };
  }
  return { type: from.type === "RuntimeDefault" ? "RuntimeDefault" : "Unconfined" };
}

export function containerSecurity(
  pod: NodePod,
  container: Container,
  image: Image | undefined,
  seccompDirectory: string,
): ContainerSecurity {
  const context = effectiveSecurityContext(pod, container);
  const { add = [], drop = [] } = context.capabilities ?? {};
  const user = context.runAsUser ?? imageUser(image);
  const seccomp = profile(context.seccompProfile, `${seccompDirectory}/`);
  const apparmor = profile(context.appArmorProfile, "");
  const unmasked = context.procMount === "Unmasked";
  const numeric = user !== undefined;
  return {
    pid: pidMode(pod),
    ipc: ipcMode(pod),
    privileged: context.privileged === true,
    ...(numeric ? { runAsUser: user } : {}),
    ...(!numeric && image?.username !== undefined ? { runAsUserName: image.username } : {}),
    ...(context.runAsGroup === undefined ? {} : { runAsGroup: context.runAsGroup }),
    supplementalGroups: supplementalGroups(pod),
    capabilities: { add, drop },
    readonlyRootFilesystem: context.readOnlyRootFilesystem === true,
    noNewPrivileges: context.allowPrivilegeEscalation === false,
    maskedPaths: unmasked ? [] : maskedPaths,
    readonlyPaths: unmasked ? [] : readonlyPaths,
    seccomp: seccomp ?? { type: "Unconfined" },
    ...(apparmor === undefined ? {} : { apparmor }),
  };
}

/** Undefined: the image names a user, whose number only the runtime can find. Without any it is root. */
const imageUser = (image: Image | undefined): number | undefined =>
  image?.uid ?? ((image?.username ?? "") === "" ? 0 : undefined);

/** runAsNonRoot: why the container must not start, if it must not. */
export function rootRefusal(
  pod: NodePod,
  container: Container,
  image: Image | undefined,
): string | undefined {
  const context = effectiveSecurityContext(pod, container);
  if (context.runAsNonRoot !== true) return undefined;
  const where = `(pod: "${formatPod(pod)}", container: ${container.name})`;
  if (context.runAsUser !== undefined) {
    if (context.runAsUser !== 0) return undefined;
    return `container's runAsUser breaks non-root policy ${where}`;
  }
  const user = imageUser(image);
  if (user === 0) return `container has runAsNonRoot and image will run as root ${where}`;
  if (user === undefined) {
    return (
      `container has runAsNonRoot and image has non-numeric user (${image?.username}), ` +
      `cannot verify user is non-root ${where}`
    );
  }
  return undefined;
}
