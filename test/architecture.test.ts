/** Checks properties of the code itself: who may import whom, which packages where, and what may not be written where. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { expect, test } from "vitest";

/** Folder → the folders it may import. This table is the architecture; ARCHITECTURE.md prints it. */
const base = ["ports", "machinery", "api", "client"];
const components = [
  "control-plane/scheduler",
  "control-plane/controllers",
  "node/kubelet",
  "node/proxy",
  "node/image",
  "addons/dns",
  "addons/ingress",
  "addons/metrics",
  "addons/provisioner",
];
const boxes = [...base, "control-plane/store", "control-plane/apiserver", ...components];
const mayImport: Readonly<Record<string, readonly string[]>> = {
  ports: [],
  machinery: [],
  api: ["machinery", "ports"],
  client: ["ports", "machinery", "api"],
  "control-plane/store": ["ports", "machinery"],
  "control-plane/apiserver": ["ports", "machinery", "api", "control-plane/store"],
  ...Object.fromEntries(components.map((component) => [component, base])),
  kubectl: ["ports", "machinery", "api"],
  compose: ["ports", "machinery"],
  dockerfile: ["machinery"],
  cluster: boxes,
  "adapters/nodejs": ["ports", "machinery"],
  "adapters/containerd": ["ports", "machinery"],
  "adapters/linux": ["ports", "machinery"],
  "adapters/http-proxy": ["ports", "machinery"],
  "adapters/memory": ["ports", "machinery"],
  simulation: [...boxes, "cluster", "adapters/memory"],
  main: [
    ...boxes,
    "cluster",
    "kubectl",
    "compose",
    "dockerfile",
    "simulation",
    "adapters/nodejs",
    "adapters/containerd",
    "adapters/linux",
    "adapters/http-proxy",
    "adapters/memory",
  ],
};

/** Package → the one place (a file or a folder) that may import it. */
const packages: Readonly<Record<string, string>> = {
  lmdb: "adapters/nodejs",
  protobufjs: "adapters/nodejs",
  yaml: "machinery/yaml.ts",
};

const pure = (file: string): boolean => !/^src\/(adapters|main)\//.test(file);
const banned: readonly [pattern: RegExp, instead: string, except?: string][] = [
  [/\bDate\b/, "the Clock port, or machinery/time.ts", "src/machinery/time.ts"],
  [/\bMath\.random\b/, "the Random port"],
  [/\b(WeakRef|FinalizationRegistry)\b/, "explicit lifetimes"],
  [
    /\blocaleCompare\b|\bIntl\b|\btoLocale\w+/,
    "a plain comparison, or the Clock port for time zones",
  ],
  [/\bset(Timeout|Interval|Immediate)\b/, "the Clock port"],
  [/\bglobalThis\b|\bprocess\.(?!has\()/, "a port"],
  [/\bimport\(/, "a plain import"],
  [/from "node:/, "a port"],
];
const bannedEverywhere: readonly [RegExp, string][] = [
  [/\bexport default\b/, "a named export"],
  [/\b(TODO|FIXME|XXX)\b/, "finishing it"],
  [/\/\/ @ts-|\beslint-disable|oxlint-disable/, "correct code"],
];

const files = readdirSync("src", { recursive: true, encoding: "utf8" })
  .map((file) => `src/${file}`)
  .filter((file) => file.endsWith(".ts") && !/\.(test|contract|d)\.ts$/.test(file));
const text = new Map(files.map((file) => [file, readFileSync(file, "utf8")]));
const folders = Object.keys(mayImport).toSorted((a, b) => b.length - a.length);
const folderOf = (path: string): string =>
  folders.find((folder) => path === folder || path.startsWith(`${folder}/`)) ?? path;
const importsOf = (file: string): string[] =>
  [
    ...(text.get(file) ?? "").matchAll(/^(?:(?:import|export|\}).*?from|import) "([^"\n]+)";/gm),
  ].map((match) => match[1] ?? "");

test("imports follow the table", () => {
  const wrong: string[] = [];
  for (const file of files) {
    const from = folderOf(relative("src", file));
    if (!(from in mayImport)) wrong.push(`${file}: its folder is not in the table`);
    for (const specifier of importsOf(file)) {
      if (specifier.startsWith(".")) {
        const target = folderOf(relative("src", resolve(dirname(file), specifier)));
        if (target !== from) wrong.push(`${file}: ${specifier} crosses a folder: write it with #`);
      } else if (specifier.startsWith("#")) {
        const to = folderOf(specifier.slice(1));
        if (to !== from && !mayImport[from]?.includes(to))
          wrong.push(`${file}: ${from} may not import ${to}`);
        if (to === from) wrong.push(`${file}: ${specifier} stays in its folder: write it relative`);
      }
    }
  }
  expect(wrong).toEqual([]);
});

test("packages are imported where the allow-list says, and nowhere else", () => {
  const wrong: string[] = [];
  for (const file of files) {
    for (const specifier of importsOf(file)) {
      if (/^[.#]/.test(specifier) || specifier.startsWith("node:")) continue;
      const place = packages[specifier];
      if (place === undefined) wrong.push(`${file}: ${specifier} is not in the allow-list`);
      else if (!file.startsWith(`src/${place}`))
        wrong.push(`${file}: only src/${place} may import ${specifier}`);
    }
  }
  expect(wrong).toEqual([]);
  const manifest = JSON.parse(readFileSync("package.json", "utf8")) as {
    dependencies: Record<string, string>;
  };
  expect(Object.keys(manifest.dependencies).toSorted()).toEqual(Object.keys(packages).toSorted());
});

/** Without comments and strings that span words: what remains is code. */
const codeOf = (file: string): string =>
  (text.get(file) ?? "").replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "");

test("pure code names no impurity", () => {
  const wrong: string[] = [];
  for (const file of files.filter(pure)) {
    const code = codeOf(file).replace(/"(?:[^"\\\n]|\\.)*"(?!;)|`(?:[^`\\$]|\\.)*`/g, '""');
    for (const [pattern, instead, except] of banned) {
      if (file !== except && pattern.test(code))
        wrong.push(`${file}: ${pattern.source} is banned in pure code: use ${instead}`);
    }
  }
  expect(wrong).toEqual([]);
});

test("nothing is left over", () => {
  const wrong: string[] = [];
  for (const file of files) {
    for (const [pattern, instead] of bannedEverywhere) {
      if (pattern.test(text.get(file) ?? "")) wrong.push(`${file}: ${pattern.source}: ${instead}`);
    }
  }
  expect(wrong).toEqual([]);
});

test("files stay readable: at most 600 lines, and each says what it is", () => {
  const wrong: string[] = [];
  for (const file of files.filter((one) => !one.includes("/generated/"))) {
    const lines = (text.get(file) ?? "").split("\n").length - 1;
    if (lines > 600) wrong.push(`${file}: ${lines} lines`);
  }
  expect(wrong).toEqual([]);
});

test("ARCHITECTURE.md prints the table", () => {
  const document = readFileSync("ARCHITECTURE.md", "utf8");
  const row = (folder: string): string => {
    const list = mayImport[folder] ?? [];
    return `| ${folder} | ${list.length === 0 ? "nothing" : list.join(", ")} |`;
  };
  const missing = Object.keys(mayImport)
    .map(row)
    .filter((line) => !document.includes(line));
  expect(missing).toEqual([]);
  const packageRows = Object.entries(packages).map(([name, place]) => `| ${name} | src/${place} |`);
  expect(packageRows.filter((line) => !document.includes(line))).toEqual([]);
});
