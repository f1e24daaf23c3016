/** What the documents say about the code is true: links, paths, commands and tests that they name are there. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import type { Command } from "../src/main/arguments.ts";
import { composeCommand } from "../src/main/compose-command.ts";
import { downCommand } from "../src/main/down-command.ts";
import { imageCommand } from "../src/main/image-command.ts";
import { joinCommand } from "../src/main/join-command.ts";
import { statusCommand } from "../src/main/status-command.ts";
import { tokenCommand } from "../src/main/token-command.ts";
import { upCommand } from "../src/main/up-command.ts";

const documents = [
  "README.md",
  "ARCHITECTURE.md",
  "STYLE.md",
  "CHANGELOG.md",
  ...readdirSync("docs", { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".md"))
    .map((file) => `docs/${file}`)
    .toSorted(),
];
const textOf = (file: string): string => readFileSync(file, "utf8");
const matches = (text: string, pattern: RegExp): readonly string[] =>
  [...text.matchAll(pattern)].map((match) => match[1] ?? match[0]);
const commands: readonly Command[] = [
  upCommand,
  downCommand,
  statusCommand,
  imageCommand,
  composeCommand,
  joinCommand,
  tokenCommand,
];

const fenced = /^```\w*\n[\s\S]*?^```/gm;

test("relative links lead to files", () => {
  const broken = documents.flatMap((file) =>
    matches(textOf(file).replace(fenced, ""), /\]\(([^)\s]+)\)/g)
      .filter((link) => !/^[a-z]+:|^#/.test(link))
      .map((link) => join(dirname(file), link.replace(/#.*$/, "")))
      .filter((target) => !existsSync(target))
      .map((target) => `${file}: ${target}`),
  );
  expect(broken).toEqual([]);
});

test("paths that are named exist", () => {
  const folders = /(?<![\w/.-])((?:src|test|docs|bench|examples|tools)\/[\w./-]*\w)(\/?`?†)?/g;
  const broken = documents.flatMap((file) =>
    [...textOf(file).matchAll(folders)]
      // Placeholders are in capitals; what has a † behind it is still to come.
      .filter(([, path = "", toCome]) => toCome === undefined && !/[A-Z]{3}/.test(path))
      .filter(([, path = ""]) => !existsSync(path))
      .map(([path]) => `${file}: ${path}`),
  );
  expect(broken).toEqual([]);
});

test("every command is known here", () => {
  const files = readdirSync("src/main").filter((file) => file.endsWith("-command.ts"));
  expect(files.toSorted()).toEqual(commands.map(({ name }) => `${name}-command.ts`).toSorted());
});

/** What a reader would type, or see, in code: blocks and spans. */
const codeOf = (text: string): readonly string[] => {
  const blocks = matches(text, /^```\w*\n([\s\S]*?)^```/gm);
  const rest = text.replace(/^```\w*\n[\s\S]*?^```/gm, "");
  return [...blocks.flatMap((block) => block.split("\n")), ...matches(rest, /`([^`\n]+)`/g)];
};
const optionsIn = (words: string): readonly string[] => matches(words, /(?<!\S|\[)\[?--([a-z-]+)/g);

test("README's commands and options are those of the program", () => {
  const wrong: string[] = [];
  const knows = (command: Command, option: string): boolean =>
    option === "help" || command.options.some(({ name }) => name === option);
  for (const code of codeOf(textOf("README.md"))) {
    // A loop, a pipe or "&&" around it is the shell's.
    for (const said of matches(code, /(?:^|\s)wherry ([a-z][^;&|#]*(?:\|[a-z][^;&#]*)?)/g)) {
      const [name = "", ...words] = said.trim().split(/\s+/);
      // kubectl's words are its own.
      if (name === "kubectl" || name === "k") continue;
      // kubectl's words are kubectl's.
      if (name === "kubectl" || name === "k") continue;
      const command = commands.find((one) => one.name === name);
      if (command === undefined) {
        wrong.push(`wherry ${name}: there is no such command`);
        continue;
      }
      for (const option of optionsIn(words.join(" ")))
        if (!knows(command, option)) wrong.push(`wherry ${name}: there is no --${option}`);
      const known = command.operands?.split(/\W+/) ?? [];
      const actions = (words[0] ?? "").split("|").filter((word) => /^[a-z]+$/.test(word));
      for (const action of actions)
        if (!known.includes(action)) wrong.push(`wherry ${name} ${action}: there is no such thing`);
    }
    if (!code.startsWith("--")) continue;
    for (const option of optionsIn(code))
      if (!commands.some((command) => knows(command, option)))
        wrong.push(`--${option}: no command has it`);
  }
  expect(wrong).toEqual([]);
});

test("README's scripts are those of package.json", () => {
  const { scripts } = JSON.parse(textOf("package.json")) as { scripts: Record<string, string> };
  const named = documents.flatMap((file) => matches(textOf(file), /npm run ([\w:]+)/g));
  expect([...new Set(named)].filter((name) => !(name in scripts))).toEqual([]);
});

test("each row of docs/untested.md names a test that is there", () => {
  const rows = textOf("docs/untested.md")
    .split("\n")
    .filter((line) => line.startsWith("| ") && !/^\| (what +\||-+ )/.test(line));
  expect(rows.length).toBeGreaterThan(0);
  for (const row of rows) {
    const [, file = "", title = ""] = /\[([^\]]+)\]\([^)]+\) "([^"]+)" +\|$/.exec(row) ?? [];
    expect(file, row).not.toBe("");
    expect(textOf(file), title).toContain(`test("${title}"`);
  }
});

test("checklists stay short", () => {
  for (const file of readdirSync("docs/checklists")) {
    const lines = textOf(`docs/checklists/${file}`).trimEnd().split("\n");
    const items = lines.filter((line) => line.trim() !== "");
    expect(items.length, file).toBeLessThan(10);
  }
});

test("the manifests that the story shows are those that it applies", () => {
  const shown =
    /^(?:\[([\w.-]+)\]\(manifests\/([\w.-]+)\)(, in part)?:\n\n)?```yaml\n([\s\S]*?)^```/gm;
  const pages = documents.filter((file) => /^docs\/story\/\d/.test(file));
  const wrong = pages.flatMap((page) =>
    [...textOf(page).matchAll(shown)]
      .filter(([, name, target, part, block = ""]) => {
        if (name === undefined || name !== target) return true;
        const file = textOf(`docs/story/manifests/${name}`);
        if (part === undefined) return file !== block;
        const indented = (by: string): string => block.replace(/^(?=.)/gm, by);
        const depths = new Set(matches(file, /^ */gm));
        return ![...depths].some((by) => file.includes(indented(by)));
      })
      .map(([, name, , , block = ""]) => `${page}: ${name ?? block.split("\n")[0]}`),
  );
  expect(wrong).toEqual([]);
});
