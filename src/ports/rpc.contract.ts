/** What every RpcDialer keeps to, against a server that the maker provides: one that answers as `RpcScript` says. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Address } from "./network.ts";
import type { Rpc, RpcDialer } from "./rpc.ts";

/** The proto that the server of a world speaks. */
export const testProto = `
syntax = "proto3";
package test.v1;
import "google/protobuf/timestamp.proto";
service Echo {
  rpc Say(Everything) returns (Everything) {}
  rpc Count(CountRequest) returns (stream CountReply) {}
  rpc Fail(FailRequest) returns (Everything) {}
  rpc Hang(CountRequest) returns (Everything) {}
  rpc Missing(CountRequest) returns (Everything) {}
}
enum Color { RED = 0; GREEN = 1; }
message Inner { string inner_name = 1; repeated Inner children = 2; }
message Everything {
  string plain_text = 1; int64 big_number = 2; uint64 unsigned_number = 3; int32 small = 4; bool is_true = 5;
  bytes raw_bytes = 6; double real = 7; Color color = 8; Inner inner = 9; repeated Inner inners = 10;
  map<string, string> text_map = 11; map<string, Inner> inner_map = 12; repeated int64 numbers = 13;
  optional string perhaps = 14; oneof choice { string left = 15; Inner right = 16; }
  google.protobuf.Timestamp at = 17; repeated bytes many_bytes = 18; repeated string texts = 19;
}
message CountRequest { int32 to = 1; int32 size = 2; bool then_hang = 3; int32 then_fail = 4; }
message CountReply { int32 n = 1; bytes padding = 2; }
message FailRequest { int32 code = 1; string message = 2; bool in_head = 3; int32 http_status = 4; }
`;

/** Say echoes; Count gives 1 … to, `size` bytes of padding each; Fail fails; Hang never answers; Missing is unknown. */
export interface RpcWorld {
  readonly dialer: RpcDialer;
  readonly address: Address;
  /** Breaks every connection of the server; it goes on listening. */
  readonly breakConnections: () => void;
  /** How many calls it is answering. */
  readonly running: () => number;
  /** Resolves once it answers none. */
  readonly idle: () => Promise<void>;
  readonly deadlines: () => readonly string[];
  readonly close: () => Promise<void>;
}

const defaults = {
  plainText: "",
  bigNumber: 0,
  unsignedNumber: 0,
  small: 0,
  isTrue: false,
  rawBytes: new Uint8Array(),
  real: 0,
  color: 0,
  inners: [],
  textMap: {},
  innerMap: {},
  numbers: [],
  manyBytes: [],
  texts: [],
};

export function rpcContract(name: string, make: () => Promise<RpcWorld>): void {
  let world: RpcWorld;
  let rpc: Rpc;
  beforeAll(async () => {
    world = await make();
    rpc = world.dialer.dial(world.address, testProto);
  });
  afterAll(async () => {
    rpc.close();
    await world.close();
  });
  const say = (message: object): Promise<object> => rpc.call("test.v1.Echo/Say", message);
  const count = (request: object): ReturnType<Rpc["stream"]> =>
    rpc.stream("test.v1.Echo/Count", request);

  test(`${name}: every kind of field goes there and back`, async () => {
    const message = {
      plainText: "grüße, 世界",
      bigNumber: -9_007_199_254_740_991,
      unsignedNumber: 9_007_199_254_740_991,
      small: -5,
      isTrue: true,
      rawBytes: Uint8Array.of(0, 255, 1),
      real: 1.5,
      color: 1,
      inner: { innerName: "a", children: [{ innerName: "b", children: [] }] },
      inners: [{ innerName: "c", children: [] }],
      textMap: { "key.with/odd:chars": "v", empty: "" },
      innerMap: { x: { innerName: "d", children: [] } },
      numbers: [0, 1, 2 ** 40],
      perhaps: "",
      right: { innerName: "e", children: [] },
      at: { seconds: 1_700_000_000, nanos: 5 },
      manyBytes: [Uint8Array.of(1), new Uint8Array()],
      texts: ["", "x"],
    };
    expect(await say(message)).toStrictEqual(message);
  });

  test(`${name}: what was not set is its default; messages and choices not set are left out`, async () => {
    expect(await say({})).toStrictEqual(defaults);
    expect(await say({ left: "" })).toStrictEqual({ ...defaults, left: "" });
    expect(await say({ inner: {} })).toStrictEqual({
      ...defaults,
      inner: { innerName: "", children: [] },
    });
    expect(await say({ plainText: undefined, unknownField: 1 })).toStrictEqual(defaults);
  });

  test(`${name}: large messages and many calls at once`, async () => {
    const large = new Uint8Array(6_000_000).map((_, i) => i % 251);
    const got: unknown = Reflect.get(await say({ rawBytes: large }), "rawBytes");
    // Compared by hand: the matchers take seconds for so many bytes.
    const isSame = got instanceof Uint8Array && got.length === large.length;
    expect(isSame && got.every((byte, i) => byte === large[i])).toBe(true);
    const all = await Promise.all(Array.from({ length: 300 }, (_, small) => say({ small })));
    expect(all.map((one) => Reflect.get(one, "small"))).toEqual(all.map((_, i) => i));
  });

  test(`${name}: a failure has its code and its message`, async () => {
    const fail = (request: object): Promise<object> => rpc.call("test.v1.Echo/Fail", request);
    for (const inHead of [false, true]) {
      await expect(
        fail({ code: 5, message: "no such thing: 100 % grün", inHead }),
      ).rejects.toMatchObject({
        name: "RpcError",
        code: 5,
        message: "no such thing: 100 % grün",
      });
    }
    await expect(fail({ code: 0, inHead: true })).rejects.toMatchObject({ code: 13 });
    await expect(fail({ httpStatus: 503 })).rejects.toMatchObject({ code: 14 });
    await expect(fail({ httpStatus: 404 })).rejects.toMatchObject({ code: 12 });
    await expect(rpc.call("test.v1.Echo/Missing", {})).rejects.toMatchObject({ code: 12 });
  });

  test(`${name}: what the proto does not declare is our mistake, not the server's`, async () => {
    await expect(rpc.call("test.v1.Echo/Nothing", {})).rejects.toThrow("declares no method");
    expect(() => world.dialer.dial(world.address, "syntax = nonsense")).toThrow();
  });

  test(`${name}: a deadline is told to the server and kept`, async () => {
    await expect(rpc.call("test.v1.Echo/Hang", {}, { timeoutMs: 30 })).rejects.toMatchObject({
      name: "RpcError",
      code: 4,
    });
    expect(world.deadlines().at(-1)).toBe("30m");
    await world.idle();
  });

  test(`${name}: a signal cancels the call, at the server too`, async () => {
    const control = new AbortController();
    const call = rpc.call("test.v1.Echo/Hang", {}, { signal: control.signal, timeoutMs: 600_000 });
    await say({});
    expect(world.running()).toBe(1);
    control.abort();
    await expect(call).rejects.toMatchObject({ name: "RpcError", code: 1 });
    await world.idle();
    const late = rpc.call("test.v1.Echo/Hang", {}, { signal: control.signal });
    await expect(late).rejects.toMatchObject({ code: 1 });
  });

  test(`${name}: a stream gives its messages in order, however they are cut, and ends`, async () => {
    for (const size of [0, 3, 70_000]) {
      const source = count({ to: 100, size });
      const got: number[] = [];
      for (let batch = await source.next(); batch !== undefined; batch = await source.next()) {
        for (const one of batch) got.push(Number(Reflect.get(one, "n")));
      }
      expect(got).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
      expect(await source.next()).toBeUndefined();
    }
  });

  test(`${name}: a stream that fails gives what came before, then rejects, again and again`, async () => {
    const source = count({ to: 2, thenFail: 9 });
    const got: object[] = [];
    const drain = async (): Promise<void> => {
      for (let batch = await source.next(); batch !== undefined; batch = await source.next()) {
        got.push(...batch);
      }
    };
    await expect(drain()).rejects.toMatchObject({ name: "RpcError", code: 9 });
    expect(got).toHaveLength(2);
    await expect(source.next()).rejects.toMatchObject({ code: 9 });
  });

  test(`${name}: a stopped stream ends here and at the server`, async () => {
    const source = count({ to: 1, thenHang: true });
    expect(await source.next()).toHaveLength(1);
    const waiting = source.next();
    source.stop();
    source.stop();
    expect(await waiting).toBeUndefined();
    expect(await source.next()).toBeUndefined();
    await world.idle();
    count({ to: 1, thenHang: true }).stop();
    await say({});
    await world.idle();
  });

  test(`${name}: a broken connection fails what runs with 14; the next call makes a new one`, async () => {
    const source = count({ to: 1, thenHang: true });
    await source.next();
    const call = rpc.call("test.v1.Echo/Hang", {});
    await say({});
    const failures = [
      expect(call).rejects.toMatchObject({ name: "RpcError", code: 14 }),
      expect(source.next()).rejects.toMatchObject({ name: "RpcError", code: 14 }),
    ];
    world.breakConnections();
    await Promise.all(failures);
    expect(await say({ small: 3 })).toMatchObject({ small: 3 });
  });

  test(`${name}: nobody there is 14; what runs at close() and after it is cancelled`, async () => {
    const nobody = world.dialer.dial({ unix: "/nowhere/at/all.sock" }, testProto);
    await expect(nobody.call("test.v1.Echo/Say", {})).rejects.toMatchObject({ code: 14 });
    await expect(nobody.stream("test.v1.Echo/Count", {}).next()).rejects.toMatchObject({
      code: 14,
    });
    const closed = world.dialer.dial(world.address, testProto);
    const running = closed.call("test.v1.Echo/Hang", {});
    const over = expect(running).rejects.toMatchObject({ name: "RpcError", code: 1 });
    await say({});
    closed.close();
    await over;
    await expect(closed.call("test.v1.Echo/Say", {})).rejects.toMatchObject({ code: 1 });
  });
}
