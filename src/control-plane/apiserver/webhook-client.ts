/** Calls webhooks of admission: where a configuration points to, over HTTPS with its CA, one POST a call. */

import type { WebhookClientConfig } from "#api/generated/admissionregistration/v1.ts";
import type { Service } from "#api/generated/core/v1.ts";
import { decodeBase64 } from "#machinery/base64.ts";
import { parseJson } from "#machinery/json.ts";
import type { Clock } from "#ports/clock.ts";
import type { NodeProxy, ProxyTarget } from "./node-proxy.ts";
import { serviceTarget } from "./proxy-subresources.ts";
import type { Reader } from "./reader.ts";
import { bodyOf } from "./response-body.ts";

const answerBytesMax = 3 * 1024 * 1024;
const tooLong = (): Error =>
  new Error(`the webhook's answer is longer than ${answerBytesMax} bytes`);

/** Resolves with the parsed answer; rejects with an Error that says why there is none. */
export type CallWebhook = (
  config: WebhookClientConfig,
  body: object,
  timeoutSeconds: number,
) => Promise<unknown>;

export interface WebhookClientParts {
  readonly proxy: NodeProxy | undefined;
  readonly reader: Reader;
  readonly clock: Clock;
}

interface Place {
  readonly target: ProxyTarget;
  readonly path: string;
  /** As errors name it. */
  readonly url: string;
}

const services = { group: "", plural: "services" };
const endpoints = { group: "", plural: "endpoints" };

function rootsOf({ caBundle }: WebhookClientConfig): string | undefined {
  if (caBundle === undefined) return undefined;
  const decoded = decodeBase64(caBundle);
  return "bytes" in decoded ? new TextDecoder().decode(decoded.bytes) : undefined;
}

function placeOf(config: WebhookClientConfig, reader: Reader): Place {
  const roots = rootsOf(config);
  const trust = (serverName: string) => ({
    serverName,
    ...(roots === undefined ? {} : { roots }),
  });
  const { service, url } = config;
  if (service !== undefined) {
    const { namespace, name, path = "/", port = 443 } = service;
    const serverName = `${name}.${namespace}.svc`;
    const found = reader.get(services, namespace, name) as Service | undefined;
    if (found === undefined) throw new Error(`service ${JSON.stringify(name)} not found`);
    const backends = reader.get(endpoints, namespace, name);
    const target = serviceTarget(found, backends, "https", String(port));
    const shown = `https://${serverName}:${port}${path}`;
    return { target: { ...target, tls: trust(serverName) }, path, url: shown };
  }
  const parsed = new URL(url ?? "");
  const port = parsed.port === "" ? 443 : Number(parsed.port);
  const host = parsed.hostname.replace(/^\[|\]$/g, "");
  return {
    target: { host, port, scheme: "https", tls: trust(host) },
    path: parsed.pathname,
    url: parsed.toString(),
  };
}

export function webhookCaller({ proxy, reader, clock }: WebhookClientParts): CallWebhook {
  return async (config, body, timeoutSeconds) => {
    if (proxy === undefined) throw new Error("this API server was started without a network");
    const { target, path, url } = placeOf(config, reader);
    const gone = new AbortController();
    let late = false;
    const cancel = clock.after(timeoutSeconds * 1000, () => {
      late = true;
      gone.abort();
    });
    try {
      const query = [["timeout", `${timeoutSeconds}s`]] as const;
      const answer = await proxy.forward(target, `${path}?timeout=${timeoutSeconds}s`, {
        method: "POST",
        path,
        query,
        headers: { "content-type": "application/json", accept: "application/json" },
        body: { bytes: new TextEncoder().encode(JSON.stringify(body)) },
        gone: gone.signal,
        direct: false,
      });
      const bytes = await bodyOf(answer, answerBytesMax, tooLong);
      if (answer.status < 200 || answer.status > 299)
        throw new Error(`the webhook answered with status ${answer.status}`);
      return parseJson(bytes);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      const reason = late ? "context deadline exceeded" : why;
      throw new Error(`Post "${url}?timeout=${timeoutSeconds}s": ${reason}`, { cause: error });
    } finally {
      cancel();
    }
  };
}
