/**
 * Images from a registry on real containers: found through the cluster's own mirror file, by tag and by digest, with and without the right
 * to them; and images as volumes.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { hostsFile, type Registry, startRegistry } from "../registry/registry.ts";
import { TestCluster } from "./cluster.ts";
import { describeWith } from "./requirements.ts";

const pod = (name: string, image: string, more = "", volumes = ""): string => `
apiVersion: v1
kind: Pod
metadata: { name: ${name} }
spec:
  terminationGracePeriodSeconds: 0
  ${more}
  containers:
    - name: c
      image: ${image}
      imagePullPolicy: ${image === "tools:1" ? "IfNotPresent" : "Always"}
      command: [sh, -c, "sleep 9999"]
${volumes}
`;
const mounted = (path: string, reference: string, more = ""): string => `
      volumeMounts: [{ name: files, mountPath: /files${path === "" ? "" : `, subPath: ${path}`} }]
  volumes: [{ name: files, image: { reference: "${reference}"${more} } }]
`;
const login = { username: "robot", password: "secret" };

describeWith(["root", "containerd", "runc", "cni", "nft", "busybox"], "pulls", () => {
  const cluster = new TestCluster("pulls");
  const registries: Registry[] = [];
  const open = async (host: string, archive: string, more = {}): Promise<Registry> => {
    const registry = await startRegistry({ archives: [archive], host: "127.0.0.1", ...more });
    registries.push(registry);
    const folder = join(cluster.dataDirectory, "certs.d", host);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "hosts.toml"), hostsFile(registry.address));
    return registry;
  };
  const ready = (name: string) =>
    cluster.ok("wait", `pod/${name}`, "--for=condition=Ready", "--timeout=60s");
  const waiting = (name: string, reason: string) =>
    cluster.until(
      `pod/${name}`,
      ".status.containerStatuses[0].state.waiting.reason",
      new RegExp(`^${reason}$`, "m"),
    );
  const build = async (reference: string): Promise<string> => {
    const file = join(cluster.folder, `${reference.replaceAll(/[/:]/g, "_")}.tar`);
    const folder = join(cluster.folder, "tools");
    const built = ["image", "build", folder, "-t", reference, "-o", file];
    const { code, stderr } = await cluster.wherry([...built, "--name", cluster.name]);
    expect(code, stderr).toBe(0);
    return file;
  };
  const mounts = (): string[] => readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  let open1: Registry;

  beforeAll(async () => {
    await cluster.start();
    await cluster.buildTools();
    writeFileSync(join(cluster.folder, "tools", "notes.txt"), "from the image\n");
    open1 = await open("open.example", await build("open.example/team/tools:2"));
    await open("closed.example", await build("closed.example/tools:3"), { login });
  }, 240_000);
  afterAll(async () => {
    await cluster.purge();
    for (const registry of registries) await registry.stop();
    expect(mounts().filter((line) => line.includes(cluster.folder))).toEqual([]);
  }, 180_000);

  test("a mirror file of the cluster's says where a registry is", async () => {
    await cluster.apply(pod("tagged", "open.example/team/tools:2"));
    await ready("tagged");
    expect(open1.asked[0]).toBe("HEAD /v2/team/tools/manifests/2?ns=open.example");
    const path = "jsonpath={.status.containerStatuses[0].imageID}";
    const id = await cluster.ok("get", "pod", "tagged", "-o", path);
    expect(id).toMatch(/^open\.example\/team\/tools@sha256:[0-9a-f]{64}$/);
    await cluster.apply(pod("by-digest", id));
    await ready("by-digest");
    const said = await cluster.ok("events", "--for", "pod/by-digest");
    expect(said).toContain(`Successfully pulled image "${id}" in `);
    await cluster.apply(pod("none", "open.example/team/other:1"));
    await waiting("none", "ErrImagePull|ImagePullBackOff");
    expect(await cluster.ok("events", "--for", "pod/none")).toContain(
      "open.example/team/other:1: not found",
    );
  });

  test("who has no right to an image does not get it; a pull secret gives it", async () => {
    await cluster.apply(pod("refused", "closed.example/tools:3"));
    await waiting("refused", "ErrImagePull|ImagePullBackOff");
    expect(await cluster.ok("events", "--for", "pod/refused")).toMatch(/401 Unauthorized|authoriz/);
    const { username, password } = login;
    const user = [`--docker-username=${username}`, `--docker-password=${password}`];
    const server = "--docker-server=closed.example";
    await cluster.ok("create", "secret", "docker-registry", "robot", server, ...user);
    await cluster.apply(
      pod("allowed", "closed.example/tools:3", "imagePullSecrets: [{ name: robot }]"),
    );
    await ready("allowed");
  });

  test("an image's files are a volume: whole or in part, never to be written", async () => {
    const reference = "open.example/team/tools:2";
    const always = ", pullPolicy: Always";
    await cluster.apply(pod("whole", "tools:1", "", mounted("", reference, always)));
    await cluster.apply(pod("part", "tools:1", "", mounted("app", reference)));
    await ready("whole");
    const read = (name: string, path: string) =>
      cluster.ok("exec", name, "--", "cat", `/files/${path}`);
    expect(await read("whole", "app/notes.txt")).toBe("from the image\n");
    await ready("part");
    expect(await read("part", "notes.txt")).toBe("from the image\n");
    expect(await cluster.refused("exec", "part", "--", "touch", "/files/x")).toContain(
      "Read-only file system",
    );
    const said = await cluster.ok("events", "--for", "pod/whole");
    expect(said).toContain(`Successfully pulled image "${reference}" in `);
    await cluster.ok("delete", "pod", "whole", "part");
    // Pods without a grace period are gone before their containers are.
    const volumes = `${cluster.dataDirectory}/image-volumes/`;
    const left = (): string[] => mounts().filter((line) => line.includes(volumes));
    await expect.poll(left, { timeout: 60_000 }).toEqual([]);
  });

  test("an image that is not there, and a folder that is not in it", async () => {
    const never = ", pullPolicy: Never";
    await cluster.apply(pod("absent", "tools:1", "", mounted("", "no.such/image:1", never)));
    await waiting("absent", "ErrImageNeverPull");
    const reference = "open.example/team/tools:2";
    await cluster.apply(pod("no-folder", "tools:1", "", mounted("no/such", reference)));
    await waiting("no-folder", "CreateContainerError");
    expect(await cluster.ok("events", "--for", "pod/no-folder")).toContain(
      `the image ${reference} has no no/such inside it`,
    );
  });
});
