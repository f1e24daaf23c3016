/** Lifecycle hooks: postStart and preStop by exec, HTTP or sleep. */
import type { Container, LifecycleHandler } from "#api/generated/core/v1.ts";
import type { Clock } from "#ports/clock.ts";
import type { Network } from "#ports/network.ts";
import type { Runtime } from "#ports/runtime.ts";
import { httpGet, httpTarget } from "./http-get.ts";

const httpTimeoutMs = 30_000;
/** A hook's command may take as long as the pod lives: whoever runs it sets the limit. */
const execTimeoutSeconds = 24 * 3600;

export interface HookWorld {
  readonly runtime: Runtime;
  readonly clock: Clock;
  readonly network: Network;
  /** "kube-lifecycle/1.37" */
  readonly userAgent: string;
}
export interface HookInput {
  readonly containerId: string;
  readonly container: Container;
  /** "name_namespace(uid)" */
  readonly podName: string;
  readonly podIp: string;
}

/** Undefined: it went well. Else what went wrong; commands' output may hold secrets, so it is for the status only. */
export async function runHook(
  world: HookWorld,
  handler: LifecycleHandler,
  input: HookInput,
): Promise<string | undefined> {
  const { container, podName } = input;
  const whose = `for Container "${container.name}" in Pod "${podName}" failed - error:`;
  if (handler.exec !== undefined) {
    const command = handler.exec.command ?? [];
    const what = `Exec lifecycle hook ([${command.join(" ")}]) ${whose}`;
    return await runExec(world, input.containerId, command, what);
  }
  if (handler.httpGet !== undefined) {
    const path = handler.httpGet.path ?? "";
    const target = httpTarget(handler.httpGet, container, input.podIp, world.userAgent);
    const what = `HTTP lifecycle hook (${path}) ${whose}`;
    if ("problem" in target) return `${what} ${target.problem}`;
    try {
      await httpGet(world.network, world.clock, target, httpTimeoutMs);
      return undefined;
    } catch (error) {
      return `${what} ${error instanceof Error ? error.message : String(error)}`;
    }
  }
  if (handler.sleep !== undefined) {
    await sleep(world.clock, handler.sleep.seconds * 1000);
    return undefined;
  }
  return "Cannot run handler: invalid handler: it has neither exec, httpGet nor sleep";
}

export const sleep = (clock: Clock, ms: number): Promise<void> =>
  new Promise((resolve) => {
    clock.after(ms, resolve);
  });

async function runExec(
  world: HookWorld,
  containerId: string,
  command: readonly string[],
  what: string,
): Promise<string | undefined> {
  try {
    const done = await world.runtime.execSync(containerId, command, execTimeoutSeconds);
    if (done.exitCode === 0) return undefined;
    const decoder = new TextDecoder();
    const output = decoder.decode(done.stdout) + decoder.decode(done.stderr);
    const said = JSON.stringify(output);
    return `${what} command '${command.join(" ")}' exited with ${done.exitCode}: , message: ${said}`;
  } catch (error) {
    return `${what} ${error instanceof Error ? error.message : String(error)}, message: ""`;
  }
}
