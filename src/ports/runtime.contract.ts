/**
 * What every Runtime must do, as tests. `make` gives a runtime with an image that has the usual small
 * tools (sh, sleep, cat, echo) and the means to look at what it does.
 */
import { expect, test } from "vitest";
import type {
  ContainerConfig,
  Runtime,
  RuntimeEvent,
  SandboxConfig,
  StreamOptions,
} from "./runtime.ts";
import { RuntimeError } from "./runtime.ts";
import type { Bytes, Source } from "./stream.ts";

export interface RuntimeUnderTest {
  readonly runtime: Runtime;
  readonly image: string;
  /** Existing directory below which the sandboxes' logs go. */
  readonly logDirectory: string;
  readonly cgroupParent: string;
  /** What serves HTTP on port 8080 of its pod. */
  readonly server: Pick<ContainerConfig, "command" | "annotations">;
  /** What takes more than 32 MiB of memory. */
  readonly hog: readonly string[];
  /** Waits for the work; where time stands still, lets it pass meanwhile. */
  during<T>(work: Promise<T>): Promise<T>;
  readFile(path: string): Promise<string>;
  renameFile(from: string, to: string): Promise<void>;
  done(): Promise<void>;
}

const bytesOf = (text: string): Bytes => new TextEncoder().encode(text);
const textOf = (bytes: Bytes): string => new TextDecoder().decode(bytes);
const all: StreamOptions = { stdin: true, stdout: true, stderr: true, tty: false };
let pods = 0;

async function readAll(source: Source<Bytes> | undefined): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const batch = await source?.next();
    if (batch === undefined) return text + decoder.decode();
    for (const bytes of batch) text += decoder.decode(bytes, { stream: true });
  }
}

function sandboxConfig(under: RuntimeUnderTest, name: string): SandboxConfig {
  const uid = `${name}-${pods++}`;
  return {
    name,
    namespace: "default",
    uid,
    attempt: 0,
    hostname: name,
    logDirectory: `${under.logDirectory}/${uid}`,
    labels: { "test/pod": uid },
    annotations: { note: "kept" },
    cgroupParent: under.cgroupParent === "" ? "" : `${under.cgroupParent}/${uid}`,
    security: { network: "pod", pid: "container", ipc: "pod" },
  };
}

const containerConfig = (
  under: RuntimeUnderTest,
  sandbox: SandboxConfig,
  command: readonly string[],
  more: Partial<ContainerConfig> = {},
): ContainerConfig => ({
  name: "main",
  attempt: 0,
  image: under.image,
  command,
  args: [],
  env: [{ name: "GREETING", value: "hello" }],
  mounts: [],
  labels: sandbox.labels,
  annotations: {},
  logPath: "main.log",
  resources: {},
  security: { pid: "container", ipc: "pod" },
  ...more,
});

/** The events of one id, until one of the type comes. */
async function untilEvent(
  events: Source<RuntimeEvent>,
  id: string,
  type: RuntimeEvent["type"],
): Promise<readonly RuntimeEvent[]> {
  const seen: RuntimeEvent[] = [];
  for (;;) {
    const batch = await events.next();
    if (batch === undefined) throw new Error(`the events ended before ${type} of ${id}`);
    seen.push(...batch.filter((event) => event.id === id));
    if (seen.some((event) => event.type === type)) return seen;
  }
}

interface Pod {
  readonly under: RuntimeUnderTest;
  readonly runtime: Runtime;
  readonly sandbox: SandboxConfig;
  readonly sandboxId: string;
  readonly events: Source<RuntimeEvent>;
  /** Creates and starts a container of the pod. */
  readonly run: (command: readonly string[], more?: Partial<ContainerConfig>) => Promise<string>;
}

export function runtimeContract(make: () => Promise<RuntimeUnderTest>): void {
  const given = (run: (under: RuntimeUnderTest) => Promise<void>) => async () => {
    const under = await make();
    try {
      await run(under);
    } finally {
      await under.done();
    }
  };
  const inPod = (use: (pod: Pod) => Promise<void>) =>
    given(async (under) => {
      const { runtime } = under;
      const events = runtime.events();
      const sandbox = sandboxConfig(under, "pod");
      const sandboxId = await under.during(runtime.runSandbox(sandbox));
      try {
        const run: Pod["run"] = async (command, more) => {
          const config = containerConfig(under, sandbox, command, more);
          const id = await runtime.createContainer(sandboxId, config, sandbox);
          await runtime.startContainer(id);
          return id;
        };
        await use({ under, runtime, sandbox, sandboxId, events, run });
      } finally {
        events.stop();
        await under.during(runtime.removeSandbox(sandboxId));
      }
    });

  lifeTests(given, inPod);
  streamTests(inPod);
}

type Given = (run: (under: RuntimeUnderTest) => Promise<void>) => () => Promise<void>;
type InPod = (use: (pod: Pod) => Promise<void>) => () => Promise<void>;

function lifeTests(given: Given, inPod: InPod): void {
  test(
    "says what it is and that it is ready",
    given(async ({ runtime, image }) => {
      expect((await runtime.version()).name).not.toBe("");
      expect(await runtime.status()).toMatchObject({ runtimeReady: true, networkReady: true });
      expect((await runtime.imageStatus(image))?.id).toMatch(/^sha256:[0-9a-f]{64}$/);
      expect(await runtime.imageStatus("nobody/has-this:1")).toBeUndefined();
      expect((await runtime.listImages()).length).toBeGreaterThan(0);
      expect((await runtime.imageFilesystem()).mountpoint).toMatch(/^\//);
    }),
  );

  test(
    "sandboxes come with an address, are listed by labels, and go, twice if need be",
    given(async (under) => {
      const { runtime } = under;
      const config = sandboxConfig(under, "web");
      const id = await under.during(runtime.runSandbox(config));
      const status = await runtime.sandboxStatus(id);
      expect(status).toMatchObject({
        id,
        ready: true,
        name: "web",
        namespace: "default",
        uid: config.uid,
        annotations: { note: "kept" },
      });
      expect(status.ips[0]).toMatch(/^\d+\.\d+\.\d+\.\d+$/);
      expect((await runtime.listSandboxes(config.labels)).map((item) => item.id)).toEqual([id]);
      expect(await runtime.listSandboxes({ "test/pod": "none" })).toEqual([]);
      await expect(runtime.runSandbox(config)).rejects.toThrow("reserved");
      await under.during(runtime.stopSandbox(id));
      await under.during(runtime.stopSandbox(id));
      expect((await runtime.sandboxStatus(id)).ready).toBe(false);
      await under.during(runtime.removeSandbox(id));
      await under.during(runtime.removeSandbox(id));
      await expect(runtime.sandboxStatus(id)).rejects.toMatchObject({ code: "notFound" });
    }),
  );

  test(
    "a container runs to its end; its events, status and log tell of it",
    inPod(async ({ under, runtime, sandbox, events, run }) => {
      const ends = runtime.events(["exited"]);
      const id = await run(["sh", "-c", 'echo "$GREETING out"; exit 3']);
      const seen = await under.during(untilEvent(events, id, "exited"));
      expect(seen.map((event) => event.type)).toEqual(["created", "started", "exited"]);
      expect(seen.at(-1)?.exitCode).toBe(3);
      const onlyEnds = await under.during(untilEvent(ends, id, "exited"));
      ends.stop();
      expect(onlyEnds.map((event) => event.type)).toEqual(["exited"]);
      const status = await runtime.containerStatus(id);
      expect(status).toMatchObject({ state: "exited", exitCode: 3, reason: "Error", name: "main" });
      expect(status.finishedAtMs).toBeGreaterThanOrEqual(status.startedAtMs ?? Infinity);
      const log = await under.readFile(`${sandbox.logDirectory}/main.log`);
      expect(log).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z stdout F hello out\n$/);
      const again = await run(["true"], { attempt: 1 });
      await under.during(untilEvent(events, again, "exited"));
      expect(await runtime.containerStatus(again)).toMatchObject({
        exitCode: 0,
        reason: "Completed",
      });
      const listed = await runtime.listContainers(sandbox.labels);
      expect(listed.map((item) => item.id).toSorted()).toEqual([id, again].toSorted());
    }),
  );

  test(
    "stopping asks, waits for the grace, then kills; removing twice is fine",
    inPod(async ({ under, runtime, sandbox, sandboxId, events, run }) => {
      const id = await run(["sleep", "3600"]);
      expect((await runtime.containerStatus(id)).state).toBe("running");
      await under.during(runtime.stopContainer(id, 1));
      await under.during(runtime.stopContainer(id, 1));
      expect(await runtime.containerStatus(id)).toMatchObject({ state: "exited", exitCode: 137 });
      const config = containerConfig(under, sandbox, ["true"]);
      await expect(runtime.createContainer(sandboxId, config, sandbox)).rejects.toThrow("reserved");
      const removed = under.during(untilEvent(events, id, "removed"));
      await runtime.removeContainer(id);
      await runtime.removeContainer(id);
      await removed;
      await expect(runtime.containerStatus(id)).rejects.toMatchObject({ code: "notFound" });
      await runtime.stopContainer(id, 0);
    }),
  );

  test(
    "a container beyond its memory limit is OOMKilled",
    inPod(async ({ under, runtime, events, run }) => {
      const memoryLimitBytes = 32 * 1024 * 1024;
      const id = await run(under.hog, { resources: { memoryLimitBytes } });
      await under.during(untilEvent(events, id, "exited"));
      expect(await runtime.containerStatus(id)).toMatchObject({
        exitCode: 137,
        reason: "OOMKilled",
      });
    }),
  );

  test(
    "tells what its running containers use",
    inPod(async ({ runtime, sandbox, sandboxId, run }) => {
      const id = await run(["sleep", "3600"]);
      const [stats, ...others] = await runtime.stats(sandbox.labels);
      expect(others).toEqual([]);
      expect(stats?.containerId).toBe(id);
      expect(stats?.memoryWorkingSetBytes).toBeGreaterThan(0);
      expect(stats?.memoryUsageBytes).toBeGreaterThanOrEqual(stats?.memoryWorkingSetBytes ?? 0);
      expect(stats?.cpuNanosTotal).toBeGreaterThanOrEqual(0);
      expect(stats?.writableLayerBytes).toBeGreaterThanOrEqual(0);
      const [pod, ...noMore] = await runtime.sandboxStats(sandbox.labels);
      expect(noMore).toEqual([]);
      expect(pod?.sandboxId).toBe(sandboxId);
      expect(pod?.network?.interface).toBe("eth0");
      expect(pod?.network?.receivedBytesTotal).toBeGreaterThanOrEqual(0);
      expect(await runtime.sandboxStats({ "test/pod": "none" })).toEqual([]);
      await runtime.updateContainer(id, { memoryLimitBytes: 64 * 1024 * 1024 });
    }),
  );

  test(
    "a log that was renamed away goes on in a new file once reopened",
    inPod(async ({ under, runtime, sandbox, events, run }) => {
      const id = await run(["cat"], { stdin: true });
      const log = `${sandbox.logDirectory}/main.log`;
      const session = await runtime.attach(id, { ...all, stderr: false });
      await session.stdin?.write(bytesOf("before\n"));
      await session.stdout?.next();
      await under.renameFile(log, `${log}.1`);
      await runtime.reopenLog(id);
      await session.stdin?.write(bytesOf("after\n"));
      await session.stdout?.next();
      await under.during(runtime.stopContainer(id, 0));
      await under.during(untilEvent(events, id, "exited"));
      expect(await under.readFile(`${log}.1`)).toMatch(/ stdout F before\n$/);
      expect(await under.readFile(log)).toMatch(/ stdout F after\n$/);
      session.abort();
    }),
  );
}

function streamTests(inPod: InPod): void {
  test(
    "execSync gives output and exit code, and ends what takes too long",
    inPod(async ({ under, runtime, run }) => {
      const id = await run(["sleep", "3600"]);
      const result = await runtime.execSync(id, ["sh", "-c", "echo out; exit 7"], 10);
      expect(textOf(result.stdout)).toBe("out\n");
      expect(result.exitCode).toBe(7);
      const slow = under.during(runtime.execSync(id, ["sleep", "100"], 1));
      await expect(slow).rejects.toMatchObject({ code: "timeout" });
      const nobody = runtime.execSync("0".repeat(64), ["true"], 1);
      await expect(nobody).rejects.toBeInstanceOf(RuntimeError);
    }),
  );

  test(
    "exec carries five megabytes through standard input, to its end",
    inPod(async ({ runtime, run }) => {
      const id = await run(["sleep", "3600"]);
      const session = await runtime.exec(id, ["cat"], all);
      const text = "0123456789abcdef".repeat(327_680);
      const output = readAll(session.stdout);
      const errors = readAll(session.stderr);
      const { stdin } = session;
      for (let at = 0; at < text.length; at += 100_000) {
        await stdin?.write(bytesOf(text.slice(at, at + 100_000)));
      }
      stdin?.end();
      expect((await output) === text).toBe(true);
      expect(await errors).toBe("");
      expect(await session.exit).toBe(0);
      const failing = await runtime.exec(id, ["sh", "-c", "exit 9"], { ...all, stdin: false });
      expect(await failing.exit).toBe(9);
    }),
  );

  test(
    "an aborted exec is over, many at once are all right",
    inPod(async ({ runtime, run }) => {
      const id = await run(["sleep", "3600"]);
      const session = await runtime.exec(id, ["sleep", "3600"], all);
      const output = readAll(session.stdout);
      session.abort();
      await output.catch(() => undefined);
      const many = Array.from({ length: 40 }, () => runtime.execSync(id, ["true"], 60));
      expect((await Promise.all(many)).every((result) => result.exitCode === 0)).toBe(true);
    }),
  );

  test(
    "attach carries input and output of the container itself and ends with it",
    inPod(async ({ under, runtime, run }) => {
      const id = await run(["cat"], { stdin: true });
      const session = await runtime.attach(id, { ...all, stderr: false });
      await session.stdin?.write(bytesOf("ping\n"));
      const [bytes] = (await session.stdout?.next()) ?? [];
      expect(textOf(bytes ?? new Uint8Array(0))).toBe("ping\n");
      const rest = readAll(session.stdout);
      await under.during(runtime.stopContainer(id, 0));
      expect(await rest).toBe("");
      expect(await session.exit).toBe(0);
    }),
  );

  test(
    "forward reaches a port of the pod, and says so when nobody listens",
    inPod(async ({ under, runtime, sandboxId, run }) => {
      await run(under.server.command, { annotations: under.server.annotations });
      const get = async (): Promise<string> => {
        const connection = await runtime.forward(sandboxId, 8080);
        await connection.write(bytesOf("GET / HTTP/1.1\r\nhost: pod\r\nconnection: close\r\n\r\n"));
        let text = "";
        for (;;) {
          const bytes = await connection.read();
          if (bytes === undefined) break;
          text += textOf(bytes);
        }
        connection.end();
        return text;
      };
      const answers = await Promise.all([get(), get(), get()]);
      expect(answers.every((answer) => answer.startsWith("HTTP/1."))).toBe(true);
      const refused = async (): Promise<unknown> => {
        const connection = await runtime.forward(sandboxId, 9);
        return connection.read();
      };
      await expect(refused()).rejects.toThrow();
    }),
  );
}
