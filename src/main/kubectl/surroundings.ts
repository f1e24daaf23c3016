/** The outside of `wherry kubectl` on a real machine: Node's terminal, files and processes behind the interfaces that commands know. */
import { spawn } from "node:child_process";
import { createPrivateKey, randomBytes, X509Certificate } from "node:crypto";
import {
  appendFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { systemClock } from "#adapters/nodejs/clock.ts";
import { systemNetwork } from "#adapters/nodejs/network.ts";
import { systemRandom } from "#adapters/nodejs/random.ts";
import type { FileFacts, Files, Surroundings, Terminal } from "#kubectl/surroundings.ts";
import type { Bytes, Source } from "#ports/stream.ts";
import { withFileLock } from "../file-lock.ts";
import { quietLog } from "../quiet-log.ts";

const words: Readonly<Record<string, string>> = {
  ENOENT: "no such file or directory",
  EACCES: "permission denied",
  EISDIR: "is a directory",
  ENOTDIR: "not a directory",
  EEXIST: "file exists",
};
/** Go's words for what the system says. */
function attempt<T>(doing: string, path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    const why = words[code] ?? (error instanceof Error ? error.message : String(error));
    throw new Error(`${code === "EISDIR" ? "read" : doing} ${path}: ${why}`, { cause: error });
  }
}

function factsOf(path: string): FileFacts | undefined {
  const entry = lstatSync(path, { throwIfNoEntry: false });
  if (entry === undefined) return undefined;
  const real = entry.isSymbolicLink() ? statSync(path, { throwIfNoEntry: false }) : entry;
  if (real === undefined) return undefined;
  const kind = real.isDirectory() ? "folder" : real.isFile() ? "file" : "other";
  return { kind, sizeBytes: real.size, mode: real.mode & 0o7777, modifiedMs: real.mtimeMs };
}
const plain = (bytes: Uint8Array): Bytes =>
  new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const systemFiles: Files = {
  read: (path) => attempt("open", path, () => plain(readFileSync(path))),
  write: (path, content, mode) =>
    attempt("open", path, () => writeFileSync(path, content, { mode })),
  append: (path, content) => attempt("open", path, () => appendFileSync(path, content)),
  facts: (path) => attempt("stat", path, () => factsOf(path)),
  isLink: (path) => lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() ?? false,
  list: (path) => attempt("open", path, () => readdirSync(path)),
  linkTarget: (path) => attempt("readlink", path, () => readlinkSync(path)),
  makeLink: (path, target) => attempt("symlink", path, () => symlinkSync(target, path)),
  makeFolder: (path) => attempt("mkdir", path, () => void mkdirSync(path, { recursive: true })),
  remove: (path) => attempt("remove", path, () => rmSync(path, { recursive: true, force: true })),
  temporaryFolder: () => mkdtempSync(join(tmpdir(), "kubectl-")),
  changeLocked(path, change) {
    mkdirSync(dirname(path), { recursive: true });
    const lock = `${path}.lock`;
    const refusal = `open ${lock}: file exists`;
    withFileLock(lock, { waitMs: 1000, ageMsMax: 60_000, refusal }, () => {
      const before = existsSync(path) ? readFileSync(path, "utf8") : "";
      const after = change(before);
      if (after === before) return;
      const mode = existsSync(path) ? statSync(path).mode & 0o777 : 0o600;
      const unfinished = `${path}.${process.pid}.${randomBytes(4).toString("hex")}`;
      writeFileSync(unfinished, after, { mode });
      renameSync(unfinished, path);
    });
  },
};

/** Standard input as a stream that is pulled; opened when first asked. */
function standardInput(): Source<Bytes> {
  let reading: AsyncIterator<unknown> | undefined;
  return {
    async next() {
      reading ??= process.stdin[Symbol.asyncIterator]();
      const { done, value } = await reading.next();
      return done === true ? undefined : [plain(value as Uint8Array)];
    },
    stop() {
      process.stdin.destroy();
    },
  };
}

function systemTerminal(): Terminal {
  const { stdin, stdout, stderr } = process;
  // Whoever reads our output may stop reading: that ends us quietly, as it ends other programs.
  stdout.on("error", () => process.exit(1));
  return {
    out: (text) => void stdout.write(text),
    error: (text) => void stderr.write(text),
    drained: () =>
      stdout.writableNeedDrain
        ? new Promise((resolve) => stdout.once("drain", () => resolve()))
        : Promise.resolve(),
    input: standardInput,
    inputIsTerminal: stdin.isTTY,
    outputIsTerminal: stdout.isTTY,
    size: () => (stdout.isTTY ? { columns: stdout.columns, rows: stdout.rows } : undefined),
    resized(tell) {
      stdout.on("resize", tell);
      return () => void stdout.off("resize", tell);
    },
    raw(on) {
      if (stdin.isTTY) stdin.setRawMode(on);
    },
  };
}

function ask(
  program: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ["inherit", "pipe", "inherit"],
      env: { ...process.env, ...environment },
    });
    let text = "";
    child.stdout.setEncoding("utf8").on("data", (part: string) => {
      text += part;
    });
    child.on("error", () =>
      reject(new Error(`getting credentials: exec: executable ${program} not found`)),
    );
    child.on("close", (code) => {
      if (code === 0) resolve(text);
      else
        reject(
          new Error(
            `getting credentials: exec: executable ${program} failed with exit code ${code}`,
          ),
        );
    });
  });
}

function runProgram(program: string, args: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: "inherit" });
    child.on("error", (error) =>
      reject(new Error(`unable to launch ${program}: ${error.message}`)),
    );
    child.on("close", (code) => resolve(code ?? 1));
  });
}

function judgeKeyPair(certificate: string, key: string): string | undefined {
  try {
    const read = new X509Certificate(certificate);
    if (read.checkPrivateKey(createPrivateKey(key))) return undefined;
    return "tls: private key does not match public key";
  } catch {
    return "tls: failed to find any PEM data in certificate input";
  }
}

export function systemSurroundings(version: string): Surroundings {
  return {
    clock: systemClock,
    random: systemRandom,
    network: systemNetwork(quietLog()),
    terminal: systemTerminal(),
    files: systemFiles,
    environment: (name) => process.env[name],
    homeFolder: homedir(),
    // Asked when needed: it takes as long as a small request.
    get timeZone() {
      return Intl.DateTimeFormat().resolvedOptions().timeZone;
    },
    run: runProgram,
    ask,
    judgeKeyPair,
    version,
  };
}
