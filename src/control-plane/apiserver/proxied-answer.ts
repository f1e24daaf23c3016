/** What the proxy subresources change on the way: headers of the request; redirects and links of the answer. */
import type { ApiRequest, ApiResponse } from "#api/request.ts";
import type { Bytes, Source } from "#ports/stream.ts";
import { concat } from "./bytes.ts";
import { rewriteLinks } from "./html-links.ts";

/** A longer page goes out as it is. */
const pageBytesMax = 8 * 1024 * 1024;

const asksUpgrade = ({ headers }: ApiRequest): boolean => /upgrade/i.test(headers.connection ?? "");

export const isPlainRead = (request: ApiRequest): boolean =>
  (request.method === "GET" || request.method === "HEAD") && !asksUpgrade(request);

/** Tells the backend how it was asked for; pages come uncompressed, since their links are read here. */
export function asForwarded(request: ApiRequest, uri: string): ApiRequest {
  if (asksUpgrade(request)) return request;
  const { "accept-encoding": _, ...headers } = request.headers;
  const { "x-forwarded-for": before } = headers;
  const address = request.peer?.address;
  const chain = [before, address].filter((one) => one !== undefined && one !== "").join(", ");
  return {
    ...request,
    headers: {
      ...headers,
      "x-forwarded-uri": uri,
      ...(chain === "" ? {} : { "x-forwarded-for": chain }),
    },
  };
}

/** Upstream: whoever may ask the backend's page from elsewhere is the API server's to say. */
const crossOrigin = ["credentials", "headers", "methods", "origin"].map(
  (what) => `access-control-allow-${what}`,
);

function rewritten(source: Source<Bytes>, rewrite: (link: string) => string): Source<Bytes> {
  let isRead = false;
  return {
    async next() {
      if (isRead) return await source.next();
      isRead = true;
      const chunks: Bytes[] = [];
      let size = 0;
      while (size <= pageBytesMax) {
        const batch = await source.next();
        if (batch === undefined) break;
        for (const chunk of batch) {
          size += chunk.length;
          chunks.push(chunk);
        }
      }
      if (size > pageBytesMax) return chunks;
      try {
        const page = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
          concat(chunks),
        );
        return [new TextEncoder().encode(rewriteLinks(page, rewrite))];
      } catch (error) {
        // Not UTF-8: as it is.
        if (error instanceof TypeError) return chunks;
        throw error;
      }
    },
    stop: () => source.stop(),
  };
}

/** The answer with redirects and links that lead through the proxy again. */
export function seenFromOutside(
  answer: ApiResponse,
  rewrite: (link: string) => string,
): ApiResponse {
  const { content } = answer;
  if (content.type !== "stream") return answer;
  const headers = { ...answer.headers };
  for (const name of crossOrigin) delete headers[name];
  const { location } = headers;
  if (location !== undefined && location !== "")
    return { ...answer, headers: { ...headers, location: rewrite(location) } };
  const isPage = (content.mediaType.split(";")[0] ?? "").trim() === "text/html";
  if (!isPage || (headers["content-encoding"] ?? "") !== "") return { ...answer, headers };
  return { ...answer, headers, content: { ...content, bytes: rewritten(content.bytes, rewrite) } };
}
