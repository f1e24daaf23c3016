import { expect, test } from "vitest";
import { randomContract } from "#ports/random.contract.ts";
import { seededRandom } from "./random.ts";

randomContract("seededRandom", { isSeeded: true, random: (seed) => seededRandom(seed) });

test("the stream of a seed never changes: recorded runs stay repeatable", () => {
  const random = seededRandom(42);
  const drawn = [random.uint32(), random.uint32(), random.uint32()];
  expect([...drawn, seededRandom(42).fork("scheduler").uint32()]).toMatchInlineSnapshot(`
    [
      2524608048,
      2879125496,
      3426840248,
      1088508410,
    ]
  `);
});
