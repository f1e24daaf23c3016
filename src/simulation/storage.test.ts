/** Stories of claims and volumes on simulated machines: bound by hand, made on demand, waited for, kept, removed. */
import { afterEach, expect, test } from "vitest";
import type { ProgramRule } from "#adapters/memory/runtime.ts";
import { Event } from "#api/core/v1/event.ts";
import { Node } from "#api/core/v1/node.ts";
import { PersistentVolume } from "#api/core/v1/persistentvolume.ts";
import { PersistentVolumeClaim } from "#api/core/v1/persistentvolumeclaim.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { isStatus } from "#machinery/status-error.ts";
import type { Transport } from "./control-plane.ts";
import { createWorld, isReady, type World } from "./world.ts";

let world: World | undefined;
afterEach(async () => {
  const ended = world;
  world = undefined;
  await ended?.stop();
  // Nothing is left that would ever happen.
  expect(ended?.clock.waiting ?? 0).toBe(0);
});

const namespace = "default";
const file = "/data/visits";

/** Counts its starts in a file of its volume, and says the count. */
const counting: ProgramRule = {
  matches: ({ name }) => name === "count",
  program: {
    async start(process) {
      process.onTerminate(() => process.exit(0));
      const { files } = process.surroundings;
      const before = new TextDecoder().decode((await files.read(file)) ?? new Uint8Array());
      const count = Number(before || "0") + 1;
      await files.write(file, new TextEncoder().encode(String(count)));
      process.print(`visit ${count}`);
    },
  },
};

async function newWorld(transport: Transport, nodes = 2): Promise<World> {
  world = await createWorld({ seed: 7, nodes, transport, programs: [counting] });
  return world;
}

const claim = (name: string, more = ""): string => `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: ${name} }
spec:
  accessModes: [ReadWriteOnce]
  resources: { requests: { storage: 1Gi } }
  ${more}
`;
const volume = (name: string, size: string, more = ""): string => `
apiVersion: v1
kind: PersistentVolume
metadata: { name: ${name} }
spec:
  accessModes: [ReadWriteOnce]
  capacity: { storage: ${size} }
  hostPath: { path: /srv/${name}, type: DirectoryOrCreate }
  ${more}
`;
const pod = (name: string, source: string, more = ""): string => `
apiVersion: v1
kind: Pod
metadata: { name: ${name} }
spec:
  terminationGracePeriodSeconds: 0
  ${more}
  volumes: [{ name: data, ${source} }]
  containers:
    - { name: count, image: counter:1, volumeMounts: [{ name: data, mountPath: /data }] }
`;
const ofClaim = (name: string): string => `persistentVolumeClaim: { claimName: ${name} }`;

const getClaim = (on: World, name: string) =>
  on.client.get(PersistentVolumeClaim, { namespace, name });
const getPod = (on: World, name: string) => on.client.get(Pod, { namespace, name });
async function isGone(asked: Promise<unknown>): Promise<boolean> {
  try {
    await asked;
    return false;
  } catch (error) {
    if (isStatus(error, "NotFound")) return true;
    throw error;
  }
}
const untilPhase = (on: World, name: string, phase: string) =>
  on.until(async () => (await getClaim(on, name)).status.phase === phase, 60_000);
const untilReady = (on: World, name: string) =>
  on.until(async () => isReady(await getPod(on, name)), 60_000);
async function said(on: World, reason: string): Promise<string[]> {
  const { items } = await on.client.list(Event, { namespace });
  return items.filter((event) => event.reason === reason).map(({ message }) => message ?? "");
}
const untilSaid = (on: World, reason: string, message: string) =>
  on.until(async () => (await said(on, reason)).includes(message), 60_000);
const removePod = async (on: World, name: string) => {
  await on.client.delete(Pod, { namespace, name });
  await on.until(() => isGone(getPod(on, name)), 60_000);
};

test.each<[Transport]>([["direct"], ["https"]])(
  "%s: a claim waits for its pod, gets a directory on its node, and the data outlives pods",
  async (transport) => {
    const on = await newWorld(transport);
    await on.apply(claim("notes"));
    await untilSaid(
      on,
      "WaitForFirstConsumer",
      "waiting for first consumer to be created before binding",
    );
    const waiting = await getClaim(on, "notes");
    expect(waiting.spec.storageClassName).toBe("standard");
    expect(waiting.status.phase).toBe("Pending");

    await on.apply(pod("one", ofClaim("notes")));
    await untilReady(on, "one");
    const bound = await getClaim(on, "notes");
    expect(bound.status).toMatchObject({ phase: "Bound", capacity: { storage: "1Gi" } });
    const name = `pvc-${bound.metadata.uid}`;
    expect(bound.spec.volumeName).toBe(name);
    const made = await on.client.get(PersistentVolume, { name });
    const nodeName = (await getPod(on, "one")).spec.nodeName ?? "";
    expect(made.spec).toMatchObject({
      persistentVolumeReclaimPolicy: "Delete",
      storageClassName: "standard",
      claimRef: { namespace, name: "notes", uid: bound.metadata.uid },
    });
    expect(made.status.phase).toBe("Bound");
    await on.until(async () => (await on.logs({ namespace, name: "one" })) === "visit 1\n", 10_000);

    // The next pod goes where the data is.
    await removePod(on, "one");
    await on.apply(pod("two", ofClaim("notes")));
    await untilReady(on, "two");
    expect((await getPod(on, "two")).spec.nodeName).toBe(nodeName);
    await on.until(async () => (await on.logs({ namespace, name: "two" })) === "visit 2\n", 10_000);

    // A claim in use is kept until its pod is gone; then data and volume go.
    const path = made.spec.local?.path ?? "";
    const { host } = on.node(nodeName);
    expect(await host.stat(path)).toBeDefined();
    await on.client.delete(PersistentVolumeClaim, { namespace, name: "notes" });
    await on.advance(5000);
    expect((await getClaim(on, "notes")).metadata.deletionTimestamp).toBeDefined();
    await removePod(on, "two");
    await on.until(() => isGone(getClaim(on, "notes")), 60_000);
    await on.until(() => isGone(on.client.get(PersistentVolume, { name })), 60_000);
    expect(await host.stat(path)).toBeUndefined();
  },
);

test("the smallest volume that does is bound; a retained one keeps its data and is Released", async () => {
  const on = await newWorld("direct");
  const plain = "storageClassName: manual";
  await on.apply(volume("large", "10Gi", plain));
  await on.apply(volume("small", "500Mi", plain));
  await on.apply(volume("right", "2Gi", plain));
  await on.apply(claim("c", plain));
  await untilPhase(on, "c", "Bound");
  const bound = await getClaim(on, "c");
  expect(bound.spec.volumeName).toBe("right");
  expect(bound.status).toMatchObject({ capacity: { storage: "2Gi" } });
  const phase = async (name: string) =>
    (await on.client.get(PersistentVolume, { name })).status.phase;
  expect([await phase("large"), await phase("small"), await phase("right")]).toEqual([
    "Available",
    "Available",
    "Bound",
  ]);
  // In use by a claim, the volume stays though it is deleted.
  await on.client.delete(PersistentVolumeClaim, { namespace, name: "c" });
  await on.until(() => isGone(getClaim(on, "c")), 60_000);
  await on.until(async () => (await phase("right")) === "Released", 60_000);
  // Nobody else gets it, for there may be something in it.
  await on.apply(claim("d", `${plain}\n  volumeName: right`));
  await untilSaid(on, "FailedBinding", 'volume "right" already bound to a different claim.');
});

test("a pod waits for a claim that nobody can grant, and says so", async () => {
  const on = await newWorld("direct");
  await on.apply(claim("lonely", 'storageClassName: ""'));
  await on.apply(pod("p", ofClaim("lonely")));
  await on.apply(pod("q", ofClaim("nowhere")));
  await untilSaid(
    on,
    "FailedScheduling",
    "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
  );
  await untilSaid(
    on,
    "FailedScheduling",
    '0/2 nodes are available: persistentvolumeclaim "nowhere" not found. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.',
  );
  await untilSaid(
    on,
    "FailedBinding",
    "no persistent volumes available for this claim and no storage class is set",
  );
  // What it lacked comes: nobody has to do anything more.
  await on.apply(volume("late", "1Gi"));
  await on.apply(claim("nowhere"));
  await untilReady(on, "p");
  await untilReady(on, "q");
});

test("a volume of one node decides where the pod runs", async () => {
  const on = await newWorld("direct", 3);
  const affinity = `storageClassName: ""
  nodeAffinity:
    required:
      nodeSelectorTerms:
        - matchExpressions: [{ key: kubernetes.io/hostname, operator: In, values: [node-2] }]`;
  await on.apply(volume("there", "1Gi", affinity));
  await on.apply(claim("c", 'storageClassName: ""'));
  await untilPhase(on, "c", "Bound");
  await on.apply(pod("p", ofClaim("c")));
  await untilReady(on, "p");
  expect((await getPod(on, "p")).spec.nodeName).toBe("node-2");
  await on.apply(pod("q", ofClaim("c"), "nodeSelector: { kubernetes.io/hostname: node-1 }"));
  await on.until(
    async () =>
      (await said(on, "FailedScheduling")).some((message) =>
        message.includes("node(s) didn't match PersistentVolume's node affinity"),
      ),
    60_000,
  );
});

test("an ephemeral volume comes and goes with its pod", async () => {
  const on = await newWorld("direct");
  const template = `ephemeral: { volumeClaimTemplate: { spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } } } }`;
  await on.apply(pod("p", template));
  await untilReady(on, "p");
  const made = await getClaim(on, "p-data");
  expect(made.metadata.ownerReferences).toMatchObject([{ kind: "Pod", name: "p" }]);
  await removePod(on, "p");
  await on.until(() => isGone(getClaim(on, "p-data")), 60_000);
  const volumes = async () => (await on.client.list(PersistentVolume)).items.length;
  await on.until(async () => (await volumes()) === 0, 60_000);
});

test("a claim whose volume is taken away is lost; a node that left took its data along", async () => {
  const on = await newWorld("direct");
  await on.apply(volume("v", "1Gi", 'storageClassName: ""'));
  await on.apply(claim("c", 'storageClassName: ""'));
  await untilPhase(on, "c", "Bound");
  await on.client.delete(PersistentVolume, { name: "v" });
  await on.client.patch(PersistentVolume, { name: "v" }, "merge", {
    metadata: { finalizers: null },
  });
  await untilPhase(on, "c", "Lost");
  await untilSaid(
    on,
    "ClaimLost",
    "Bound claim has lost its PersistentVolume. Data on the volume is lost!",
  );

  await on.apply(claim("local"));
  await on.apply(pod("p", ofClaim("local")));
  await untilReady(on, "p");
  const name = (await getClaim(on, "local")).spec.volumeName ?? "";
  const nodeName = (await getPod(on, "p")).spec.nodeName ?? "";
  await on.node(nodeName).stop();
  await on.client.delete(Node, { name: nodeName });
  await on.client.delete(PersistentVolumeClaim, { namespace, name: "local" });
  await on.client.delete(Pod, { namespace, name: "p" }, { gracePeriodSeconds: 0 });
  await on.until(() => isGone(on.client.get(PersistentVolume, { name })), 120_000);
});
