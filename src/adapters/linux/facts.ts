/** What a Linux machine is, out of /proc, /etc and /sys: parsed here, read by host.ts. Pure. */
import type { HostFacts } from "#ports/host.ts";

export const architectures: Readonly<Record<string, HostFacts["architecture"]>> = {
  x64: "amd64",
  arm64: "arm64",
  arm: "arm",
  s390x: "s390x",
  ppc64: "ppc64le",
  riscv64: "riscv64",
};

/** PRETTY_NAME of /etc/os-release. */
export const osImageOf = (osRelease: string): string =>
  /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(osRelease)?.[1] ?? "Linux";

/** A field of /proc/meminfo, in bytes. */
export const memoryField = (meminfo: string, name: string): number =>
  Number(new RegExp(`^${name}:\\s*(\\d+) kB`, "m").exec(meminfo)?.[1] ?? 0) * 1024;

/** Interfaces that hold pods' gateways and other nodes' bridges, never the machine's own address. */
const virtualInterface = /^(lo|veth|cni|docker|br-|virbr|dummy|flannel|cali|cilium|tunl|kube)/;

/** The interface of the default route with the lowest metric, of /proc/net/route. */
export function defaultInterface(routes: string): string | undefined {
  const defaults = routes
    .split("\n")
    .slice(1)
    .map((line) => line.split("\t"))
    .filter(([name, destination]) => name !== undefined && destination === "00000000")
    .toSorted((a, b) => Number(a[6] ?? 0) - Number(b[6] ?? 0));
  return defaults[0]?.[0];
}

export interface InterfaceAddress {
  readonly interface: string;
  readonly address: string;
  readonly family: "IPv4" | "IPv6";
  readonly internal: boolean;
}

/** The default route's interface first, IPv4 before IPv6, no link-local ones. */
export function hostAddresses(
  all: readonly InterfaceAddress[],
  preferred: string | undefined,
): readonly string[] {
  const rank = (item: InterfaceAddress): number =>
    (item.interface === preferred ? 0 : 2) + (item.family === "IPv4" ? 0 : 1);
  return all
    .filter((item) => !item.internal && !item.address.toLowerCase().startsWith("fe80:"))
    .filter((item) => item.interface === preferred || !virtualInterface.test(item.interface))
    .toSorted((a, b) => rank(a) - rank(b))
    .map((item) => item.address);
}

/** A mount of /proc/self/mountinfo; blanks and backslashes are written in octal there. */
export function readMounts(
  mountinfo: string,
): readonly { readonly source: string; readonly target: string; readonly type: string }[] {
  const plain = (text: string): string =>
    text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
  return mountinfo
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [before = "", after = ""] = line.split(" - ");
      const [type = "", source = ""] = after.split(" ");
      return { source: plain(source), target: plain(before.split(" ")[4] ?? ""), type };
    });
}

/** Nanoseconds of CPU of the whole machine, without idling, of /proc/stat (in hundredths of a second). */
export function cpuNanosTotal(procStat: string): number {
  const fields = (/^cpu\s+(.*)$/m.exec(procStat)?.[1] ?? "").split(" ").map(Number);
  // user nice system idle iowait irq softirq steal (guest time is part of user's)
  const busy = fields.slice(0, 8).filter((_, i) => i !== 3 && i !== 4);
  return busy.reduce((sum, ticks) => sum + ticks, 0) * 10_000_000;
}

/** A counter of /proc/vmstat; 0: this kernel does not keep it. */
export const vmstatField = (vmstat: string, name: string): number =>
  Number(new RegExp(`^${name} (\\d+)$`, "m").exec(vmstat)?.[1] ?? 0);
