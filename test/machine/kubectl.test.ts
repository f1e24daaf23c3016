/** `wherry kubectl` says what kubectl says: the same command lines with both, on simulated nodes. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestCluster } from "./cluster.ts";
import { Comparison } from "./kubectl-compare.ts";

const manifest = `
apiVersion: v1
kind: ConfigMap
metadata: { name: settings, labels: { app: web, tier: front } }
data: { a: "1", b: "two\\nlines\\n" }
---
apiVersion: v1
kind: Secret
metadata: { name: keys, annotations: { note: "${"long ".repeat(40)}" } }
stringData: { password: "x<y&z" }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, labels: { app: web } }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      containers:
        - name: main
          image: example/web:1
          command: [run, "--all"]
          ports: [{ name: http, containerPort: 80 }, { containerPort: 81, protocol: UDP }]
          env:
            - { name: PLAIN, value: x }
            - { name: NAME, valueFrom: { fieldRef: { fieldPath: metadata.name } } }
            - { name: A, valueFrom: { configMapKeyRef: { name: settings, key: a } } }
            - { name: P, valueFrom: { secretKeyRef: { name: keys, key: password, optional: true } } }
            - { name: CPU, valueFrom: { resourceFieldRef: { resource: limits.cpu } } }
          envFrom: [{ prefix: S_, configMapRef: { name: settings } }]
          resources: { requests: { cpu: 100m, memory: 64Mi }, limits: { memory: 1Gi } }
          readinessProbe: { httpGet: { path: /healthz, port: http } }
          volumeMounts: [{ name: data, mountPath: /data, readOnly: true, subPath: x }]
        - { name: side, image: example/side:2 }
      volumes: [{ name: data, emptyDir: { sizeLimit: 1Gi } }, { name: conf, configMap: { name: settings } }]
---
apiVersion: v1
kind: Service
metadata: { name: web }
spec: { type: NodePort, selector: { app: web }, ports: [{ name: http, port: 80, targetPort: http }] }
`;

/** Without state: each line stands for itself. */
const reading: readonly string[] = [
  "get nodes",
  "get nodes -o wide",
  "get nodes -o yaml",
  "get node node-1 -o json",
  "get no,sa --show-labels",
  "get all",
  "get deploy,po",
  "get deployments.apps web -o wide",
  "get deploy/web svc/web",
  "get deploy web nope",
  "get deploy web --no-headers",
  "get pods --sort-by=.metadata.name -L app,tier",
  "get pods -l app=web --field-selector status.phase=Running",
  "get pods -l app=none",
  "get cm settings -o yaml",
  "get cm settings -o json",
  "get cm -o yaml",
  "get secret keys -o yaml",
  "get cm,secret -o name",
  "get cm settings -o jsonpath={.data.a}",
  "get cm settings -o jsonpath={.data}",
  "get cm settings -o jsonpath-as-json={.data.*}",
  "get pods -o jsonpath={.items[*].spec.containers[*].name}",
  'get deploy web -o jsonpath={.spec.template.spec.containers[?(@.name=="side")].image}',
  'get deploy web -o jsonpath={range\u00a0.spec.template.spec.containers[*]}{.name}{"\\t"}{.image}{"\\n"}{end}',
  "get deploy web -o jsonpath={.nope}",
  "get deploy web -o jsonpath={.spec",
  "get cm settings -o go-template={{.metadata.name}}{{range\u00a0$k,$v:=.data}}\u00a0{{$k}}={{len\u00a0$v}}{{end}}",
  "get deploy -o custom-columns=NAME:.metadata.name,IMAGES:.spec.template.spec.containers[*].image,NONE:.x",
  "get deploy -o custom-columns=NAME",
  "get deploy -o nope",
  "get deploy web --subresource=scale -o yaml",
  "get deploy web --subresource=status",
  "get cm nope --ignore-not-found",
  "get",
  "get nope",
  "get nope.example.com",
  "get pods/x/y",
  "get pods pod/x",
  "get pods -A x",
  "get pods --nope",
  "get pods -z",
  "get pods --chunk-size=x",
  "get -f /does/not/exist.yaml",
  "get pods x -l a=b",
  "get --raw /version",
  "describe deploy web",
  "describe svc web",
  "describe cm settings",
  "describe secret keys",
  "describe ns kube-system",
  "describe node node-1 --show-events=false",
  "describe sa default",
  "describe endpointslice -l kubernetes.io/service-name=web",
  "describe priorityclass system-node-critical",
  "describe pods nope",
  "describe",
  "logs",
  "logs nope",
  "logs --tail=-2 x",
  "explain deploy",
  "explain deployment.spec.template.spec.containers.ports",
  "explain pods --recursive",
  "explain pod.spec.nope",
  "explain nope",
  "explain cronjob --api-version=v1",
  "api-resources",
  "api-resources -o wide --sort-by=kind",
  "api-resources --namespaced=false --verbs=list -o name",
  "api-resources --api-group=apps --no-headers",
  "api-versions",
  "version",
  "cluster-info",
  "config view",
  "config get-contexts",
  "config get-clusters",
  "config get-users",
  "config current-context",
  "config use-context nope",
  "get pods --context nope",
  "get pods --server http://127.0.0.1:1",
  "get pods --kubeconfig /does/not/exist",
];

describe("wherry kubectl beside kubectl", () => {
  const cluster = new TestCluster("kubectl", ["--runtime", "simulated", "--nodes", "3"]);
  const comparison = new Comparison(cluster);
  beforeAll(async () => {
    await cluster.start();
    await comparison.start();
    for (const namespace of ["compare-one", "compare-two"]) {
      const { code, stderr } = await cluster.kubectl(["apply", "-n", namespace, "-f", "-"], {
        input: manifest,
      });
      expect(code, stderr).toBe(0);
      await cluster.ok("rollout", "status", "deployment/web", "-n", namespace);
    }
  });
  afterAll(() => cluster.purge());

  test.each(reading)("%s", async (line) => {
    await comparison.same(line.split(" ").map((word) => word.replaceAll("\u00a0", " ")));
  });
});
