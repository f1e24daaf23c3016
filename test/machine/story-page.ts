/**
 * A page of docs/story as a program: its ```console blocks, in order. A line "$ COMMAND" is run by a shell in the repository's folder, what
 * follows up to the next command is what it prints: runs of spaces count as one, "…" stands for anything (or nothing) within a line,
 * a line of "…" alone for any lines.
 */
export interface Step {
  readonly command: string;
  readonly expected: readonly string[];
  /** In the page, from 1. */
  readonly line: number;
}

export function stepsOf(page: string): Step[] {
  const steps: { command: string; expected: string[]; line: number }[] = [];
  let inside = false;
  for (const [at, line] of page.split("\n").entries()) {
    if (line.startsWith("```")) inside = line === "```console";
    else if (!inside) continue;
    else if (line.startsWith("$ "))
      steps.push({ command: line.slice(2), expected: [], line: at + 1 });
    else steps.at(-1)?.expected.push(line);
  }
  return steps;
}

/** The arguments of the `npx wherry up` that a page asks for before it begins; undefined: any cluster does. */
export function clusterOf(page: string): readonly string[] | undefined {
  return /^npx wherry up (.+)$/m.exec(page)?.[1]?.split(" ");
}

const escaped = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
const squeezed = (text: string): string => text.trim().replaceAll(/\s+/g, " ");

/** Whether output is what the page shows. */
export function prints(output: string, expected: readonly string[]): boolean {
  const pattern = (line: string): string =>
    escaped(squeezed(line)).replaceAll(" … ", " (?:[^\\n]* )?").replaceAll("…", "[^\\n]*");
  const parts = expected.map((line) =>
    line.trim() === "…" ? "(?:[^\\n]*\\n)*?" : `${pattern(line)}\\n`,
  );
  const lines = output.trimEnd().split("\n").map(squeezed);
  const text = output.trim() === "" ? "" : `${lines.join("\n")}\n`;
  return new RegExp(`^${parts.join("")}$`).test(text);
}

/** Paths of docs/story/app that change something. */
const changing = /\/(?:busy|crash|free|hoard|stuck|write)\b/;

/** What only looks may be done again until it shows what the page shows; what changes something is done once. */
export function isLook(command: string): boolean {
  if (changing.test(command)) return false;
  const words = command.replace(/^(\w+=\S+ )*/, "").split(" ");
  if (words[0] === "curl") return true;
  if (words[0] !== "kubectl") return false;
  const verb = words.slice(1).find((word) => !word.startsWith("-"));
  return ["get", "describe", "logs", "events", "top", "auth", "explain", "exec"].includes(
    verb ?? "",
  );
}
