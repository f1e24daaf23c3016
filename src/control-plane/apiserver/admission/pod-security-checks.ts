/**
 * Pod security: what the levels "baseline" and "restricted" forbid a pod, check by check, as of each version of the standards; reasons
 * and details are worded as upstream words them. Pure.
 */
import { podsWindows, type SecurityView } from "./pod-security-view.ts";

/** Why a pod does not fit: in short, and which part of it. */
export interface Violation {
  readonly reason: string;
  readonly detail: string;
}

interface Check {
  readonly id: string;
  readonly level: "baseline" | "restricted";
  /** Checks of the other level that this one makes superfluous. */
  readonly overrides?: readonly string[];
  /** From minor version on; the last that applies counts. */
  readonly versions: readonly (readonly [
    minor: number,
    check: (pod: SecurityView) => Violation | undefined,
  ])[];
}

const quoted = (names: Iterable<string>): string =>
  [...names].map((name) => `"${name}"`).join(", ");
const sorted = (names: Iterable<string>): string[] => [...new Set(names)].sort();
const plural = (one: string, many: string, count: number): string => (count === 1 ? one : many);
const containers = (names: readonly string[]): string =>
  `${plural("container", "containers", names.length)} ${quoted(names)}`;

/** "pod and containers "a", "b"": who set something. */
function setters(pod: boolean, names: readonly string[]): string {
  const parts = [...(pod ? ["pod"] : []), ...(names.length > 0 ? [containers(names)] : [])];
  return parts.join(" and ");
}

const found = (reason: string, detail: string): Violation => ({ reason, detail });

function hostNamespaces({ spec }: SecurityView): Violation | undefined {
  const set = (["hostNetwork", "hostPID", "hostIPC"] as const).filter(
    (name) => spec[name] === true,
  );
  if (set.length === 0) return undefined;
  return found("host namespaces", set.map((name) => `${name}=true`).join(", "));
}

function privileged({ containers: all }: SecurityView): Violation | undefined {
  const bad = all.filter(({ securityContext }) => securityContext?.privileged === true);
  if (bad.length === 0) return undefined;
  const names = containers(bad.map(({ name }) => name));
  return found("privileged", `${names} must not set securityContext.privileged=true`);
}

const defaultCapabilities = new Set([
  "AUDIT_WRITE",
  "CHOWN",
  "DAC_OVERRIDE",
  "FOWNER",
  "FSETID",
  "KILL",
  "MKNOD",
  "NET_BIND_SERVICE",
  "SETFCAP",
  "SETGID",
  "SETPCAP",
  "SETUID",
  "SYS_CHROOT",
]);

/** Containers that add capabilities beyond these, and which. */
function addedBeyond({ containers: all }: SecurityView, allowed: ReadonlySet<string>) {
  const names: string[] = [];
  const capabilities: string[] = [];
  for (const { name, securityContext } of all) {
    const bad = (securityContext?.capabilities?.add ?? []).filter((one) => !allowed.has(one));
    if (bad.length === 0) continue;
    names.push(name);
    capabilities.push(...bad);
  }
  return { names, capabilities: sorted(capabilities) };
}

function baselineCapabilities(pod: SecurityView): Violation | undefined {
  const { names, capabilities } = addedBeyond(pod, defaultCapabilities);
  if (names.length === 0) return undefined;
  const detail = `${containers(names)} must not include ${quoted(capabilities)} in securityContext.capabilities.add`;
  return found("non-default capabilities", detail);
}

function restrictedCapabilities(pod: SecurityView): Violation | undefined {
  const keeping = pod.containers
    .filter(({ securityContext }) => securityContext?.capabilities?.drop?.includes("ALL") !== true)
    .map(({ name }) => name);
  const { names, capabilities } = addedBeyond(pod, new Set(["NET_BIND_SERVICE"]));
  const details: string[] = [];
  if (keeping.length > 0)
    details.push(`${containers(keeping)} must set securityContext.capabilities.drop=["ALL"]`);
  if (names.length > 0) {
    details.push(
      `${containers(names)} must not include ${quoted(capabilities)} in securityContext.capabilities.add`,
    );
  }
  return details.length === 0 ? undefined : found("unrestricted capabilities", details.join("; "));
}

function hostPathVolumes({ spec }: SecurityView): Violation | undefined {
  const bad = (spec.volumes ?? []).filter(({ hostPath }) => hostPath !== undefined);
  if (bad.length === 0) return undefined;
  const names = quoted(bad.map(({ name }) => name));
  return found("hostPath volumes", `${plural("volume", "volumes", bad.length)} ${names}`);
}

const plainVolumes = new Set([
  "configMap",
  "csi",
  "downwardAPI",
  "emptyDir",
  "ephemeral",
  "image",
  "persistentVolumeClaim",
  "projected",
  "secret",
]);

function restrictedVolumes({ spec }: SecurityView): Violation | undefined {
  const typeOf = (volume: object): string =>
    Object.keys(volume).find((key) => key !== "name") ?? "unknown";
  const bad = (spec.volumes ?? []).filter((volume) => !plainVolumes.has(typeOf(volume)));
  if (bad.length === 0) return undefined;
  const types = sorted(bad.map(typeOf));
  const detail = [
    plural("volume", "volumes", bad.length),
    quoted(bad.map(({ name }) => name)),
    plural("uses", "use", bad.length),
    plural("restricted volume type", "restricted volume types", types.length),
    quoted(types),
  ].join(" ");
  return found("restricted volume types", detail);
}

function hostPorts({ containers: all }: SecurityView): Violation | undefined {
  const portsOf = ({ ports = [] }: SecurityView["containers"][number]): string[] =>
    ports.flatMap(({ hostPort = 0 }) => (hostPort === 0 ? [] : [String(hostPort)]));
  const bad = all.filter((container) => portsOf(container).length > 0);
  if (bad.length === 0) return undefined;
  const ports = sorted(bad.flatMap(portsOf));
  const detail = [
    containers(bad.map(({ name }) => name)),
    plural("uses", "use", bad.length),
    plural("hostPort", "hostPorts", ports.length),
    ports.join(", "),
  ].join(" ");
  return found("hostPort", detail);
}

function probeHosts({ containers: all }: SecurityView): Violation | undefined {
  const names: string[] = [];
  const hosts: string[] = [];
  for (const container of all) {
    const { livenessProbe, readinessProbe, startupProbe, lifecycle } = container;
    const handlers = [
      livenessProbe,
      readinessProbe,
      startupProbe,
      lifecycle?.postStart,
      lifecycle?.preStop,
    ];
    const bad = handlers
      .flatMap((one) => [one?.httpGet?.host ?? "", one?.tcpSocket?.host ?? ""])
      .filter((host) => host !== "");
    if (bad.length > 0) names.push(container.name);
    hosts.push(...bad);
  }
  if (names.length === 0) return undefined;
  const own = sorted(names);
  const different = sorted(hosts);
  const detail = [
    containers(own),
    plural("uses", "use", own.length),
    plural("probe or lifecycle host", "probe or lifecycle hosts", different.length),
    quoted(different),
  ].join(" ");
  return found("probe or lifecycle host", detail);
}

function procMount({ containers: all }: SecurityView): Violation | undefined {
  const bad = all.filter(
    ({ securityContext }) => (securityContext?.procMount ?? "Default") !== "Default",
  );
  if (bad.length === 0) return undefined;
  const types = sorted(bad.map(({ securityContext }) => securityContext?.procMount ?? ""));
  const names = containers(bad.map(({ name }) => name));
  return found("procMount", `${names} must not set securityContext.procMount to ${quoted(types)}`);
}

function appArmor({ spec, annotations, containers: all }: SecurityView): Violation | undefined {
  const allowed = new Set<string | undefined>([undefined, "RuntimeDefault", "Localhost"]);
  const ofPod = spec.securityContext?.appArmorProfile?.type;
  const ofContainer = (one: (typeof all)[number]) => one.securityContext?.appArmorProfile?.type;
  const bad = all.filter((one) => !allowed.has(ofContainer(one)));
  const forbidden = Object.entries(annotations).filter(
    ([key, value]) =>
      key.startsWith("container.apparmor.security.beta.kubernetes.io/") &&
      value !== "" &&
      value !== "runtime/default" &&
      !value.startsWith("localhost/"),
  );
  const who = setters(
    !allowed.has(ofPod),
    bad.map(({ name }) => name),
  );
  const values = sorted(
    [ofPod, ...bad.map(ofContainer)].filter((one) => !allowed.has(one)) as string[],
  );
  values.push(...forbidden.map(([key, value]) => `${key}=${JSON.stringify(value)}`).sort());
  if (values.length === 0) return undefined;
  const noted =
    forbidden.length === 0 ? [] : [plural("annotation", "annotations", forbidden.length)];
  const everyone = [...(who === "" ? [] : [who]), ...noted].join(" and ");
  return found(
    plural("forbidden AppArmor profile", "forbidden AppArmor profiles", values.length),
    `${everyone} must not set AppArmor profile type to ${quoted(values)}`,
  );
}

const seLinux =
  (types: readonly string[]) =>
  ({ spec, containers: all }: SecurityView): Violation | undefined => {
    const wrongTypes: string[] = [];
    let user = false;
    let role = false;
    const isBad = (
      options: NonNullable<typeof spec.securityContext>["seLinuxOptions"],
    ): boolean => {
      if (options === undefined) return false;
      const { type = "" } = options;
      const wrong = type !== "" && !types.includes(type);
      if (wrong) wrongTypes.push(type);
      if ((options.user ?? "") !== "") user = true;
      if ((options.role ?? "") !== "") role = true;
      return wrong || (options.user ?? "") !== "" || (options.role ?? "") !== "";
    };
    const pod = isBad(spec.securityContext?.seLinuxOptions);
    const bad = all.filter(({ securityContext }) => isBad(securityContext?.seLinuxOptions));
    if (!pod && bad.length === 0) return undefined;
    const different = sorted(wrongTypes);
    const data = [
      ...(different.length > 0
        ? [`${plural("type", "types", different.length)} ${quoted(different)}`]
        : []),
      ...(user ? ["user may not be set"] : []),
      ...(role ? ["role may not be set"] : []),
    ];
    const who = setters(
      pod,
      bad.map(({ name }) => name),
    );
    return found(
      "seLinuxOptions",
      `${who} set forbidden securityContext.seLinuxOptions: ${data.join("; ")}`,
    );
  };

const goodSeccomp = new Set(["Localhost", "RuntimeDefault"]);

/** Profiles that somebody set, and that are none. */
function wrongSeccomp({ spec, containers: all }: SecurityView): Violation | undefined {
  const ofPod = spec.securityContext?.seccompProfile?.type;
  const isBad = (type: string | undefined): boolean => type !== undefined && !goodSeccomp.has(type);
  const bad = all.filter(({ securityContext }) => isBad(securityContext?.seccompProfile?.type));
  if (!isBad(ofPod) && bad.length === 0) return undefined;
  const values = sorted([
    ...(isBad(ofPod) ? [ofPod ?? ""] : []),
    ...bad.map(({ securityContext }) => securityContext?.seccompProfile?.type ?? ""),
  ]);
  const who = setters(
    isBad(ofPod),
    bad.map(({ name }) => name),
  );
  const detail = `${who} must not set securityContext.seccompProfile.type to ${quoted(values)}`;
  return found("seccompProfile", detail);
}

function seccompAnnotations({ annotations, containers: all }: SecurityView): Violation | undefined {
  const keys = [
    "seccomp.security.alpha.kubernetes.io/pod",
    ...all.map(({ name }) => `container.seccomp.security.alpha.kubernetes.io/${name}`),
  ];
  const isGood = (value: string): boolean =>
    value === "runtime/default" || value === "docker/default" || value.startsWith("localhost/");
  const bad = keys.filter((key) => {
    const value = annotations[key];
    return value !== undefined && !isGood(value);
  });
  if (bad.length === 0) return undefined;
  const shown = sorted(bad.map((key) => `${key}=${JSON.stringify(annotations[key])}`));
  const detail = `forbidden ${plural("annotation", "annotations", shown.length)} ${shown.join(", ")}`;
  return found("seccompProfile", detail);
}

function restrictedSeccomp(pod: SecurityView): Violation | undefined {
  const wrong = wrongSeccomp(pod);
  if (wrong !== undefined) return wrong;
  if (pod.spec.securityContext?.seccompProfile !== undefined) return undefined;
  const silent = pod.containers
    .filter(({ securityContext }) => securityContext?.seccompProfile === undefined)
    .map(({ name }) => name);
  if (silent.length === 0) return undefined;
  const detail = `pod or ${containers(silent)} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"`;
  return found("seccompProfile", detail);
}

const safeSysctls: readonly (readonly [minor: number, names: readonly string[]])[] = [
  [
    0,
    [
      "kernel.shm_rmid_forced",
      "net.ipv4.ip_local_port_range",
      "net.ipv4.tcp_syncookies",
      "net.ipv4.ping_group_range",
      "net.ipv4.ip_unprivileged_port_start",
    ],
  ],
  [27, ["net.ipv4.ip_local_reserved_ports"]],
  [
    29,
    [
      "net.ipv4.tcp_keepalive_time",
      "net.ipv4.tcp_fin_timeout",
      "net.ipv4.tcp_keepalive_intvl",
      "net.ipv4.tcp_keepalive_probes",
    ],
  ],
  [32, ["net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"]],
  [37, ["net.ipv4.tcp_slow_start_after_idle", "net.ipv4.tcp_notsent_lowat"]],
];

const sysctls =
  (minor: number) =>
  ({ spec }: SecurityView): Violation | undefined => {
    const safe = safeSysctls.flatMap(([from, names]) => (from <= minor ? names : []));
    const bad = (spec.securityContext?.sysctls ?? []).filter(({ name }) => !safe.includes(name));
    if (bad.length === 0) return undefined;
    return found("forbidden sysctls", bad.map(({ name }) => name).join(", "));
  };

function windowsHostProcess({ spec, containers: all }: SecurityView): Violation | undefined {
  const pod = spec.securityContext?.windowsOptions?.hostProcess === true;
  const bad = all
    .filter(({ securityContext }) => securityContext?.windowsOptions?.hostProcess === true)
    .map(({ name }) => name);
  if (!pod && bad.length === 0) return undefined;
  const detail = `${setters(pod, bad)} must not set securityContext.windowsOptions.hostProcess=true`;
  return found("hostProcess", detail);
}

function privilegeEscalation({ containers: all }: SecurityView): Violation | undefined {
  const bad = all
    .filter(({ securityContext }) => securityContext?.allowPrivilegeEscalation !== false)
    .map(({ name }) => name);
  if (bad.length === 0) return undefined;
  const detail = `${containers(bad)} must set securityContext.allowPrivilegeEscalation=false`;
  return found("allowPrivilegeEscalation != false", detail);
}

function nonRoot({ spec, containers: all }: SecurityView): Violation | undefined {
  const reason = "runAsNonRoot != true";
  const ofPod = spec.securityContext?.runAsNonRoot;
  const of = (value: boolean | undefined): string[] =>
    all
      .filter(({ securityContext }) => securityContext?.runAsNonRoot === value)
      .map(({ name }) => name);
  const saying = of(false);
  if (ofPod === false || saying.length > 0) {
    const who = setters(ofPod === false, saying);
    return found(reason, `${who} must not set securityContext.runAsNonRoot=false`);
  }
  const silent = ofPod === true ? [] : of(undefined);
  if (silent.length === 0) return undefined;
  return found(reason, `pod or ${containers(silent)} must set securityContext.runAsNonRoot=true`);
}

function rootUser({ spec, containers: all }: SecurityView): Violation | undefined {
  const pod = spec.securityContext?.runAsUser === 0;
  const bad = all
    .filter(({ securityContext }) => securityContext?.runAsUser === 0)
    .map(({ name }) => name);
  if (!pod && bad.length === 0) return undefined;
  return found("runAsUser=0", `${setters(pod, bad)} must not set runAsUser=0`);
}

type One = (pod: SecurityView) => Violation | undefined;
/** Windows has none of it. */
const unlessWindows =
  (check: One): One =>
  (pod) =>
    podsWindows(pod) ? undefined : check(pod);
/** A pod with users of its own is root of nothing. */
const unlessOwnUsers =
  (check: One): One =>
  (pod) =>
    pod.spec.hostUsers === false ? undefined : check(pod);

const seLinuxTypes = ["container_t", "container_init_t", "container_kvm_t"];

/** In the order of their ids, the baseline's first. */
const checks: readonly Check[] = [
  { id: "appArmorProfile", level: "baseline", versions: [[0, appArmor]] },
  { id: "capabilities_baseline", level: "baseline", versions: [[0, baselineCapabilities]] },
  { id: "hostNamespaces", level: "baseline", versions: [[0, hostNamespaces]] },
  { id: "hostPathVolumes", level: "baseline", versions: [[0, hostPathVolumes]] },
  { id: "hostPorts", level: "baseline", versions: [[0, hostPorts]] },
  { id: "hostProbesAndHostLifecycle", level: "baseline", versions: [[34, probeHosts]] },
  { id: "privileged", level: "baseline", versions: [[0, privileged]] },
  {
    id: "procMount",
    level: "baseline",
    versions: [
      [0, procMount],
      [35, unlessOwnUsers(procMount)],
    ],
  },
  {
    id: "seLinuxOptions",
    level: "baseline",
    versions: [
      [0, seLinux(seLinuxTypes)],
      [31, seLinux([...seLinuxTypes, "container_engine_t"])],
    ],
  },
  {
    id: "seccompProfile_baseline",
    level: "baseline",
    versions: [
      [0, seccompAnnotations],
      [19, wrongSeccomp],
    ],
  },
  {
    id: "sysctls",
    level: "baseline",
    versions: safeSysctls.map(([minor]) => [minor, sysctls(minor)] as const),
  },
  { id: "windowsHostProcess", level: "baseline", versions: [[0, windowsHostProcess]] },
  {
    id: "allowPrivilegeEscalation",
    level: "restricted",
    versions: [
      [8, privilegeEscalation],
      [25, unlessWindows(privilegeEscalation)],
    ],
  },
  {
    id: "capabilities_restricted",
    level: "restricted",
    overrides: ["capabilities_baseline"],
    versions: [
      [22, restrictedCapabilities],
      [25, unlessWindows(restrictedCapabilities)],
    ],
  },
  {
    id: "procMount_restricted",
    level: "restricted",
    overrides: ["procMount"],
    versions: [[35, procMount]],
  },
  {
    id: "restrictedVolumes",
    level: "restricted",
    overrides: ["hostPathVolumes"],
    versions: [[0, restrictedVolumes]],
  },
  {
    id: "runAsNonRoot",
    level: "restricted",
    versions: [
      [0, nonRoot],
      [35, unlessOwnUsers(nonRoot)],
    ],
  },
  {
    id: "runAsUser",
    level: "restricted",
    versions: [
      [23, rootUser],
      [35, unlessOwnUsers(rootUser)],
    ],
  },
  {
    id: "seccompProfile_restricted",
    level: "restricted",
    overrides: ["seccompProfile_baseline"],
    versions: [
      [19, restrictedSeccomp],
      [25, unlessWindows(restrictedSeccomp)],
    ],
  },
];

const latestMinor = Math.max(...checks.flatMap(({ versions }) => versions.map(([from]) => from)));

/** `minor` undefined: the latest. */
export function violationsOf(
  level: "privileged" | "baseline" | "restricted",
  minor: number | undefined,
  pod: SecurityView,
): Violation[] {
  if (level === "privileged") return [];
  const at = Math.min(minor ?? latestMinor, latestMinor);
  const current = checks.filter(
    (check) =>
      (level === "restricted" || check.level === "baseline") &&
      check.versions.some(([from]) => from <= at),
  );
  const overridden = new Set(current.flatMap(({ overrides }) => overrides ?? []));
  return current.flatMap(({ id, versions }) => {
    if (overridden.has(id)) return [];
    const check = versions.findLast(([from]) => from <= at)?.[1];
    return check?.(pod) ?? [];
  });
}
