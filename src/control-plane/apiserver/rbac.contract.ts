/** Who may do what, as every way to the API server must tell it alike: live roles and bindings, reviews, escalation, impersonation. */
import { describe, expect, test } from "vitest";
import type { ApiResponse, Handler, User } from "#api/request.ts";
import {
  admin,
  ask,
  makeWorld,
  namesOf,
  objectOf,
  refusal,
  type Transport,
} from "./api.contract.ts";

const group = "rbac.authorization.k8s.io";
const rbac = `/apis/${group}/v1`;
const inDefault = `${rbac}/namespaces/default`;
const pods = "/api/v1/namespaces/default/pods";
const jane: User = { name: "jane", groups: ["devs"] };

const role = (name: string, ...rules: object[]) => ({ metadata: { name }, rules });
const rule = (verbs: string[], resources: string[], more: object = {}) => ({
  verbs,
  apiGroups: [""],
  resources,
  ...more,
});
const binding = (name: string, kind: string, to: string, ...subjects: object[]) => ({
  metadata: { name },
  roleRef: { apiGroup: group, kind, name: to },
  subjects,
});
const toUser = (name: string) => ({ kind: "User", name });
const toGroup = (name: string) => ({ kind: "Group", name });

export function rbacContract(name: string, transport: Transport): void {
  const start = async () => {
    const world = await makeWorld(transport);
    const handler = await world.as(admin);
    const call = (method: string, target: string, body?: object) =>
      ask(handler, method, target, body);
    return { ...world, call, handler };
  };

  describe(`who may do what, ${name}`, () => {
    test("a role binding counts at once, in its namespace only, and ends with it", async () => {
      const { call, as } = await start();
      const hers = await as(jane);
      const list = async (at: string) => (await ask(hers, "GET", at)).status;
      expect(await list(pods)).toBe(403);
      await call("POST", `${inDefault}/roles`, role("reader", rule(["get", "list"], ["pods"])));
      const bind = binding("read", "Role", "reader", toGroup("devs"));
      expect((await call("POST", `${inDefault}/rolebindings`, bind)).status).toBe(201);
      expect(await list(pods)).toBe(200);
      expect(await list("/api/v1/namespaces/kube-system/pods")).toBe(403);
      expect(await list("/api/v1/pods")).toBe(403);
      expect((await ask(hers, "DELETE", `${pods}/p`)).status).toBe(403);
      await call("PUT", `${inDefault}/roles/reader`, role("reader", rule(["get"], ["pods"])));
      expect(await list(pods)).toBe(403);
      await call("DELETE", `${inDefault}/roles/reader`);
      expect(refusal(await ask(hers, "GET", pods))).toEqual([
        403,
        `pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default": RBAC: role.${group} "reader" not found`,
      ]);
      await call("DELETE", `${inDefault}/rolebindings/read`);
      expect(refusal(await ask(hers, "GET", pods))[1]).not.toContain("RBAC");
    });

    test("names, subresources, paths and service accounts", async () => {
      const { call, as } = await start();
      await call(
        "POST",
        `${rbac}/clusterroles`,
        role(
          "some",
          rule(["get"], ["configmaps"], { resourceNames: ["a"] }),
          rule(["get"], ["*/log", "pods/status"]),
          { verbs: ["get"], nonResourceURLs: ["/metrics", "/logs/*"] },
        ),
      );
      const account = { kind: "ServiceAccount", name: "bot", namespace: "default" };
      await call(
        "POST",
        `${rbac}/clusterrolebindings`,
        binding("s", "ClusterRole", "some", account),
      );
      const bot = await as({ name: "system:serviceaccount:default:bot", groups: [] });
      const codes = async (...targets: string[]) => {
        const answers = await Promise.all(targets.map((target) => ask(bot, "GET", target)));
        return answers.map(({ status }) => (status === 403 ? "no" : "yes"));
      };
      const maps = "/api/v1/namespaces/default/configmaps";
      expect(await codes(`${maps}/a`, `${maps}/b`, maps)).toEqual(["yes", "no", "no"]);
      expect(await codes(`${pods}/p/log`, `${pods}/p/status`, `${pods}/p`)).toEqual([
        "yes",
        "yes",
        "no",
      ]);
      expect(await codes("/metrics", "/logs/x", "/logs", "/debug")).toEqual([
        "yes",
        "yes",
        "no",
        "no",
      ]);
    });

    test("what is wrong with a role or a binding is told as upstream does", async () => {
      const { call } = await start();
      const bad = role(
        "r",
        { verbs: [], apiGroups: [""], resources: ["pods"] },
        { verbs: ["get"] },
      );
      expect(refusal(await call("POST", `${inDefault}/roles`, bad))).toEqual([
        422,
        `Role.${group} "r" is invalid: [rules[1].apiGroups: Required value: resource rules must supply at least one api group, rules[1].resources: Required value: resource rules must supply at least one resource, rules[0].verbs: Required value]`,
      ]);
      const path = role("r", { verbs: ["get"], nonResourceURLs: ["/x"] });
      expect(refusal(await call("POST", `${inDefault}/roles`, path))[1]).toContain(
        'rules[0].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs',
      );
      const wrong = binding("b", "Thing", "x", { kind: "Robot", name: "" });
      expect(refusal(await call("POST", `${inDefault}/rolebindings`, wrong))).toEqual([
        422,
        `RoleBinding.${group} "b" is invalid: [roleRef.kind: Unsupported value: "Thing": supported values: "Role", "ClusterRole", subjects[0].kind: Unsupported value: "Robot": supported values: "ServiceAccount", "User", "Group", subjects[0].name: Required value]`,
      ]);
      const good = binding("b", "ClusterRole", "view", toUser("jane"));
      await call("POST", `${inDefault}/rolebindings`, good);
      const other = binding("b", "ClusterRole", "edit", toUser("jane"));
      expect(refusal(await call("PUT", `${inDefault}/rolebindings/b`, other))).toEqual([
        422,
        `RoleBinding.${group} "b" is invalid: roleRef: Invalid value: {"APIGroup":"${group}","Kind":"ClusterRole","Name":"edit"}: field is immutable`,
      ]);
    });

    test("nobody grants what they do not hold", async () => {
      const { call, as } = await start();
      const hers = await as(jane);
      const managing = rule(["*"], ["roles", "rolebindings"], { apiGroups: [group] });
      await call("POST", `${inDefault}/roles`, role("m", managing, rule(["get"], ["pods"])));
      await call("POST", `${inDefault}/rolebindings`, binding("m", "Role", "m", toUser("jane")));
      const try_ = (what: string, body: object) => ask(hers, "POST", `${inDefault}/${what}`, body);
      expect((await try_("roles", role("ok", rule(["get"], ["pods"])))).status).toBe(201);
      // "*" on roles includes "escalate" and "bind": without them the rights themselves are needed.
      const verbs = ["get", "list", "create", "update", "patch", "delete"];
      const less = rule(verbs, ["roles", "rolebindings"], { apiGroups: [group] });
      await call("PUT", `${inDefault}/roles/m`, role("m", less, rule(["get"], ["pods"])));
      expect((await try_("roles", role("ok2", rule(["get"], ["pods"])))).status).toBe(201);
      const more = role("no", rule(["get", "list"], ["pods", "secrets"]));
      expect(refusal(await try_("roles", more))).toEqual([
        403,
        `roles.${group} "no" is forbidden: user "jane" (groups=["devs" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[""], Resources:["pods"], Verbs:["list"]}\n{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}`,
      ]);
      await call("POST", `${rbac}/clusterroles`, role("secret", rule(["get"], ["secrets"])));
      const bind = binding("no", "ClusterRole", "secret", toUser("jane"));
      expect(refusal(await try_("rolebindings", bind))[1]).toContain(
        `rolebindings.${group} "no" is forbidden: user "jane" (groups=["devs" "system:authenticated"]) is attempting to grant`,
      );
      expect(refusal(await try_("rolebindings", binding("x", "Role", "none")))).toEqual([
        404,
        `role.${group} "none" not found`,
      ]);
      const mayBind = rule(["bind"], ["clusterroles"], {
        apiGroups: [group],
        resourceNames: ["secret"],
      });
      await call("PUT", `${inDefault}/roles/m`, role("m", less, mayBind));
      expect((await try_("rolebindings", bind)).status).toBe(201);
    });

    test("answers what one may do: reviews", async () => {
      const { call, as } = await start();
      await call(
        "POST",
        `${inDefault}/rolebindings`,
        binding("v", "ClusterRole", "system:aggregate-to-view", toUser("jane")),
      );
      const hers = await as(jane);
      const authorization = "/apis/authorization.k8s.io/v1";
      const review = async (who: Handler, kind: string, spec: object) => {
        const answer = await ask(who, "POST", `${authorization}/${kind}`, { spec });
        return answer.status === 201 ? objectOf(answer).status : refusal(answer);
      };
      const wanted = (verb: string, resource: string) => ({
        resourceAttributes: { namespace: "default", verb, resource },
      });
      expect(await review(hers, "selfsubjectaccessreviews", wanted("list", "pods"))).toEqual({
        allowed: true,
        reason:
          'RBAC: allowed by RoleBinding "v/default" of ClusterRole "system:aggregate-to-view" to User "jane"',
      });
      expect(await review(hers, "selfsubjectaccessreviews", wanted("list", "secrets"))).toEqual({
        allowed: false,
      });
      expect(
        await review(hers, "subjectaccessreviews", { user: "joe", ...wanted("list", "pods") }),
      ).toEqual([
        403,
        'subjectaccessreviews.authorization.k8s.io is forbidden: User "jane" cannot create resource "subjectaccessreviews" in API group "authorization.k8s.io" at the cluster scope',
      ]);
      const handler = await as(admin);
      const asked = { user: "jane", ...wanted("list", "pods") };
      expect(await review(handler, "subjectaccessreviews", asked)).toMatchObject({ allowed: true });
      const rules = await review(hers, "selfsubjectrulesreviews", { namespace: "default" });
      expect(rules).toMatchObject({ incomplete: false });
      expect(JSON.stringify(rules)).toContain('"selfsubjectaccessreviews"');
      expect(JSON.stringify(rules)).toContain('"replicationcontrollers/scale"');
    });

    test("impersonation asks RBAC", async () => {
      const { call, as } = await start();
      const may = rule(["impersonate"], ["users", "groups"], { resourceNames: ["joe", "ops"] });
      await call("POST", `${rbac}/clusterroles`, role("be", may));
      await call(
        "POST",
        `${rbac}/clusterrolebindings`,
        binding("be", "ClusterRole", "be", toUser("jane")),
      );
      const read = binding("ops", "ClusterRole", "system:aggregate-to-view", toGroup("ops"));
      await call("POST", `${inDefault}/rolebindings`, read);
      const hers = await as(jane);
      const like = (headers: Record<string, string>): Promise<ApiResponse> =>
        hers({
          method: "GET",
          path: pods,
          query: [],
          headers,
          gone: new AbortController().signal,
          direct: true,
        });
      expect((await like({ "impersonate-user": "joe" })).status).toBe(403);
      expect((await like({ "impersonate-user": "joe", "impersonate-group": "ops" })).status).toBe(
        200,
      );
      expect(refusal(await like({ "impersonate-user": "root" }))[1]).toContain(
        'users "root" is forbidden: User "jane" cannot impersonate resource "users"',
      );
    });

    test("a node writes only what is its own", async () => {
      const { call, as } = await start();
      const n1 = await as({ name: "system:node:n1", groups: ["system:nodes"] });
      const told = async (method: string, target: string, body?: object) => {
        const answer = await ask(n1, method, target, body);
        return answer.status < 300 ? answer.status : refusal(answer)[1];
      };
      const nodes = "/api/v1/nodes";
      expect(await told("POST", nodes, { metadata: { name: "n2" } })).toBe(
        'nodes "n2" is forbidden: node "n1" is not allowed to modify node "n2"',
      );
      const labels = { "node-role.kubernetes.io/control-plane": "" };
      expect(await told("POST", nodes, { metadata: { name: "n1", labels } })).toBe(
        'nodes "n1" is forbidden: node "n1" is not allowed to set the following labels: node-role.kubernetes.io/control-plane',
      );
      expect(await told("POST", nodes, { metadata: { name: "n1" } })).toBe(201);
      const tainted = {
        metadata: { name: "n1" },
        spec: { taints: [{ key: "a", effect: "NoSchedule" }] },
      };
      expect(await told("PUT", `${nodes}/n1`, tainted)).toBe(
        'nodes "n1" is forbidden: node "n1" is not allowed to modify taints',
      );
      const leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
      expect(await told("POST", leases, { metadata: { name: "n2" } })).toBe(
        'leases.coordination.k8s.io "n2" is forbidden: can only access node lease with the same name as the requesting node',
      );
      await call("POST", "/api/v1/namespaces/default/serviceaccounts", {
        metadata: { name: "default" },
      });
      const spec = { nodeName: "n1", containers: [{ name: "c", image: "i" }] };
      expect(await told("POST", pods, { metadata: { name: "p" }, spec })).toBe(
        'pods "p" is forbidden: pod does not have "kubernetes.io/config.mirror" annotation, node "n1" can only create mirror pods',
      );
      expect((await call("POST", pods, { metadata: { name: "p" }, spec })).status).toBe(201);
      const token = "/api/v1/namespaces/default/serviceaccounts/default/token";
      expect(await told("POST", token, { spec: {} })).toBe(
        'serviceaccounts "default" is forbidden: node requested token not bound to a pod',
      );
      const { uid } = objectOf(await call("GET", `${pods}/p`)).metadata;
      const bound = { apiVersion: "v1", kind: "Pod", name: "p", uid };
      expect(await told("POST", token, { spec: { boundObjectRef: bound } })).toBe(201);
      const audiences = ["vault"];
      expect(await told("POST", token, { spec: { boundObjectRef: bound, audiences } })).toBe(
        'serviceaccounts "default" is forbidden: system:node:n1 is not authorized to request tokens for audience "vault"',
      );
    });

    test("a cluster starts with the bootstrap roles", async () => {
      const { call } = await start();
      const roles = namesOf(await call("GET", `${rbac}/clusterroles`));
      expect(roles).toContain("cluster-admin");
      expect(roles).toContain("system:controller:job-controller");
      expect(namesOf(await call("GET", `${rbac}/rolebindings`))).toContain(
        "system::leader-locking-kube-scheduler",
      );
    });
  });
}
