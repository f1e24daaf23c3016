/**
 * The pause program: the first process of every pod sandbox. It holds the pod's namespaces open, reaps orphans and ends on
 * SIGINT or SIGTERM. Written here byte by byte as a static ELF executable, so that no compiler and no download is needed.
 *
 * It blocks SIGINT, SIGTERM and SIGCHLD and then waits for one of them (rt_sigtimedwait): blocked signals reach even PID 1 of
 * a PID namespace, which ignores unblocked ones that have no handler.
 */

export type PauseArchitecture = "amd64" | "arm64";

/** System V x86-64: number in eax, arguments in rdi rsi rdx r10. */
const amd64 = [
  // start: rt_sigprocmask(SIG_BLOCK, &set, NULL, 8)
  "b8 0e 00 00 00  31 ff  48 8d 35 5a 00 00 00  31 d2  41 ba 08 00 00 00  0f 05",
  // wait: rt_sigtimedwait(&set, NULL, NULL, 8)
  "b8 80 00 00 00  48 8d 3d 44 00 00 00  31 f6  31 d2  41 ba 08 00 00 00  0f 05",
  // SIGCHLD: reap; SIGINT or SIGTERM: exit; else wait again
  "83 f8 11  74 13  83 f8 02  74 05  83 f8 0f  75 d9",
  // exit: exit_group(0)
  "b8 e7 00 00 00  31 ff  0f 05",
  // reap: wait4(-1, NULL, WNOHANG, NULL) while it finds someone, then wait
  "b8 3d 00 00 00  48 c7 c7 ff ff ff ff  31 f6  ba 01 00 00 00  45 31 d2  0f 05",
  "85 c0  7f e4  eb b2  66 90",
  // set: the signals 2, 15 and 17
  "02 40 01 00 00 00 00 00",
];

/** AArch64: number in x8, arguments in x0 … x3; instructions are little-endian words. */
const arm64 = [
  "d2800000 100003a1 d2800002 d2800103 d28010e8 d4000001",
  "10000300 d2800001 d2800002 d2800103 d2801128 d4000001",
  "7100441f 54000100 7100081f 54000060 71003c1f 54fffea1",
  "d2800000 d2800bc8 d4000001",
  "92800000 d2800001 d2800022 d2800003 d2802088 d4000001",
  "7100001f 54ffff2c 17ffffe9",
  "00014002 00000000",
];

const hexBytes = (text: string): number[] =>
  (text.match(/[0-9a-f]{2}/g) ?? []).map((byte) => Number.parseInt(byte, 16));

function machineCode(architecture: PauseArchitecture): number[] {
  if (architecture === "amd64") return amd64.flatMap(hexBytes);
  const words = arm64.flatMap((line) => line.split(" "));
  return words.flatMap((word) => hexBytes(word).toReversed());
}

const headerBytes = 64 + 56;
const loadAddress = 0x400000;
const elfMachine: Record<PauseArchitecture, number> = { amd64: 62, arm64: 183 };

/** The executable's bytes: ELF header, one loadable segment (read, execute), the code. */
export function pauseProgram(architecture: PauseArchitecture): Uint8Array {
  const code = machineCode(architecture);
  const bytes = new Uint8Array(headerBytes + code.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true); // ET_EXEC
  view.setUint16(18, elfMachine[architecture], true);
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(loadAddress + headerBytes), true); // entry
  view.setBigUint64(32, 64n, true); // program headers
  view.setUint16(52, 64, true);
  view.setUint16(54, 56, true);
  view.setUint16(56, 1, true); // one program header
  view.setUint16(58, 64, true);
  const segment = 64;
  view.setUint32(segment, 1, true); // PT_LOAD
  view.setUint32(segment + 4, 5, true); // readable, executable
  view.setBigUint64(segment + 16, BigInt(loadAddress), true);
  view.setBigUint64(segment + 24, BigInt(loadAddress), true);
  view.setBigUint64(segment + 32, BigInt(bytes.length), true);
  view.setBigUint64(segment + 40, BigInt(bytes.length), true);
  view.setBigUint64(segment + 48, 0x1000n, true);
  bytes.set(code, headerBytes);
  return bytes;
}
