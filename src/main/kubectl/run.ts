/** `wherry kubectl` on this machine. */
import { runKubectl } from "#kubectl/program.ts";
import { kubernetesVersion } from "../version.ts";
import { kubectlCommands } from "./commands.ts";
import { systemSurroundings } from "./surroundings.ts";

export async function runSystemKubectl(words: readonly string[]): Promise<number> {
  const around = systemSurroundings(kubernetesVersion);
  const code = await runKubectl(kubectlCommands, words, around);
  await around.terminal.drained();
  return code;
}
