/**
 * The base layer of `wherry image build`: this machine's Node runtime with the shared libraries it needs, name resolution, the
 * usual /etc files, roots of trust, and a static busybox as shell where the machine has one.
 */
import { execFile } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import { basename, dirname } from "node:path";
import { promisify } from "node:util";
import type { LayerEntry } from "./layer.ts";

const run = promisify(execFile);
const encoder = new TextEncoder();
const text = (path: string, content: string): LayerEntry => ({
  path,
  type: "content",
  mode: 0o644,
  content: encoder.encode(content),
});

/** Paths of the shared libraries that a program loads, the loader among them. */
async function sharedLibraries(program: string): Promise<string[]> {
  const { stdout } = await run("ldd", [program]).catch((error: unknown) => {
    throw new Error(
      `cannot find out which shared libraries ${program} needs: ${error instanceof Error ? error.message : String(error)}. ` +
        "Give a base image with --base FILE instead.",
    );
  });
  return [...new Set(stdout.match(/\/\S+/g) ?? [])];
}

/** glibc loads these by name when it resolves hosts and users; ldd does not show them. */
const resolverLibraries = ["libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2"];
const trustRoots = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

export async function nodeBaseEntries(): Promise<LayerEntry[]> {
  const program = realpathSync(process.execPath);
  const libraries = await sharedLibraries(program);
  const folder = dirname(libraries.find((path) => path.endsWith("/libc.so.6")) ?? "/lib/libc.so.6");
  const resolvers = resolverLibraries
    .map((name) => `${folder}/${name}`)
    .filter((path) => existsSync(path) && !libraries.includes(path));
  const roots = trustRoots.find((path) => existsSync(path));
  return [
    { path: "tmp", type: "directory", mode: 0o1777 },
    { path: "root", type: "directory", mode: 0o700 },
    ...["proc", "sys", "dev", "app"].map(
      (path): LayerEntry => ({ path, type: "directory", mode: 0o755 }),
    ),
    text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
    text("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    text("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    { path: "usr/bin/node", type: "copy", from: program, mode: 0o755 },
    ...[...libraries, ...resolvers].map(
      (path): LayerEntry => ({
        path: path.slice(1),
        type: "copy",
        from: realpathSync(path),
        mode: 0o755,
      }),
    ),
    ...(roots === undefined
      ? []
      : [
          {
            path: "etc/ssl/certs/ca-certificates.crt",
            type: "copy",
            from: realpathSync(roots),
          } as const,
        ]),
    ...(await shellEntries()),
  ];
}

/** busybox and a link for each of its applets; nothing if the machine has none that is static. */
async function shellEntries(): Promise<LayerEntry[]> {
  const program = ["/bin/busybox", "/usr/bin/busybox", "/sbin/busybox"].find((path) =>
    existsSync(path),
  );
  if (program === undefined) return [];
  const isStatic = await run("ldd", [program]).then(
    ({ stdout }) => !stdout.includes("=>"),
    () => true,
  );
  if (!isStatic) return [];
  const { stdout } = await run(program, ["--list"]);
  const applets = stdout
    .split("\n")
    .filter((name) => /^[\w[.+-]+$/.test(name) && name !== "busybox");
  return [
    { path: "bin/busybox", type: "copy", from: realpathSync(program), mode: 0o755 },
    ...applets.map(
      (name): LayerEntry => ({ path: `bin/${basename(name)}`, type: "link", linkTo: "busybox" }),
    ),
  ];
}
