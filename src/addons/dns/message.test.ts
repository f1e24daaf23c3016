import { decode, encode, type Packet, RECURSION_DESIRED } from "dns-packet";
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  type Answer,
  readAddresses,
  readQuery,
  recordTypes,
  responseCodes,
  writeAnswer,
  writeQuery,
} from "./message.ts";

const queryBytes = (packet: Partial<Packet>): Uint8Array =>
  encode({ type: "query", id: 7, flags: RECURSION_DESIRED, ...packet });
const empty = { authoritative: true, authority: [], additional: [], answers: [] } as const;

test("a query is read, also with EDNS", () => {
  const bytes = queryBytes({
    questions: [{ type: "A", name: "Web.Default.svc.cluster.local" }],
    additionals: [
      {
        type: "OPT",
        name: ".",
        udpPayloadSize: 1232,
        extendedRcode: 0,
        ednsVersion: 0,
        flags: 0,
        flag_do: false,
        options: [],
      },
    ],
  });
  expect(readQuery(bytes)).toEqual({
    id: 7,
    opcode: 0,
    recursionDesired: true,
    question: {
      name: "web.default.svc.cluster.local",
      spelled: "Web.Default.svc.cluster.local",
      type: 1,
      class: 1,
    },
    udpBytesMax: 1232,
    edns: true,
  });
});

test("every record that we write is read by another implementation as it was meant", () => {
  const query = readQuery(queryBytes({ questions: [{ type: "A", name: "a.b.c" }] }));
  if (query === undefined) throw new Error("the query was not read");
  const answer: Answer = {
    ...empty,
    code: responseCodes.NOERROR,
    answers: [
      { name: "a.b.c", ttlSeconds: 30, type: "A", address: "10.96.0.10" },
      { name: "a.b.c", ttlSeconds: 30, type: "AAAA", address: "fd00::1:2" },
      { name: "a.b.c", ttlSeconds: 30, type: "CNAME", target: "x.b.c" },
      { name: "1.0.10.in-addr.arpa", ttlSeconds: 30, type: "PTR", target: "a.b.c" },
      {
        name: "_p._tcp.b.c",
        ttlSeconds: 30,
        type: "SRV",
        priority: 0,
        weight: 50,
        port: 80,
        target: "a.b.c",
      },
      { name: "v.b.c", ttlSeconds: 30, type: "TXT", text: "1.1.0" },
    ],
    authority: [
      {
        name: "b.c",
        ttlSeconds: 30,
        type: "SOA",
        mname: "ns.b.c",
        rname: "h.b.c",
        serial: 1,
        minimum: 30,
      },
    ],
  };
  const read = decode(Buffer.from(writeAnswer(query, answer, 4096)));
  expect(read.id).toBe(7);
  expect(
    read.answers?.map((one) => [one.type, one.name, "data" in one ? one.data : undefined]),
  ).toEqual([
    ["A", "a.b.c", "10.96.0.10"],
    ["AAAA", "a.b.c", "fd00::1:2"],
    ["CNAME", "a.b.c", "x.b.c"],
    ["PTR", "1.0.10.in-addr.arpa", "a.b.c"],
    ["SRV", "_p._tcp.b.c", { priority: 0, weight: 50, port: 80, target: "a.b.c" }],
    ["TXT", "v.b.c", [Buffer.from("1.1.0")]],
  ]);
  expect(read.authorities?.[0]).toMatchObject({
    type: "SOA",
    name: "b.c",
    data: { mname: "ns.b.c" },
  });
});

test("what does not fit is left out and TC is set", () => {
  const query = readQuery(queryBytes({ questions: [{ type: "A", name: "a.b" }] }));
  if (query === undefined) throw new Error("the query was not read");
  const answers = Array.from({ length: 100 }, (_, i) => ({
    name: "a.b",
    ttlSeconds: 1,
    type: "A" as const,
    address: `10.0.0.${i}`,
  }));
  const bytes = writeAnswer(query, { ...empty, code: 0, answers }, 512);
  expect(bytes.length).toBeLessThanOrEqual(512);
  const read = decode(Buffer.from(bytes));
  expect(read.flag_tc).toBe(true);
  expect(read.answers?.length).toBeGreaterThan(20);
});

test("a resolver's reply gives its addresses", () => {
  const reply = encode({
    type: "response",
    id: 1,
    questions: [{ type: "A", name: "x.org" }],
    answers: [
      { type: "CNAME", name: "x.org", data: "y.org" },
      { type: "A", name: "y.org", ttl: 5, data: "1.2.3.4" },
    ],
  });
  expect(readAddresses(reply)).toMatchObject([
    { type: "CNAME", target: "y.org" },
    { type: "A", name: "y.org", address: "1.2.3.4", ttlSeconds: 5 },
  ]);
  expect(decode(Buffer.from(writeQuery("x.org", recordTypes.AAAA))).questions).toMatchObject([
    { name: "x.org", type: "AAAA" },
  ]);
});

test("no bytes bring the reader down", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      readQuery(bytes);
      readAddresses(bytes);
    }),
  );
  // A compression pointer to itself.
  expect(
    readQuery(new Uint8Array([0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1])),
  ).toBeUndefined();
});
