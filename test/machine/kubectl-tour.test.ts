/**
 * Every verb of unmodified kubectls, one command after the other, on simulated nodes: kubectl as it comes in an npm package, and those that
 * KUBECTLS names (paths with colons between; `npm run test:kubectls` names the machine's and the newest). What needs containers that run
 * (exec, cp, attach, port-forward) is in kubectl-stream.test.ts.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TestCluster } from "./cluster.ts";
import { kubectlProgram, run } from "./programs.ts";

/** A command line; what it prints; what it ends with (default 0); its input. */
interface Step {
  readonly line: string;
  readonly says?: RegExp;
  readonly code?: number;
  readonly input?: string;
}
const step = (line: string, says?: RegExp, more: Omit<Step, "line" | "says"> = {}): Step => ({
  line,
  ...(says === undefined ? {} : { says }),
  ...more,
});

const deployment = (image: string, extra = ""): string => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, labels: { app: web, part: tour } }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      containers: [{ name: main, image: "${image}", ports: [{ containerPort: 80 }] }]
${extra}`;
const settings = (value: string, name = "settings"): string => `
apiVersion: v1
kind: ConfigMap
metadata: { name: ${name}, labels: { part: tour } }
data: { key: "${value}" }
`;
const prune = "--prune -l part=tour --prune-allowlist=core/v1/ConfigMap";
const role = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: reconciled, namespace: NS }
rules: [{ apiGroups: [""], resources: [pods], verbs: [get] }]
`;

const surroundings: readonly Step[] = [
  step("version", /Server Version: v1\.37/),
  step("api-versions", /^apps\/v1$/m),
  step("api-resources", /deployments +deploy +apps\/v1 +true +Deployment/),
  step("api-resources --namespaced=false -o name", /^nodes$/m),
  step("api-resources --categories=all --verbs=list -o wide", /pods/),
  step("cluster-info", /Kubernetes control plane.* is running at/),
  step("config view --minify -o jsonpath={.contexts[0].name}", /wherry/),
  step("config current-context", /wherry/),
  step("options", /--as/),
  step("completion bash", /__start_kubectl/),
  step("get --raw=/readyz?verbose", /readyz check passed/),
  step("get --raw=/version", /"minor"/),
  step("auth whoami", /kubernetes-admin/),
  step("auth can-i create pods", /yes/),
  step("auth can-i create pods --as=nobody", /no/, { code: 1 }),
  step("auth can-i --list", /\*\.\*/),
];

const generators: readonly Step[] = [
  step("create configmap made --from-literal=a=b", /configmap\/made created/),
  step("create secret generic made --from-literal=a=b", /secret\/made created/),
  step(
    "create secret docker-registry pull --docker-server=r.example --docker-username=u --docker-password=p",
    /secret\/pull created/,
  ),
  step("create serviceaccount made", /serviceaccount\/made created/),
  step("create token made --duration=1h", /^ey/),
  step(
    "create deployment made --image=example/made:1 --replicas=1",
    /deployment.apps\/made created/,
  ),
  step("create job made --image=example/made:1", /job.batch\/made created/),
  step("create cronjob made --image=example/made:1 --schedule=0_0_*_*_*", /cronjob.batch\/made/),
  step("create job from --from=cronjob/made", /job.batch\/from created/),
  step("create service clusterip made --tcp=80:8080", /service\/made created/),
  step("create service nodeport made-port --tcp=80", /service\/made-port created/),
  step("create service loadbalancer made-balancer --tcp=80", /service\/made-balancer created/),
  step("create service externalname made-name --external-name=example.com", /created/),
  step(
    "create ingress made --rule=example.com/=made:80",
    /ingress.networking.k8s.io\/made created/,
  ),
  step("create role made --verb=get,list --resource=pods", /role.rbac.*\/made created/),
  step("create rolebinding made --role=made --user=jane", /rolebinding.rbac.*\/made created/),
  step("create clusterrole NS-made --verb=get --resource=nodes", /created/),
  step("create clusterrolebinding NS-made --clusterrole=NS-made --user=jane", /created/),
  step("create quota made --hard=configmaps=50", /resourcequota\/made created/),
  step("create poddisruptionbudget made --selector=app=made --min-available=1", /created/),
  step("create priorityclass NS-made --value=10", /priorityclass.*\/NS-made created/),
  step("create namespace NS-more", /namespace\/NS-more created/),
  step("auth can-i list pods --as=jane", /yes/),
  step("auth reconcile -f -", /reconciled/, { input: role }),
];

const applying: readonly Step[] = [
  step("diff -f -", /^\+kind: Deployment/m, { input: deployment("example/web:1"), code: 1 }),
  step("apply -f -", /deployment.apps\/web created/, { input: deployment("example/web:1") }),
  step("apply -f -", /unchanged/, { input: deployment("example/web:1") }),
  step("diff -f -", undefined, { input: deployment("example/web:1") }),
  step("apply -f - --dry-run=server", /configured \(server dry run\)/, {
    input: deployment("example/web:2"),
  }),
  step("apply -f -", /configured/, { input: deployment("example/web:2") }),
  step("apply view-last-applied deployment/web", /example\/web:2/),
  step("apply set-last-applied -f -", /configured/, { input: deployment("example/web:2") }),
  step("rollout status deployment/web --timeout=80s", /successfully rolled out/),
  step("wait deployment/web --for=condition=Available --timeout=80s", /condition met/),
  step(
    "wait deployment/web --for=jsonpath={.status.readyReplicas}=2 --timeout=80s",
    /condition met/,
  ),
  step("apply --server-side -f -", /serverside-applied/, { input: settings("1") }),
  step("apply --server-side -f -", /serverside-applied/, { input: settings("1") }),
  step("apply --server-side --field-manager=other -f -", /Apply failed with 1 conflict/, {
    input: settings("2"),
    code: 1,
  }),
  step("apply --server-side --field-manager=other --force-conflicts -f -", /serverside-applied/, {
    input: settings("2"),
  }),
  step("diff --server-side -f - --field-manager=other", undefined, { input: settings("2") }),
  step("get configmap settings -o yaml --show-managed-fields", /manager: other/),
  step(`apply ${prune} -f -`, /configmap\/pruned created/, { input: settings("1", "pruned") }),
  step(`apply ${prune} -f -`, /configmap\/pruned pruned/, { input: settings("1", "kept") }),
  step("replace -f -", /configmap\/kept replaced/, { input: settings("2", "kept") }),
  step("replace --force -f -", /configmap\/kept replaced/, { input: settings("3", "kept") }),
  step("edit configmap kept", /Edit cancelled, no changes made/),
  step("create -f - --dry-run=server -o name", /configmap\/other/, {
    input: settings("1", "other"),
  }),
  step("create -f - --validate=strict", /unknown field "odd"/, {
    input: `${settings("1", "odd")}odd: 1\n`,
    code: 1,
  }),
];

const changing: readonly Step[] = [
  step("label deployment web tier=front", /labeled/),
  step("label deployment web tier=back", /already has a value/, { code: 1 }),
  step("label deployment web tier=back --overwrite", /labeled/),
  step("label deployment web tier-", /unlabeled/),
  step("annotate deployment web note=yes", /annotated/),
  step("annotate deployment web note-", /annotated/),
  step('patch deployment web -p {"spec":{"minReadySeconds":1}}', /patched/),
  step('patch deployment web --type=merge -p {"spec":{"minReadySeconds":0}}', /patched/),
  step(
    'patch deployment web --type=json -p [{"op":"replace","path":"/spec/revisionHistoryLimit","value":5}]',
    /patched/,
  ),
  step(
    'patch deployment web --subresource=scale --type=merge -p {"spec":{"replicas":1}}',
    /patched/,
  ),
  step(
    'patch deployment web --subresource=status --type=merge -p {"status":{"collisionCount":0}}',
    /patched/,
  ),
  step("get deployment web --subresource=scale -o jsonpath={.kind}", /Scale/),
  step("get deployment web --subresource=status -o name", /web/),
  step("scale deployment web --replicas=2 --current-replicas=1", /scaled/),
  step("set image deployment/web main=example/web:3", /image updated/),
  step("set env deployment/web A=b", /env updated/),
  step("set env deployment/web --list", /A=b/),
  step("set resources deployment/web --requests=cpu=10m", /resource requirements updated/),
  step("set serviceaccount deployment/web made", /serviceaccount updated/),
  step("set subject rolebinding made --group=team", /subjects updated/),
  step("set selector service made app=web", /selector updated/),
  step("rollout status deployment/web --timeout=80s", /successfully rolled out/),
  step("rollout history deployment/web", /REVISION/),
  step("rollout history deployment/web --revision=1", /example\/web/),
  step("rollout undo deployment/web", /rolled back/),
  step("rollout pause deployment/web", /paused/),
  step("rollout resume deployment/web", /resumed/),
  step("rollout restart deployment/web", /restarted/),
  step("rollout status deployment/web --timeout=80s", /successfully rolled out/),
  step("expose deployment web --port=80", /service\/web exposed/),
  step("run one --image=example/one:1 --restart=Never --labels=run=one", /pod\/one created/),
  step("wait pod/one --for=condition=Ready --timeout=80s", /condition met/),
];

const looking: readonly Step[] = [
  step("get pods -o wide --show-labels -L app", /NODE/),
  step("get pods -A --chunk-size=1", /web-/),
  step("get deployment,service,configmap -o name", /service\/web/),
  step("get all", /replicaset.apps\/web/),
  step("get pods --sort-by=.metadata.name -l app=web --field-selector=metadata.name!=x", /web-/),
  step("get deployment web -o json", /"kind": "Deployment"/),
  step("get deployment web -o custom-columns=N:.metadata.name", /^web/m),
  step("get deployment web -o go-template={{.metadata.name}}", /web/),
  step("get deployment web none --ignore-not-found -o name", /web/),
  step("get pods none", /pods "none" not found/, { code: 1 }),
  step("describe deployment web", /RollingUpdateStrategy/),
  step("describe pod one", /example\/one:1/),
  step("describe service,configmap,quota,ingress,cronjob,poddisruptionbudget", /Name:/),
  step("describe nodes", /Allocated resources/),
  step("events --for=pod/one", /Scheduled/),
  step("get events --field-selector=involvedObject.kind=Pod", /Scheduled/),
  step("explain pods", /KIND: +Pod/),
  step("explain pods.spec.containers.ports", /hostPort/),
  step("explain deployments --api-version=apps/v1", /apps/),
  step("cluster-info dump --namespaces=NS", /"kind": "PodList"/),
];

const nodes = (node: string): readonly Step[] => [
  // One Pod of one must stay: the drain would wait for ever.
  step("delete poddisruptionbudget made", /deleted/),
  step(`cordon ${node}`, /cordoned/),
  step(`uncordon ${node}`, /uncordoned/),
  step(`taint nodes ${node} NS=yes:PreferNoSchedule`, /tainted/),
  step(`taint nodes ${node} NS-`, /untainted/),
  step(
    `drain ${node} --ignore-daemonsets --force --delete-emptydir-data --dry-run=server`,
    /drained/,
  ),
];

const ending: readonly Step[] = [
  step("delete pod one --grace-period=0 --force", /force deleted/),
  step("delete deployment made --cascade=orphan", /deleted/),
  step("get replicasets -l app=made -o name", /made-/),
  step("delete configmap made settings --wait=false", /"settings" deleted/),
  step("delete jobs --all", /deleted/),
  step("delete -f - --ignore-not-found", /deleted/, { input: deployment("example/web:1") }),
  step("wait deployment/web --for=delete --timeout=80s"),
  step("delete clusterrole,clusterrolebinding,priorityclass NS-made", /deleted/),
  step("delete namespace NS-more", /deleted/),
];

const programs = [kubectlProgram(), ...(process.env["KUBECTLS"] ?? "").split(":")].filter(Boolean);
const cluster = new TestCluster("tour", ["--runtime", "simulated", "--nodes", "2"]);
beforeAll(() => cluster.start());
afterAll(() => cluster.purge());

describe.each(programs.map((program, at) => [program, `tour-${at}`] as const))(
  "%s",
  (program, ns) => {
    const kubectl = async ({ line, says, code = 0, input }: Step): Promise<string> => {
      const named = line.replaceAll("NS", ns);
      // Arguments with spaces are written with underscores: only schedules have them.
      const args = named
        .split(" ")
        .map((one) => (one.startsWith("--schedule") ? one.replaceAll("_", " ") : one));
      const env = { ...cluster.kubectlEnvironment, EDITOR: "true" };
      const all = ["--kubeconfig", cluster.kubeconfig, "-n", ns, ...args];
      const given = input === undefined ? {} : { input: input.replaceAll("NS", ns) };
      const outcome = await run(program, all, { env, ...given });
      const text = `${outcome.stdout}${outcome.stderr}`;
      expect(outcome.code, `kubectl ${named}\n${text}`).toBe(code);
      if (says !== undefined) {
        const pattern = new RegExp(says.source.replaceAll("NS", ns), says.flags);
        expect(text, `kubectl ${named}`).toMatch(pattern);
      }
      return text;
    };
    const all = async (steps: readonly Step[]): Promise<void> => {
      for (const one of steps) await kubectl(one);
    };

    beforeAll(async () => {
      await kubectl(step("create namespace NS"));
      await kubectl(step("wait serviceaccount/default --for=create --timeout=60s"));
    });
    test("says where it is, and who it is", () => all(surroundings), 300_000);
    test("creates by every generator", () => all(generators), 300_000);
    test("applies, diffs, prunes, replaces", () => all(applying), 300_000);
    test("changes what is there", () => all(changing), 600_000);
    test("looks at what is there", () => all(looking), 300_000);
    test("cordons, taints and drains", async () => {
      const name = await kubectl(step("get nodes -o jsonpath={.items[0].metadata.name}"));
      await all(nodes(name.trim()));
    }, 300_000);

    test("approves and denies certificates", async () => {
      const folder = cluster.folder;
      const key = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
      const files = ["-keyout", join(folder, "key.pem"), "-subj", "/CN=jane"];
      const request = execFileSync("openssl", [...key, ...files]).toString("base64");
      for (const [verb, name] of [
        ["approve", `${ns}-yes`],
        ["deny", `${ns}-no`],
      ]) {
        const spec = `{ request: ${request}, signerName: kubernetes.io/kube-apiserver-client, usages: [client auth] }`;
        const input = `apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata: { name: ${name} }\nspec: ${spec}\n`;
        await kubectl(step("create -f -", /created/, { input }));
        await kubectl(
          step(`certificate ${verb} ${name}`, verb === "approve" ? /approved/ : /denied/),
        );
        await kubectl(step(`delete csr ${name}`, /deleted/));
      }
    }, 300_000);

    test("builds with kustomize", async () => {
      writeFileSync(join(cluster.folder, "settings.yaml"), settings("1", "built"));
      writeFileSync(
        join(cluster.folder, "kustomization.yaml"),
        "resources: [settings.yaml]\nnamePrefix: pre-\n",
      );
      await kubectl(step(`kustomize ${cluster.folder}`, /name: pre-built/));
      await kubectl(step(`apply -k ${cluster.folder}`, /configmap\/pre-built created/));
      await kubectl(step(`delete -k ${cluster.folder}`, /deleted/));
    }, 300_000);

    test("explains every kind, recursively", async () => {
      const table = await kubectl(step("api-resources --no-headers"));
      for (const line of table.trim().split("\n")) {
        const [name, version] = [line.split(" ", 1)[0], line.trim().split(/ +/).at(-3)];
        await kubectl(
          step(`explain ${name} --api-version=${version} --recursive`, /FIELDS:[^]*kind\t/),
        );
      }
    }, 600_000);
    test("deletes", () => all(ending), 300_000);
    test(`is ${basename(program)}`, async () => {
      await kubectl(step("version --client -o json", /gitVersion/));
      await kubectl(step("delete namespace NS", /deleted/));
    }, 300_000);
  },
);
