/** Secret: configuration that is one. */
import type { Secret as SecretObject } from "../../generated/core/v1.ts";
import { defineResource } from "../../resource.ts";

export type Secret = SecretObject;

export const Secret = defineResource<Secret>({
  group: "",
  version: "v1",
  plural: "secrets",
});
