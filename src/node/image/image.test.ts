import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { pauseImageArchive, pauseReference, tarOf } from "./archive.ts";
import { pauseProgram } from "./pause.ts";
import { readTar } from "./tar.ts";

const sha256 = (bytes: Uint8Array): Uint8Array => createHash("sha256").update(bytes).digest();
const linuxAmd64 = process.platform === "linux" && process.arch === "x64";

function inFolder<T>(work: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), "wherry-image-"));
  try {
    return work(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test.runIf(linuxAmd64)("the pause program waits, and ends with 0 on SIGTERM", async () => {
  const folder = mkdtempSync(join(tmpdir(), "wherry-pause-"));
  const file = join(folder, "pause");
  writeFileSync(file, pauseProgram("amd64"));
  chmodSync(file, 0o755);
  const child = spawn(file);
  const ended = new Promise((resolve) =>
    child.on("exit", (code, signal) => resolve([code, signal])),
  );
  // It has blocked its signals once it waits for them (system call 128): an earlier SIGTERM would kill it.
  const asleep = (): boolean =>
    readFileSync(`/proc/${child.pid}/syscall`, "utf8").startsWith("128 ");
  while (!asleep()) await new Promise((resolve) => setImmediate(resolve));
  child.kill("SIGTERM");
  expect(await ended).toEqual([0, null]);
  rmSync(folder, { recursive: true });
});

test("the pause program is a static executable for each architecture", () => {
  for (const [architecture, machine] of [
    ["amd64", 62],
    ["arm64", 183],
  ] as const) {
    const bytes = pauseProgram(architecture);
    expect([...bytes.subarray(0, 4)]).toEqual([0x7f, 0x45, 0x4c, 0x46]);
    expect(bytes[18]).toBe(machine);
    expect(bytes.length).toBe(architecture === "amd64" ? 120 + 0x70 : 120 + 0x80);
  }
});

test("an image archive holds what its documents name", () => {
  const files = new Map([...readTar(pauseImageArchive("amd64", sha256))].map((f) => [f.path, f]));
  const json = (path: string) => JSON.parse(new TextDecoder().decode(files.get(path)?.content));
  const index = json("index.json");
  expect(index.manifests[0].annotations["io.containerd.image.name"]).toBe(pauseReference);
  const manifest = json(`blobs/${index.manifests[0].digest.replace(":", "/")}`);
  for (const blob of [manifest.config, ...manifest.layers]) {
    const content =
      files.get(`blobs/${blob.digest.replace(":", "/")}`)?.content ?? new Uint8Array();
    expect(`sha256:${Buffer.from(sha256(content)).toString("hex")}`).toBe(blob.digest);
    expect(content.length).toBe(blob.size);
  }
});

test("tar: what is written is read again, whatever the names' lengths", () => {
  const path = fc.stringMatching(/^[a-z0-9ä]{1,40}(\/[a-z0-9]{1,90}){0,3}$/);
  const file = fc.record({
    path,
    mode: fc.constantFrom(0o644, 0o755),
    content: fc.uint8Array({ maxLength: 1200 }),
  });
  fc.assert(
    fc.property(fc.array(file, { maxLength: 5 }), (files) => {
      const read = [...readTar(tarOf(files))].map(({ path, mode, content }) => ({
        path,
        mode,
        content,
      }));
      expect(read).toEqual(files);
    }),
    { numRuns: 50 },
  );
});

test("tar: the system's tar reads it too", () => {
  const long = `${"d".repeat(80)}/${"f".repeat(80)}`;
  inFolder((folder) => {
    const archive = join(folder, "a.tar");
    writeFileSync(archive, tarOf([{ path: long, mode: 0o644, content: new Uint8Array([65]) }]));
    expect(execFileSync("tar", ["-tf", archive], { encoding: "utf8" }).trim()).toBe(long);
  });
});

test("tar: what is no archive is said to be none", () => {
  expect(() => [...readTar(new Uint8Array(1024).fill(7))]).toThrow("not a tar archive");
});
