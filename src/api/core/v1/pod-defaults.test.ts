import fc from "fast-check";
import { expect, test } from "vitest";
import { cloneJson } from "#machinery/object.ts";
import { createErrors, decoded } from "../../test-objects.ts";
import { Pod } from "./pod.ts";

const simple = (container: object = {}, spec: object = {}) => ({
  metadata: { name: "web", namespace: "default" },
  spec: { containers: [{ name: "web", image: "web:1", ...container }], ...spec },
});

test("what a bare pod gets", () => {
  expect(decoded(Pod, simple()).spec).toEqual({
    containers: [
      {
        name: "web",
        image: "web:1",
        resources: {},
        terminationMessagePath: "/dev/termination-log",
        terminationMessagePolicy: "File",
        imagePullPolicy: "IfNotPresent",
      },
    ],
    restartPolicy: "Always",
    terminationGracePeriodSeconds: 30,
    dnsPolicy: "ClusterFirst",
    securityContext: {},
    schedulerName: "default-scheduler",
    enableServiceLinks: true,
  });
});

test("a bare pod is valid", () => {
  expect(createErrors(Pod, simple())).toEqual([]);
});

test.each([
  ["web", "Always"],
  ["web:latest", "Always"],
  ["web:1", "IfNotPresent"],
  [`web@sha256:${"a".repeat(64)}`, "IfNotPresent"],
  ["UPPER", "IfNotPresent"],
])("image %s is pulled %s", (image, policy) => {
  const pod = decoded(Pod, simple({ image }));
  expect(pod.spec.containers[0]?.imagePullPolicy).toBe(policy);
});

test("limits become requests, amounts are rounded up to thousandths", () => {
  const resources = { limits: { cpu: "1", memory: "1Gi" }, requests: { cpu: "100u" } };
  const pod = decoded(Pod, simple({ resources }));
  expect(pod.spec.containers[0]?.resources.requests).toEqual({ cpu: "1m", memory: "1Gi" });
});

test("host ports follow the container's on the host's network, protocols are TCP", () => {
  const pod = decoded(Pod, simple({ ports: [{ containerPort: 80 }] }, { hostNetwork: true }));
  expect(pod.spec.containers[0]?.ports).toEqual([
    { containerPort: 80, hostPort: 80, protocol: "TCP" },
  ]);
});

test("probes, hooks and references", () => {
  const pod = decoded(
    Pod,
    simple({
      livenessProbe: { httpGet: { port: 80 } },
      lifecycle: { preStop: { httpGet: { port: 80 } } },
      env: [{ name: "IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } }],
    }),
  );
  const [container] = pod.spec.containers;
  expect(container?.livenessProbe).toEqual({
    httpGet: { port: 80, path: "/", scheme: "HTTP" },
    timeoutSeconds: 1,
    periodSeconds: 10,
    successThreshold: 1,
    failureThreshold: 3,
  });
  expect(container?.lifecycle?.preStop?.httpGet).toEqual({ port: 80, path: "/", scheme: "HTTP" });
  expect(container?.env?.[0]?.valueFrom?.fieldRef?.apiVersion).toBe("v1");
});

test("volumes", () => {
  const volumes = [
    { name: "a" },
    { name: "b", secret: { secretName: "s" } },
    { name: "c", projected: { sources: [{ serviceAccountToken: { path: "token" } }] } },
    { name: "d", hostPath: { path: "/x" } },
  ];
  expect(decoded(Pod, simple({}, { volumes })).spec.volumes).toEqual([
    { name: "a", emptyDir: {} },
    { name: "b", secret: { secretName: "s", defaultMode: 420 } },
    {
      name: "c",
      projected: {
        sources: [{ serviceAccountToken: { path: "token", expirationSeconds: 3600 } }],
        defaultMode: 420,
      },
    },
    { name: "d", hostPath: { path: "/x", type: "" } },
  ]);
});

test("old and new name of the service account, one and many addresses", () => {
  const pod = decoded(Pod, {
    ...simple({}, { serviceAccount: "builder" }),
    status: { podIP: "10.0.0.1" },
  });
  expect(pod.spec.serviceAccountName).toBe("builder");
  expect(pod.status.podIPs).toEqual([{ ip: "10.0.0.1" }]);
});

const amount = fc.constantFrom("1", "100m", "1.5", "1Gi", "250u", "0.0001", "2e3");
const probe = fc.record(
  {
    httpGet: fc.record({ port: fc.integer({ min: 1, max: 65535 }) }),
    periodSeconds: fc.nat(20),
    failureThreshold: fc.nat(5),
  },
  { requiredKeys: ["httpGet"] },
);
const container = fc.record(
  {
    name: fc.constantFrom("a", "b"),
    image: fc.constantFrom("x", "x:1", "host:5000/x", "", "x@y"),
    ports: fc.array(fc.record({ containerPort: fc.integer({ min: 1, max: 9 }) }), { maxLength: 2 }),
    resources: fc.record({
      limits: fc.dictionary(fc.constantFrom("cpu", "memory"), amount),
      requests: fc.dictionary(fc.constantFrom("cpu", "memory"), amount),
    }),
    livenessProbe: probe,
    securityContext: fc.constant({}),
  },
  { requiredKeys: ["name"] },
);
const volume = fc.constantFrom<object>(
  { name: "a" },
  { name: "b", hostPath: { path: "/" } },
  { name: "c", image: { reference: "x" } },
  { name: "d", downwardAPI: { items: [{ path: "p", fieldRef: { fieldPath: "metadata.name" } }] } },
  { name: "e", ephemeral: { volumeClaimTemplate: { spec: { accessModes: ["ReadWriteOnce"] } } } },
);
const anyPod = fc.record({
  metadata: fc.constant({ name: "web" }),
  spec: fc.record(
    {
      containers: fc.array(container, { maxLength: 2 }),
      initContainers: fc.array(container, { maxLength: 2 }),
      volumes: fc.array(volume, { maxLength: 3 }),
      hostNetwork: fc.boolean(),
      terminationGracePeriodSeconds: fc.integer({ min: -5, max: 5 }),
      overhead: fc.dictionary(fc.constantFrom("cpu"), amount),
    },
    { requiredKeys: ["containers"] },
  ),
  status: fc.constantFrom({}, { podIP: "1.2.3.4" }, { podIPs: [{ ip: "1.2.3.4" }] }),
});

test("defaults change nothing the second time", () => {
  fc.assert(
    fc.property(anyPod, (object) => {
      const once = decoded(Pod, object);
      const twice = decoded(Pod, cloneJson(once));
      expect(twice).toEqual(once);
    }),
    { numRuns: 200 },
  );
});
