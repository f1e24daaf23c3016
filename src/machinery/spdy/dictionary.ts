/**
 * The SPDY/3 header dictionary (a fact of the protocol: both sides prime zlib with it).
 * Reads and writes nothing.
 */

const words =
  "options head post put delete trace accept accept-charset accept-encoding accept-language " +
  "accept-ranges age allow authorization cache-control connection content-base content-encoding " +
  "content-language content-length content-location content-md5 content-range content-type date " +
  "etag expect expires from host if-match if-modified-since if-none-match if-range " +
  "if-unmodified-since last-modified location max-forwards pragma proxy-authenticate " +
  "proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade " +
  "user-agent vary via warning www-authenticate method get status|200 OK|version|HTTP/1.1|url " +
  "public set-cookie keep-alive origin";

const tail =
  "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505" +
  "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request" +
  "401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented" +
  "503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 " +
  "Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif," +
  "application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=" +
  "gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

/** One word holds a blank, so the words around it are parted by bars. */
function wordList(): readonly string[] {
  const [before = "", ok = "", version = "", http = "", after = ""] = words.split("|");
  return [...before.split(" "), ok, version, http, ...after.split(" ")];
}

function build(): Uint8Array {
  const encoder = new TextEncoder();
  const parts: number[] = [];
  for (const word of wordList()) {
    parts.push(0, 0, 0, word.length, ...encoder.encode(word));
  }
  parts.push(...encoder.encode(tail));
  return Uint8Array.from(parts);
}

export const headerDictionary: Uint8Array = build();

/** Adler-32, as zlib's header names a dictionary by it. */
export function adler32(bytes: Uint8Array): number {
  let a = 1;
  let b = 0;
  for (const byte of bytes) {
    a = (a + byte) % 65_521;
    b = (b + a) % 65_521;
  }
  return b * 65_536 + a;
}
