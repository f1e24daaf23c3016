import { expect, test } from "vitest";
import { formatFieldError } from "#machinery/field-error.ts";
import { Service } from "./service.ts";
import { keepAllocatedValues, settleIpFamilies } from "./service-addresses.ts";

type Spec = Partial<Service["spec"]>;

function service(spec: Spec, annotations: Record<string, string> = {}): Service {
  const made: Service = {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "web", namespace: "default", annotations },
    spec: { ports: [{ port: 80, targetPort: 80 }], ...spec },
    status: { loadBalancer: {} },
  };
  Service.strategy.defaults?.(made);
  return made;
}
const ip = { clusterIP: "10.96.0.9", clusterIPs: ["10.96.0.9"] };

const errorsOf = (spec: Spec, annotations?: Record<string, string>): string[] =>
  (Service.strategy.validate?.(service(spec, annotations)) ?? []).map(formatFieldError);
const changeErrors = (spec: Spec, old: Spec): string[] =>
  (Service.strategy.validateUpdate?.(service(spec), service(old)) ?? []).map(formatFieldError);
const warningsOf = (spec: Spec, annotations?: Record<string, string>): string[] =>
  Service.strategy.warnings?.(service(spec, annotations), undefined) ?? [];
const cellsOf = (one: Service): unknown[] =>
  Service.printerColumns.map(({ value }) => value(one, 0));

test("defaults by type", () => {
  expect(service({ type: "LoadBalancer" }).spec).toMatchObject({
    externalTrafficPolicy: "Cluster",
    internalTrafficPolicy: "Cluster",
    allocateLoadBalancerNodePorts: true,
  });
  const named = service({ type: "ExternalName", externalName: "a.b" }).spec;
  expect(named.internalTrafficPolicy).toBeUndefined();
  expect(named.externalTrafficPolicy).toBeUndefined();
  expect(service({ externalIPs: ["192.0.2.1"] }).spec.externalTrafficPolicy).toBe("Cluster");
  expect(service({ sessionAffinity: "ClientIP" }).spec.sessionAffinityConfig).toEqual({
    clientIP: { timeoutSeconds: 10_800 },
  });
  expect(service({ sessionAffinityConfig: {} }).spec.sessionAffinityConfig).toBeUndefined();
});

test("a sound Service", () => {
  expect(errorsOf(ip)).toEqual([]);
  expect(errorsOf({ clusterIP: "None", clusterIPs: ["None"], ports: [] })).toEqual([]);
  expect(errorsOf({ type: "ExternalName", externalName: "example.com.", ports: [] })).toEqual([]);
});

test("ports", () => {
  expect(errorsOf({ ...ip, ports: [] })).toEqual(["spec.ports: Required value"]);
  const ports = [
    { name: "a", port: 80, targetPort: "http-port-much-too-long" },
    { port: 80, targetPort: 0 },
    { name: "a", port: 70_000, targetPort: 1, protocol: "ICMP", appProtocol: "x y" },
  ];
  expect(errorsOf({ ...ip, ports })).toEqual([
    'spec.ports[0].targetPort: Invalid value: "http-port-much-too-long": must be no more than 15 characters',
    "spec.ports[1].name: Required value",
    'spec.ports[2].name: Duplicate value: "a"',
    "spec.ports[2].port: Invalid value: 70000: must be between 1 and 65535, inclusive",
    'spec.ports[2].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"',
    expect.stringMatching(/^spec.ports\[2\].appProtocol: Invalid value: "x y": name part must/),
    'spec.ports[1]: Duplicate value: {"Name":"","Protocol":"TCP","AppProtocol":null,"Port":80,"TargetPort":0,"NodePort":0}',
  ]);
  const nodes = [
    { name: "a", port: 1, targetPort: 1, nodePort: 30_000 },
    { name: "b", port: 2, targetPort: 2, nodePort: 30_000 },
  ];
  expect(errorsOf({ ...ip, type: "NodePort", ports: nodes })).toEqual([
    "spec.ports[1].nodePort: Duplicate value: 30000",
  ]);
  expect(errorsOf({ ...ip, ports: nodes.slice(0, 1) })).toEqual([
    "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
  ]);
});

test("types and what goes with them", () => {
  expect(errorsOf({ type: "ExternalName", ...ip })).toEqual([
    "spec.clusterIPs: Forbidden: may not be set for ExternalName services",
    "spec.externalName: Required value",
  ]);
  expect(errorsOf({ type: "NodePort", clusterIP: "None", clusterIPs: ["None"] })).toEqual([
    "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
  ]);
  expect(errorsOf({ ...ip, type: "Odd" })).toEqual([
    'spec.type: Unsupported value: "Odd": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"',
  ]);
  const balanced = {
    ...ip,
    loadBalancerClass: "c",
    loadBalancerSourceRanges: ["10.0.0.1/8"],
    allocateLoadBalancerNodePorts: true,
  };
  expect(errorsOf(balanced)).toEqual([
    "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
    'spec.LoadBalancerSourceRanges[0]: Invalid value: "10.0.0.1/8": must not have bits set beyond the prefix length',
    "spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'",
    "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
  ]);
  const annotation = "service.beta.kubernetes.io/load-balancer-source-ranges";
  expect(errorsOf({ ...ip, type: "LoadBalancer" }, { [annotation]: " 10.0.0.0/8, x" })).toEqual([
    `metadata.annotations[${annotation}]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)`,
  ]);
});

test("policies and affinity", () => {
  expect(errorsOf({ ...ip, externalTrafficPolicy: "Local", healthCheckNodePort: 1 })).toEqual([
    'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services',
    "spec.healthCheckNodePort: Invalid value: 1: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
  ]);
  const clientIP = { timeoutSeconds: 90_000 };
  const sticky = { sessionAffinity: "ClientIP", sessionAffinityConfig: { clientIP } };
  expect(errorsOf({ ...ip, ...sticky, trafficDistribution: "Far" })).toEqual([
    "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 90000: must be greater than 0 and less than 86400",
    'spec.trafficDistribution: Unsupported value: "Far": supported values: "PreferClose", "PreferSameZone", "PreferSameNode"',
  ]);
});

test("addresses", () => {
  expect(errorsOf({ clusterIP: "x", clusterIPs: ["x"] })).toEqual([
    'spec.clusterIPs[0]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
  ]);
  const pair = ["10.0.0.1", "10.0.0.2"];
  expect(errorsOf({ clusterIP: "10.0.0.1", clusterIPs: pair, ipFamilies: ["IPv6"] })).toEqual([
    'spec.clusterIPs: Invalid value: ["10.0.0.1","10.0.0.2"]: may specify no more than one IP for each IP family',
    'spec.clusterIPs[0]: Invalid value: "10.0.0.1": expected an IPv6 value as indicated by `ipFamilies[0]`',
  ]);
  expect(
    errorsOf({ ...ip, externalIPs: ["127.0.0.1", "0.0.0.0", "fe80::1", "224.0.0.5"] }),
  ).toEqual([
    'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)',
    'spec.externalIPs[1]: Invalid value: "0.0.0.0": may not be unspecified (0.0.0.0)',
    'spec.externalIPs[2]: Invalid value: "fe80::1": may not be in the link-local range (169.254.0.0/16, fe80::/10)',
    'spec.externalIPs[3]: Invalid value: "224.0.0.5": may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)',
  ]);
});

test("changes", () => {
  const other = { clusterIP: "10.96.0.8", clusterIPs: ["10.96.0.8"] };
  expect(changeErrors(other, ip)).toEqual([
    'spec.clusterIPs[0]: Invalid value: ["10.96.0.8"]: may not change once set',
  ]);
  expect(changeErrors({}, ip)).toEqual([
    "spec.clusterIPs[0]: Invalid value: null: primary clusterIP can not be unset",
  ]);
  const two = { ...ip, clusterIPs: ["10.96.0.9", "fd00::9"] };
  const dual = { ...two, ipFamilies: ["IPv4", "IPv6"], ipFamilyPolicy: "PreferDualStack" };
  expect(
    changeErrors({ ...ip, ipFamilies: ["IPv4"], ipFamilyPolicy: "PreferDualStack" }, dual),
  ).toEqual([
    "spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be set to 'SingleStack' when releasing the secondary clusterIP",
    "spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be set to 'SingleStack' when releasing the secondary ipFamily",
  ]);
  const local = { ...ip, type: "LoadBalancer", externalTrafficPolicy: "Local" };
  expect(
    changeErrors(
      { ...local, healthCheckNodePort: 30_001 },
      { ...local, healthCheckNodePort: 30_002 },
    ),
  ).toEqual(["spec.healthCheckNodePort: Forbidden: field is immutable"]);
});

test("families in a cluster of two", () => {
  const settle = (spec: Spec, old?: Spec) => {
    const one = service(spec);
    const before = old === undefined ? undefined : service(old);
    const errors = settleIpFamilies(one, before, ["IPv4", "IPv6"]).map(formatFieldError);
    return errors.length > 0 ? errors : one.spec.ipFamilies;
  };
  expect(settle({})).toEqual(["IPv4"]);
  expect(settle({ ipFamilyPolicy: "PreferDualStack", ipFamilies: ["IPv6"] })).toEqual([
    "IPv6",
    "IPv4",
  ]);
  expect(settle({ ipFamilies: ["IPv4", "IPv6"] })).toEqual([
    "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified",
  ]);
  const two = { ...ip, clusterIPs: ["10.96.0.9", "fd00::9"], ipFamilies: ["IPv4", "IPv6"] };
  const dual = { ...two, ipFamilyPolicy: "RequireDualStack" };
  expect(settle({ ...dual, clusterIPs: ip.clusterIPs }, dual)).toEqual([
    "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": must be 'SingleStack' to release the secondary cluster IP",
  ]);
  expect(settle({ ...two, ipFamilyPolicy: "SingleStack" }, dual)).toEqual(["IPv4"]);
});

test("node ports are kept by the port's name, unless another took them", () => {
  const old = service({
    type: "NodePort",
    ports: [
      { name: "a", port: 1, targetPort: 1, nodePort: 30_001 },
      { name: "b", port: 2, targetPort: 2, nodePort: 30_002 },
    ],
  });
  const next = service({
    type: "NodePort",
    ports: [
      { name: "a", port: 9, targetPort: 1 },
      { name: "b", port: 2, targetPort: 2 },
      { name: "c", port: 3, targetPort: 3, nodePort: 30_002 },
    ],
  });
  keepAllocatedValues(next, old);
  expect(next.spec.ports?.map(({ nodePort }) => nodePort)).toEqual([30_001, undefined, 30_002]);
});

test("status", () => {
  const judge = (spec: Spec, ingress: object[]) => {
    const one = service(spec);
    one.status.loadBalancer.ingress = ingress;
    return (Service.strategy.validateStatusUpdate?.(one, service(spec)) ?? []).map(
      formatFieldError,
    );
  };
  expect(judge({}, [{ ip: "1.2.3.4" }])).toEqual([
    "status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'",
  ]);
  expect(judge({ type: "LoadBalancer" }, [{ ip: "1.2.3.4" }, { hostname: "1.2.3.4" }])).toEqual([
    "status.loadBalancer.ingress[0].ipMode: Required value: must be specified when `ip` is set",
    'status.loadBalancer.ingress[1].hostname: Invalid value: "1.2.3.4": must be a DNS name, not an IP address',
  ]);
});

test("warnings", () => {
  expect(warningsOf({ ...ip, externalIPs: ["192.0.2.1"], externalName: "a" })).toEqual([
    "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
    'spec.externalName is ignored when spec.type is not "ExternalName"',
  ]);
  const headless = { clusterIP: "None", clusterIPs: ["None"], loadBalancerIP: "192.0.2.1" };
  expect(warningsOf({ ...headless, sessionAffinity: "ClientIP" })).toEqual([
    "spec.loadBalancerIP is ignored for headless services",
    "spec.SessionAffinity is ignored for headless services",
  ]);
  expect(warningsOf(ip, { "service.kubernetes.io/topology-aware-hints": "auto" })).toEqual([
    "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead",
  ]);
});

test("cells", () => {
  const selector = { b: "2", a: "1" };
  const ports = [{ port: 80, targetPort: 80, nodePort: 30_080 }];
  expect(cellsOf(service({ ...ip, type: "NodePort", ports, selector }))).toEqual([
    "NodePort",
    "10.96.0.9",
    "<none>",
    "80:30080/TCP",
    "<unknown>",
    "a=1,b=2",
  ]);
  const balanced = service({ ...ip, type: "LoadBalancer", externalIPs: ["192.0.2.1"] });
  balanced.status.loadBalancer.ingress = [{ hostname: "lb.example.com" }, { ip: "192.0.2.9" }];
  expect(cellsOf(balanced)[2]).toBe("192.0.2.9,lb.example.com,192.0.2.1");
  expect(cellsOf(service({ ...ip, type: "LoadBalancer" }))[2]).toBe("<pending>");
  const named = service({ type: "ExternalName", externalName: "a.b", ports: [] });
  expect(cellsOf(named).slice(0, 4)).toEqual(["ExternalName", "<none>", "a.b", "<none>"]);
});
