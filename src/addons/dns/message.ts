/**
 * DNS messages on the wire (RFC 1035, 2782, 3596, 6891): what a cluster DNS server reads and writes. Names are lower case without
 * the final dot; the query's own spelling of the question is kept apart, since resolvers compare it (0x20).
 */

export const recordTypes = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  TXT: 16,
  AAAA: 28,
  SRV: 33,
  OPT: 41,
  ANY: 255,
} as const;
export const responseCodes = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
} as const;

export interface Question {
  readonly name: string;
  /** As the client spelled it. */
  readonly spelled: string;
  readonly type: number;
  readonly class: number;
}
export type RecordData =
  | { readonly type: "A"; readonly address: string }
  | { readonly type: "AAAA"; readonly address: string }
  | { readonly type: "CNAME" | "PTR" | "NS"; readonly target: string }
  | {
      readonly type: "SRV";
      readonly priority: number;
      readonly weight: number;
      readonly port: number;
      readonly target: string;
    }
  | { readonly type: "TXT"; readonly text: string }
  | {
      readonly type: "SOA";
      readonly mname: string;
      readonly rname: string;
      readonly serial: number;
      readonly minimum: number;
    };
export type ResourceRecord = RecordData & { readonly name: string; readonly ttlSeconds: number };

export interface Query {
  readonly id: number;
  readonly opcode: number;
  readonly recursionDesired: boolean;
  readonly question: Question;
  /** What the client takes by UDP: 512, or what its OPT record says (at most 4,096 here). */
  readonly udpBytesMax: number;
  readonly edns: boolean;
}
export interface Answer {
  readonly code: number;
  readonly authoritative: boolean;
  readonly answers: readonly ResourceRecord[];
  readonly authority: readonly ResourceRecord[];
  readonly additional: readonly ResourceRecord[];
}

const decoder = new TextDecoder("latin1");
const udpBytesMost = 4096;

/** The id of a message that is too broken to read further; undefined if not even that is there. */
export const messageId = (bytes: Uint8Array): number | undefined =>
  bytes.length < 12 ? undefined : ((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0);

/** Undefined: not a query with exactly one question. */
export function readQuery(bytes: Uint8Array): Query | undefined {
  if (bytes.length < 12) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const flags = view.getUint16(2);
  if ((flags & 0x8000) !== 0 || view.getUint16(4) !== 1) return undefined;
  const name = readName(bytes, 12);
  if (name === undefined || name.end + 4 > bytes.length) return undefined;
  const question = {
    name: name.text.toLowerCase(),
    spelled: name.text,
    type: view.getUint16(name.end),
    class: view.getUint16(name.end + 2),
  };
  const opt = optSize(bytes, view, name.end + 4);
  return {
    id: view.getUint16(0),
    opcode: (flags >> 11) & 15,
    recursionDesired: (flags & 0x0100) !== 0,
    question,
    udpBytesMax: Math.min(Math.max(opt ?? 512, 512), udpBytesMost),
    edns: opt !== undefined,
  };
}

/** The UDP size that an OPT record among the additional records announces. */
function optSize(bytes: Uint8Array, view: DataView, at: number): number | undefined {
  const records = view.getUint16(6) + view.getUint16(8) + view.getUint16(10);
  let offset = at;
  for (let i = 0; i < Math.min(records, 16); i++) {
    const name = readName(bytes, offset);
    if (name === undefined || name.end + 10 > bytes.length) return undefined;
    if (view.getUint16(name.end) === recordTypes.OPT) return view.getUint16(name.end + 2);
    offset = name.end + 10 + view.getUint16(name.end + 8);
  }
  return undefined;
}

/** The addresses and aliases among the answers of a resolver's reply; [] if it is no good. */
export function readAddresses(bytes: Uint8Array): ResourceRecord[] {
  const found: ResourceRecord[] = [];
  if (bytes.length < 12) return found;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint16(4) !== 1) return found;
  const question = readName(bytes, 12);
  let at = (question?.end ?? bytes.length) + 4;
  for (let i = 0; i < Math.min(view.getUint16(6), 64); i++) {
    const owner = readName(bytes, at);
    if (owner === undefined || owner.end + 10 > bytes.length) break;
    const start = owner.end + 10;
    const data = bytes.subarray(start, start + view.getUint16(owner.end + 8));
    const record = { name: owner.text, ttlSeconds: view.getUint32(owner.end + 4) };
    const type = view.getUint16(owner.end);
    if (type === recordTypes.A && data.length === 4) {
      found.push({ ...record, type: "A", address: data.join(".") });
    } else if (type === recordTypes.AAAA && data.length === 16) {
      const groups = Array.from({ length: 8 }, (_, g) =>
        view.getUint16(start + 2 * g).toString(16),
      );
      found.push({ ...record, type: "AAAA", address: groups.join(":") });
    } else if (type === recordTypes.CNAME) {
      const target = readName(bytes, start);
      if (target !== undefined) found.push({ ...record, type: "CNAME", target: target.text });
    }
    at = start + data.length;
  }
  return found;
}

/** A recursive query of our own. */
export function writeQuery(name: string, type: number): Uint8Array {
  const out = new Writer();
  for (const value of [0, 0x0100, 1, 0, 0, 0]) out.u16(value);
  out.name(name);
  out.u16(type);
  out.u16(1);
  return out.bytes.slice(0, out.length);
}

/** A name with compression pointers followed; undefined if it is malformed. Dots inside a label are not supported. */
function readName(bytes: Uint8Array, start: number): { text: string; end: number } | undefined {
  const labels: string[] = [];
  let at = start;
  let end: number | undefined;
  let length = 0;
  for (let hops = 0; hops < 128; hops++) {
    const size = bytes[at];
    if (size === undefined) return undefined;
    if (size === 0) return { text: labels.join("."), end: end ?? at + 1 };
    if ((size & 0xc0) === 0xc0) {
      end ??= at + 2;
      const to = ((size & 0x3f) << 8) | (bytes[at + 1] ?? 0);
      if (to >= at) return undefined;
      at = to;
      continue;
    }
    if ((size & 0xc0) !== 0 || at + 1 + size > bytes.length) return undefined;
    length += size + 1;
    if (length > 254) return undefined;
    labels.push(decoder.decode(bytes.subarray(at + 1, at + 1 + size)));
    at += size + 1;
  }
  return undefined;
}

class Writer {
  bytes = new Uint8Array(512);
  length = 0;
  readonly #names = new Map<string, number>();

  #grow(by: number): void {
    if (this.length + by <= this.bytes.length) return;
    const larger = new Uint8Array(Math.max(this.bytes.length * 2, this.length + by));
    larger.set(this.bytes);
    this.bytes = larger;
  }
  u8(value: number): void {
    this.#grow(1);
    this.bytes[this.length++] = value;
  }
  u16(value: number): void {
    this.u8((value >> 8) & 255);
    this.u8(value & 255);
  }
  u32(value: number): void {
    this.u16(Math.floor(value / 65536) & 0xffff);
    this.u16(value & 0xffff);
  }
  setU16(at: number, value: number): void {
    this.bytes[at] = (value >> 8) & 255;
    this.bytes[at + 1] = value & 255;
  }
  /** `compress`: refer to an earlier place where the rest of the name stands. */
  name(text: string, compress = true): void {
    const labels = text === "" ? [] : text.split(".");
    for (let i = 0; i < labels.length; i++) {
      const rest = labels.slice(i).join(".").toLowerCase();
      const known = this.#names.get(rest);
      if (compress && known !== undefined) return this.u16(0xc000 | known);
      if (this.length < 0x4000) this.#names.set(rest, this.length);
      const label = labels[i] ?? "";
      this.u8(Math.min(label.length, 63));
      for (let c = 0; c < Math.min(label.length, 63); c++) this.u8(label.charCodeAt(c) & 255);
    }
    this.u8(0);
  }
}

/** The reply's bytes, at most `bytesMax`: records that do not fit are left out and TC is set (the client asks again by TCP). */
export function writeAnswer(query: Query, answer: Answer, bytesMax: number): Uint8Array {
  const out = new Writer();
  out.u16(query.id);
  const flags =
    0x8000 |
    (query.opcode << 11) |
    (answer.authoritative ? 0x0400 : 0) |
    (query.recursionDesired ? 0x0100 : 0) |
    0x0080 |
    answer.code;
  out.u16(flags);
  out.u16(1);
  for (let i = 0; i < 3; i++) out.u16(0);
  out.name(query.question.spelled);
  out.u16(query.question.type);
  out.u16(query.question.class);
  const reserved = query.edns ? 11 : 0;
  const sections = [answer.answers, answer.authority, answer.additional];
  let truncated = false;
  for (const [at, records] of sections.entries()) {
    let count = 0;
    for (const record of records) {
      const before = out.length;
      writeRecord(out, record);
      if (out.length + reserved > bytesMax) {
        out.length = before;
        // Missing additional records are no truncation.
        truncated ||= at < 2;
        break;
      }
      count++;
    }
    out.setU16(6 + 2 * at, count);
    if (truncated) break;
  }
  if (truncated) out.setU16(2, flags | 0x0200);
  if (query.edns) {
    out.u8(0);
    out.u16(recordTypes.OPT);
    out.u16(udpBytesMost);
    out.u32(0);
    out.u16(0);
    out.setU16(10, ((out.bytes[10] ?? 0) << 8) + (out.bytes[11] ?? 0) + 1);
  }
  return out.bytes.subarray(0, out.length);
}

function writeRecord(out: Writer, record: ResourceRecord): void {
  out.name(record.name);
  out.u16(recordTypes[record.type]);
  out.u16(1);
  out.u32(record.ttlSeconds);
  const lengthAt = out.length;
  out.u16(0);
  switch (record.type) {
    case "A":
      for (const part of record.address.split(".")) out.u8(Number(part));
      break;
    case "AAAA":
      for (const part of expandIpv6(record.address)) out.u16(part);
      break;
    case "CNAME":
    case "PTR":
    case "NS":
      out.name(record.target);
      break;
    case "SRV":
      out.u16(record.priority);
      out.u16(record.weight);
      out.u16(record.port);
      // RFC 2782: no compression of the target.
      out.name(record.target, false);
      break;
    case "TXT": {
      const text = record.text.slice(0, 255);
      out.u8(text.length);
      for (let i = 0; i < text.length; i++) out.u8(text.charCodeAt(i) & 255);
      break;
    }
    case "SOA":
      out.name(record.mname);
      out.name(record.rname);
      for (const value of [record.serial, 7200, 1800, 86_400, record.minimum]) out.u32(value);
      break;
  }
  out.setU16(lengthAt, out.length - lengthAt - 2);
}

/** Eight 16-bit groups of an IPv6 address. */
function expandIpv6(text: string): number[] {
  const [head = "", tail] = text.split("::");
  const groups = (part: string): number[] =>
    part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16));
  const front = groups(head);
  const back = tail === undefined ? [] : groups(tail);
  return [...front, ...Array<number>(Math.max(0, 8 - front.length - back.length)).fill(0), ...back];
}

/** A reply that carries only a code. */
export function writeFailure(query: Query, code: number): Uint8Array {
  const empty = { authoritative: false, answers: [], authority: [], additional: [] };
  return writeAnswer(query, { ...empty, code }, 512);
}
