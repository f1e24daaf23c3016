/** Which addresses may stand behind a Service. Shared by Endpoints, EndpointSlices and (for historical reasons) external IPs. */
import { type FieldError, invalid } from "#machinery/field-error.ts";
import { type IpAddress, parseIpSloppy } from "#machinery/ip.ts";

const isWithin = ({ family, value }: IpAddress, base: bigint, prefixLength: bigint): boolean => {
  const shift = (family === 4 ? 32n : 128n) - prefixLength;
  return value >> shift === base >> shift;
};

const isLoopback = (ip: IpAddress): boolean =>
  ip.family === 4 ? isWithin(ip, 0x7f000000n, 8n) : ip.value === 1n;
const isLinkLocal = (ip: IpAddress): boolean =>
  ip.family === 4 ? isWithin(ip, 0xa9fe0000n, 16n) : isWithin(ip, 0xfe80n << 112n, 10n);
/** In IPv6 the four bits between ff and the scope are flags. */
const isLinkLocalMulticast = (ip: IpAddress): boolean =>
  ip.family === 4 ? isWithin(ip, 0xe0000000n, 24n) : ((ip.value >> 112n) & 0xff0fn) === 0xff02n;

export const isIpv6Text = (text: string): boolean => parseIpSloppy(text)?.family === 6;
export const isIpv4Text = (text: string): boolean => parseIpSloppy(text)?.family === 4;

export function validateEndpointIp(path: string, text: string): FieldError[] {
  const ip = parseIpSloppy(text);
  if (ip === undefined) return [invalid(path, text, "must be a valid IP address")];
  const details: string[] = [];
  if (ip.value === 0n) details.push(`may not be unspecified (${text})`);
  if (isLoopback(ip)) details.push("may not be in the loopback range (127.0.0.0/8, ::1/128)");
  if (isLinkLocal(ip)) {
    details.push("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
  }
  if (isLinkLocalMulticast(ip)) {
    details.push("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
  }
  return details.map((detail) => invalid(path, text, detail));
}
