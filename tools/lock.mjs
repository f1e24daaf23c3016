/**
 * Completes package-lock.json after `npm install`: a registry mirror may lack the builds of native packages for other systems; npm then
 * leaves them out of the lock file and later refuses it in `npm ci`. They are entered by name and version, with the system that the
 * name says, so that npm passes over them here and fetches the right one elsewhere.
 */
import { readFileSync, writeFileSync } from "node:fs";

const file = "package-lock.json";
const lock = JSON.parse(readFileSync(file, "utf8"));
const systems = [
  "aix",
  "android",
  "darwin",
  "freebsd",
  "linux",
  "netbsd",
  "openbsd",
  "openharmony",
  "sunos",
  "wasi",
  "win32",
];
const processors = [
  "arm64",
  "arm",
  "ia32",
  "loong64",
  "mips64el",
  "ppc64",
  "riscv64",
  "s390x",
  "x64",
  "wasm32",
];

/** What a package's name says of where it runs: @x/binding-linux-arm64-musl. */
function placeOf(name) {
  const words = name.split(/[/-]/);
  const os =
    systems.find((one) => words.includes(one)) ?? (words.includes("wasm32") ? "wasi" : undefined);
  const cpu =
    processors.find((one) => words.includes(one)) ??
    (words.includes("ppc64le") ? "ppc64" : undefined);
  const libc = words.some((word) => word.startsWith("musl")) ? "musl" : undefined;
  return {
    ...(cpu === undefined ? {} : { cpu: [cpu] }),
    ...(os === undefined ? {} : { os: [os] }),
    ...(libc === undefined ? {} : { libc: [libc] }),
  };
}

let added = 0;
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const key = `node_modules/${name}`;
    if (key in lock.packages || `${path}/${key}` in lock.packages) continue;
    const place = placeOf(name);
    if (place.os === undefined && place.cpu === undefined) continue;
    lock.packages[key] = {
      version: version.replace(/^[\^~]/, ""),
      ...(entry.dev ? { dev: true } : {}),
      optional: true,
      ...place,
    };
    added++;
  }
}
const names = Object.keys(lock.packages).toSorted();
lock.packages = Object.fromEntries(names.map((name) => [name, lock.packages[name]]));
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
process.stdout.write(`${added} builds for other systems entered into ${file}\n`);
