/** What a machine test needs. On a laptop a missing need skips the suite and says so; with CI set it fails. */
import { execFileSync } from "node:child_process";
import { accessSync, constants, existsSync } from "node:fs";
import { describe, test } from "vitest";

export type Need =
  | "root"
  | "containerd"
  | "runc"
  | "cni"
  | "nft"
  | "strace"
  | "busybox"
  | "openssl";

const onPath = (program: string): boolean =>
  `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`.split(":").some((folder) => {
    try {
      accessSync(`${folder}/${program}`, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });

const has: Record<Need, () => boolean> = {
  root: () => process.getuid?.() === 0,
  containerd: () => onPath("containerd"),
  runc: () => onPath("runc"),
  cni: () =>
    ["/usr/lib/cni/ptp", "/opt/cni/bin/ptp", "/usr/libexec/cni/ptp"].some((p) => existsSync(p)),
  nft: () => onPath("nft"),
  strace: () => {
    try {
      execFileSync("strace", ["-o", "/dev/null", "true"], { stdio: "ignore" });
      return true;
    } catch {
      return false;
    }
  },
  busybox: () => onPath("busybox"),
  openssl: () => onPath("openssl"),
};

/** A describe() that runs only where everything it needs is there. */
export function describeWith(needs: readonly Need[], name: string, body: () => void): void {
  const missing = needs.filter((need) => !has[need]());
  if (missing.length === 0) {
    describe(name, body);
    return;
  }
  if (process.env["CI"]) {
    test(`${name}: the machine lacks ${missing.join(", ")}`, () => {
      throw new Error(`CI must have ${missing.join(", ")}; .ci/run installs it`);
    });
    return;
  }
  describe.skip(`${name} (skipped: this machine lacks ${missing.join(", ")})`, body);
}
