/** IP addresses and CIDR blocks as values: reading, printing (RFC 5952), arithmetic. Reads and writes nothing else. */

export interface IpAddress {
  readonly family: 4 | 6;
  readonly value: bigint;
}
export interface Cidr {
  /** The first address: no bits are set beyond the prefix. */
  readonly base: IpAddress;
  readonly prefixLength: number;
}

const bitsOf = (family: 4 | 6): number => (family === 4 ? 32 : 128);
/** IPv4 addresses inside IPv6: ::ffff:0:0/96. */
const mappedPrefix = 0xffffn;

function parseIpv4(text: string, sloppy: boolean): bigint | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  let value = 0n;
  for (const part of parts) {
    if (!(sloppy ? /^\d{1,10}$/ : /^(?:0|[1-9]\d{0,2})$/).test(part)) return undefined;
    const octet = Number(part);
    if (octet > 255) return undefined;
    value = (value << 8n) | BigInt(octet);
  }
  return value;
}

/** The 16-bit groups of one side of "::"; the last may be an IPv4 address. */
function parseGroups(text: string, sloppy: boolean): bigint[] | undefined {
  if (text === "") return [];
  const groups: bigint[] = [];
  const parts = text.split(":");
  for (const [index, part] of parts.entries()) {
    if (index === parts.length - 1 && part.includes(".")) {
      const v4 = parseIpv4(part, sloppy);
      if (v4 === undefined) return undefined;
      groups.push(v4 >> 16n, v4 & 0xffffn);
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) groups.push(BigInt(`0x${part}`));
    else return undefined;
  }
  return groups;
}

function parseIpv6(text: string, sloppy: boolean): bigint | undefined {
  const sides = text.split("::");
  if (sides.length > 2) return undefined;
  const left = parseGroups(sides[0] ?? "", sloppy);
  const right = parseGroups(sides[1] ?? "", sloppy);
  if (left === undefined || right === undefined) return undefined;
  if (sides.length === 2 && (sides[0] ?? "").includes(".")) return undefined;
  const missing = 8 - left.length - right.length;
  if (sides.length === 1 ? missing !== 0 : missing < 1) return undefined;
  let value = 0n;
  for (const group of left) value = (value << 16n) | group;
  value <<= BigInt(16 * missing);
  for (const group of right) value = (value << 16n) | group;
  return value;
}

function parse(text: string, sloppy: boolean): IpAddress | undefined {
  if (text.length > 64) return undefined;
  const family = text.includes(":") ? 6 : 4;
  const value = family === 6 ? parseIpv6(text, sloppy) : parseIpv4(text, sloppy);
  return value === undefined ? undefined : { family, value };
}

/** Strict: no leading zeros, no zone. An IPv4-mapped IPv6 address stays IPv6. */
export const parseIp = (text: string): IpAddress | undefined => parse(text, false);

/** Upstream: fields older than the strict rules accept leading zeros, and take an IPv4-mapped address for IPv4. */
export function parseIpSloppy(text: string): IpAddress | undefined {
  const address = parse(text, true);
  return address === undefined ? undefined : unmapped(address);
}
export const isMapped = (address: IpAddress): boolean =>
  address.family === 6 && address.value >> 32n === mappedPrefix;
const unmapped = (address: IpAddress): IpAddress =>
  isMapped(address) ? { family: 4, value: address.value & 0xffffffffn } : address;

const formatIpv4 = (value: bigint): string =>
  [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 255n)).join(".");

export function formatIp(address: IpAddress): string {
  if (address.family === 4) return formatIpv4(address.value);
  if (isMapped(address)) return `::ffff:${formatIpv4(address.value & 0xffffffffn)}`;
  const groups: string[] = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n) {
    groups.push(((address.value >> shift) & 0xffffn).toString(16));
  }
  let bestStart = -1;
  let bestLength = 1;
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (groups[start + length] === "0") length += 1;
    if (length > bestLength) {
      bestStart = start;
      bestLength = length;
    }
  }
  if (bestStart < 0) return groups.join(":");
  return `${groups.slice(0, bestStart).join(":")}::${groups.slice(bestStart + bestLength).join(":")}`;
}

/** The text in its canonical form; undefined if it is no address. */
export function canonicalIp(text: string): string | undefined {
  const address = parseIpSloppy(text);
  return address === undefined ? undefined : formatIp(address);
}

const sizeOf = (cidr: Cidr): bigint => 1n << BigInt(bitsOf(cidr.base.family) - cidr.prefixLength);
const masked = (address: IpAddress, prefixLength: number): IpAddress => {
  const free = BigInt(bitsOf(address.family) - prefixLength);
  return { family: address.family, value: (address.value >> free) << free };
};

export interface ParsedCidr {
  readonly cidr: Cidr;
  /** The address as written, which may lie inside the block. */
  readonly address: IpAddress;
}
function parseBlock(text: string, sloppy: boolean): ParsedCidr | undefined {
  const slash = text.indexOf("/");
  if (slash < 0) return undefined;
  const address = parse(text.slice(0, slash), sloppy);
  const digits = text.slice(slash + 1);
  if (address === undefined) return undefined;
  if (!(sloppy ? /^\d{1,10}$/ : /^(?:0|[1-9]\d{0,2})$/).test(digits)) return undefined;
  const prefixLength = Number(digits);
  if (prefixLength > bitsOf(address.family)) return undefined;
  return { cidr: { base: masked(address, prefixLength), prefixLength }, address };
}
/** Strict, but bits beyond the prefix may be set (see `address`). */
export const parseCidr = (text: string): ParsedCidr | undefined => parseBlock(text, false);
/** As upstream's older fields: leading zeros are fine. */
export const parseCidrSloppy = (text: string): ParsedCidr | undefined => parseBlock(text, true);

export const formatCidr = (cidr: Cidr): string => `${formatIp(cidr.base)}/${cidr.prefixLength}`;

export function cidrContains(cidr: Cidr, address: IpAddress): boolean {
  if (cidr.base.family !== address.family) return false;
  return masked(address, cidr.prefixLength).value === cidr.base.value;
}
/** Also true if one lies within the other. */
export function cidrsOverlap(a: Cidr, b: Cidr): boolean {
  const wider = a.prefixLength <= b.prefixLength ? a : b;
  return cidrContains(wider, wider === a ? b.base : a.base);
}
/** How many addresses there are. */
export const cidrSize = sizeOf;

/** The address `index` places after the first; undefined beyond the block. */
export function nthAddress(cidr: Cidr, index: bigint | number): IpAddress | undefined {
  const at = BigInt(index);
  if (at < 0n || at >= sizeOf(cidr)) return undefined;
  return { family: cidr.base.family, value: cidr.base.value + at };
}
/** How far an address is from the first; undefined outside the block. */
export const addressIndex = (cidr: Cidr, address: IpAddress): bigint | undefined =>
  cidrContains(cidr, address) ? address.value - cidr.base.value : undefined;

/** The block number `index` of all blocks with a longer prefix inside this one; undefined beyond the last. */
export function nthSubnet(cidr: Cidr, prefixLength: number, index: number): Cidr | undefined {
  const bits = bitsOf(cidr.base.family);
  if (prefixLength < cidr.prefixLength || prefixLength > bits || index < 0) return undefined;
  const step = 1n << BigInt(bits - prefixLength);
  const value = cidr.base.value + BigInt(index) * step;
  if (value >= cidr.base.value + sizeOf(cidr)) return undefined;
  return { base: { family: cidr.base.family, value }, prefixLength };
}

/** All addresses, from the first; the caller stops. */
export function* addressesOf(cidr: Cidr): Generator<IpAddress, void, undefined> {
  const { family } = cidr.base;
  const end = cidr.base.value + sizeOf(cidr);
  for (let value = cidr.base.value; value < end; value++) yield { family, value };
}

/** "4.3.2.1.in-addr.arpa" and its IPv6 kin, without the last dot. */
export function reverseName(address: IpAddress): string {
  if (address.family === 4) {
    return `${formatIpv4(address.value).split(".").toReversed().join(".")}.in-addr.arpa`;
  }
  const nibbles = address.value.toString(16).padStart(32, "0").split("").toReversed();
  return `${nibbles.join(".")}.ip6.arpa`;
}
