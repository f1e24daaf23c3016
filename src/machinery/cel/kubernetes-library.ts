/** Kubernetes' own CEL types: quantities, IP addresses, CIDR blocks, URLs, named formats. */

import { decodeBase64 } from "../base64.ts";
import {
  cidrContains,
  formatIp,
  type IpAddress,
  isMapped,
  type ParsedCidr,
  parseCidr,
  parseIp,
} from "../ip.ts";
import {
  addQuantities,
  compareQuantities,
  parseQuantity,
  type Quantity,
  quantityFromInteger,
  subtractQuantities,
} from "../quantity.ts";
import {
  isDns1035Label,
  isDns1123Label,
  isDns1123Subdomain,
  isLabelValue,
  isQualifiedName,
} from "../validation.ts";
import { parseDate, parseTimestamp } from "./civil-time.ts";
import { type Overload, overload } from "./environment.ts";
import { compileUrl, type ParsedUrl } from "./url.ts";
import { CelError, Entries, List, none, Opaque, Optional } from "./value.ts";

const one = 1_000_000_000n;
type QuantityValue = Opaque<Quantity>;
const quantityValue = (quantity: Quantity): QuantityValue =>
  new Opaque("kubernetes.Quantity", quantity, (a, b) => compareQuantities(a, b) === 0);
const readQuantity = (text: string): QuantityValue => {
  const parsed = parseQuantity(text);
  if ("problem" in parsed) throw new CelError(parsed.problem);
  return quantityValue(parsed.quantity);
};
const fitsInt = ({ nanos }: Quantity): boolean =>
  nanos % one === 0n && BigInt.asIntN(64, nanos / one) === nanos / one;

const quantities: readonly Overload[] = [
  overload("quantity(string):kubernetes.Quantity", readQuantity),
  overload("isQuantity(string):bool", (text: string) => "quantity" in parseQuantity(text)),
  overload("kubernetes.Quantity.sign():int", ({ value }: QuantityValue) =>
    value.nanos === 0n ? 0n : value.nanos > 0n ? 1n : -1n,
  ),
  overload("kubernetes.Quantity.isInteger():bool", ({ value }: QuantityValue) => fitsInt(value)),
  overload("kubernetes.Quantity.asInteger():int", ({ value }: QuantityValue) => {
    if (!fitsInt(value)) throw new CelError("cannot convert value to integer");
    return value.nanos / one;
  }),
  overload(
    "kubernetes.Quantity.asApproximateFloat():double",
    ({ value }: QuantityValue) => Number(value.nanos) / 1e9,
  ),
  overload(
    "kubernetes.Quantity.add(kubernetes.Quantity):kubernetes.Quantity",
    (a: QuantityValue, b: QuantityValue) => quantityValue(addQuantities(a.value, b.value)),
  ),
  overload("kubernetes.Quantity.add(int):kubernetes.Quantity", (a: QuantityValue, b: bigint) =>
    quantityValue(addQuantities(a.value, quantityFromInteger(b))),
  ),
  overload(
    "kubernetes.Quantity.sub(kubernetes.Quantity):kubernetes.Quantity",
    (a: QuantityValue, b: QuantityValue) => quantityValue(subtractQuantities(a.value, b.value)),
  ),
  overload("kubernetes.Quantity.sub(int):kubernetes.Quantity", (a: QuantityValue, b: bigint) =>
    quantityValue(subtractQuantities(a.value, quantityFromInteger(b))),
  ),
  overload(
    "kubernetes.Quantity.isLessThan(kubernetes.Quantity):bool",
    (a: QuantityValue, b: QuantityValue) => order(a, b) < 0,
  ),
  overload(
    "kubernetes.Quantity.isGreaterThan(kubernetes.Quantity):bool",
    (a: QuantityValue, b: QuantityValue) => order(a, b) > 0,
  ),
  overload(
    "kubernetes.Quantity.compareTo(kubernetes.Quantity):int",
    (a: QuantityValue, b: QuantityValue) => BigInt(order(a, b)),
  ),
];
const order = (a: QuantityValue, b: QuantityValue): number => compareQuantities(a.value, b.value);

type IpValue = Opaque<IpAddress>;
const ipValue = (address: IpAddress): IpValue =>
  new Opaque("net.IP", address, (a, b) => a.family === b.family && a.value === b.value);

function ipProblem(text: string): string | undefined {
  if (text.includes("%") && parseIp(text.split("%")[0] ?? "") !== undefined)
    return `IP address ${JSON.stringify(text)} with zone value is not allowed`;
  const address = parseIp(text);
  if (address === undefined)
    return `IP Address ${JSON.stringify(text)} parse error during conversion from string: ParseAddr(${JSON.stringify(text)}): unable to parse IP`;
  if (isMapped(address)) return `IPv4-mapped IPv6 address ${JSON.stringify(text)} is not allowed`;
  return undefined;
}
function readIp(text: string): IpAddress {
  const problem = ipProblem(text);
  const address = parseIp(text);
  if (problem !== undefined || address === undefined) throw new CelError(problem ?? text);
  return address;
}

const inBlock = (address: IpAddress, ...blocks: readonly string[]): boolean =>
  blocks.some((block) => {
    const parsed = parseCidr(block);
    return parsed !== undefined && cidrContains(parsed.cidr, address);
  });
const isLoopback = (ip: IpAddress): boolean => inBlock(ip, "127.0.0.0/8", "::1/128");
const isMulticast = (ip: IpAddress): boolean => inBlock(ip, "224.0.0.0/4", "ff00::/8");
const isLinkLocal = (ip: IpAddress): boolean => inBlock(ip, "169.254.0.0/16", "fe80::/10");
const isBroadcast = (ip: IpAddress): boolean => ip.family === 4 && ip.value === 0xffffffffn;
const isGlobal = (ip: IpAddress): boolean =>
  ip.value !== 0n && !isLoopback(ip) && !isMulticast(ip) && !isLinkLocal(ip) && !isBroadcast(ip);

const addresses: readonly Overload[] = [
  overload("ip(string):net.IP", (text: string) => ipValue(readIp(text))),
  overload("isIP(string):bool", (text: string) => ipProblem(text) === undefined),
  overload("=ip.isCanonical(string):bool", (text: string) => formatIp(readIp(text)) === text),
  overload("string(net.IP):string", ({ value }: IpValue) => formatIp(value)),
  overload("net.IP.family():int", ({ value }: IpValue) => BigInt(value.family)),
  overload("net.IP.isUnspecified():bool", ({ value }: IpValue) => value.value === 0n),
  overload("net.IP.isLoopback():bool", ({ value }: IpValue) => isLoopback(value)),
  overload("net.IP.isLinkLocalMulticast():bool", ({ value }: IpValue) =>
    inBlock(value, "224.0.0.0/24", "ff02::/16"),
  ),
  overload("net.IP.isLinkLocalUnicast():bool", ({ value }: IpValue) => isLinkLocal(value)),
  overload("net.IP.isGlobalUnicast():bool", ({ value }: IpValue) => isGlobal(value)),
];

type CidrValue = Opaque<ParsedCidr>;
const cidrValue = (block: ParsedCidr): CidrValue =>
  new Opaque(
    "net.CIDR",
    block,
    (a, b) => cidrText(a) === cidrText(b) && a.address.family === b.address.family,
  );
const cidrText = ({ address, cidr }: ParsedCidr): string =>
  `${formatIp(address)}/${cidr.prefixLength}`;

function cidrProblem(text: string): string | undefined {
  const parsed = parseCidr(text);
  if (parsed === undefined)
    return `network address parse error during conversion from string: netip.ParsePrefix(${JSON.stringify(text)}): unable to parse`;
  if (isMapped(parsed.address))
    return `IPv4-mapped IPv6 address ${JSON.stringify(text)} is not allowed`;
  return undefined;
}
function readCidr(text: string): ParsedCidr {
  const problem = cidrProblem(text);
  const parsed = parseCidr(text);
  if (problem !== undefined || parsed === undefined) throw new CelError(problem ?? text);
  return parsed;
}
const holdsBlock = (outer: ParsedCidr, inner: ParsedCidr): boolean =>
  cidrContains(outer.cidr, inner.cidr.base) && outer.cidr.prefixLength <= inner.cidr.prefixLength;

const blocks: readonly Overload[] = [
  overload("cidr(string):net.CIDR", (text: string) => cidrValue(readCidr(text))),
  overload("isCIDR(string):bool", (text: string) => cidrProblem(text) === undefined),
  overload("string(net.CIDR):string", ({ value }: CidrValue) => cidrText(value)),
  overload("net.CIDR.containsIP(net.IP):bool", (block: CidrValue, ip: IpValue) =>
    cidrContains(block.value.cidr, ip.value),
  ),
  overload("net.CIDR.containsIP(string):bool", (block: CidrValue, text: string) =>
    cidrContains(block.value.cidr, readIp(text)),
  ),
  overload("net.CIDR.containsCIDR(net.CIDR):bool", (a: CidrValue, b: CidrValue) =>
    holdsBlock(a.value, b.value),
  ),
  overload("net.CIDR.containsCIDR(string):bool", (a: CidrValue, text: string) =>
    holdsBlock(a.value, readCidr(text)),
  ),
  overload("net.CIDR.ip():net.IP", ({ value }: CidrValue) => ipValue(value.address)),
  overload("net.CIDR.masked():net.CIDR", ({ value }: CidrValue) =>
    cidrValue({ cidr: value.cidr, address: value.cidr.base }),
  ),
  overload("net.CIDR.prefixLength():int", ({ value }: CidrValue) =>
    BigInt(value.cidr.prefixLength),
  ),
];

type UrlValue = Opaque<ParsedUrl>;
function readUrl(text: string): UrlValue {
  const parsed = compileUrl(text);
  if ("problem" in parsed)
    throw new CelError(`URL parse error during conversion from string: ${parsed.problem}`);
  return new Opaque("kubernetes.URL", parsed, (a, b) => a.text === b.text);
}
const urls: readonly Overload[] = [
  overload("url(string):kubernetes.URL", readUrl),
  overload("isURL(string):bool", (text: string) => !("problem" in compileUrl(text))),
  overload("kubernetes.URL.getScheme():string", ({ value }: UrlValue) => value.scheme),
  overload("kubernetes.URL.getHost():string", ({ value }: UrlValue) => value.host),
  overload("kubernetes.URL.getHostname():string", ({ value }: UrlValue) => value.hostname),
  overload("kubernetes.URL.getPort():string", ({ value }: UrlValue) => value.port),
  overload("kubernetes.URL.getEscapedPath():string", ({ value }: UrlValue) => value.path),
  overload("kubernetes.URL.getQuery():map<string,list<string>>", ({ value }: UrlValue) => {
    const query = new Entries();
    for (const [key, values] of value.query) query.add(key, new List(values));
    return query;
  }),
];

interface Format {
  readonly name: string;
  readonly problems: (text: string) => string[];
}
const prefixOf = (check: (text: string) => string[]) => (text: string) =>
  check(text.endsWith("-") ? `${text.slice(0, -1)}a` : text);
const unless = (holds: (text: string) => boolean, problem: string) => (text: string) =>
  holds(text) ? [] : [problem];
const uuid = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i;
const formats: Readonly<Record<string, (text: string) => string[]>> = {
  dns1123Label: isDns1123Label,
  dns1123Subdomain: isDns1123Subdomain,
  dns1035Label: isDns1035Label,
  qualifiedName: isQualifiedName,
  dns1123LabelPrefix: prefixOf(isDns1123Label),
  dns1123SubdomainPrefix: prefixOf(isDns1123Subdomain),
  dns1035LabelPrefix: prefixOf(isDns1035Label),
  labelValue: isLabelValue,
  uri(text) {
    const parsed = compileUrl(text);
    return "problem" in parsed ? [parsed.problem] : [];
  },
  uuid: unless((text) => uuid.test(text), "does not match the UUID format"),
  byte: unless((text) => "bytes" in decodeBase64(text), "invalid base64"),
  date: unless((text) => parseDate(text) !== undefined, "invalid date"),
  datetime: unless((text) => parseTimestamp(text) !== undefined, "invalid datetime"),
};
type FormatValue = Opaque<Format>;
const formatValues = new Map(
  Object.entries(formats).map(([name, problems]): [string, FormatValue] => [
    name,
    new Opaque("kubernetes.NamedFormat", { name, problems }, (a, b) => a.name === b.name),
  ]),
);
const named: readonly Overload[] = [
  overload("=format.named(string):optional<kubernetes.NamedFormat>", (name: string) => {
    const found = formatValues.get(name);
    return found === undefined ? none : new Optional(found);
  }),
  ...[...formatValues].map(([name, value]) =>
    overload(`=format.${name}():kubernetes.NamedFormat`, () => value),
  ),
  overload(
    "kubernetes.NamedFormat.validate(string):optional<list<string>>",
    ({ value }: FormatValue, text: string) => {
      const problems = value.problems(text);
      return problems.length === 0 ? none : new Optional(new List(problems));
    },
  ),
];

export const kubernetesLibrary: readonly Overload[] = [
  ...quantities,
  ...addresses,
  ...blocks,
  ...urls,
  ...named,
];
