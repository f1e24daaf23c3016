import { expect, test } from "vitest";
import { memoryCrypto } from "#adapters/memory/crypto.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import { ask, directly, itemsOf, type Loose, makeWorld } from "./api.contract.ts";
import { apiServerId } from "./identity-lease.ts";

const leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
const hourMs = 3_600_000;

test("the id of a server is made of its machine's name", () => {
  const id = apiServerId(memoryCrypto(seededRandom(1)), "machine");
  expect(id).toMatch(/^apiserver-[a-z2-7]{26}$/);
  expect(id).toBe(apiServerId(memoryCrypto(seededRandom(2)), "machine"));
  expect(id).not.toBe(apiServerId(memoryCrypto(seededRandom(1)), "other"));
});

test("a server holds its Lease, and removes those of servers that are gone", async () => {
  const { server, clock } = await makeWorld(directly, { hostname: "machine" });
  const call = server.as({ name: "admin", groups: ["system:masters"] });
  const list = async (): Promise<Loose[]> => itemsOf(await ask(call, "GET", leases));
  const [first] = await list();
  const name = apiServerId(memoryCrypto(seededRandom(1)), "machine");
  expect(first?.metadata.name).toBe(name);
  expect(first?.metadata.labels).toEqual({
    "apiserver.kubernetes.io/identity": "kube-apiserver",
    "kubernetes.io/hostname": "machine",
  });
  expect(first?.["spec"]).toMatchObject({ leaseDurationSeconds: 3600 });
  expect(first?.["spec"]?.["holderIdentity"]).toMatch(`${name}_`);

  const labels = { "apiserver.kubernetes.io/identity": "kube-apiserver" };
  const renewTime = "2020-01-01T00:00:00.000000Z";
  const spec = { holderIdentity: "x", leaseDurationSeconds: 3600, renewTime };
  await ask(call, "POST", leases, { metadata: { name: "apiserver-gone", labels }, spec });
  await ask(call, "POST", leases, { metadata: { name: "somebody-elses" }, spec });
  await clock.advance(hourMs / 4);
  const after = await list();
  expect(after.map(({ metadata }) => metadata.name)).toEqual([name, "somebody-elses"]);
  expect(after[0]?.["spec"]?.["renewTime"]).not.toBe(first?.["spec"]?.["renewTime"]);
  await server.close(0);
});
