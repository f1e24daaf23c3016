import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pathsOf } from "./allotment.ts";

describe("paths of a cluster", () => {
  let folder = "";
  beforeAll(() => {
    folder = realpathSync(mkdtempSync(join(tmpdir(), "wherry-allotment-")));
    mkdirSync(join(folder, "disk"));
    symlinkSync(join(folder, "disk"), join(folder, "link"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  const dataOf = (dataDirectory: string) =>
    pathsOf({ name: "shop", index: 3, dataDirectory }).kubelet;

  test("name mounts as the kernel does: without links", () => {
    expect(dataOf(join(folder, "link"))).toBe(join(folder, "disk", "kubelet"));
    expect(dataOf(join(folder, "link", "new", "data"))).toBe(
      join(folder, "disk", "new", "data", "kubelet"),
    );
    expect(dataOf(join(folder, "disk"))).toBe(join(folder, "disk", "kubelet"));
  });
});
