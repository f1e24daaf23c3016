import { defineConfig } from "vitest/config";

/** Scenarios of several minutes on three nodes each: `npm run test:machine -- fifty` and `-- shop-story` run them. */
const long = ["test/machine/fifty.test.ts", "test/machine/shop-story.test.ts"];
const isWhole = process.env["WHERRY_TEST_WHOLE"] === "1";

/** Real containers, real kubectl: one file at a time, since they share a machine. */
export default defineConfig({
  test: {
    include: ["test/machine/**/*.test.ts"],
    exclude: isWhole ? [] : long,
    pool: "forks",
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    reporters: ["default"],
  },
});
