/** What /proc says of the machine that no figure of the Host port has: when it started, its network, how many processes. Pure. */

export interface InterfaceUse {
  readonly name: string;
  readonly rxBytes: number;
  readonly rxErrors: number;
  readonly txBytes: number;
  readonly txErrors: number;
}

/** Those that pods and bridges bring are not the machine's. */
const ignored = /^(lo$|veth|cni|docker|br-|virbr|dummy)/;

/** Out of /proc/net/dev. */
export function interfacesOf(text: string): InterfaceUse[] {
  return text.split("\n").flatMap((line): InterfaceUse[] => {
    const [, name = "", rest = ""] = /^\s*([^:\s]+):\s*(.*)$/.exec(line) ?? [];
    if (name === "" || ignored.test(name)) return [];
    const [rxBytes = 0, , rxErrors = 0, , , , , , txBytes = 0, , txErrors = 0] = rest
      .trim()
      .split(/\s+/)
      .map(Number);
    return [{ name, rxBytes, rxErrors, txBytes, txErrors }];
  });
}

/** The interface of the default route, out of /proc/net/route. */
export const defaultInterfaceOf = (text: string): string | undefined =>
  text
    .split("\n")
    .slice(1)
    .map((line) => line.split(/\s+/))
    .find(([, destination]) => destination === "00000000")?.[0];

/** Seconds since the epoch, out of /proc/stat. */
export function bootTimeMsOf(text: string): number | undefined {
  const seconds = /^btime (\d+)$/m.exec(text)?.[1];
  return seconds === undefined ? undefined : Number(seconds) * 1000;
}

/** How many threads there are, out of /proc/loadavg. */
export function threadsOf(text: string): number | undefined {
  const count = /^\S+ \S+ \S+ \d+\/(\d+) /.exec(text)?.[1];
  return count === undefined ? undefined : Number(count);
}
