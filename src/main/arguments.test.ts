import { expect, test } from "vitest";
import { type Command, commandHelp, readArguments, readDuration } from "./arguments.ts";

const command: Command = {
  name: "up",
  summary: "Starts it.",
  options: [
    { name: "name", value: "N", default: "wherry", help: "which" },
    { name: "env", short: "e", value: "K=V", repeated: true, help: "a variable" },
    { name: "purge", help: "all of it" },
  ],
  run: async () => 0,
};
const read = (...words: string[]) => readArguments(command, words);

test("values by space or equals sign, switches, repeated options, operands, and what follows --", () => {
  const given = read("--name=a", "-e", "x=1", "--env", "y=2", "dir", "--purge", "--", "node", "-v");
  expect(given.text("name")).toBe("a");
  expect(given.list("env")).toEqual(["x=1", "y=2"]);
  expect(given.switch("purge")).toBe(true);
  expect(given.operands).toEqual(["dir"]);
  expect(given.rest).toEqual(["node", "-v"]);
  expect(read().text("name")).toBe("wherry");
  expect(read().given("name")).toBe(false);
  expect(read("--purge=false").switch("purge")).toBe(false);
});

test("what is wrong is said with what to do", () => {
  expect(() => read("--nmae", "x")).toThrow("Did you mean --name?");
  expect(() => read("--frobnicate")).toThrow("See wherry up --help");
  expect(() => read("--name")).toThrow("--name needs a value");
  expect(() => read("--name", "a", "--name", "b")).toThrow("given twice");
  expect(() => read("--purge=maybe")).toThrow("takes no value");
  expect(() => readDuration("--timeout", "soon")).toThrow("write 60s, 5m or 1h");
});

test("durations", () => {
  expect(["60s", "5m", "1500ms", "1.5h", "10"].map((text) => readDuration("-t", text))).toEqual([
    60_000, 300_000, 1500, 5_400_000, 10_000,
  ]);
});

test("help lists every option with its default", () => {
  expect(commandHelp(command)).toBe(`Starts it.

Usage: wherry up [options]

      --name N   which (default wherry)
  -e, --env K=V  a variable
      --purge    all of it
`);
});
