/** A story of an operator: a kind of one's own, and a controller outside the cluster that makes it true with built-in kinds. */
import { afterEach, expect, test } from "vitest";
import { CustomResourceDefinition } from "#api/apiextensions/v1/customresourcedefinition.ts";
import { Deployment } from "#api/apps/v1/deployment.ts";
import { Pod } from "#api/core/v1/pod.ts";
import type { Kind } from "#api/resource.ts";
import type { New } from "#client/client.ts";
import { createInformers } from "#client/informer.ts";
import { controllerReference, type Running } from "#control-plane/controllers/controller.ts";
import { startControllers } from "#control-plane/controllers/index.ts";
import { defineController } from "#control-plane/controllers/runner.ts";
import type { ApiObject } from "#machinery/meta.ts";
import { createWorld, type World } from "./world.ts";

interface Website extends ApiObject {
  spec: { replicas?: number };
  status?: { ready?: number };
}
const Website: Kind<Website> = {
  group: "example.com",
  version: "v1",
  kind: "Website",
  plural: "websites",
  namespaced: true,
};
const definition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: websites.example.com }
spec:
  group: example.com
  scope: Namespaced
  names: { plural: websites, kind: Website }
  versions:
  - name: v1
    served: true
    storage: true
    subresources: { status: {} }
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: { type: object, properties: { replicas: { type: integer, default: 1, maximum: 5 } } }
          status: { type: object, properties: { ready: { type: integer } } }
`;

const operator = defineController<Website>({
  name: "website-operator",
  reconciles: Website,
  owns: [Deployment],
  async reconcile(website, context) {
    const { name, namespace = "" } = website.metadata;
    const wanted = website.spec.replicas ?? 1;
    const found = context.cache(Deployment).get(`${namespace}/${name}`);
    if (found === undefined) {
      await context.client.create(Deployment, {
        metadata: { name, namespace, ownerReferences: [controllerReference(Website, website)] },
        spec: {
          replicas: wanted,
          selector: { matchLabels: { website: name } },
          template: {
            metadata: { labels: { website: name } },
            spec: { containers: [{ name: "web", image: "nginx:1" }] },
          },
        },
      } as unknown as New<Deployment>);
      return;
    }
    if (found.spec.replicas !== wanted) {
      const patch = { spec: { replicas: wanted } };
      await context.client.patch(Deployment, { namespace, name }, "merge", patch);
    }
    const ready = found.status.readyReplicas ?? 0;
    if (website.status?.ready !== ready)
      await context.client.updateStatus(Website, { ...website, status: { ready } });
  },
});

let world: World | undefined;
let running: Running | undefined;
afterEach(async () => {
  await running?.stop();
  const ended = world;
  running = undefined;
  world = undefined;
  await ended?.stop();
});

test.each(["direct", "https"] as const)(
  "%s: an operator keeps a website's pods, says how many are ready, and all goes with it",
  async (transport) => {
    const on = await createWorld({ seed: 7, nodes: 2, transport });
    world = on;
    await on.apply(definition);
    const ref = { namespace: "default", name: "shop" };
    const crd = { name: "websites.example.com" };
    await on.until(async () => {
      const { status } = await on.client.get(CustomResourceDefinition, crd);
      return (status.conditions ?? []).some(
        (one) => one.type === "Established" && one.status === "True",
      );
    }, 5_000);
    const ports = { clock: on.clock, random: on.random.fork("operator"), log: on.log };
    const informers = createInformers(on.client, ports);
    const own = startControllers({
      ...ports,
      clientFor: () => on.client,
      informers,
      controllers: [operator],
    });
    running = {
      async stop() {
        await own.stop();
        informers.stop();
      },
    };
    const website = { metadata: { ...ref }, spec: {} } as unknown as New<Website>;
    expect((await on.run(on.client.create(Website, website))).spec.replicas).toBe(1);
    const readyIs = (count: number): Promise<void> =>
      on.until(async () => (await on.client.get(Website, ref)).status?.ready === count, 60_000);
    await readyIs(1);
    await on.run(on.client.patch(Website, ref, "merge", { spec: { replicas: 3 } }));
    await readyIs(3);
    const tooMany = on.client.patch(Website, ref, "merge", { spec: { replicas: 9 } });
    await expect(on.run(tooMany)).rejects.toThrow(
      "spec.replicas in body should be less than or equal to 5",
    );
    // Somebody changes what the operator keeps: it is put right.
    const scale = { spec: { replicas: 0 } };
    await on.run(on.client.patch(Deployment, ref, "merge", scale));
    await readyIs(3);
    await on.run(on.client.delete(Website, ref));
    await on.until(async () => {
      const pods = await on.client.list(Pod, { namespace: "default" });
      return pods.items.length === 0;
    }, 120_000);
    await on.run(on.client.delete(CustomResourceDefinition, crd));
  },
);
