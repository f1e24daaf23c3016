/** A small application for tests of the network: says who it is by HTTP, WebSocket and UDP, and streams. Built into an image. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import type { TestCluster } from "./cluster.ts";

const program = `
import { createHash } from "node:crypto";
import { createSocket } from "node:dgram";
import { createServer } from "node:http";
import { hostname } from "node:os";
const version = process.env.VERSION ?? "1";
const server = createServer((request, response) => {
  const { url, headers, socket, method } = request;
  if (url === "/echo") return void request.pipe(response);
  if (url === "/slow") return void setTimeout(() => response.end("slow " + version), 300);
  if (url === "/stream") {
    let left = 5;
    const timer = setInterval(() => {
      response.write("tick " + left + "\\n");
      if (--left === 0) { clearInterval(timer); response.end(); }
    }, 20);
    return;
  }
  request.resume();
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ name: hostname(), version, method, url, headers, from: socket.remoteAddress }));
});
server.on("upgrade", (request, socket) => {
  const key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  const accept = createHash("sha1").update(key).digest("base64");
  socket.write("HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: " + accept + "\\r\\n\\r\\n");
  socket.on("data", (frame) => {
    // One short masked text frame; unmasked and sent back.
    const length = frame[1] & 127;
    if ((frame[0] & 15) !== 1) return socket.end();
    const mask = frame.subarray(2, 6);
    const text = Buffer.from(frame.subarray(6, 6 + length).map((byte, i) => byte ^ mask[i % 4]));
    socket.write(Buffer.concat([Buffer.from([129, length]), text]));
  });
  socket.on("error", () => {});
});
server.listen(8080);
const udp = createSocket("udp4", (_, from) => udp.send(hostname(), from.port, from.address));
udp.bind(5353);
process.on("SIGTERM", () => { server.close(() => process.exit(0)); server.closeIdleConnections(); });
`;

/** Named net:1 in the cluster's images. */
export async function buildNetApp(cluster: TestCluster): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "net-app-"));
  try {
    const main = { name: "net", version: "1.0.0", type: "module", main: "server.js" };
    writeFileSync(
      join(folder, "package.json"),
      JSON.stringify({ ...main, scripts: { start: "node server.js" } }),
    );
    writeFileSync(join(folder, "server.js"), program);
    const built = await cluster.wherry([
      "image",
      "build",
      folder,
      "-t",
      "net:1",
      "--name",
      cluster.name,
    ]);
    expect(built.code, built.stderr).toBe(0);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export const netDeployment = (name: string, replicas: number): string => `
apiVersion: apps/v1
kind: Deployment
metadata: { name: ${name} }
spec:
  replicas: ${replicas}
  selector: { matchLabels: { app: ${name} } }
  template:
    metadata: { labels: { app: ${name} } }
    spec:
      containers:
        - name: net
          image: net:1
          env: [{ name: VERSION, value: "1" }]
          ports: [{ name: http, containerPort: 8080 }, { name: ask, containerPort: 5353, protocol: UDP }]
          readinessProbe: { httpGet: { path: /, port: 8080 }, periodSeconds: 1 }
---
`;
