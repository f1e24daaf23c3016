/** PEM armour (RFC 7468), as Go's encoding/pem reads and prints it. */
import { decodeBase64, encodeBase64 } from "./base64.ts";

export interface PemBlock {
  readonly label: string;
  /** Whether lines like "Proc-Type: …" stand before the content. */
  readonly hasHeaders: boolean;
  readonly bytes: Uint8Array;
}

export function armour(label: string, bytes: Uint8Array): string {
  const lines = encodeBase64(bytes).match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.map((line) => `${line}\n`).join("")}-----END ${label}-----\n`;
}

/** All blocks, in order; text between them, and what is no block after all, is passed over. */
export function pemBlocks(pem: string): PemBlock[] {
  const found = pem.matchAll(/-----BEGIN ([^\n]+?)-----\s*\n([\s\S]*?)-----END \1-----/g);
  return [...found].flatMap(([, label = "", content = ""]) => {
    const lines = content.split("\n");
    const body = lines.filter((line) => !line.includes(":"));
    const decoded = decodeBase64(body.join("").replaceAll(/\s/g, ""));
    if (!("bytes" in decoded)) return [];
    return [{ label, hasHeaders: body.length < lines.length, bytes: decoded.bytes }];
  });
}

/** What the blocks of one label hold; everything else is passed over. */
export const unarmour = (label: string, pem: string): Uint8Array[] =>
  pemBlocks(pem).flatMap((block) => (block.label === label ? [block.bytes] : []));
