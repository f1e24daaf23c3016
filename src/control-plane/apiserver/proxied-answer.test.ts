import { expect, test } from "vitest";
import type { ApiRequest, ApiResponse } from "#api/request.ts";
import type { Bytes } from "#ports/stream.ts";
import { asForwarded, seenFromOutside } from "./proxied-answer.ts";

const answer = (
  headers: Record<string, string>,
  mediaType: string,
  ...chunks: string[]
): ApiResponse => {
  const batches = chunks.map((text) => [new TextEncoder().encode(text)]);
  const bytes = { next: async () => batches.shift(), stop: () => {} };
  return { status: 200, headers, content: { type: "stream", mediaType, bytes } };
};
const rewrite = (link: string): string => `/through${link}`;

async function textOf({ content }: ApiResponse): Promise<string> {
  if (content.type !== "stream") throw new Error(`it is of type ${content.type}`);
  const all: Bytes[] = [];
  for (let batch = await content.bytes.next(); batch; batch = await content.bytes.next())
    all.push(...batch);
  return all.map((bytes) => new TextDecoder().decode(bytes)).join("");
}

test("links of a page lead through the proxy, wherever its chunks end", async () => {
  const page = answer({}, "text/html; charset=utf-8", "<a hr", 'ef="/x">ü</a>');
  expect(await textOf(seenFromOutside(page, rewrite))).toBe('<a href="/through/x">ü</a>');
});

test("what is no page, or compressed, is left alone", async () => {
  const link = '<a href="/x">';
  expect(await textOf(seenFromOutside(answer({}, "text/plain", link), rewrite))).toBe(link);
  const packed = answer({ "content-encoding": "br" }, "text/html", link);
  expect(await textOf(seenFromOutside(packed, rewrite))).toBe(link);
});

test("redirects lead through the proxy, and permissions for other origins stay behind", () => {
  const headers = { location: "/x", "access-control-allow-origin": "*", etag: "1" };
  expect(seenFromOutside(answer(headers, "text/html"), rewrite).headers).toEqual({
    location: "/through/x",
    etag: "1",
  });
});

test("a backend hears for whom and as what it was asked", () => {
  const request: ApiRequest = {
    method: "GET",
    path: "/p",
    query: [],
    headers: { "accept-encoding": "gzip", "x-forwarded-for": "192.0.2.1" },
    gone: new AbortController().signal,
    direct: false,
    peer: { address: "192.0.2.2", certificates: [] },
  };
  expect(asForwarded(request, "/p").headers).toEqual({
    "x-forwarded-for": "192.0.2.1, 192.0.2.2",
    "x-forwarded-uri": "/p",
  });
});
