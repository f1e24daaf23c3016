/**
 * What the ingress' proxy takes: requests a second for each core of it, and the p99 of its answers, beside nginx (Debian's package, one
 * worker, connections to the backend kept) in the same run: same backend, same clients, turn by turn. The floor is a third of nginx.
 * A core's worth is measured by the CPU time that the proxy used, so that others on the machine disturb it little. `ingress SECONDS`: a turn.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo, connect, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { nodeHttpProxy } from "#adapters/http-proxy/proxy.ts";
import type { Log } from "#ports/log.ts";
import { loadAverage, percentile, say } from "./machine/cluster.ts";

const clients = 32;
const turns = 3;
const warmRequests = 30_000;
const warmTurns = 30;
const bodyBytes = 1024;
const ticksPerSecond = 100;
const silent: Log = { write: () => {}, child: () => silent };

/** A backend that costs as little as one on Node can. */
async function serveBackend(): Promise<void> {
  const body = Buffer.alloc(bodyBytes, "x");
  const server = createServer({ keepAliveTimeout: 60_000 }, (_request, response) => {
    response.writeHead(200, ["Content-Length", String(bodyBytes), "Content-Type", "text/plain"]);
    response.end(body);
  });
  server.listen(0, "127.0.0.1", () => {
    process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
  });
}

async function serveProxy(backendPort: number): Promise<void> {
  const proxy = nodeHttpProxy({ host: "127.0.0.1", ports: [0], tlsPorts: [0], log: silent });
  const endpoints = [{ address: "127.0.0.1", port: backendPort }];
  await proxy.setBackends(new Map([["web", { endpoints, protocol: "http" }]]));
  const routes = [{ match: "prefix", path: "/", backend: "web" }] as const;
  await proxy.setTable({ hosts: [{ host: "web.example", routes }], certificates: [] });
  const [port] = await proxy.listen();
  process.stdout.write(`${port?.port}\n`);
}

/** This program again, as a process of its own; the first line that it prints is its port. */
async function child(
  role: string,
  ...more: string[]
): Promise<{ process: ChildProcess; port: number }> {
  const started = spawn(process.execPath, [fileURLToPath(import.meta.url), role, ...more], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const line = await new Promise<string>((resolve) => {
    started.stdout?.setEncoding("utf8").once("data", resolve);
  });
  return { process: started, port: Number(line) };
}

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function nginxProgram(): string | undefined {
  try {
    return execFileSync("sh", ["-c", "command -v nginx || ls /usr/sbin/nginx"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  } catch {
    return undefined;
  }
}

async function startNginx(program: string, folder: string, backendPort: number) {
  const port = await freePort();
  for (const name of ["body", "proxy", "fastcgi", "uwsgi", "scgi"]) mkdirSync(join(folder, name));
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${join(folder, name.replace("client_", ""))};`)
    .join(" ");
  const config = `
daemon off; master_process off; worker_processes 1; pid ${join(folder, "pid")}; error_log stderr error;
events { worker_connections 1024; }
http {
  ${temporary} access_log off;
  upstream web { server 127.0.0.1:${backendPort}; keepalive 64; }
  server {
    listen 127.0.0.1:${port}; server_name web.example; keepalive_requests 1000000;
    location / {
      proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Host $host; proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Port $server_port; proxy_set_header X-Real-IP $remote_addr;
    }
  }
}`;
  const file = join(folder, "nginx.conf");
  writeFileSync(file, config);
  const started = spawn(program, ["-c", file, "-p", folder, "-e", "stderr"], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  for (let tries = 0; tries < 100; tries++) {
    const up = await new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1", () => {
        socket.destroy();
        resolve(true);
      });
      socket.once("error", () => resolve(false));
    });
    if (up) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return { process: started, port };
}

/** CPU seconds of a process so far. */
function cpuOf(pid: number | undefined): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

/** Each client asks, reads the whole answer, asks again. */
async function load(port: number, seconds: number): Promise<number[]> {
  const tookMs: number[] = [];
  const untilMs = performance.now() + seconds * 1000;
  const request = "GET /some/path HTTP/1.1\r\nHost: web.example\r\nAccept: */*\r\n\r\n";
  const one = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const socket = connect(port, "127.0.0.1");
      socket.setNoDelay(true);
      let received = 0;
      let wanted = 0;
      let askedMs = 0;
      const ask = (): void => {
        [received, wanted, askedMs] = [0, 0, performance.now()];
        socket.write(request);
      };
      socket.once("connect", ask);
      socket.on("data", (bytes: Buffer) => {
        if (wanted === 0) {
          const end = bytes.indexOf("\r\n\r\n");
          if (!bytes.subarray(0, 12).equals(Buffer.from("HTTP/1.1 200"))) {
            reject(new Error(`unexpected: ${bytes.toString("latin1", 0, 80)}`));
            socket.destroy();
            return;
          }
          wanted = end + 4 + bodyBytes;
        }
        received += bytes.length;
        if (received < wanted) return;
        tookMs.push(performance.now() - askedMs);
        if (performance.now() < untilMs) ask();
        else {
          socket.destroy();
          resolve();
        }
      });
      socket.once("error", reject);
    });
  await Promise.all(Array.from({ length: clients }, one));
  return tookMs;
}

/** Until the compiler has seen it all. */
async function warm(port: number): Promise<void> {
  for (let asked = 0, turn = 0; asked < warmRequests && turn < warmTurns; turn++) {
    asked += (await load(port, 1)).length;
  }
}

interface Result {
  requests: number;
  cpuSeconds: number;
  seconds: number;
  tookMs: number[];
}

async function measure(
  what: { readonly process: ChildProcess; readonly port: number },
  seconds: number,
  into: Result,
): Promise<void> {
  const [beganCpu, beganMs] = [cpuOf(what.process.pid), performance.now()];
  const tookMs = await load(what.port, seconds);
  into.cpuSeconds += cpuOf(what.process.pid) - beganCpu;
  into.seconds += (performance.now() - beganMs) / 1000;
  into.requests += tookMs.length;
  for (const ms of tookMs) into.tookMs.push(ms);
}

function tell(name: string, { requests, cpuSeconds, seconds, tookMs }: Result): number {
  const perCore = requests / cpuSeconds;
  say(`${name}, for each core`, perCore, "requests/s");
  say(`${name}, as it went`, requests / seconds, "requests/s");
  say(`${name}, p99`, percentile(tookMs, 0.99), "ms");
  return perCore;
}

async function main(seconds: number): Promise<void> {
  const program = nginxProgram();
  if (program === undefined) {
    const hint = "nothing to compare with (Debian: apt-get install nginx-light)";
    process.stdout.write(`nginx is not installed: ${hint}\n`);
  }
  const folder = mkdtempSync(join(tmpdir(), "bench-ingress-"));
  const backend = await child("backend");
  const proxy = await child("proxy", String(backend.port));
  const nginx = program === undefined ? undefined : await startNginx(program, folder, backend.port);
  const ended = [backend, proxy, ...(nginx === undefined ? [] : [nginx])].map((one) => one.process);
  const fresh = (): Result => ({ requests: 0, cpuSeconds: 0, seconds: 0, tookMs: [] });
  const [own, other] = [fresh(), fresh()];
  try {
    say("load average", Number(loadAverage()), "");
    await warm(proxy.port);
    if (nginx !== undefined) await load(nginx.port, 1);
    for (let turn = 0; turn < turns; turn++) {
      await measure(proxy, seconds, own);
      if (nginx !== undefined) await measure(nginx, seconds, other);
    }
    const perCore = tell("the ingress", own);
    if (nginx !== undefined) {
      const share = perCore / tell("nginx", other);
      say("the ingress beside nginx, for each core", share, "times (at least 0.33)");
    }
    say("load average at the end", Number(loadAverage()), "");
  } finally {
    for (const one of ended) one.kill();
    rmSync(folder, { recursive: true });
  }
}

const [, , role = "", port = ""] = process.argv;
if (role === "backend") await serveBackend();
else if (role === "proxy") await serveProxy(Number(port));
else await main(Number(role === "" ? 5 : role));
