/**
 * kill -9 cannot reveal a missing fsync, a trace of system calls can: before a write is acknowledged, its bytes were written,
 * a sync that began after that has ended, and after the sync the page that makes them count went through a synchronous write.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { build } from "esbuild";
import { expect, test } from "vitest";

interface Call {
  readonly name: string;
  readonly text: string;
  readonly begin: number;
  readonly end: number;
}

/** strace splits a call that another thread interrupts; line numbers tell when it began and when it was done. */
function parse(trace: string): Call[] {
  const calls: Call[] = [];
  const open = new Map<string, { name: string; text: string; begin: number }>();
  for (const [line, content] of trace.split("\n").entries()) {
    const match = /^(\d+) +(?:<\.\.\. )?(\w+)(?:\(| resumed>)(.*)$/.exec(content);
    if (match === null) continue;
    const [thread = "", name = "", rest = ""] = match.slice(1);
    const before = content.includes(" resumed>") ? open.get(thread) : undefined;
    if (rest.endsWith("<unfinished ...>")) {
      open.set(thread, { name, text: rest, begin: line });
      continue;
    }
    open.delete(thread);
    calls.push({
      name,
      text: (before?.text ?? "") + rest,
      begin: before?.begin ?? line,
      end: line,
    });
  }
  return calls;
}

interface Trace {
  readonly calls: readonly Call[];
  readonly data: readonly Call[];
  readonly syncs: readonly Call[];
  /** Writes through a descriptor that was opened O_DSYNC. */
  readonly synchronous: readonly Call[];
  readonly acks: readonly Call[];
}

function classify(calls: readonly Call[]): Trace {
  const descriptor = (call: Call): string => /^\d+/.exec(call.text)?.[0] ?? "";
  const ofStore = calls.filter(({ text }) => text.includes("/store.lmdb>"));
  const dsync = new Set(
    calls
      .filter(({ name, text }) => name === "openat" && /store\.lmdb", .*O_DSYNC/.test(text))
      .map(({ text }) => / = (\d+)</.exec(text)?.[1]),
  );
  const writes = ofStore.filter(({ name }) => /^p?writev?(64)?$|^pwritev2?$/.test(name));
  return {
    calls,
    data: writes.filter((call) => !dsync.has(descriptor(call))),
    syncs: ofStore.filter(
      ({ name, text }) => /^(fdatasync|fsync)$/.test(name) && /\) += 0( \(DELAYED\))?$/.test(text),
    ),
    synchronous: writes.filter((call) => dsync.has(descriptor(call))),
    acks: calls.filter(({ name, text }) => name === "write" && text.includes('"ack-')),
  };
}

/** What is missing before the acknowledgement of `mark`; undefined: nothing. */
function missing(trace: Trace, mark: string, ack: Call): string | undefined {
  const data = trace.data.find(({ text }) => text.includes(`mark-${mark}`));
  if (data === undefined) return "its bytes were never written";
  const sync = trace.syncs.find(({ begin }) => begin > data.end);
  if (sync === undefined || sync.end > ack.begin) return "no sync ended between its bytes and it";
  const page = trace.synchronous.find(({ begin }) => begin > sync.end);
  if (page === undefined || page.end > ack.begin)
    return "no synchronous write of the root ended between the sync and it";
  return undefined;
}

test("every acknowledged write was synced before", { timeout: 120_000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), "wherry-fsync-"));
  const child = resolve("dist/test/store-fsync.mjs");
  try {
    mkdirSync(resolve("dist/test"), { recursive: true });
    await build({
      entryPoints: ["test/machine/store-fsync.child.ts"],
      outfile: child,
      bundle: true,
      platform: "node",
      target: "node20",
      format: "esm",
      packages: "external",
      logLevel: "warning",
    });
    const output = join(directory, "trace");
    const names = "openat,write,writev,pwrite64,pwritev,pwritev2,fdatasync,fsync,msync";
    // A sync that takes its time: who does not wait for it is found out.
    const delay = "inject=fdatasync,fsync,msync:delay_enter=10000";
    const options = `-f -y -v -s 64 -e trace=${names} -e signal=none -e ${delay} -o`.split(" ");
    const program = [process.execPath, child, join(directory, "data")];
    execFileSync("strace", [...options, output, ...program]);
    const trace = classify(parse(readFileSync(output, "utf8")));
    expect(trace.acks).toHaveLength(220);
    const wrong = trace.acks.flatMap((ack) => {
      const mark = /"ack-(\d+)/.exec(ack.text)?.[1] ?? "";
      const what = missing(trace, mark, ack);
      return what === undefined ? [] : [`${mark}: ${what}`];
    });
    expect(wrong).toEqual([]);
    // Group commit: the writes that came together shared their syncs.
    expect(trace.syncs.length).toBeLessThan(150);
    expect(trace.calls.some(({ name, text }) => name === "fsync" && text.includes("/data>"))).toBe(
      true,
    );
  } finally {
    rmSync(directory, { recursive: true, force: true });
    rmSync(child, { force: true });
  }
});
