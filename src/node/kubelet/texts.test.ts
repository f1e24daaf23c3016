import { expect, test } from "vitest";
import type { PodSpec } from "#api/generated/core/v1.ts";
import { parseResolvConf, podDns } from "./dns.ts";
import { fieldValue, resourceFieldValue } from "./downward.ts";
import { expand } from "./expansion.ts";
import { kernelHostname, podHostname, podHostsFile } from "./hostname.ts";
import { httpTarget, resolvePort } from "./http-get.ts";
import { credentialsFor, parseImage } from "./image-reference.ts";
import { LineSplitter, parseLogLine } from "./log-format.ts";
import type { NodePod } from "./pod-spec.ts";
import { decodeStatus, encodeRequest } from "./prober/grpc-health.ts";
import { serviceVariables } from "./service-env.ts";

function podOf(spec: Partial<PodSpec> = {}): NodePod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "web-0", namespace: "shop", uid: "u1", labels: { app: 'a"b' } },
    spec: { containers: [{ name: "a", resources: { limits: { cpu: "1500m" } } }], ...spec },
    status: {},
  };
}

test("references are replaced, unknown ones and escaped ones stay", () => {
  const values = new Map([
    ["A", "1"],
    ["EMPTY", ""],
  ]);
  const of = (text: string): string => expand(text, (name) => values.get(name));
  expect(of("x$(A)y$(A)")).toBe("x1y1");
  expect(of("$(EMPTY)|")).toBe("|");
  expect(of("$(NONE)")).toBe("$(NONE)");
  expect(of("$$(A)")).toBe("$(A)");
  expect(of("$$$$(A)")).toBe("$$(A)");
  expect(of("$(A")).toBe("$(A");
  expect(of("cost: 5$")).toBe("cost: 5$");
  expect(of("$A")).toBe("$A");
});

test("image names: default tag, repository, and what is no name", () => {
  expect(parseImage("busybox")).toEqual({
    reference: "busybox:latest",
    repository: "docker.io/library/busybox",
  });
  expect(parseImage("registry.local:5000/team/app:v1")).toEqual({
    reference: "registry.local:5000/team/app:v1",
    repository: "registry.local:5000/team/app",
  });
  const digest = `sha256:${"a".repeat(64)}`;
  expect(parseImage(`app@${digest}`)).toMatchObject({ reference: `app@${digest}` });
  expect(parseImage("Web")).toEqual({
    problem: `couldn't parse image name "Web": invalid reference format: repository name must be lowercase`,
  });
  expect(parseImage("a b")).toMatchObject({
    problem: `couldn't parse image name "a b": invalid reference format`,
  });
  expect(parseImage("")).toHaveProperty("problem");
});

test("pull secrets fit by registry and path", () => {
  const config = {
    auths: {
      "https://index.docker.io/v1/": { auth: btoa("me:pa:ss") },
      "*.example.com/team": { username: "u", password: "p" },
    },
  };
  const data = new Map([[".dockerconfigjson", new TextEncoder().encode(JSON.stringify(config))]]);
  const of = (repository: string) =>
    credentialsFor(repository, "kubernetes.io/dockerconfigjson", data);
  expect(of("docker.io/library/busybox")).toEqual([{ username: "me", password: "pa:ss" }]);
  expect(of("eu.example.com/team/app")).toMatchObject([{ username: "u" }]);
  expect(of("eu.example.com/other/app")).toEqual([]);
  expect(of("quay.io/x")).toEqual([]);
});

const hostDns = parseResolvConf("# c\nnameserver 1.1.1.1\nsearch corp.local.\noptions ndots:2\n");

test("resolver settings follow the policy", () => {
  const input = { clusterDns: ["10.96.0.10"], clusterDomain: "cluster.local", host: hostDns };
  expect(podDns(podOf(), input).settings).toEqual({
    servers: ["10.96.0.10"],
    searches: ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.local"],
    options: ["ndots:5"],
  });
  expect(podDns(podOf({ hostNetwork: true }), input).settings).toEqual(hostDns);
  expect(podDns(podOf({ dnsPolicy: "Default" }), input).settings.options).toEqual(["ndots:2"]);
  const none = podOf({
    dnsPolicy: "None",
    dnsConfig: { nameservers: ["9.9.9.9"], options: [{ name: "edns0" }] },
  });
  expect(podDns(none, input).settings.servers).toEqual(["9.9.9.9"]);
  const many = podOf({ dnsPolicy: "None", dnsConfig: { nameservers: ["1", "2", "3", "4"] } });
  const limited = podDns(many, input);
  expect(limited.settings.servers).toEqual(["1", "2", "3"]);
  expect(limited.warnings[0]?.reason).toBe("DNSConfigForming");
});

test("host names and /etc/hosts", () => {
  const named = podOf({ hostname: "db", subdomain: "peers" });
  const name = podHostname(named, "cluster.local");
  expect(name).toEqual({ hostname: "db", domain: "peers.shop.svc.cluster.local" });
  expect(podHostsFile(name, ["10.0.0.7"], [{ ip: "1.2.3.4", hostnames: ["x", "y"] }])).toBe(
    "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n" +
      "::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n" +
      "fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n" +
      "10.0.0.7\tdb.peers.shop.svc.cluster.local\tdb\n" +
      "\n# Entries added by HostAliases.\n1.2.3.4\tx\ty\n",
  );
  expect(podHostname({ ...named, spec: { ...named.spec, hostname: "" } }, "c").hostname).toBe(
    "web-0",
  );
  const long = podOf();
  const longName = { ...long, metadata: { ...long.metadata, name: `${"a".repeat(62)}-bcd` } };
  expect(podHostname(longName, "c").hostname).toBe("a".repeat(62));
  const fqdn = podOf({ subdomain: "s".repeat(60), setHostnameAsFQDN: true });
  expect(kernelHostname(fqdn, podHostname(fqdn, "cluster.local"))).toHaveProperty("problem");
});

test("the downward API shows fields and resources", () => {
  const node = { hostIps: ["192.0.2.1"], allocatable: { memory: "1Gi", cpu: "4" } };
  const of = (path: string) => fieldValue(podOf(), path, ["10.0.0.7"], node);
  expect(of("metadata.labels['app']")).toEqual({ value: 'a"b' });
  expect(of("metadata.labels")).toEqual({ value: 'app="a\\"b"' });
  expect(of("status.podIP")).toEqual({ value: "10.0.0.7" });
  expect(of("status.hostIPs")).toEqual({ value: "192.0.2.1" });
  expect(of("spec.restartPolicy")).toHaveProperty("problem");
  const container = { name: "a", resources: { limits: { cpu: "1500m" } } };
  const resource = (name: string, divisor: string) =>
    resourceFieldValue({ resource: name, divisor }, container, podOf(), node);
  expect(resource("limits.cpu", "0")).toEqual({ value: "2" });
  expect(resource("limits.cpu", "1m")).toEqual({ value: "1500" });
  expect(resource("limits.memory", "1Mi")).toEqual({ value: "1024" });
  expect(resource("requests.memory", "1")).toEqual({ value: "0" });
});

test("Services become variables", () => {
  const service = (namespace: string, name: string, clusterIP: string) => ({
    apiVersion: "v1",
    kind: "Service",
    metadata: { namespace, name },
    spec: { clusterIP, ports: [{ name: "http", port: 80, targetPort: 80 }] },
    status: { loadBalancer: {} },
  });
  const services = [
    service("default", "kubernetes", "10.96.0.1"),
    service("shop", "my-api", "10.96.0.5"),
    service("shop", "headless", "None"),
    service("other", "x", "10.96.0.6"),
  ];
  const links = serviceVariables(services, "shop", true);
  expect(links.get("KUBERNETES_SERVICE_HOST")).toBe("10.96.0.1");
  expect(links.get("MY_API_SERVICE_PORT_HTTP")).toBe("80");
  expect(links.get("MY_API_PORT_80_TCP_ADDR")).toBe("10.96.0.5");
  expect(links.get("MY_API_PORT")).toBe("tcp://10.96.0.5:80");
  expect([...links.keys()].some((key) => key.startsWith("X_") || key.startsWith("HEAD"))).toBe(
    false,
  );
  const without = serviceVariables(services, "shop", false);
  expect([...without.keys()].every((key) => key.startsWith("KUBERNETES_"))).toBe(true);
});

test("probe ports by number, text and name", () => {
  const container = { name: "a", resources: {}, ports: [{ name: "web", containerPort: 8080 }] };
  expect(resolvePort("web", container)).toBe(8080);
  expect(resolvePort("81", container)).toBe(81);
  expect(resolvePort("nope", container)).toEqual({ problem: "couldn't find port by name: nope" });
  expect(
    httpTarget(
      { port: "web", path: "ok?x=1", httpHeaders: [{ name: "Accept", value: "" }] },
      container,
      "10.0.0.7",
      "kube-probe/1.37",
    ),
  ).toEqual({
    scheme: "http",
    host: "10.0.0.7",
    port: 8080,
    path: "/ok?x=1",
    headers: { "user-agent": "kube-probe/1.37" },
  });
});

test("log lines are read as the runtime wrote them", () => {
  const bytes = (text: string) => new TextEncoder().encode(text);
  const line = parseLogLine(bytes("2026-11-22T15:43:23.391605316Z stderr P half a line"));
  expect(line).toMatchObject({
    time: "2026-11-22T15:43:23.391605316Z",
    stream: "stderr",
    partial: true,
  });
  expect(new TextDecoder().decode(line?.content)).toBe("half a line");
  expect(parseLogLine(bytes("2026-11-22T15:43:23Z stdout F "))?.content.length).toBe(0);
  expect(parseLogLine(bytes("rubbish"))).toBeUndefined();
  const splitter = new LineSplitter();
  expect(splitter.push(bytes("a\nb"))).toHaveLength(1);
  expect(splitter.push(bytes("c\n")).map((one) => new TextDecoder().decode(one))).toEqual(["bc"]);
  expect(splitter.flush()).toEqual([]);
});

test("gRPC health messages", () => {
  expect([...encodeRequest("")]).toEqual([0, 0, 0, 0, 0]);
  expect([...encodeRequest("ab")]).toEqual([0, 0, 0, 0, 4, 0x0a, 2, 97, 98]);
  expect(decodeStatus(new Uint8Array([0, 0, 0, 0, 2, 0x08, 1]))).toBe(1);
  expect(decodeStatus(new Uint8Array([0, 0, 0, 0, 0]))).toBe(0);
  expect(decodeStatus(new Uint8Array([0, 0]))).toBeUndefined();
});
