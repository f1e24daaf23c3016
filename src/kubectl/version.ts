/** `kubectl version`: ours, and the server's. */
import { printYaml } from "#machinery/yaml-print.ts";
import type { Invocation, KubectlCommand } from "./command.ts";
import { CommandError } from "./errors.ts";
import { text, toggle } from "./flags.ts";
import { indentedJson } from "./json-print.ts";

export const versionCommand: KubectlCommand = {
  name: "version",
  summary: "Print the client and server version information",
  flags: [
    toggle("client", "Client version only (no server required)"),
    text("output", "One of 'yaml' or 'json'", { short: "o" }),
  ],
  run: version,
};

/** The part between the dots: "v1.37.2" is minor 37. */
const minorOf = (text: string): number => Number(/^v?\d+\.(\d+)/.exec(text)?.[1] ?? 0);

async function version({ session, flags, args }: Invocation): Promise<void> {
  const output = flags.text("output");
  if (args.length > 0) throw new CommandError(`extra arguments: [${args.join(" ")}]`);
  if (!["", "yaml", "json"].includes(output)) {
    throw new CommandError(`--output must be 'yaml' or 'json'`);
  }
  const own = session.around.version;
  const [major = "", minor = ""] = own.replace(/^v/, "").split(".");
  const clientVersion = { gitVersion: own, major, minor };
  let serverVersion: { readonly gitVersion?: string } | undefined;
  let failed: unknown;
  if (!flags.switch("client")) {
    try {
      serverVersion = await (await session.rest()).json("GET", "/version");
    } catch (error) {
      failed = error;
    }
  }
  const all = { clientVersion, ...(serverVersion === undefined ? {} : { serverVersion }) };
  if (output === "json") session.out(`${indentedJson(all, "  ")}\n`);
  else if (output === "yaml") session.out(`${printYaml(all)}\n`);
  else {
    session.out(`Client Version: ${own}\n`);
    if (serverVersion !== undefined)
      session.out(`Server Version: ${serverVersion.gitVersion ?? ""}\n`);
  }
  if (failed !== undefined) throw failed;
  const theirs = serverVersion?.gitVersion ?? own;
  if (Math.abs(minorOf(theirs) - minorOf(own)) > 1) {
    const short = (full: string): string => full.replace(/^v/, "").split(".").slice(0, 2).join(".");
    session.warn(
      `version difference between client (${short(own)}) and server (${short(theirs)}) exceeds the supported minor version skew of +/-1`,
    );
  }
}
