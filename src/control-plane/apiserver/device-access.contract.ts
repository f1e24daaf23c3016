/** Stories of claims to devices that every way to the API server must tell alike: who may do what with them. */
import { describe, expect, test } from "vitest";
import { admin, ask, makeWorld, refusal, type Transport } from "./api.contract.ts";

const group = "/apis/resource.k8s.io/v1";
const claims = `${group}/namespaces/default/resourceclaims`;
const claim = (name: string, adminAccess = false): object => ({
  metadata: { name },
  spec: {
    devices: { requests: [{ name: "one", exactly: { deviceClassName: "a", adminAccess } }] },
  },
});
const allocated = {
  allocation: {
    devices: { results: [{ request: "one", driver: "a.com", pool: "p", device: "d" }] },
  },
};
const mergePatch = { type: "application/merge-patch+json" };

export function deviceAccessContract(how: string, transport: Transport): void {
  const start = async () => {
    const world = await makeWorld(transport);
    const handler = await world.as(admin);
    const call = (method: string, target: string, body?: object) =>
      ask(handler, method, target, body, method === "PATCH" ? mergePatch : {});
    return { world, call };
  };

  describe(`access to devices, ${how}`, () => {
    test("administrators' access needs a label on the namespace", async () => {
      const { call } = await start();
      expect(refusal(await call("POST", claims, claim("c", true)))).toEqual([
        422,
        'ResourceClaim.resource.k8s.io "c" is invalid: spec.devices.requests[0].adminAccess: Forbidden: admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on the containing namespace',
      ]);
      await call("PATCH", "/api/v1/namespaces/default", {
        metadata: { labels: { "resource.kubernetes.io/admin-access": "true" } },
      });
      expect((await call("POST", claims, claim("c", true))).status).toBe(201);
    });

    test("to give devices is a right of its own", async () => {
      const { world, call } = await start();
      await call("POST", claims, claim("c"));
      const rules = [
        {
          apiGroups: ["resource.k8s.io"],
          resources: ["resourceclaims/status"],
          verbs: ["patch"],
        },
      ];
      const rbac = "/apis/rbac.authorization.k8s.io/v1";
      await call("POST", `${rbac}/clusterroles`, { metadata: { name: "r" }, rules });
      await call("POST", `${rbac}/clusterrolebindings`, {
        metadata: { name: "r" },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "r" },
        subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: "jane" }],
      });
      const jane = await world.as({ name: "jane", groups: ["system:authenticated"] });
      const patch = (status: object) =>
        ask(jane, "PATCH", `${claims}/c/status`, { status }, mergePatch);
      expect(refusal(await patch(allocated))).toEqual([
        422,
        'ResourceClaim.resource.k8s.io "c" is invalid: status.allocation: Forbidden: changing status.allocation or status.reservedFor requires resource="resourceclaims/binding", verb="patch" permission: resourceclaims.resource.k8s.io is forbidden: User "jane" cannot patch resource "resourceclaims/binding" in API group "resource.k8s.io" at the cluster scope',
      ]);
      const given = await call("PATCH", `${claims}/c/status`, { status: allocated });
      expect(given.status).toBe(200);
      const devices = [{ driver: "a.com", pool: "p", device: "d" }];
      expect(refusal(await patch({ devices }))).toEqual([
        422,
        'ResourceClaim.resource.k8s.io "c" is invalid: status.devices: Forbidden: changing status.devices requires resource="resourceclaims/driver", verb="[arbitrary-node:patch]" permission: resourceclaims.resource.k8s.io "a.com" is forbidden: User "jane" cannot arbitrary-node:patch resource "resourceclaims/driver" in API group "resource.k8s.io" in the namespace "default"',
      ]);
      expect((await call("PATCH", `${claims}/c/status`, { status: { devices } })).status).toBe(200);
    });
  });
}
