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
---
apiVersion: v1
kind: ReplicationController
metadata: { name: old, labels: { app: old } }
spec:
  replicas: 0
  template:
    metadata: { labels: { app: old } }
    spec: { containers: [{ name: main, image: example/old:1 }] }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: closed }
spec: { podSelector: {} }
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: some, labels: { a: b }, annotations: { why: because } }
spec:
  podSelector: { matchLabels: { app: web }, matchExpressions: [{ key: x, operator: NotIn, values: [zz, yy] }] }
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        - { podSelector: { matchLabels: { app: front } } }
        - { namespaceSelector: {}, podSelector: { matchLabels: { app: front } } }
        - { namespaceSelector: { matchLabels: { team: one } } }
        - { ipBlock: { cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.2.0.0/16] } }
      ports: [{ port: 80 }, { protocol: UDP, port: 1000, endPort: 2000 }, { port: http }]
    - {}
  egress:
    - { to: [{ ipBlock: { cidr: 0.0.0.0/0 } }], ports: [{ protocol: UDP }] }
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: { name: web }
spec: { minAvailable: 50%, selector: { matchLabels: { app: web } } }
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: { name: any }
spec: { maxUnavailable: 1 }
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: { name: nobody, labels: { a: b } }
spec:
  minReplicas: 2
  maxReplicas: 10
  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: nobody }
  metrics:
    - { type: Resource, resource: { name: cpu, target: { type: Utilization, averageUtilization: 60 } } }
    - { type: Resource, resource: { name: memory, target: { type: AverageValue, averageValue: 1Gi } } }
    - type: ContainerResource
      containerResource: { name: cpu, container: web, target: { type: Utilization, averageUtilization: 70 } }
    - type: ContainerResource
      containerResource: { name: memory, container: web, target: { type: AverageValue, averageValue: 70M } }
    - { type: Pods, pods: { metric: { name: hits }, target: { type: AverageValue, averageValue: 1k } } }
    - type: Object
      object:
        metric: { name: rate }
        describedObject: { apiVersion: networking.k8s.io/v1, kind: Ingress, name: main }
        target: { type: Value, value: 10k }
    - type: Object
      object:
        metric: { name: rate }
        describedObject: { apiVersion: v1, kind: Service, name: main }
        target: { type: AverageValue, averageValue: 500m }
    - { type: External, external: { metric: { name: queue }, target: { type: AverageValue, averageValue: 30 } } }
    - { type: External, external: { metric: { name: queue }, target: { type: Value, value: 30 } } }
  behavior:
    scaleUp: { stabilizationWindowSeconds: 30 }
    scaleDown: { selectPolicy: Min, policies: [{ type: Pods, value: 1, periodSeconds: 60 }] }
`;

/** Of no namespace: both look at the same. */
const classes = `
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: { name: slow, annotations: { why: because } }
provisioner: example.com/slow
parameters: { speed: low, copies: "2" }
mountOptions: [ro, noatime]
allowVolumeExpansion: true
allowedTopologies:
  - matchLabelExpressions: [{ key: zone, values: [a, b] }, { key: rack, values: ["1"] }]
  - matchLabelExpressions: [{ key: zone, values: [c] }]
---
apiVersion: storage.k8s.io/v1
kind: VolumeAttributesClass
metadata: { name: gold }
driverName: slow.example.com
parameters: { iops: "100" }
---
apiVersion: storage.k8s.io/v1
kind: CSINode
metadata: { name: node-x, labels: { a: b } }
spec:
  drivers:
    - { name: slow.example.com, nodeID: x1, topologyKeys: [zone, rack], allocatable: { count: 3 } }
    - { name: fast.example.com, nodeID: x2 }
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: { name: other }
spec: { controller: example.com/other, parameters: { apiGroup: example.com, kind: Settings, name: main } }
---
apiVersion: networking.k8s.io/v1
kind: IPAddress
metadata: { name: 10.200.0.7 }
spec: { parentRef: { resource: services, namespace: default, name: elsewhere } }
`;

/** Without state: each line stands for itself. */
const reading: readonly string[] = [
  "get nodes",
  "get nodes -o wide",
  "get ns kube-system -o yaml",
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
  "get cm settings -o jsonpath-as-json={.data.a}",
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
  "describe rc old",
  "describe netpol closed",
  "describe netpol some",
  "describe pdb web",
  "describe pdb any",
  "get hpa nobody",
  "get hpa nobody -o wide",
  "get hpa nobody -o yaml",
  "get horizontalpodautoscalers.v1.autoscaling nobody -o yaml",
  "describe hpa nobody",
  "describe sc",
  "describe volumeattributesclass gold",
  "describe csinode node-x",
  "describe ingressclass",
  "describe servicecidr",
  "describe ipaddress 10.200.0.7",
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

interface Step {
  readonly line: string;
  readonly input?: string;
}
const step = (line: string, input?: string): Step => ({
  line,
  ...(input === undefined ? {} : { input }),
});

const settings = (data: string, more = ""): string =>
  `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: applied${more} }\ndata: { ${data} }\n`;
const workload = (containers: string, more = ""): string => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: roll }
spec:
  replicas: 1
  selector: { matchLabels: { app: roll } }
  template:
    metadata: { labels: { app: roll } }
    spec:
      ${more}
      containers: [${containers}]
`;

/** With state: one after the other. */
const writing: readonly Step[] = [
  step("apply -f -", settings("a: x")),
  step("apply -f -", settings("a: x")),
  step("apply -f - --dry-run=client", settings("a: why")),
  step("apply -f - --dry-run=server", settings("a: why")),
  step("apply -f -", settings("b: z")),
  step("get cm applied -o yaml"),
  step("apply view-last-applied cm/applied"),
  step("apply view-last-applied cm applied -o json"),
  step("apply -f - -o yaml", settings("b: zz")),
  step(
    "apply -f - --prune -l part=one --prune-allowlist=core/v1/ConfigMap",
    settings("a: x", "-one, labels: { part: one }"),
  ),
  step(
    "apply -f - --prune -l part=one --prune-allowlist=core/v1/ConfigMap",
    settings("a: x", "-two, labels: { part: one }"),
  ),
  step("apply -f - --prune", settings("a: x")),
  step("apply -f - --server-side", settings("c: d", "-server")),
  step("apply -f - --server-side", settings("c: e", "-server")),
  step(
    "get cm applied-server -o jsonpath={.metadata.managedFields[*].manager} --show-managed-fields",
  ),
  step("apply -f - --server-side --field-manager=other", settings("c: f", "-server")),
  step(
    "apply -f - --server-side --field-manager=other --force-conflicts",
    settings("c: f", "-server"),
  ),
  step("apply -f - --server-side", settings("b: zz, other: more")),
  step("apply"),
  step("apply -f -", "kind: ConfigMap\nmetadata: { name: x }"),
  step("apply -f -", "apiVersion: example.com/v1\nkind: Nope\nmetadata: { name: x }"),
  step("apply -f -", "a: b: c\n"),
  step("apply -f -", "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: x }\ndatas: { a: b }"),
  step(
    "apply -f - --validate=warn",
    "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: warned }\ndatas: { a: b }",
  ),
  step("apply -f -", "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: Bad_Name }"),
  step("apply -f - --force-conflicts", settings("a: b")),
  step(
    "apply -f -",
    workload(
      "{ name: a, image: a:1, env: [{ name: XX, value: x }, { name: YY, value: why }] }, { name: b, image: b:1 }",
      "volumes: [{ name: v, emptyDir: {} }]",
    ),
  ),
  step("set env deploy/roll ZZ=z"),
  step("apply -f -", workload("{ name: a, image: a:2, env: [{ name: YY, value: yy }] }")),
  step("get deploy roll -o jsonpath={.spec.template.spec}"),
  step("rollout status deploy/roll"),
  step("rollout history deploy/roll"),
  step("rollout history deploy roll --revision=1"),
  step("rollout history deploy roll --revision=9"),
  step("set image deploy/roll a=a:3"),
  step("set image deploy/roll nope=x"),
  step("set image deploy/roll"),
  step("rollout status deployment roll"),
  step("rollout undo deploy/roll"),
  step("rollout status deployment roll"),
  step("rollout undo deploy/roll --to-revision=77"),
  step("rollout pause deploy/roll"),
  step("rollout pause deploy/roll"),
  step("rollout restart deploy/roll"),
  step("rollout undo deploy/roll"),
  step("rollout resume deploy/roll"),
  step("rollout resume deploy/roll"),
  step("rollout restart deploy/roll"),
  step("rollout status deploy/roll"),
  step("rollout status pods"),
  step("rollout nope"),
  step("set resources deploy/roll --limits=cpu=1,memory=1Gi -c a"),
  step("set resources deploy/roll"),
  step("set env deploy/roll --list"),
  step("set env deploy/roll XX-"),
  step("set env deploy/roll --from=cm/applied --keys=b --prefix=P_"),
  step("set env deploy/roll"),
  step("set serviceaccount deploy/roll default"),
  step("scale deploy/roll --replicas=2"),
  step("scale deploy/roll --replicas=2 --current-replicas=7"),
  step("scale deploy roll"),
  step("scale deploy nope --replicas=1"),
  step("autoscale deploy roll --min=2 --max=5 --cpu=70% --memory=1Gi --dry-run=client -o yaml"),
  step("autoscale deploy roll --max=5 --cpu=500 --memory=200 --dry-run=client -o yaml"),
  step("autoscale deploy web --max=5 --cpu-percent=80"),
  step("autoscale deploy web --max=5 --cpu=80%"),
  step("autoscale deploy web --max=5"),
  step("autoscale deploy roll --max=1 --min=2"),
  step("autoscale deploy roll --max=3 --cpu=a"),
  step("autoscale deploy roll --max=3 --cpu=-1%"),
  step("autoscale deploy roll"),
  step("autoscale cm applied --max=3"),
  step("autoscale deploy nope --max=3"),
  step("get hpa web -o yaml"),
  step("delete hpa web"),
  step("expose deploy roll --port=80 --target-port=8080"),
  step("expose deploy roll --port=80 --name=two --type=NodePort --dry-run=client -o yaml"),
  step("expose cm applied --port=1"),
  step("label cm applied x=y"),
  step("label cm applied x=z"),
  step("label cm applied x=z --overwrite"),
  step("label cm applied x=z"),
  step("label cm applied x-"),
  step("label cm applied bad=v@lue"),
  step("label cm applied"),
  step("label cm applied a=b --list"),
  step("annotate cm applied note=hello"),
  step("annotate cm applied note=other"),
  step("annotate cm applied note-"),
  step('patch cm applied -p {"data":{"p":"q"}}'),
  step('patch cm applied -p {"data":{"p":"q"}}'),
  step('patch cm applied --type=json -p [{"op":"remove","path":"/data/p"}]'),
  step('patch cm applied --type=json -p [{"op":"remove","path":"/data/nope"}]'),
  step("patch cm applied --type=nope -p {}"),
  step("patch cm applied"),
  step(
    'patch deploy roll --dry-run=client -o jsonpath={.spec.replicas} -p {"spec":{"replicas":5}}',
  ),
  step("replace -f -", settings("r: s")),
  step("replace -f -", settings("r: s", "-nope")),
  step("replace --force -f -", settings("r: t")),
  step("create -f -", settings("a: b")),
  step("create -f -", settings("a: b", "-created")),
  step("create -f - --dry-run=client -o name", settings("a: b", "-dry")),
  step("create"),
  step("create configmap one --from-literal=a=b --from-literal=c=d"),
  step("create configmap one"),
  step("create configmap"),
  step("create configmap two --from-literal=a --dry-run=client"),
  step("create cm three --from-literal=a=b --dry-run=client -o yaml"),
  step("create cm three --from-literal=a=b --dry-run=client -o json"),
  step("create secret generic s1 --from-literal=a=b --type=x/y --dry-run=client -o yaml"),
  step(
    "create secret docker-registry s2 --docker-username=u --docker-password=p --docker-server=r --dry-run=client -o yaml",
  ),
  step("create secret docker-registry s2"),
  step("create secret tls s3"),
  step(
    "create deployment d1 --image=registry/x/y:1 --replicas=2 --port=80 --dry-run=client -o yaml",
  ),
  step("create deployment d1 --image=x:1 --dry-run=client -o json -- run --all"),
  step("create deployment d1"),
  step("create job j1 --image=x --dry-run=client -o yaml -- a b"),
  step("create job j1"),
  step("create cronjob c1 --image=x --schedule=*/5 * * * * --dry-run=client -o yaml"),
  step("create namespace n1 --dry-run=client -o yaml"),
  step("create service clusterip sv1 --tcp=80:8080 --tcp=90 --dry-run=client -o yaml"),
  step("create service nodeport sv2 --tcp=80:web --dry-run=client -o yaml"),
  step("create service externalname sv3 --external-name=example.com --dry-run=client -o yaml"),
  step("create service clusterip sv4"),
  step("create service clusterip sv5 --tcp=5678:8080"),
  step("create serviceaccount sa1 -o yaml --dry-run=client"),
  step("create role r1 --verb=get,list --resource=pods,deployments.apps --dry-run=client -o yaml"),
  step("create clusterrole r2 --verb=get --non-resource-url=/healthz --dry-run=client -o yaml"),
  step(
    "create rolebinding rb1 --role=r1 --user=jane --serviceaccount=a:b --dry-run=client -o yaml",
  ),
  step("create clusterrolebinding rb2 --clusterrole=view --group=g --dry-run=client -o yaml"),
  step("create rolebinding rb1"),
  step(
    "create ingress i1 --rule=example.com/path*=svc:80,tls=sec --default-backend=d:http --dry-run=client -o yaml",
  ),
  step("create quota q1 --hard=cpu=1,pods=2 --scopes=BestEffort --dry-run=client -o yaml"),
  step("create pdb p1 --selector=app=x --min-available=50% --dry-run=client -o yaml"),
  step("create priorityclass pc1 --value=10 --description=x --dry-run=client -o yaml"),
  step("create token nope"),
  step("wait deploy/roll --for=condition=Available --timeout=30s"),
  step("wait deploy/roll --for=jsonpath={.spec.replicas}=2"),
  step("wait deploy/roll --for=condition=Nope --timeout=1s"),
  step("wait deploy/roll --for=nope"),
  step("wait deploy/nope --for=delete"),
  step("wait pods -l app=none --for=condition=Ready"),
  step("taint node node-3 k=v"),
  step("auth can-i get pods"),
  step("auth can-i get nodes"),
  step("auth can-i get pods --as=nobody"),
  step("auth whoami"),
  step("delete cm applied-created --dry-run=client"),
  step("delete cm applied-created"),
  step("delete cm applied-created"),
  step("delete cm applied-created --ignore-not-found"),
  step("delete cm/one svc/roll -o name"),
  step("delete cm -l part=one"),
  step("delete cm -l part=none"),
  step("delete cm"),
  step("delete"),
  step("delete deploy roll --cascade=foreground"),
  step("delete -f -", settings("a: b")),
];

const words = (line: string): string[] =>
  line.split(" ").map((word) => word.replaceAll("\u00a0", " "));

describe("wherry kubectl beside kubectl", () => {
  const cluster = new TestCluster("kubectl", ["--runtime", "simulated", "--nodes", "3"]);
  const comparison = new Comparison(cluster);
  beforeAll(async () => {
    await cluster.start();
    await comparison.start();
    await cluster.apply(classes);
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
    await comparison.same(words(line));
  });

  test.each(writing)("$line", async ({ line, input }) => {
    await comparison.same(words(line), input === undefined ? {} : { input });
  });
});
