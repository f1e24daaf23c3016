/** What the benchmark of the API asks, and what it is compared with: shared by the server's process and the load generator's. */

export const rounds = 5;

export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
}

export type ToLoad =
  | {
      readonly kind: "connect";
      readonly port: number;
      readonly ca: string;
      readonly chain: string;
      readonly key: string;
    }
  | { readonly kind: "round"; readonly round: number }
  | { readonly kind: "cpu"; readonly ms: number };
export type FromLoad =
  | { readonly kind: "ready" }
  | { readonly kind: "cpu" }
  | { readonly kind: "figures"; readonly figures: readonly Figure[] };

/** By the name of the figure: the floor on two cores, and what others are said to reach. */
export const figures: ReadonlyMap<string, string> = new Map([
  ["creates, 10 clients", "at least 1,500; kube-apiserver over three etcd on NVMe: 1,115 to 1,160"],
  ["creates, 10 clients, p99", "under 25; kube-apiserver: p95 15 to 16"],
  ["creates, 100 clients", "at least 2,000"],
  ["gets, HTTP/1.1, 10 clients", "at least 12,000"],
  ["gets, HTTP/1.1, 100 clients", "at least 12,000"],
  ["gets, HTTP/2, 10 clients", "at least 8,000"],
  ["gets, HTTP/2, 100 clients", "at least 8,000"],
  ["list of 10,000 pods, to the last byte", "at most 200"],
  ["in process, creates by 100 askers", "at least 3,000"],
  ["in process, fan-out to 1,000 watchers", "at least 1,000,000"],
]);

const environment = Array.from({ length: 20 }, (_, at) => ({
  name: `SETTING_${at}`,
  value: "a value of some length, as settings have it",
}));

/** About 2.4 KB, as pods of workloads are. */
export const podOf = (name: string): object => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, labels: { app: "bench", tier: "backend", "app.kubernetes.io/name": "bench" } },
  spec: {
    containers: [
      {
        name: "main",
        image: "example.invalid/bench:1",
        env: environment,
        ports: [{ containerPort: 8080 }],
        resources: { requests: { cpu: "100m", memory: "64Mi" }, limits: { memory: "128Mi" } },
        livenessProbe: { httpGet: { path: "/healthz", port: 8080 } },
      },
    ],
  },
});
