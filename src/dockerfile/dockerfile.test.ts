import { expect, test } from "vitest";
import { expandText, expandWord } from "./expand.ts";
import { parseIgnore } from "./ignore.ts";
import { type Instruction, parseDockerfile } from "./parse.ts";
import { neededStages, planStages } from "./stages.ts";
import { interpret, type StageState, type Step } from "./steps.ts";

const lines = (...text: string[]): string => text.join("\n");
const brief = ({ keyword, line, text }: Instruction) => [line, keyword, text];

test("comments, continued lines, directives and the JSON form", () => {
  const { instructions, escape } = parseDockerfile(
    lines(
      "# syntax=docker/dockerfile:1",
      "from a AS b",
      "",
      "# comment",
      "RUN one && \\",
      "  # inner comment",
      "",
      "    two",
      'CMD ["x", "y z"]',
      "ENTRYPOINT [not json",
    ),
  );
  expect(escape).toBe("\\");
  expect(instructions.map(brief)).toEqual([
    [2, "FROM", "a AS b"],
    [5, "RUN", "one &&     two"],
    [9, "CMD", '["x", "y z"]'],
    [10, "ENTRYPOINT", "[not json"],
  ]);
  expect(instructions[2]?.list).toEqual(["x", "y z"]);
  expect(instructions[3]?.list).toBeUndefined();
  const windows = parseDockerfile(lines("# escape=`", "FROM a", "RUN x `", " C:\\y"));
  expect(windows.instructions[1]?.text).toBe("x  C:\\y");
});

test("flags, and here-documents of several names", () => {
  const { instructions } = parseDockerfile(
    lines(
      "FROM --platform=linux/amd64 a",
      "COPY --from=b --chown=1:2 <<ONE <<-'TWO' /d/",
      "one $X",
      "ONE",
      "\ttwo $X",
      "\tTWO",
      "RUN <<EOF",
      "#!/bin/sh",
      "EOF",
    ),
  );
  expect(instructions[1]?.flags).toEqual([
    { name: "from", value: "b" },
    { name: "chown", value: "1:2" },
  ]);
  expect(instructions[1]?.heredocs).toEqual([
    { name: "ONE", content: "one $X\n", isExpanded: true },
    { name: "TWO", content: "two $X\n", isExpanded: false },
  ]);
  expect(instructions[2]?.heredocs[0]?.content).toBe("#!/bin/sh\n");
});

test.each([
  ["FRM a", "Dockerfile:1: unknown instruction: FRM"],
  ["FROM a\nRUN --fast x", "Dockerfile:2: unknown flag: --fast"],
  ["FROM a\nRUN", "Dockerfile:2: RUN requires at least one argument"],
  ["FROM a\nRUN <<EOF\nx", "Dockerfile:2: unterminated heredoc: EOF never comes"],
  ["# nothing\n", "the Dockerfile has no instructions"],
  ["# escape=x\nFROM a", "Dockerfile:1: invalid escape token 'x' does not match ` or \\"],
])("%j is refused", (text, message) => {
  expect(() => parseDockerfile(text)).toThrow(message);
});

test("variables, quotes and escapes", () => {
  const variables = new Map([
    ["A", "one"],
    ["EMPTY", ""],
    ["FILE", "a.tar.gz"],
  ]);
  const word = (text: string): string => expandWord(text, variables, "\\");
  expect(word("$A-${A}-$NONE-")).toBe("one-one--");
  expect(word("'$A' \"$A\" \\$A a\\ b")).toBe("$A one $A a b");
  expect(word("${NONE:-two $A}|${EMPTY:-x}|${EMPTY-x}|${A:+y}|${EMPTY+y}|${EMPTY:+y}")).toBe(
    "two one|x||y|y|",
  );
  expect(word("${FILE%.*} ${FILE%%.*} ${FILE#*.} ${FILE##*.} ${FILE/a/b} ${FILE//[.]/x}")).toBe(
    "a.tar a tar.gz gz b.tar.gz a.tar.gz",
  );
  expect(() => word("${NONE:?is missing}")).toThrow("NONE: is missing");
  expect(() => word('"open')).toThrow("looking for matching double-quote");
  expect(() => word("${A!}")).toThrow("bad substitution");
  expect(expandText("'$A' \\$A \"x\"", variables, "\\")).toBe("'one' $A \"x\"");
});

test(".dockerignore: the last rule that fits decides; folders take along what is in them", () => {
  const isIgnored = parseIgnore(
    lines("# comment", "node_modules", "**/*.log", "docs/*", "!docs/keep.md", "/dist/", "a?c[0-9]"),
  );
  const ignored = "node_modules node_modules/x/y a/b.log b.log docs/other.md dist/x abc1".split(
    " ",
  );
  const kept = "src/node_modules docs docs/keep.md log abcd src/dist".split(" ");
  expect(ignored.filter((path) => !isIgnored(path))).toEqual([]);
  expect(kept.filter(isIgnored)).toEqual([]);
});

test("a target needs the stages it takes from, in order; ARG before FROM names images", () => {
  const file = parseDockerfile(
    lines(
      "ARG BASE=debian VERSION=1",
      "FROM ${BASE}:${VERSION} AS one",
      "FROM scratch AS unused",
      "FROM one AS two",
      "RUN --mount=type=bind,from=one,target=/x y",
      "FROM scratch",
      "COPY --from=two /a /b",
      "COPY --from=0 /a /b",
    ),
  );
  const plan = planStages(file, new Map([["VERSION", "2"]]), "amd64");
  expect(plan.stages.map(({ base }) => base)).toEqual(["debian:2", "scratch", "one", "scratch"]);
  expect(neededStages(plan).map(({ index }) => index)).toEqual([0, 2, 3]);
  expect(neededStages(plan, "TWO").map(({ index }) => index)).toEqual([0, 2]);
  expect(() => neededStages(plan, "nope")).toThrow('target stage "nope" could not be found');
  const twice = parseDockerfile("FROM a AS x\nFROM b AS x");
  expect(() => planStages(twice, new Map(), "amd64")).toThrow("Dockerfile:2: duplicate name x");
});

const begin: StageState = {
  args: new Map(),
  isCommandInherited: true,
  config: {
    env: new Map([["PATH", "/bin"]]),
    user: "",
    workingDirectory: "/",
    command: ["inherited"],
    labels: new Map(),
    exposedPorts: [],
    volumes: [],
    shell: ["/bin/sh", "-c"],
    onBuild: [],
  },
};

function told(...text: string[]): { state: StageState; steps: Step[] } {
  const given = new Map([["GIVEN", "yes"]]);
  const around = { escape: "\\", given, globals: new Map([["GLOBAL", "g"]]) };
  let state = begin;
  const steps: Step[] = [];
  for (const instruction of parseDockerfile(lines(...text)).instructions) {
    const next = interpret(state, instruction, around);
    state = next.state;
    if (next.step.type !== "nothing") steps.push(next.step);
  }
  return { state, steps };
}

test("what instructions make of an image's configuration", () => {
  const { state } = told(
    "ARG GIVEN=no GLOBAL",
    "ARG OWN=$GIVEN!",
    'ENV A=1 B="two words" C=$A$OWN',
    "ENV OLD the old  form",
    "ENV LATER=$A",
    "LABEL a.b=c \"d e\"='$A'",
    "EXPOSE 80 90-91/udp 80",
    'VOLUME ["/data"]',
    "USER $A:2",
    "WORKDIR /srv",
    "WORKDIR app/../lib",
    "STOPSIGNAL SIGINT",
    'SHELL ["/bin/bash", "-c"]',
    "ENTRYPOINT run it",
    "ONBUILD RUN x",
  );
  expect(state.args.get("GLOBAL")).toBe("g");
  expect(Object.fromEntries(state.config.env)).toEqual({
    PATH: "/bin",
    A: "1",
    B: "two words",
    C: "yes!",
    OLD: "the old  form",
    LATER: "1",
  });
  const { env: _, labels, ...rest } = state.config;
  expect(Object.fromEntries(labels)).toEqual({ "a.b": "c", "d e": "$A" });
  expect(rest).toEqual({
    user: "1:2",
    workingDirectory: "/srv/lib",
    entrypoint: ["/bin/bash", "-c", "run it"],
    exposedPorts: ["80/tcp", "90/udp", "91/udp"],
    volumes: ["/data"],
    stopSignal: "SIGINT",
    shell: ["/bin/bash", "-c"],
    onBuild: ["RUN x"],
  });
  expect(told("CMD x", 'ENTRYPOINT ["y"]').state.config.command).toEqual(["/bin/sh", "-c", "x"]);
});

test("steps: commands, copies, folders", () => {
  const { steps } = told(
    "WORKDIR /srv",
    "RUN --mount=type=cache,target=c --network=none go",
    "RUN <<EOF\nset -e\nEOF",
    "COPY --from=b --chmod=644 one two/* ./",
    "ADD https://example.com/x /y",
  );
  expect(steps).toMatchObject([
    { type: "folder", path: "/srv" },
    {
      type: "run",
      args: ["/bin/sh", "-c", "go"],
      hasNetwork: false,
      mounts: [{ type: "cache", target: "/srv/c", id: "/srv/c" }],
    },
    { type: "run", args: ["/bin/sh", "-c", "set -e\n"], hasNetwork: true },
    { type: "copy", from: "b", mode: 0o644, sources: ["one", "two/*"], destination: "/srv/" },
    { type: "copy", isAdd: true, sources: ["https://example.com/x"], destination: "/y" },
  ]);
});

test.each([
  [
    "COPY a b c",
    "When using COPY with more than one source file, the destination must be a directory and end with a /",
  ],
  ["COPY --chmod=u+x a b", "--chmod=u+x: write it as an octal number"],
  ["ENV A", "ENV must have two arguments"],
  ["ENV A=1 B", `Syntax error - can't find = in "B"`],
  ["EXPOSE 70000", "invalid containerPort: 70000"],
  ["SHELL sh", "SHELL requires the arguments to be in JSON form"],
  ["RUN --mount=type=ssh x", "--mount=type=ssh: it is bind, cache, tmpfs or secret"],
  ["RUN --network=other x", "--network=other: it is default, none or host"],
  ["HEALTHCHECK x", 'Unknown type "x" in HEALTHCHECK (try CMD)'],
  ["ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"],
])("%j cannot be", (text, message) => {
  expect(() => told(text)).toThrow(`Dockerfile:1: ${message}`);
});
