/** Asks a node to make or remove the directory of a volume: through the API server, which reaches its kubelet. */
import type { ApiResponse } from "#api/request.ts";
import type { Client } from "#client/client.ts";
import { type Status, StatusError } from "#machinery/status-error.ts";
import type { Clock } from "#ports/clock.ts";

const answerBytesMax = 64 * 1024;

async function textOf({ content }: ApiResponse): Promise<string> {
  const decoder = new TextDecoder();
  if (content.type === "bytes") return decoder.decode(content.bytes);
  if (content.type !== "stream") return "";
  let text = "";
  for (;;) {
    const batch = await content.bytes.next();
    if (batch === undefined || text.length > answerBytesMax) break;
    for (const bytes of batch) text += decoder.decode(bytes, { stream: true });
  }
  content.bytes.stop();
  return text;
}

/** The kubelet's answer: the directory's path. Rejects with what it, or the API server on the way, says against it. */
export async function askNode(
  { client, clock }: { readonly client: Client; readonly clock: Clock },
  asked: {
    readonly method: "POST" | "DELETE";
    readonly nodeName: string;
    readonly volume: string;
    readonly msMax: number;
  },
): Promise<string> {
  const gone = new AbortController();
  const cancel = clock.after(asked.msMax, () => gone.abort());
  const node = encodeURIComponent(asked.nodeName);
  try {
    const response = await client.handler({
      method: asked.method,
      path: `/api/v1/nodes/${node}/proxy/localVolumes/${encodeURIComponent(asked.volume)}`,
      query: [],
      headers: { accept: "*/*", "user-agent": "local-path-provisioner" },
      gone: gone.signal,
      direct: true,
    });
    const { content, status } = response;
    if (content.type === "object" && (content.object as Partial<Status>).kind === "Status") {
      throw StatusError.from(content.object as Status);
    }
    const text = await textOf(response);
    if (status === 200) return text;
    throw new Error(`node ${JSON.stringify(asked.nodeName)} answered ${status}: ${text.trim()}`);
  } finally {
    cancel();
  }
}
