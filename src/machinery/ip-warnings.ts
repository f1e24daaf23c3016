/** Warnings about IP addresses and CIDR blocks that are accepted, but not written as they should be. Upstream's wordings. */
import {
  formatCidr,
  formatIp,
  isMapped,
  parseCidr,
  parseCidrSloppy,
  parseIp,
  parseIpSloppy,
} from "./ip.ts";

const quoted = (text: string): string => JSON.stringify(text);

/** Nothing to say about what is no address at all: that is an error. */
export function ipWarnings(path: string, value: string): string[] {
  const meant = parseIpSloppy(value);
  if (meant === undefined) return [];
  const address = parseIp(value);
  if (address === undefined || isMapped(address)) {
    const use = quoted(formatIp(meant));
    return [`${path}: non-standard IP address ${quoted(value)} is invalid: use ${use}`];
  }
  const canonical = formatIp(address);
  if (address.family === 4 || canonical === value) return [];
  const form = `RFC 5952 canonical format (${quoted(canonical)})`;
  return [`${path}: IPv6 address ${quoted(value)} should be in ${form}`];
}

export function cidrWarnings(path: string, value: string): string[] {
  const meant = parseCidrSloppy(value);
  if (meant === undefined) return [];
  const { address, cidr } = meant;
  const warnings: string[] = [];
  const block = quoted(formatCidr(cidr));
  if (address.value !== cidr.base.value) {
    const single = quoted(`${formatIp(address)}/${address.family === 4 ? 32 : 128}`);
    warnings.push(
      `${path}: CIDR value ${quoted(value)} is ambiguous in this context (should be ${block} or ${single}?)`,
    );
  }
  const strict = parseCidr(value);
  if (strict === undefined || isMapped(strict.address)) {
    warnings.push(`${path}: non-standard CIDR value ${quoted(value)} is invalid: use ${block}`);
    return warnings;
  }
  const canonical = formatCidr({ base: strict.address, prefixLength: strict.cidr.prefixLength });
  if (warnings.length === 0 && strict.address.family === 6 && canonical !== value) {
    const form = `RFC 5952 canonical format (${quoted(canonical)})`;
    warnings.push(`${path}: IPv6 CIDR value ${quoted(value)} should be in ${form}`);
  }
  return warnings;
}
