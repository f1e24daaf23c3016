/** The tunnel's pure part; packets through it: test/machine/overlay.test.ts. */
import { expect, test } from "vitest";
import { hardwareAddressOf } from "./overlay.ts";

test("a node's end of the tunnel has a hardware address that everybody can work out", () => {
  expect(hardwareAddressOf("192.0.2.10")).toBe("0e:58:c0:00:02:0a");
});
