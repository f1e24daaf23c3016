import { expect, test } from "vitest";
import { threadStream } from "./thread-log.ts";

test("one piece is on its way at a time; what comes meanwhile goes together", async () => {
  const sent: string[] = [];
  const { stream, wrote } = threadStream((text) => sent.push(text));
  stream.write("one\n");
  stream.write("two\n");
  stream.write("three\n");
  expect(sent).toEqual(["one\n"]);
  expect(stream.writableLength).toBe("one\ntwo\nthree\n".length);
  wrote();
  await new Promise((resolve) => process.nextTick(resolve));
  expect(sent).toEqual(["one\n", "two\nthree\n"]);
  const ended = new Promise<void>((resolve) => {
    stream.end(resolve);
  });
  wrote();
  await ended;
  expect(stream.writableLength).toBe(0);
});

test("an answer to nothing is harmless", () => {
  const { stream, wrote } = threadStream(() => {});
  wrote();
  expect(stream.writableLength).toBe(0);
});
