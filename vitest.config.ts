import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: [
      "src/**/*.test.ts",
      "test/*.test.ts",
      "test/conformance/*.test.ts",
      "test/oracle/*.test.ts",
      "test/properties/*.test.ts",
    ],
    pool: "threads",
    testTimeout: 20_000,
    reporters: ["default"],
  },
});
