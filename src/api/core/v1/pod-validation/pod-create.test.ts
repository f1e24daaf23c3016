import { expect, test } from "vitest";
import { createErrors } from "../../../test-objects.ts";
import { Pod } from "../pod.ts";

const c = (extra: object = {}) => ({ name: "a", image: "x", ...extra });
const pod = (spec: object = {}, metadata: object = {}) => ({
  metadata: { name: "p", namespace: "ns", ...metadata },
  spec: { containers: [c()], ...spec },
});
const withContainer = (extra: object, spec: object = {}) =>
  pod({ containers: [c(extra)], ...spec });
const withVolume = (volume: object) => pod({ volumes: [volume] });
const labelMessage =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

const full = pod(
  {
    volumes: [
      { name: "config", configMap: { name: "c", items: [{ key: "k", path: "d/k" }] } },
      { name: "secret", secret: { secretName: "s", optional: true } },
      { name: "cache", emptyDir: { medium: "Memory", sizeLimit: "64Mi" } },
      { name: "host", hostPath: { path: "/var/log", type: "Directory" } },
      { name: "claim", persistentVolumeClaim: { claimName: "data" } },
      {
        name: "all",
        projected: {
          sources: [
            { serviceAccountToken: { path: "token", expirationSeconds: 3607 } },
            { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
            {
              downwardAPI: {
                items: [{ path: "ns", fieldRef: { fieldPath: "metadata.namespace" } }],
              },
            },
          ],
        },
      },
      {
        name: "scratch",
        ephemeral: {
          volumeClaimTemplate: {
            metadata: { labels: { a: "b" } },
            spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
          },
        },
      },
      { name: "image", image: { reference: "files:1" } },
    ],
    initContainers: [
      c({ name: "prepare", command: ["true"] }),
      c({ name: "side", restartPolicy: "Always", readinessProbe: { tcpSocket: { port: 80 } } }),
    ],
    containers: [
      c({
        ports: [
          { name: "http", containerPort: 8080 },
          { containerPort: 53, protocol: "UDP" },
        ],
        env: [
          { name: "PLAIN", value: "x" },
          { name: "NODE", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } },
          { name: "LABEL", valueFrom: { fieldRef: { fieldPath: "metadata.labels['app']" } } },
          {
            name: "CPU",
            valueFrom: { resourceFieldRef: { resource: "limits.cpu", divisor: "1m" } },
          },
          { name: "KEY", valueFrom: { secretKeyRef: { name: "s", key: "k" } } },
        ],
        envFrom: [{ prefix: "X_", configMapRef: { name: "c" } }],
        resources: { limits: { cpu: "1", memory: "64Mi", "example.com/gpu": "1" } },
        volumeMounts: [
          { name: "config", mountPath: "/etc/c", readOnly: true, recursiveReadOnly: "Enabled" },
          { name: "cache", mountPath: "/cache", subPath: "a/b" },
        ],
        livenessProbe: { exec: { command: ["true"] } },
        readinessProbe: { httpGet: { port: "http", httpHeaders: [{ name: "X-A", value: "1" }] } },
        startupProbe: { grpc: { port: 9000 }, failureThreshold: 30 },
        lifecycle: { preStop: { sleep: { seconds: 5 } } },
        securityContext: {
          runAsUser: 1000,
          capabilities: { drop: ["ALL"] },
          seccompProfile: { type: "RuntimeDefault" },
        },
      }),
    ],
    serviceAccountName: "builder",
    nodeSelector: { disk: "ssd" },
    hostAliases: [{ ip: "10.0.0.1", hostnames: ["a.example"] }],
    dnsConfig: { nameservers: ["1.1.1.1"], searches: ["x.example"], options: [{ name: "ndots" }] },
    tolerations: [
      { key: "a", operator: "Exists", effect: "NoExecute", tolerationSeconds: 60 },
      { operator: "Exists" },
    ],
    affinity: {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [
            { matchExpressions: [{ key: "a", operator: "In", values: ["b"] }] },
            { matchFields: [{ key: "metadata.name", operator: "In", values: ["n1"] }] },
          ],
        },
      },
      podAntiAffinity: {
        preferredDuringSchedulingIgnoredDuringExecution: [
          {
            weight: 1,
            podAffinityTerm: {
              topologyKey: "kubernetes.io/hostname",
              labelSelector: { matchLabels: { app: "a" } },
              matchLabelKeys: ["rev"],
            },
          },
        ],
      },
    },
    topologySpreadConstraints: [
      { maxSkew: 1, topologyKey: "zone", whenUnsatisfiable: "DoNotSchedule", minDomains: 2 },
    ],
    securityContext: { fsGroup: 1, sysctls: [{ name: "net.ipv4.ip_forward", value: "1" }] },
    priorityClassName: "system-node-critical",
    preemptionPolicy: "Never",
    overhead: { cpu: "10m" },
    readinessGates: [{ conditionType: "example.com/ready" }],
    activeDeadlineSeconds: 100,
    hostname: "h",
    subdomain: "s",
    os: { name: "linux" },
  },
  { labels: { app: "a", rev: "1" } },
);

test("a pod with a bit of everything is valid", () => {
  expect(createErrors(Pod, full)).toEqual([]);
});

test.each<[string, object, string[]]>([
  ["no containers", pod({ containers: [] }), ["spec.containers: Required value"]],
  [
    "bad and missing names",
    pod({ containers: [c({ name: "A" }), c({ name: "" })] }),
    [
      `spec.containers[0].name: Invalid value: "A": ${labelMessage}`,
      "spec.containers[1].name: Required value",
    ],
  ],
  ["no image", withContainer({ image: "" }), ["spec.containers[0].image: Required value"]],
  [
    "spaces around an image",
    withContainer({ image: " x" }),
    ['spec.containers[0].image: Invalid value: " x": must not have leading or trailing whitespace'],
  ],
  [
    "the same name twice",
    pod({ containers: [c(), c()] }),
    ['spec.containers[1].name: Duplicate value: "a"'],
  ],
  [
    "the same name in both lists",
    pod({ initContainers: [c()] }),
    ['spec.initContainers[0].name: Duplicate value: "a"'],
  ],
  [
    "restart policy",
    pod({ restartPolicy: "Sometimes" }),
    [
      'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"',
    ],
  ],
  [
    "DNS policy",
    pod({ dnsPolicy: "x" }),
    [
      'spec.dnsPolicy: Unsupported value: "x": supported values: "ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"',
    ],
  ],
  [
    "no name server of its own",
    pod({ dnsPolicy: "None" }),
    ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
  ],
  [
    "pull policy",
    withContainer({ imagePullPolicy: "x" }),
    [
      'spec.containers[0].imagePullPolicy: Unsupported value: "x": supported values: "Always", "IfNotPresent", "Never"',
    ],
  ],
  [
    "ports",
    withContainer({
      ports: [
        { containerPort: 0 },
        { containerPort: 70000, protocol: "ICMP" },
        { name: "a_b", containerPort: 1 },
        { name: "http", containerPort: 2, hostPort: 5 },
        { name: "http", containerPort: 3, hostPort: 5 },
      ],
    }),
    [
      "spec.containers[0].ports[0].containerPort: Required value",
      "spec.containers[0].ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
      'spec.containers[0].ports[1].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"',
      'spec.containers[0].ports[2].name: Invalid value: "a_b": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)',
      'spec.containers[0].ports[4].name: Duplicate value: "http"',
      'spec.containers[0].ports[4].hostPort: Duplicate value: "TCP//5"',
    ],
  ],
  [
    "host ports on the host's network",
    pod({ hostNetwork: true, containers: [c({ ports: [{ containerPort: 80, hostPort: 81 }] })] }),
    [
      "spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true",
    ],
  ],
  [
    "environment",
    withContainer({
      env: [
        { name: "" },
        { name: "a=b" },
        { name: "x", valueFrom: {} },
        { name: "y", value: "1", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
        { name: "z", valueFrom: { fieldRef: { fieldPath: "metadata.foo" } } },
        { name: "p", valueFrom: { fieldRef: { fieldPath: "status.phase" } } },
        { name: "k", valueFrom: { secretKeyRef: { name: "s", key: "" } } },
        { name: "r", valueFrom: { resourceFieldRef: { resource: "limits.cpu", divisor: "2" } } },
      ],
      envFrom: [{}],
    }),
    [
      "spec.containers[0].env[0].name: Required value",
      `spec.containers[0].env[1].name: Invalid value: "a=b": a valid environment variable name must consist only of printable ASCII characters other than '='`,
      'spec.containers[0].env[2].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`',
      'spec.containers[0].env[3].valueFrom: Invalid value: "": may not be specified when `value` is not empty',
      'spec.containers[0].env[4].valueFrom.fieldRef.fieldPath: Invalid value: "metadata.foo": error converting fieldPath: field label not supported: metadata.foo',
      'spec.containers[0].env[5].valueFrom.fieldRef.fieldPath: Unsupported value: "status.phase": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"',
      "spec.containers[0].env[6].valueFrom.secretKeyRef.key: Required value",
      `spec.containers[0].env[7].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.cpu": only divisor's values 1m and 1 are supported with the cpu resource`,
      'spec.containers[0].envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`',
    ],
  ],
  [
    "mounts",
    withContainer(
      {
        volumeMounts: [
          { name: "nope", mountPath: "/a" },
          { name: "v", mountPath: "/b" },
          { name: "v", mountPath: "/b", subPath: "../x" },
          { name: "v", mountPath: "" },
          { name: "v", mountPath: "/c", mountPropagation: "Bidirectional" },
        ],
      },
      { volumes: [{ name: "v" }] },
    ),
    [
      'spec.containers[0].volumeMounts[0].name: Not found: "nope"',
      'spec.containers[0].volumeMounts[2].mountPath: Invalid value: "/b": must be unique',
      `spec.containers[0].volumeMounts.subPath: Invalid value: "../x": must not contain '..'`,
      "spec.containers[0].volumeMounts[3].mountPath: Required value",
      "spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers",
    ],
  ],
  [
    "two sources, and none",
    pod({ volumes: [{ name: "v", emptyDir: {}, secret: { secretName: "s" } }, { name: "" }] }),
    [
      "spec.volumes[0].secret: Forbidden: may not specify more than 1 volume type",
      "spec.volumes[1].name: Required value",
    ],
  ],
  [
    "the same volume twice",
    pod({ volumes: [{ name: "v" }, { name: "v" }] }),
    ['spec.volumes[1].name: Duplicate value: "v"'],
  ],
  [
    "a nameless secret",
    withVolume({ name: "v", secret: {} }),
    ["spec.volumes[0].secret.secretName: Required value"],
  ],
  [
    "a mode that is none",
    withVolume({ name: "v", configMap: { name: "c", defaultMode: 4096 } }),
    [
      "spec.volumes[0].configMap.defaultMode: Invalid value: 4096: must be a number between 0 and 0777 (octal), both inclusive",
    ],
  ],
  [
    "host paths",
    pod({
      volumes: [
        { name: "v", hostPath: { path: "/a/../b" } },
        { name: "w", hostPath: { path: "/", type: "x" } },
      ],
    }),
    [
      `spec.volumes[0].hostPath.path: Invalid value: "/a/../b": must not contain '..'`,
      'spec.volumes[1].hostPath.type: Unsupported value: "x": supported values: "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"',
    ],
  ],
  [
    "a token without an account, colliding files",
    withVolume({
      name: "v",
      projected: {
        sources: [
          { serviceAccountToken: { path: "t", expirationSeconds: 1 } },
          { secret: { name: "a", items: [{ key: "k", path: "x" }] } },
          { configMap: { name: "b", items: [{ key: "k", path: "x" }] } },
        ],
      },
    }),
    [
      "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes",
      'spec.volumes[0].projected: Invalid value: "b": conflicting duplicate paths',
      "spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set",
    ],
  ],
  [
    "old storage",
    pod({
      volumes: [
        { name: "n", nfs: { server: "", path: "x" } },
        { name: "i", iscsi: { targetPortal: "t", iqn: "x", lun: 300 } },
        { name: "g", gcePersistentDisk: { pdName: "" } },
      ],
    }),
    [
      "spec.volumes[0].nfs.server: Required value",
      'spec.volumes[0].nfs.path: Invalid value: "x": must be an absolute path',
      'spec.volumes[1].iscsi.iqn: Invalid value: "x": must be valid format starting with iqn, eui, or naa',
      "spec.volumes[1].iscsi.lun: Invalid value: 300: must be between 0 and 255, inclusive",
      "spec.volumes[2].persistentDisk.pdName: Required value",
    ],
  ],
  [
    "a claim's template",
    withVolume({
      name: "v",
      ephemeral: { volumeClaimTemplate: { metadata: { name: "n" }, spec: {} } },
    }),
    [
      "spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.name: Forbidden: cannot be set",
      "spec.volumes[0].ephemeral.volumeClaimTemplate.spec.accessModes: Required value: at least 1 access mode is required",
      "spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value",
    ],
  ],
  [
    "resources",
    withContainer({
      resources: {
        limits: { cpu: "1", "example.com/gpu": "1", widgets: "1" },
        requests: { cpu: "2", memory: "-1", "example.com/gpu": "2" },
      },
    }),
    [
      'spec.containers[0].resources.limits[widgets]: Invalid value: "widgets": must be a standard resource type or fully qualified',
      'spec.containers[0].resources.limits[widgets]: Invalid value: "widgets": must be a standard resource for containers',
      'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
      'spec.containers[0].resources.requests: Invalid value: "2": must be equal to example.com/gpu limit of 1',
      'spec.containers[0].resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0',
      'spec.containers[0].resources.requests[widgets]: Invalid value: "widgets": must be a standard resource type or fully qualified',
      'spec.containers[0].resources.requests[widgets]: Invalid value: "widgets": must be a standard resource for containers',
    ],
  ],
  [
    "probes and hooks",
    withContainer({
      livenessProbe: { httpGet: { port: 0 }, exec: { command: ["x"] }, successThreshold: 2 },
      readinessProbe: { tcpSocket: { port: "web" }, terminationGracePeriodSeconds: 1 },
      startupProbe: { periodSeconds: -1 },
      lifecycle: { preStop: { sleep: { seconds: 31 } }, postStart: {} },
    }),
    [
      "spec.containers[0].lifecycle.postStart: Required value: must specify a handler type",
      "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
      "spec.containers[0].livenessProbe.httpGet: Forbidden: may not specify more than 1 handler type",
      "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
      "spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 1: must not be set for readinessProbes",
      "spec.containers[0].startupProbe: Required value: must specify a handler type",
      "spec.containers[0].startupProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
    ],
  ],
  [
    "an init container is no sidecar",
    pod({ initContainers: [c({ name: "i", livenessProbe: { exec: { command: ["x"] } } })] }),
    [
      "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
    ],
  ],
  [
    "restart rules",
    withContainer({
      restartPolicyRules: [{ action: "Stop", exitCodes: { operator: "Is", values: [1] } }],
    }),
    [
      "spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used",
      'spec.containers[0].restartPolicyRules[0].action: Unsupported value: "Stop": supported values: "Restart", "RestartAllContainers"',
      'spec.containers[0].restartPolicyRules[0].exitCodes.operator: Unsupported value: "Is": supported values: "In", "NotIn"',
    ],
  ],
  [
    "security",
    withContainer(
      {
        securityContext: {
          runAsUser: -1,
          privileged: true,
          allowPrivilegeEscalation: false,
          seccompProfile: { type: "Localhost" },
        },
      },
      { securityContext: { fsGroup: -5 } },
    ),
    [
      "spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
      "spec.containers[0].securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
      'spec.containers[0].securityContext: Invalid value: {"privileged":true,"runAsUser":-1,"allowPrivilegeEscalation":false,"seccompProfile":{"type":"Localhost"}}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true',
      "spec.securityContext.fsGroup: Invalid value: -5: must be between 0 and 2147483647, inclusive",
    ],
  ],
  [
    "sysctls of the host",
    pod({
      hostNetwork: true,
      securityContext: { sysctls: [{ name: "net.core.somaxconn", value: "1" }] },
    }),
    [
      `spec.securityContext.sysctls[0].name: Invalid value: "net.core.somaxconn": may not be specified when 'hostNetwork' is true`,
    ],
  ],
  [
    "user namespaces",
    pod({ hostUsers: false, hostPID: true, hostNetwork: true }),
    [
      "spec.hostNetwork: Forbidden: when `hostUsers` is false",
      "spec.HostPID: Forbidden: when `hostUsers` is false",
    ],
  ],
  [
    "tolerations",
    pod({
      tolerations: [
        { key: "", operator: "Equal" },
        { key: "a", operator: "Exists", value: "b" },
        { key: "a", operator: "Gt", value: "1" },
        { key: "a", effect: "NoSchedule", tolerationSeconds: 1 },
        { key: "a", effect: "Never" },
      ],
    }),
    [
      'spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys"',
      `spec.tolerations[1].operator: Invalid value: "b": value must be empty when \`operator\` is 'Exists'`,
      'spec.tolerations[2].operator: Unsupported value: "Gt": supported values: "Equal", "Exists", "Lt", "Gt"',
      `spec.tolerations[3].effect: Invalid value: "NoSchedule": effect must be 'NoExecute' when \`tolerationSeconds\` is set`,
      'spec.tolerations[4].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"',
    ],
  ],
  [
    "affinity",
    pod({
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [] },
          preferredDuringSchedulingIgnoredDuringExecution: [
            { weight: 0, preference: { matchExpressions: [{ key: "a", operator: "In" }] } },
          ],
        },
        podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: "" }] },
      },
    }),
    [
      "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term",
      "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100",
      "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
      "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: can not be empty",
      `spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: "": name part must be non-empty`,
      `spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`,
    ],
  ],
  [
    "spreading",
    pod({
      topologySpreadConstraints: [
        { maxSkew: 0, topologyKey: "z", whenUnsatisfiable: "ScheduleAnyway", minDomains: 1 },
        { maxSkew: 1, topologyKey: "z", whenUnsatisfiable: "ScheduleAnyway" },
      ],
    }),
    [
      "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
      'spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: "{z, ScheduleAnyway}"',
      "spec.topologySpreadConstraints[0].minDomains: Invalid value: 1: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
    ],
  ],
  [
    "a deadline",
    pod({ activeDeadlineSeconds: 0 }),
    ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
  ],
  [
    "names",
    pod({
      hostname: "a.b",
      hostAliases: [{ ip: "1.2.3", hostnames: ["x"] }],
      preemptionPolicy: "x",
    }),
    [
      'spec.hostname: Invalid value: "a.b": must not contain dots',
      'spec.hostAliases[0].ip: Invalid value: "1.2.3": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
      'spec.preemptionPolicy: Unsupported value: "x": supported values: "PreemptLowerPriority", "Never"',
    ],
  ],
  [
    "debugging containers come later",
    pod({ ephemeralContainers: [c({ name: "d" })] }),
    ["spec.ephemeralContainers: Forbidden: cannot be set on create"],
  ],
  [
    "a node in spite of gates",
    pod({ nodeName: "n", schedulingGates: [{ name: "a/b" }] }),
    ["spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"],
  ],
  [
    "annotations",
    pod(
      {},
      {
        annotations: {
          "kubernetes.io/config.mirror": "x",
          "controller.kubernetes.io/pod-deletion-cost": "+1",
        },
      },
    ),
    [
      'metadata.annotations[kubernetes.io/config.mirror]: Invalid value: "x": must set spec.nodeName if mirror pod annotation is set',
      'metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: "+1": must be a 32bit integer',
    ],
  ],
  [
    "resources of the whole",
    pod({
      resources: { requests: { cpu: "100m", "ephemeral-storage": "1" } },
      containers: [c({ resources: { requests: { cpu: "200m" } } })],
    }),
    [
      'spec.resources.requests[ephemeral-storage]: Unsupported value: "ephemeral-storage": supported values: "cpu", "hugepages-", "memory"',
      'spec.resources.requests[cpu]: Invalid value: "100m": must be greater than or equal to aggregate container requests of 200m',
    ],
  ],
  [
    "windows options",
    pod({ os: { name: "linux" }, securityContext: { windowsOptions: {} } }),
    [
      "spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod",
    ],
  ],
  [
    "an unknown system",
    pod({ os: { name: "plan9" } }),
    ['spec.os: Unsupported value: "plan9": supported values: "linux", "windows"'],
  ],
])("%s", (_name, object, expected) => {
  expect(createErrors(Pod, object)).toEqual(expected);
});
