/** PEM armour without a system's help. */
import type { Bytes } from "#ports/stream.ts";

export function armour(label: string, bytes: Bytes): string {
  const base64 = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  const lines = base64.match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/** The blocks of one label, in order; everything else is passed over. */
export function unarmour(label: string, pem: string): Bytes[] {
  const blocks = pem.matchAll(/-----BEGIN ([A-Z ]+)-----([^-]*)-----END \1-----/g);
  return [...blocks]
    .filter((block) => block[1] === label)
    .map((block) => {
      const binary = atob((block[2] ?? "").replaceAll(/\s/g, ""));
      return Uint8Array.from(binary, (character) => character.charCodeAt(0));
    });
}
