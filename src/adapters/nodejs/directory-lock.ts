/**
 * A directory for one owner at a time, among processes, threads, containers and network namespaces. The owner listens on a
 * unix socket of its own name in the directory: the kernel closes it however the owner ends, so `kill -9` leaves only a dead
 * name, which the next comer removes. Every comer first makes its claim, then looks for others that live; so of two that come
 * at once at most one stays. Reads and writes nothing but its sockets.
 */
import { randomBytes } from "node:crypto";
import { closeSync, openSync, readdirSync, renameSync, rmSync } from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { join } from "node:path";

const prefix = "in-use.";

export interface DirectoryLock {
  release(): Promise<void>;
}

/** Rejects with a sentence, `refusal`, if someone else has the directory, which must exist. */
export async function lockDirectory(
  directory: string,
  refusal: (pid: string) => string = (pid) =>
    `the data directory ${directory} is in use by process ${pid}: stop it first, or choose another data directory`,
): Promise<DirectoryLock> {
  const name = `${prefix}${process.pid}.${randomBytes(6).toString("hex")}`;
  // Socket paths have about 100 bytes; through the open directory they are short wherever it lies.
  const handle = openSync(directory, "r");
  const at = (file: string): string =>
    process.platform === "linux" ? `/proc/self/fd/${handle}/${file}` : join(directory, file);
  let server: Server | undefined;
  const release = async (): Promise<void> => {
    const held = server;
    server = undefined;
    if (held !== undefined) await new Promise<void>((resolve) => held.close(() => resolve()));
    rmSync(join(directory, name), { force: true });
    closeSync(handle);
  };
  try {
    // Renamed when it listens: under a claim's name there is never a socket that is not alive yet.
    const unready = `not-${name}`;
    server = await listen(at(unready), directory);
    renameSync(join(directory, unready), join(directory, name));
    for (const other of readdirSync(directory)) {
      if (!other.startsWith(prefix) || other === name) continue;
      if (await isAlive(at(other))) throw new Error(refusal(pidOf(other)));
      rmSync(join(directory, other), { force: true });
    }
  } catch (error) {
    await release();
    throw error;
  }
  return { release };
}

const pidOf = (socket: string): string => socket.slice(prefix.length).split(".")[0] ?? "";

function listen(path: string, directory: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((connection) => connection.destroy());
    server.once("error", (error) =>
      reject(
        new Error(
          `cannot lock the data directory ${directory}: ${error.message}; it must be writable and lie on a local disk`,
        ),
      ),
    );
    server.listen(path, () => {
      server.unref();
      resolve(server);
    });
  });
}

/** Whoever cannot be asked counts as alive, but for those whom the kernel knows to be dead. */
function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", (error: NodeJS.ErrnoException) => {
      socket.destroy();
      resolve(error.code !== "ECONNREFUSED" && error.code !== "ENOENT");
    });
  });
}
