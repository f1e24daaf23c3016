import { expect, test } from "vitest";
import { policyOf } from "./pod-security.ts";
import { violationsOf } from "./pod-security-checks.ts";
import { viewOf } from "./pod-security-view.ts";

type Loose = Record<string, unknown>;
const told = (level: "baseline" | "restricted", spec: Loose, minor?: number): string[] =>
  violationsOf(level, minor, viewOf({ containers: [], ...spec }, {})).map(
    ({ reason, detail }) => `${reason} (${detail})`,
  );
const container = (securityContext: Loose | undefined, rest: Loose = {}): Loose => ({
  containers: [
    { name: "a", ...(securityContext === undefined ? {} : { securityContext }), ...rest },
  ],
});

test("a plain pod is fine for the baseline, and lacks four things for the restricted level", () => {
  expect(told("baseline", container(undefined))).toEqual([]);
  expect(told("restricted", container(undefined))).toEqual([
    'allowPrivilegeEscalation != false (container "a" must set securityContext.allowPrivilegeEscalation=false)',
    'unrestricted capabilities (container "a" must set securityContext.capabilities.drop=["ALL"])',
    'runAsNonRoot != true (pod or container "a" must set securityContext.runAsNonRoot=true)',
    'seccompProfile (pod or container "a" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")',
  ]);
  const good = {
    allowPrivilegeEscalation: false,
    capabilities: { drop: ["ALL"], add: ["NET_BIND_SERVICE"] },
    runAsNonRoot: true,
    seccompProfile: { type: "RuntimeDefault" },
  };
  expect(told("restricted", container(good))).toEqual([]);
});

test("what the baseline forbids", () => {
  expect(told("baseline", { hostNetwork: true, hostPID: true })).toEqual([
    "host namespaces (hostNetwork=true, hostPID=true)",
  ]);
  expect(told("baseline", container({ privileged: true }))).toEqual([
    'privileged (container "a" must not set securityContext.privileged=true)',
  ]);
  expect(told("baseline", container({ capabilities: { add: ["NET_ADMIN", "CHOWN"] } }))).toEqual([
    'non-default capabilities (container "a" must not include "NET_ADMIN" in securityContext.capabilities.add)',
  ]);
  expect(
    told("baseline", container(undefined, { ports: [{ hostPort: 80 }, { hostPort: 81 }] })),
  ).toEqual(['hostPort (container "a" uses hostPorts 80, 81)']);
  expect(told("baseline", { volumes: [{ name: "v", hostPath: { path: "/" } }] })).toEqual([
    'hostPath volumes (volume "v")',
  ]);
  expect(told("restricted", { volumes: [{ name: "v", hostPath: { path: "/" } }] })).toEqual([
    'restricted volume types (volume "v" uses restricted volume type "hostPath")',
  ]);
  expect(
    told("baseline", { securityContext: { seLinuxOptions: { type: "x", user: "u" } } }),
  ).toEqual([
    'seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "x"; user may not be set)',
  ]);
  expect(told("baseline", container({ procMount: "Unmasked" }))).toEqual([
    'procMount (container "a" must not set securityContext.procMount to "Unmasked")',
  ]);
  const profile = { securityContext: { appArmorProfile: { type: "Unconfined" } } };
  expect(told("baseline", profile)).toEqual([
    'forbidden AppArmor profile (pod must not set AppArmor profile type to "Unconfined")',
  ]);
});

test("versions of the standards differ", () => {
  const sysctls = { securityContext: { sysctls: [{ name: "net.ipv4.tcp_rmem", value: "1" }] } };
  expect(told("baseline", sysctls, 31)).toEqual(["forbidden sysctls (net.ipv4.tcp_rmem)"]);
  expect(told("baseline", sysctls, 32)).toEqual([]);
  const probe = container(undefined, { livenessProbe: { httpGet: { host: "h" } } });
  expect(told("baseline", probe, 33)).toEqual([]);
  expect(told("baseline", probe)).toEqual([
    'probe or lifecycle host (container "a" uses probe or lifecycle host "h")',
  ]);
});

test("labels make the policy", () => {
  const label = (name: string) => `pod-security.kubernetes.io/${name}`;
  expect(policyOf(undefined)).toMatchObject({ enforce: { level: "privileged" }, errors: [] });
  const policy = policyOf({ [label("enforce")]: "baseline", [label("enforce-version")]: "v1.25" });
  expect(policy.enforce).toEqual({ level: "baseline", minor: 25 });
  expect(policy.warn).toEqual({ level: "baseline", minor: 25 });
  const bad = policyOf({ [label("enforce")]: "strict", [label("warn-version")]: "1.2" });
  expect(bad.enforce.level).toBe("restricted");
  expect(bad.errors.map(({ path, message }) => `${path}: ${message}`)).toEqual([
    'metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "strict": must be one of privileged, baseline, restricted',
    'metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: "1.2": must be "latest" or "v1.x"',
  ]);
});
