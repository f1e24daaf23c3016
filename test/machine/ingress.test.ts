/** The ingress on real containers: hosts and paths, TLS by name, WebSocket, streams, and a rollout without a lost request. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { type IncomingMessage, request as requestHttp } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { request as requestHttps } from "node:https";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestCluster } from "./cluster.ts";
import { startLoad } from "./load.ts";
import { buildNetApp, netDeployment } from "./net-app.ts";
import { describeWith } from "./requirements.ts";

interface Said {
  readonly name: string;
  readonly version: string;
  readonly url: string;
  readonly headers: Record<string, string>;
}
const rule = (host: string, ...paths: readonly [string, string][]) => ({
  host,
  http: {
    paths: paths.map(([path, name]) => ({
      path,
      pathType: "Prefix",
      backend: { service: { name, port: { number: 80 } } },
    })),
  },
});

describeWith(["root", "containerd", "runc", "cni", "nft", "openssl"], "the ingress", () => {
  const cluster = new TestCluster("ingress");
  let [http, https] = [80, 443];
  const open = (host: string, path: string, headers: Record<string, string> = {}) => {
    const where = { host: "127.0.0.1", port: http, path };
    const request = requestHttp({ ...where, headers: { host, ...headers }, timeout: 20_000 });
    // What hangs shall say so.
    return request.on("timeout", () => request.destroy(new Error(`${host}${path}: no answer`)));
  };
  const answer = (host: string, path: string) =>
    new Promise<IncomingMessage>((resolve, reject) => {
      open(host, path).on("response", resolve).on("error", reject).end();
    });
  const textOf = async (response: IncomingMessage): Promise<string> => {
    let text = "";
    for await (const chunk of response) text += String(chunk);
    return text;
  };
  const say = async (host: string, path: string): Promise<Said | number | undefined> => {
    const response = await answer(host, path);
    const text = await textOf(response);
    return response.statusCode === 200 ? (JSON.parse(text) as Said) : response.statusCode;
  };
  const certificate = (name: string): { key: string; cert: string } => {
    const at = (kind: string) => join(cluster.folder, `${name.replace("*", "any")}.${kind}`);
    const [key, cert] = [at("key"), at("crt")];
    const subject = ["-subj", `/CN=${name}`, "-addext", `subjectAltName=DNS:${name}`];
    const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    execFileSync("openssl", ["req", "-x509", ...kind, ...subject, "-keyout", key, "-out", cert], {
      stdio: "ignore",
    });
    return { key, cert };
  };

  beforeAll(async () => {
    await cluster.start();
    await buildNetApp(cluster);
    await cluster.apply(netDeployment("web", 3) + netDeployment("api", 1));
    for (const name of ["web", "api"]) {
      await cluster.ok("expose", "deployment", name, "--port=80", "--target-port=8080");
      await cluster.ok("rollout", "status", `deployment/${name}`, "--timeout=60s");
    }
  }, 120_000);
  afterAll(() => cluster.purge(), 120_000);

  test("hosts and paths lead to their Services; the status says where", async () => {
    const spec = {
      rules: [
        rule("shop.example", ["/", "web"], ["/api", "api"]),
        rule("*.wild.example", ["/", "api"]),
      ],
    };
    const object = {
      apiVersion: "networking.k8s.io/v1",
      kind: "Ingress",
      metadata: { name: "shop" },
      spec,
    };
    await cluster.apply(JSON.stringify(object));
    await cluster.until("ingress/shop", ".status.loadBalancer.ingress[0].ip", /\d/);
    const status = JSON.parse(await cluster.ok("get", "ingress", "shop", "-o", "json")) as {
      status: { loadBalancer: { ingress: { ports?: { port: number; error?: string }[] }[] } };
    };
    // Another program of this machine may have the usual ports.
    const free = status.status.loadBalancer.ingress[0]?.ports?.filter((one) => !one.error);
    if (free !== undefined) [http = 80, https = 443] = free.map(({ port }) => port);
    expect(await cluster.ok("get", "ingress", "shop")).toMatch(/wherry\s+shop.example,\*.wild/);
    expect(await say("shop.example", "/a?b=c")).toMatchObject({
      url: "/a?b=c",
      headers: { host: "shop.example", "x-forwarded-proto": "http", "x-real-ip": "127.0.0.1" },
    });
    const api = (await say("shop.example", "/api/x")) as Said;
    expect(api.name).toMatch(/^api-/);
    expect(((await say("a.wild.example", "/")) as Said).name).toMatch(/^api-/);
    expect(await say("other.example", "/")).toBe(404);
  });

  test("TLS shows each name its certificate, in HTTP/1.1 and HTTP/2", async () => {
    const tls = [];
    for (const [secret, name] of [
      ["one", "shop.example"],
      ["two", "*.wild.example"],
    ] as const) {
      const { key, cert } = certificate(name);
      await cluster.ok("create", "secret", "tls", secret, `--key=${key}`, `--cert=${cert}`);
      tls.push({ hosts: [name], secretName: secret });
    }
    await cluster.ok(
      "patch",
      "ingress",
      "shop",
      "--type=merge",
      "-p",
      JSON.stringify({ spec: { tls } }),
    );
    const ca = (name: string) => readFileSync(join(cluster.folder, `${name}.crt`));
    const by = (host: string, roots: Buffer) =>
      new Promise<string>((resolve) => {
        const to = { host: "127.0.0.1", port: https, path: "/", servername: host, ca: roots };
        requestHttps({ ...to, headers: { host }, agent: false }, (response) => {
          textOf(response).then(resolve, () => resolve("broken"));
        })
          .on("error", (error) => resolve(error.message))
          .end();
      });
    await expect
      .poll(() => by("shop.example", ca("shop.example")), { timeout: 10_000 })
      .toContain('"x-forwarded-proto":"https"');
    expect(await by("a.wild.example", ca("any.wild.example"))).toContain('"name":"api-');
    expect(await by("other.example", ca("shop.example"))).toContain("certificate");
    const session = connectHttp2(`https://127.0.0.1:${https}`, {
      servername: "shop.example",
      ca: ca("shop.example"),
    });
    const stream = session.request({ ":path": "/two", ":authority": "shop.example" });
    let text = "";
    for await (const chunk of stream) text += String(chunk);
    expect(JSON.parse(text)).toMatchObject({ url: "/two", headers: { host: "shop.example" } });
    session.close();
  });

  test("a WebSocket is spliced; bodies stream both ways", async () => {
    const asked = open("shop.example", "/", {
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }).end();
    const [response, socket] = await new Promise<[IncomingMessage, Duplex]>((resolve, reject) => {
      asked.on("upgrade", (head, raw) => resolve([head, raw])).on("error", reject);
    });
    expect(response.headers["sec-websocket-accept"]).toBe("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    const text = Buffer.from("hello");
    socket.write(Buffer.concat([Buffer.from([129, 128 | text.length, 0, 0, 0, 0]), text]));
    const echoed = await new Promise<Buffer>((resolve) => socket.once("data", resolve));
    expect(String(echoed.subarray(2))).toBe("hello");
    socket.destroy();

    const pieces: string[] = [];
    for await (const chunk of await answer("shop.example", "/stream")) pieces.push(String(chunk));
    expect(pieces.length).toBeGreaterThan(1);
    const echo = requestHttp({
      host: "127.0.0.1",
      port: http,
      path: "/echo",
      method: "POST",
      headers: { host: "shop.example" },
    });
    echo.write("first");
    const back = await new Promise<IncomingMessage>((resolve) => echo.on("response", resolve));
    expect(await new Promise((resolve) => back.once("data", (one) => resolve(String(one))))).toBe(
      "first",
    );
    echo.end("last");
    expect(await textOf(back)).toBe("last");
  });

  test("a rolling update under load loses no request", async () => {
    const spec = { defaultBackend: { service: { name: "web", port: { number: 80 } } } };
    const patch = JSON.stringify({ spec });
    await cluster.ok("patch", "ingress", "shop", "--type=merge", "-p", patch);
    await expect
      .poll(async () => typeof (await say("127.0.0.1", "/")), { timeout: 5000 })
      .toBe("object");
    const load = startLoad(`http://127.0.0.1:${http}/slow`, 60);
    await cluster.ok("set", "env", "deployment/web", "VERSION=2");
    await cluster.ok("rollout", "status", "deployment/web", "--timeout=90s");
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const { sent, failed, bodies } = await load.stop();
    expect(failed).toEqual([]);
    expect(sent).toBeGreaterThan(60);
    expect([...bodies.keys()].toSorted()).toEqual(["slow 1", "slow 2"]);
  }, 120_000);

  test("what was asked of a pod that falls silent is asked elsewhere", async () => {
    const names = async (): Promise<Set<unknown>> => {
      const asked = Array.from({ length: 30 }, () => say("127.0.0.1", "/"));
      return new Set((await Promise.all(asked)).map((one) => (one as Said).name));
    };
    // Connections to all of them are kept now.
    expect((await names()).size).toBe(3);
    const pod = await cluster.ok("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0]}");
    const { metadata, status } = JSON.parse(pod) as {
      metadata: { name: string };
      status: { podIP: string };
    };
    const table = "wherry-test-silence";
    const nft = (rules: string) => execFileSync("nft", ["-f", "-"], { input: rules });
    nft(`table ip ${table} {
      chain arriving {
        type filter hook prerouting priority raw
        ip saddr ${status.podIP} drop
      }
    }`);
    try {
      const answered = await names();
      expect(answered.size).toBe(2);
      expect(answered).not.toContain(metadata.name);
    } finally {
      nft(`delete table ip ${table}`);
    }
  }, 60_000);

  test("with the last Ingress the ports are free again", async () => {
    await cluster.ok("delete", "ingress", "shop");
    const refused = async () =>
      answer("shop.example", "/").then(
        () => "answered",
        (error: Error) => error.message,
      );
    await expect.poll(refused, { timeout: 15_000 }).toContain("ECONNREFUSED");
  });
});
