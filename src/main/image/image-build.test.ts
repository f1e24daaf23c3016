import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readTar } from "#node/image/tar.ts";
import { applicationEntries, startArguments } from "./application.ts";
import { buildImage } from "./build.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "wherry-app-"));
});
afterEach(() => rmSync(folder, { recursive: true }));
const write = (path: string, content = ""): void => {
  mkdirSync(join(folder, path, ".."), { recursive: true });
  writeFileSync(join(folder, path), content);
};

test("the start script, main, and the usual names say what to start", () => {
  write("server.js");
  expect(startArguments(folder)).toEqual(["server.js"]);
  write("package.json", '{"main":"lib/a.js"}');
  expect(startArguments(folder)).toEqual(["lib/a.js"]);
  write("package.json", '{"main":"a.js","scripts":{"start":"node --trace-warnings b.js"}}');
  expect(startArguments(folder)).toEqual(["--trace-warnings", "b.js"]);
});

test("a folder that does not say what to start is refused with the cure", () => {
  expect(() => startArguments(folder)).toThrow(/Add one, or give the command after --\.$/);
  write("Dockerfile", "FROM scratch");
  expect(() => startArguments(folder)).toThrow(/Dockerfile is not read here: .*wherry image load/);
});

test(".dockerignore keeps files out, and ! brings them back", async () => {
  for (const path of [
    "a.js",
    "secret.env",
    "logs/x.log",
    "logs/keep.log",
    "deep/er/y.tmp",
    ".git/HEAD",
  ])
    write(path);
  write(".dockerignore", "# comment\n*.env\nlogs/*\n!logs/keep.log\n**/*.tmp\n");
  const paths = (await applicationEntries(folder)).map((entry) => entry.path);
  expect(paths.filter((path) => /\.\w+$/.test(path)).toSorted()).toEqual([
    "app/a.js",
    "app/logs/keep.log",
  ]);
});

test("an image on a given base: its layers, its environment, equal bytes for equal input", async () => {
  write("app/server.js", "1");
  write("app/package.json", '{"scripts":{"start":"node server.js"}}');
  const build = (name: string, base?: string) =>
    buildImage({
      folder: join(folder, "app"),
      reference: "docker.io/library/x:1",
      output: join(folder, name),
      ...(base === undefined ? {} : { base }),
      command: ["/bin/x"],
    });
  if (process.platform === "linux") {
    const first = await build("base.tar");
    expect((await build("again.tar")).digest).toBe(first.digest);
    const second = await build("second.tar", join(folder, "base.tar"));
    const files = new Map(
      [...readTar(readFileSync(second.output))].map((file) => [file.path, file.content]),
    );
    const json = (path: string) => JSON.parse(new TextDecoder().decode(files.get(path)));
    const blob = (digest: string) => json(`blobs/${digest.replace(":", "/")}`);
    const manifest = blob(json("index.json").manifests[0].digest);
    expect(manifest.layers).toHaveLength(3);
    const config = blob(manifest.config.digest);
    expect(config.config.Entrypoint).toEqual(["/bin/x"]);
    expect(config.config.WorkingDir).toBe("/app");
    expect(config.config.Env).toContain("PATH=/usr/local/bin:/usr/bin:/bin");
    expect(config.rootfs.diff_ids).toHaveLength(3);
  }
}, 60_000);

test("a base that is no OCI archive is named", async () => {
  write("app/server.js");
  write("base.tar");
  execFileSync("tar", ["-cf", join(folder, "base.tar"), "-C", folder, "app"]);
  const building = buildImage({
    folder: join(folder, "app"),
    reference: "x",
    output: join(folder, "o.tar"),
    base: join(folder, "base.tar"),
  });
  await expect(building).rejects.toThrow(/no OCI image archive/);
});
