/** The gRPC health check (grpc.health.v1.Health/Check), by hand over HTTP/2: two small messages need no library. */
import type { Clock } from "#ports/clock.ts";
import type { Network } from "#ports/network.ts";
import { dialFailure } from "../http-get.ts";

export interface GrpcTarget {
  readonly host: string;
  readonly port: number;
  readonly service: string;
  readonly tls: boolean;
  readonly timeoutSeconds: number;
}

const answerBytesMax = 4096;
const statusNames = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
const serving = 1;
const codeUnimplemented = 12;
const codeDeadlineExceeded = 4;

/** HealthCheckRequest { service = 1 } in a gRPC frame. */
export function encodeRequest(service: string): Uint8Array {
  const name = new TextEncoder().encode(service);
  const length: number[] = [];
  let rest = name.length;
  do {
    length.push(rest > 0x7f ? (rest & 0x7f) | 0x80 : rest);
    rest >>>= 7;
  } while (rest > 0);
  const message = name.length === 0 ? [] : [0x0a, ...length, ...name];
  const size = message.length;
  return new Uint8Array([
    0,
    size >>> 24,
    (size >>> 16) & 255,
    (size >>> 8) & 255,
    size & 255,
    ...message,
  ]);
}

/** HealthCheckResponse { status = 1 }; undefined: no whole message. */
export function decodeStatus(frame: Uint8Array): number | undefined {
  if (frame.length < 5) return undefined;
  const size = new DataView(frame.buffer, frame.byteOffset).getUint32(1);
  const message = frame.subarray(5, 5 + size);
  if (message.length < size) return undefined;
  // Proto3 leaves out a zero.
  if (size === 0) return 0;
  return message[0] === 0x08 ? message[1] : 0;
}

/** Undefined: serving. Else why not, in upstream's words. */
export async function grpcHealth(
  world: { readonly network: Network; readonly clock: Clock },
  target: GrpcTarget,
): Promise<string | undefined> {
  const limit = new AbortController();
  const cancel = world.clock.after(target.timeoutSeconds * 1000, () => limit.abort());
  const { host, port, timeoutSeconds } = target;
  const where = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
  const client = world.network.http(
    { host, port },
    { version: 2, connections: 1, ...(target.tls ? { tls: { insecure: true } } : {}) },
  );
  try {
    const response = await client.send({
      method: "POST",
      target: "/grpc.health.v1.Health/Check",
      headers: { "content-type": "application/grpc", te: "trailers" },
      body: encodeRequest(target.service),
      signal: limit.signal,
    });
    const chunks: number[] = [];
    for (;;) {
      const batch = await response.body.next();
      if (batch === undefined || chunks.length > answerBytesMax) break;
      for (const chunk of batch) chunks.push(...chunk);
    }
    const trailers = { ...response.headers, ...(await response.trailers) };
    const code = Number(trailers["grpc-status"] ?? "0");
    if (code === codeUnimplemented) {
      return (
        "error: this server does not implement the grpc health protocol " +
        `(grpc.health.v1.Health): ${trailers["grpc-message"] ?? ""}`
      );
    }
    if (code === codeDeadlineExceeded) {
      return `timeout: health rpc did not complete within ${timeoutSeconds}s`;
    }
    if (code !== 0) {
      return `error: health rpc probe failed: rpc error: code = ${code} desc = ${trailers["grpc-message"] ?? ""}`;
    }
    const status = decodeStatus(new Uint8Array(chunks)) ?? 0;
    if (status === serving) return undefined;
    return `service unhealthy (responded with "${statusNames[status] ?? status}")`;
  } catch (error) {
    if (limit.signal.aborted) {
      const why = "context deadline exceeded";
      return `timeout: failed to connect service "${where}" within ${timeoutSeconds}s: ${why}`;
    }
    return `error: failed to connect service at "${where}": ${dialFailure(error, where)}`;
  } finally {
    cancel();
    client.close();
  }
}
