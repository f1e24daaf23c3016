import { expect, test } from "vitest";
import { Deployment } from "../../apps/v1/deployment.ts";
import { decoded } from "../../test-objects.ts";
import { Pod } from "./pod.ts";
import { podWarnings } from "./pod-warnings.ts";

const warningsOf = (spec: object, metadata: object = {}): string[] => {
  const containers = [{ name: "a", image: "x" }];
  const object = { metadata: { name: "p", ...metadata }, spec: { containers, ...spec } };
  return podWarnings(decoded(Pod, object), undefined);
};
const one = (extra: object) => ({ containers: [{ name: "a", image: "x", ...extra }] });

test.each<[string, object, object, string[]]>([
  ["nothing", {}, {}, []],
  [
    "a name that makes no hostname",
    {},
    { name: "a.b" },
    [
      "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]",
    ],
  ],
  [
    "labels and annotations of old",
    { nodeSelector: { "beta.kubernetes.io/os": "linux" } },
    { annotations: { "scheduler.alpha.kubernetes.io/critical-pod": "" } },
    [
      'spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead',
      'metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the "priorityClassName" field instead',
    ],
  ],
  [
    "variables twice",
    one({
      env: [
        { name: "A", value: "1" },
        { name: "A", value: "$(A)2" },
        { name: "A", value: "3" },
      ],
    }),
    {},
    [
      'spec.containers[0].env[2]: hides previous definition of "A", which may be dropped when using apply',
    ],
  ],
  [
    "fractions of bytes",
    one({ resources: { requests: { memory: "100m" } } }),
    {},
    [
      'spec.containers[0].resources.requests[memory]: fractional byte value "100m" is invalid, must be an integer',
    ],
  ],
  [
    "ports twice",
    one({ ports: [{ containerPort: 80 }, { containerPort: 80, name: "a" }] }),
    {},
    ["spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]"],
  ],
  [
    "overlapping files",
    {
      volumes: [
        {
          name: "v",
          configMap: {
            name: "c",
            items: [
              { key: "a", path: "x" },
              { key: "b", path: "x/y" },
            ],
          },
        },
      ],
    },
    {},
    ['volume "v" (ConfigMap "c"): overlapping paths: "x/y" with "x"'],
  ],
  [
    "secrets twice and nameless",
    { imagePullSecrets: [{ name: "s" }, { name: "s" }, {}] },
    {},
    [
      'spec.imagePullSecrets[1].name: duplicate name "s"',
      'spec.imagePullSecrets[2].name: invalid empty name ""',
    ],
  ],
  [
    "addresses not in their shortest form",
    { hostAliases: [{ ip: "fd00:0::1" }] },
    {},
    [
      'spec.hostAliases[0].ip: IPv6 address "fd00:0::1" should be in RFC 5952 canonical format ("fd00::1")',
    ],
  ],
])("%s", (_name, spec, metadata, expected) => {
  expect(warningsOf(spec, metadata)).toEqual(expected);
});

test("of a template with its path, and only when it may have changed", () => {
  const object = decoded(Deployment, {
    metadata: { name: "d", generation: 1 },
    spec: { template: { spec: { nodeSelector: { "beta.kubernetes.io/arch": "x" } } } },
  });
  const warning =
    'spec.template.spec.nodeSelector[beta.kubernetes.io/arch]: deprecated since v1.14; use "kubernetes.io/arch" instead';
  expect(Deployment.strategy.warnings?.(object, undefined)).toEqual([warning]);
  expect(Deployment.strategy.warnings?.(object, object)).toEqual([]);
});
