/**
 * A simulated container: its first process, its log in the host's files, its attached sessions and
 * execs, its end. Owned by the simulated runtime, which lists it and tells the world.
 */
import { BytePipe } from "#machinery/byte-pipe.ts";
import { formatMicroTime } from "#machinery/time.ts";
import type {
  Container,
  ContainerConfig,
  ContainerStatus,
  Resources,
  RuntimeEvent,
  Session,
  StreamOptions,
} from "#ports/runtime.ts";
import { RuntimeError } from "#ports/runtime.ts";
import type { Bytes, Source } from "#ports/stream.ts";
import type { MemoryHost } from "./host.ts";
import type { ContainerFiles, Program, Surroundings } from "./runtime-process.ts";
import { SimulatedProcess } from "./runtime-process.ts";
import { defaultExec } from "./runtime-programs.ts";

const outputBytesMax = 1024 * 1024;
/** As containerd cuts lines (max_container_log_line_size). */
const lineBytesMax = 16_384;
const baseMemoryBytes = 1024 * 1024;
const newline = 10;

/** The container's own files, over its mounts, which are the host's. */
export function containerFiles(config: ContainerConfig, host: MemoryHost): ContainerFiles {
  const own = new Map<string, Bytes>();
  const hostPath = (path: string): string | undefined => {
    const mount = config.mounts
      .filter((item) => path === item.containerPath || path.startsWith(`${item.containerPath}/`))
      .toSorted((a, b) => b.containerPath.length - a.containerPath.length)[0];
    return mount && `${mount.hostPath}${path.slice(mount.containerPath.length)}`;
  };
  return {
    opaque: false,
    read: async (path) => {
      const outside = hostPath(path);
      return outside === undefined ? own.get(path) : host.read(outside);
    },
    write: async (path, bytes) => {
      const outside = hostPath(path);
      if (outside === undefined) own.set(path, bytes);
      else await host.write(outside, bytes, { mode: 0o644 });
    },
    remove: async (path) => {
      const outside = hostPath(path);
      if (outside !== undefined) return host.remove(outside);
      for (const name of own.keys()) {
        if (name === path || name.startsWith(`${path}/`)) own.delete(name);
      }
    },
    exists: async (path) => {
      const outside = hostPath(path);
      if (outside !== undefined) return (await host.stat(outside)) !== undefined;
      return [...own.keys()].some((name) => name === path || name.startsWith(`${path}/`));
    },
  };
}

interface Output {
  readonly stdout: BytePipe;
  readonly stderr: BytePipe;
}

export interface ContainerSurroundings extends Omit<Surroundings, "container" | "files"> {
  readonly host: MemoryHost;
  readonly program: Program;
  tell(event: RuntimeEvent): void;
  /** Whether the pod has more memory now than it may have. */
  podExceeded(): boolean;
}

export class SimulatedContainer {
  readonly id: string;
  readonly sandboxId: string;
  readonly config: ContainerConfig;
  readonly #around: ContainerSurroundings;
  readonly #files: ContainerFiles;
  readonly #createdAtMs: number;
  readonly #imageRef: string;
  readonly #logFile: string;
  #resources: Resources;
  #process: SimulatedProcess | undefined;
  readonly #execs = new Set<SimulatedProcess>();
  readonly #attached = new Set<Output>();
  readonly #waiting: (() => void)[] = [];
  #append: ((bytes: Bytes) => void) | undefined;
  #partial: Readonly<Record<"stdout" | "stderr", Bytes>> = {
    stdout: new Uint8Array(0),
    stderr: new Uint8Array(0),
  };
  #memoryBytes = 0;
  #startedAtMs: number | undefined;
  #end:
    | { readonly atMs: number; readonly code: number; readonly reason: string; message: string }
    | undefined;

  constructor(
    id: string,
    sandboxId: string,
    config: ContainerConfig,
    imageRef: string,
    around: ContainerSurroundings,
  ) {
    this.id = id;
    this.sandboxId = sandboxId;
    this.config = config;
    this.#imageRef = imageRef;
    this.#around = around;
    this.#files = containerFiles(config, around.host);
    this.#resources = config.resources;
    this.#createdAtMs = around.clock.now();
    this.#logFile = `${around.sandbox.logDirectory}/${config.logPath}`;
  }

  get memoryBytes(): number {
    return this.#memoryBytes;
  }
  get running(): boolean {
    return this.#process !== undefined && this.#end === undefined;
  }

  cpuNanosTotal(): number {
    return this.#process?.cpuNanosTotal() ?? 0;
  }

  describe(): Container {
    const state = this.#end !== undefined ? "exited" : this.running ? "running" : "created";
    const { name, attempt, image, labels, annotations } = this.config;
    return {
      id: this.id,
      sandboxId: this.sandboxId,
      name,
      attempt,
      state,
      image,
      createdAtMs: this.#createdAtMs,
      labels,
      annotations,
    };
  }
  status(): ContainerStatus {
    const end = this.#end;
    return {
      ...this.describe(),
      imageRef: this.#imageRef,
      logPath: this.#logFile,
      ...(this.#startedAtMs === undefined ? {} : { startedAtMs: this.#startedAtMs }),
      ...(end === undefined
        ? {}
        : {
            finishedAtMs: end.atMs,
            exitCode: end.code,
            reason: end.reason,
            message: end.message,
          }),
    };
  }

  start(refusal: string | undefined): void {
    if (this.#process !== undefined || this.#end !== undefined) {
      throw new RuntimeError("failed", `container "${this.id}" was started before`);
    }
    if (refusal !== undefined) {
      this.#finish(128, "StartError", refusal);
      throw new RuntimeError("failed", refusal);
    }
    this.reopenLog();
    const command = [...this.config.command, ...this.config.args];
    const process = this.#newProcess(command, {
      wrote: (bytes, stream) => this.#wrote(bytes, stream),
      allocated: (bytes) => this.#allocated(bytes),
      ended: (code) => this.#finish(code, code === 0 ? "Completed" : "Error", ""),
    });
    this.#process = process;
    this.#startedAtMs = this.#around.clock.now();
    this.#memoryBytes = baseMemoryBytes;
    this.#around.tell({ type: "started", id: this.id });
    this.#around.program.start(process);
  }

  #newProcess(
    command: readonly string[],
    hooks: ConstructorParameters<typeof SimulatedProcess>[2],
  ): SimulatedProcess {
    const { clock, random, network, sandbox, address } = this.#around;
    const surroundings = { clock, random, network, sandbox, address };
    return new SimulatedProcess(
      { ...surroundings, container: this.config, files: this.#files },
      command,
      hooks,
    );
  }

  #allocated(bytes: number): boolean {
    this.#memoryBytes = bytes;
    const limit = this.#resources.memoryLimitBytes ?? 0;
    const exceeded = (limit > 0 && bytes > limit) || this.#around.podExceeded();
    if (exceeded) {
      this.#around.tell({ type: "oom", id: this.id });
      this.#process?.stop();
      this.#finish(137, "OOMKilled", "");
    }
    return exceeded;
  }

  #finish(code: number, reason: string, message: string): void {
    if (this.#end !== undefined) return;
    this.#flushPartial();
    this.#end = { atMs: this.#around.clock.now(), code, reason, message };
    this.#memoryBytes = 0;
    for (const process of this.#execs) process.exit(137);
    for (const output of this.#attached) {
      output.stdout.end();
      output.stderr.end();
    }
    this.#attached.clear();
    this.#around.tell({ type: "exited", id: this.id, exitCode: code });
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** SIGKILL, or a crash with its own code and words. Nothing if it does not run. */
  kill(code = 137, reason = "Error", message = ""): void {
    if (!this.running) return;
    this.#process?.stop();
    this.#finish(code, reason, message);
  }

  /** SIGTERM, then SIGKILL after the grace. */
  async stop(graceMs: number): Promise<void> {
    if (!this.running) return;
    const ended = new Promise<void>((resolve) => {
      this.#waiting.push(resolve);
    });
    if (graceMs <= 0) this.kill();
    else {
      const cancel = this.#around.clock.after(graceMs, () => this.kill());
      this.#process?.terminate();
      await ended;
      cancel();
    }
    await ended;
  }

  update(resources: Resources): void {
    this.#resources = { ...this.#resources, ...resources };
  }

  reopenLog(): void {
    this.#append = this.#around.host.openAppend(this.#logFile, 0o640);
  }

  #wrote(bytes: Bytes, stream: "stdout" | "stderr"): void {
    for (const output of this.#attached) void output[stream].push(bytes);
    let rest = joined(this.#partial[stream], bytes);
    for (;;) {
      const end = rest.indexOf(newline);
      if (end >= 0 && end <= lineBytesMax) {
        this.#log(rest.subarray(0, end), stream, "F");
        rest = rest.subarray(end + 1);
      } else if (rest.length >= lineBytesMax) {
        this.#log(rest.subarray(0, lineBytesMax), stream, "P");
        rest = rest.subarray(lineBytesMax);
      } else break;
    }
    this.#partial = { ...this.#partial, [stream]: rest.slice() };
  }
  #flushPartial(): void {
    for (const stream of ["stdout", "stderr"] as const) {
      const rest = this.#partial[stream];
      if (rest.length > 0) this.#log(rest, stream, "P");
      this.#partial = { ...this.#partial, [stream]: new Uint8Array(0) };
    }
  }
  /** The CRI log format. */
  #log(line: Bytes, stream: string, tag: "F" | "P"): void {
    const time = formatMicroTime(this.#around.clock.now()).replace("Z", "000Z");
    const head = new TextEncoder().encode(`${time} ${stream} ${tag} `);
    this.#append?.(joined(head, joined(line, Uint8Array.of(newline))));
  }

  exec(command: readonly string[], options: StreamOptions): Session {
    if (!this.running) {
      throw new RuntimeError("failed", `container "${this.id}" is not running`);
    }
    const output = { stdout: new BytePipe(outputBytesMax), stderr: new BytePipe(outputBytesMax) };
    let finish: (code: number) => void = () => undefined;
    const exit = new Promise<number>((resolve) => {
      finish = resolve;
    });
    const process = this.#newProcess(command, {
      wrote: (bytes, stream) => void output[options.tty ? "stdout" : stream].push(bytes),
      allocated: () => false,
      ended: (code) => {
        this.#execs.delete(process);
        output.stdout.end();
        output.stderr.end();
        finish(code);
      },
    });
    this.#execs.add(process);
    if (!options.stdin) process.input.end();
    const { program } = this.#around;
    if (program.exec === undefined) defaultExec(process);
    else program.exec(process);
    return sessionOf(process.input, output, options, exit, () => process.exit(137));
  }

  attach(options: StreamOptions): Session {
    const process = this.#process;
    if (!this.running || process === undefined) {
      throw new RuntimeError("failed", `container "${this.id}" is not running`);
    }
    const output = { stdout: new BytePipe(outputBytesMax), stderr: new BytePipe(outputBytesMax) };
    this.#attached.add(output);
    const ended = new Promise<number>((resolve) => {
      this.#waiting.push(() => resolve(0));
    });
    let leave: (code: number) => void = () => undefined;
    const left = new Promise<number>((resolve) => {
      leave = resolve;
    });
    return sessionOf(process.input, output, options, Promise.race([ended, left]), () => {
      this.#attached.delete(output);
      output.stdout.end();
      output.stderr.end();
      leave(0);
    });
  }
}

function joined(a: Bytes, b: Bytes): Bytes {
  if (a.length === 0) return b;
  const all = new Uint8Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
}

function sessionOf(
  input: BytePipe,
  output: Output,
  options: StreamOptions,
  exit: Promise<number>,
  abort: () => void,
): Session {
  const source = (pipe: BytePipe): Source<Bytes> => ({
    next: async () => {
      const bytes = await pipe.read();
      return bytes === undefined ? undefined : [bytes];
    },
    stop: () => pipe.end(),
  });
  return {
    stdin: options.stdin
      ? {
          write: async (bytes) => {
            await input.push(bytes);
          },
          end: () => input.end(),
        }
      : undefined,
    stdout: options.stdout ? source(output.stdout) : undefined,
    stderr: options.stderr && !options.tty ? source(output.stderr) : undefined,
    resize: () => undefined,
    exit,
    abort,
  };
}
