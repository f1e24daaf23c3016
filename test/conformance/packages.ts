/**
 * Root folders of images from Debian's packages: the packages and all they depend on are downloaded (nothing is installed on this
 * machine) and unpacked. Their install scripts do not run.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { packageFolder } from "./paths.ts";
import { must } from "./run.ts";

/** The folder that holds the packages' files. */
export async function unpackPackages(packages: readonly string[]): Promise<string> {
  const key = createHash("sha256").update(packages.join(" ")).digest("hex").slice(0, 12);
  const root = join(packageFolder, key);
  if (existsSync(root)) return root;
  const work = `${root}.new`;
  rmSync(work, { recursive: true, force: true });
  const archives = join(work, "archives");
  mkdirSync(join(archives, "partial"), { recursive: true });
  const nothingInstalled = join(work, "status");
  writeFileSync(nothingInstalled, "");
  const options = {
    "Dir::State::status": nothingInstalled,
    "Dir::Cache::archives": archives,
    "Debug::NoLocking": "true",
    "APT::Sandbox::User": "root",
  };
  await must("apt-get", [
    "install",
    "--download-only",
    "--yes",
    "--quiet",
    "--no-install-recommends",
    ...Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`]),
    ...packages,
  ]);
  const files = join(work, "root");
  mkdirSync(files);
  for (const archive of readdirSync(archives).toSorted()) {
    if (archive.endsWith(".deb")) await must("dpkg", ["-x", join(archives, archive), files]);
  }
  renameSync(files, root);
  rmSync(work, { recursive: true });
  return root;
}
