/** Whatever a kind can hold comes back from protobuf as it was. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { readProtobuf } from "#control-plane/apiserver/protobuf.ts";
import { protobufFrame, writeProtobuf } from "#control-plane/apiserver/protobuf-write.ts";
import { decodeObject } from "#machinery/decode.ts";
import { everyKind, plain, runs } from "./objects.ts";

test.each(everyKind)("%s: JSON → protobuf → JSON", (_, { schema, object }) => {
  fc.assert(
    fc.property(object, (given) => {
      const before = decodeObject(schema, given, { strict: false }).object;
      const read = readProtobuf(writeProtobuf(before, schema), schema);
      const after = decodeObject(schema, read, { strict: false }).object;
      expect(plain(after)).toEqual(plain(before));
    }),
    runs(8),
  );
});

test("a frame of a watch is its length and an event", () => {
  expect([...protobufFrame("ADDED", new Uint8Array([7]))]).toEqual([
    0, 0, 0, 12, 0x0a, 5, 65, 68, 68, 69, 68, 0x12, 3, 0x0a, 1, 7,
  ]);
});
