/** A container's last words: what it wrote to its termination log, or the end of its output if it failed without any. */
import type { Host } from "#ports/host.ts";
import { lastOutput } from "./logs.ts";
import { type Roots, terminationLogPath } from "./paths.ts";
import type { ContainerRecord } from "./runtime-status.ts";

const messageBytesMax = 4096;
const outputBytesMax = 2048;
const outputLinesMax = 80;

export async function terminationMessage(
  host: Host,
  roots: Roots,
  podUid: string,
  record: ContainerRecord,
): Promise<string> {
  let said = "";
  if (record.terminationMessagePath !== "") {
    const path = terminationLogPath(roots, podUid, record.name, record.restartCount);
    const bytes = await host.read(path, { lengthMax: messageBytesMax });
    said = new TextDecoder().decode(bytes ?? new Uint8Array());
  }
  const useLogs = record.terminationMessagePolicy === "FallbackToLogsOnError";
  if (said === "" && useLogs && record.exitCode !== 0 && record.logPath !== "") {
    said = await lastOutput(host, record.logPath, outputLinesMax, outputBytesMax);
  }
  if (said === "") return record.message;
  return record.message === "" ? said : `${record.message}: ${said}`;
}
