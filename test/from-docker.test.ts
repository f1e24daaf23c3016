/** docs/from-docker.md is true: its commands are commands, its compose examples convert to what stands beside them. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { convertCompose } from "#compose/convert.ts";
import { shellWords } from "#compose/values.ts";
import type { KubectlCommand } from "#kubectl/command.ts";
import { readFlags } from "#kubectl/flags.ts";
import { globalFlags } from "#kubectl/program.ts";
import { readYamlDocuments } from "#machinery/yaml.ts";
import { kubectlCommands } from "#main/kubectl/commands.ts";

const document = readFileSync("docs/from-docker.md", "utf8");
const blocks = (kind: string): string[] =>
  [...document.matchAll(new RegExp(`^\`\`\`${kind}\\n([\\s\\S]*?)^\`\`\``, "gm"))].map(
    (match) => match[1] ?? "",
  );

const lines = blocks("sh").flatMap((block) => block.trim().split("\n"));

test.each(lines)("%s", async (line) => {
  const [program, k, name, ...words] = shellWords(line);
  expect([program, k]).toEqual(["wherry", "k"]);
  const listed = kubectlCommands.find((one) => one.name === name);
  expect(listed).toBeDefined();
  let command: KubectlCommand | undefined = await listed?.load();
  while (command?.commands !== undefined && command.run === undefined) {
    const next: string = words.shift() ?? "";
    command = command.commands.find((one) => one.name === next || one.aliases?.includes(next));
  }
  const inner = command?.commands?.find((one) => one.name === words[0]);
  const known = [...((inner ?? command)?.flags ?? []), ...globalFlags];
  expect(command?.run ?? inner?.run).toBeDefined();
  // A flag that is unknown or wrongly used throws.
  expect(() => readFlags(known, words)).not.toThrow();
});

const composeFiles = blocks("yaml compose");
const objectLists = blocks("yaml objects");
const examples = composeFiles.map((text, i) => ({ text, objects: objectLists[i] ?? "" }));

test("each compose example has its objects", () => {
  expect(composeFiles.length).toBeGreaterThan(6);
  expect(objectLists).toHaveLength(composeFiles.length);
});

test.each(examples)("compose example %#", ({ text, objects }) => {
  const conversion = convertCompose({
    text,
    file: "compose.yaml",
    folder: "/docs",
    project: undefined,
    profiles: [],
    environment: () => undefined,
    read: () => undefined,
    isFolder: () => false,
  });
  expect(conversion.notes).toEqual([]);
  for (const { value } of readYamlDocuments(objects)) {
    const wanted = value as { kind: string; metadata: { name: string } };
    const made = conversion.objects.find(
      (one) =>
        one["kind"] === wanted.kind &&
        (one["metadata"] as { name?: string }).name === wanted.metadata.name,
    );
    expect(made, `${wanted.kind} ${wanted.metadata.name}`).toMatchObject(wanted);
  }
});
