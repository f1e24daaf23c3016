/** Claims on real containers: made on demand, bound by hand, shared and kept apart; what pods find in their volumes. */
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestCluster } from "./cluster.ts";
import { describeWith } from "./requirements.ts";

const claim = (name: string, more = ""): string => `
apiVersion: v1
kind: PersistentVolumeClaim
metadata: { name: ${name} }
spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } }${more} }
`;
const pod = (name: string, volume: string, command: string, mount = ""): string => `
apiVersion: v1
kind: Pod
metadata: { name: ${name} }
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{ name: data, ${volume} }]
  containers:
    - name: c
      image: tools:1
      command: [sh, -c, ${JSON.stringify(command)}]
      volumeMounts: [{ name: data, mountPath: /data${mount} }]
`;
const ofClaim = (name: string, more = ""): string =>
  `persistentVolumeClaim: { claimName: ${name}${more} }`;

describeWith(["root", "containerd", "runc", "cni", "nft", "busybox"], "storage", () => {
  const cluster = new TestCluster("storage");
  const ready = (name: string) =>
    cluster.ok("wait", `pod/${name}`, "--for=condition=Ready", "--timeout=60s");
  const field = (what: string, path: string) =>
    cluster.ok("get", ...what.split("/"), "-o", `jsonpath={${path}}`);

  beforeAll(async () => {
    await cluster.start();
    await cluster.buildTools();
  }, 180_000);
  afterAll(() => cluster.purge(), 180_000);

  test("a claim of the default class: waits, is bound, its data outlives pods, and goes with it", async () => {
    expect(await cluster.ok("get", "storageclass")).toMatch(
      /^standard \(default\) +\S+ +Delete +WaitForFirstConsumer +false/m,
    );
    await cluster.apply(claim("notes"));
    await cluster.until("pvc/notes", ".status.phase", /^Pending$/m);
    await cluster.apply(pod("one", ofClaim("notes"), "echo first >> /data/log; sleep 9999"));
    await ready("one");
    const volume = await field("pvc/notes", ".spec.volumeName");
    expect(await cluster.ok("get", "pvc", "notes")).toMatch(
      new RegExp(`^notes +Bound +${volume} +1Gi +RWO +standard`, "m"),
    );
    const path = await field(`pv/${volume}`, ".spec.local.path");
    expect(path.startsWith(cluster.dataDirectory)).toBe(true);
    expect(readFileSync(join(path, "log"), "utf8")).toBe("first\n");
    const described = await cluster.ok("describe", "pvc", "notes");
    expect(described).toMatch(/WaitForFirstConsumer .*persistentvolume-controller/);
    expect(described).toMatch(/Used By: +one/);
    expect(described).toContain(`Successfully provisioned volume ${volume}`);

    await cluster.ok("delete", "pod", "one");
    await cluster.apply(pod("two", ofClaim("notes", ", readOnly: true"), "sleep 9999"));
    await ready("two");
    expect(await cluster.ok("exec", "two", "--", "cat", "/data/log")).toBe("first\n");
    expect(await cluster.refused("exec", "two", "--", "touch", "/data/x")).toContain(
      "Read-only file system",
    );
    // In use it stays, then it goes with its data.
    await cluster.ok("delete", "pvc", "notes", "--wait=false");
    expect(await cluster.ok("get", "pvc", "notes")).toMatch(/^notes +Terminating/m);
    await cluster.ok("delete", "pod", "two");
    await cluster.ok("wait", "pvc/notes", "--for=delete", "--timeout=60s");
    await cluster.ok("wait", `pv/${volume}`, "--for=delete", "--timeout=60s");
    expect(existsSync(path)).toBe(false);
  }, 120_000);

  test("a volume made by hand: bound by class, retained with its data, refused to the next", async () => {
    const folder = join(cluster.folder, "by-hand");
    mkdirSync(folder);
    await cluster.apply(`
apiVersion: v1
kind: PersistentVolume
metadata: { name: by-hand }
spec:
  storageClassName: manual
  capacity: { storage: 2Gi }
  accessModes: [ReadWriteOnce]
  hostPath: { path: ${folder} }
`);
    await cluster.until("pv/by-hand", ".status.phase", /^Available$/m);
    await cluster.apply(claim("kept", ", storageClassName: manual"));
    await cluster.until("pvc/kept", ".status.phase", /^Bound$/m);
    await cluster.apply(
      pod("writer", ofClaim("kept"), "echo kept > /data/f; sleep 9999", ", subPath: a/b"),
    );
    await ready("writer");
    expect(readFileSync(join(folder, "a/b/f"), "utf8")).toBe("kept\n");
    await cluster.ok("delete", "pod", "writer");
    await cluster.ok("delete", "pvc", "kept");
    await cluster.until("pv/by-hand", ".status.phase", /^Released$/m);
    expect(existsSync(join(folder, "a/b/f"))).toBe(true);
    await cluster.ok("delete", "pv", "by-hand");
    expect(
      await cluster.refused("patch", "storageclass", "standard", "-p", '{"provisioner":"x"}'),
    ).toContain("provisioner: Invalid value: null: field is immutable");
  }, 120_000);

  test("a pod whose claim is not there says so", async () => {
    await cluster.apply(pod("lonely", ofClaim("nowhere"), "sleep 9999"));
    await cluster.until(
      "pod/lonely",
      '.status.conditions[?(@.type=="PodScheduled")].message',
      /^0\/1 nodes are available: persistentvolumeclaim "nowhere" not found\. preemption: 0\/1 nodes are available: 1 Preemption is not helpful for scheduling\.$/m,
    );
    await cluster.apply(claim("nowhere"));
    await ready("lonely");
    await cluster.ok("delete", "pod/lonely", "pvc/nowhere");
  }, 120_000);

  test("volumes of the pod's own: on disk, in memory with a limit, ephemeral", async () => {
    await cluster.apply(`
apiVersion: v1
kind: Pod
metadata: { name: own }
spec:
  terminationGracePeriodSeconds: 0
  volumes:
    - { name: disk, emptyDir: {} }
    - { name: memory, emptyDir: { medium: Memory, sizeLimit: 1Mi } }
    - name: scratch
      ephemeral: { volumeClaimTemplate: { spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Gi } } } } }
  containers:
    - name: c
      image: tools:1
      env: [{ name: NAME, valueFrom: { fieldRef: { fieldPath: metadata.name } } }]
      command: [sh, -c, "sleep 9999"]
      volumeMounts:
        - { name: disk, mountPath: /disk }
        - { name: disk, mountPath: /named, subPathExpr: $(NAME) }
        - { name: memory, mountPath: /memory }
        - { name: scratch, mountPath: /scratch }
`);
    await ready("own");
    const inPod = (command: string) => cluster.kubectl(["exec", "own", "--", "sh", "-c", command]);
    expect((await inPod("stat -c %a /disk /memory /scratch")).stdout).toBe("777\n777\n777\n");
    expect((await inPod("touch /named/x && ls /disk/own")).stdout).toBe("x\n");
    expect((await inPod("head -c 2000000 /dev/zero > /memory/full")).code).not.toBe(0);
    expect((await inPod("stat -c %s /memory/full")).stdout).toBe("1048576\n");
    const volume = await field("pvc/own-scratch", ".spec.volumeName");
    await cluster.ok("delete", "pod", "own");
    await cluster.ok("wait", `pv/${volume}`, "--for=delete", "--timeout=60s");
  }, 120_000);

  test("a link in a volume leads nowhere outside of it", async () => {
    await cluster.apply(claim("links"));
    await cluster.apply(pod("maker", ofClaim("links"), "ln -s / /data/root; sleep 9999"));
    await ready("maker");
    await cluster.apply(pod("climber", ofClaim("links"), "sleep 9999", ", subPath: root/etc"));
    await cluster.until(
      "pod/climber",
      ".status.containerStatuses[0].state.waiting.reason",
      /^CreateContainerConfigError$/m,
    );
    expect(await cluster.ok("describe", "pod", "climber")).toContain(
      'failed to prepare subPath for volumeMount "data"',
    );
    await cluster.ok("delete", "pod/maker", "pod/climber", "pvc/links");
  }, 120_000);
});
