import { defineConfig } from "vitest/config";

/** Real containers, real kubectl: one file at a time, since they share a machine. */
export default defineConfig({
  test: {
    include: ["test/machine/**/*.test.ts"],
    pool: "forks",
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    reporters: ["default"],
  },
});
