import { expect, test } from "vitest";
import { imageDomain, imageTag, normalizeImageReference } from "./image-reference.ts";

const digest = `sha256:${"a".repeat(64)}`;

test.each([
  ["web", "docker.io/library/web:latest"],
  ["shop-web:1", "docker.io/library/shop-web:1"],
  ["me/web:1", "docker.io/me/web:1"],
  ["docker.io/web", "docker.io/library/web:latest"],
  ["index.docker.io/me/web", "docker.io/me/web:latest"],
  ["registry.example/x:1", "registry.example/x:1"],
  ["localhost/x", "localhost/x:latest"],
  ["host:5000/a/b", "host:5000/a/b:latest"],
  [`web:1@${digest}`, `docker.io/library/web@${digest}`],
  [`host:5000/web@${digest}`, `host:5000/web@${digest}`],
])("%s in full is %s", (short, full) => {
  expect(normalizeImageReference(short)).toBe(full);
  expect(normalizeImageReference(full)).toBe(full);
});

test("the registry of a reference", () => {
  expect(imageDomain("web")).toBe("docker.io");
  expect(imageDomain("host:5000/a/b:1")).toBe("host:5000");
});

test.each([
  ["web", "latest"],
  ["web:1.2", "1.2"],
  ["host:5000/a/b", "latest"],
  ["host:5000/a/b:x", "x"],
  [`web@${digest}`, ""],
  [`web:1@${digest}`, "1"],
  ["Web", undefined],
  ["Host/web", "latest"],
  ["", undefined],
  ["web:-", undefined],
  ["a//b", undefined],
  ["web@sha256:ab", undefined],
  ["a".repeat(256), undefined],
])("the tag of %s is %s", (reference, tag) => {
  expect(imageTag(reference)).toBe(tag);
});
