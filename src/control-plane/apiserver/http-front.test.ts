import { expect, test } from "vitest";
import { MemoryNetwork } from "#adapters/memory/network.ts";
import { typeSchema } from "#api/facts.ts";
import { decodeWatch } from "#client/remote.ts";
import type { Bytes, Source } from "#ports/stream.ts";
import { admin, apiContract, ask, configMap, configMaps, makeWorld } from "./api.contract.ts";
import { parseTarget } from "./http-front.ts";
import { onlyOnce, overHttp } from "./http-transport.contract.ts";
import { readProtobuf } from "./protobuf.ts";
import { rbacContract } from "./rbac.contract.ts";

const never = new AbortController().signal;

apiContract("over HTTP", overHttp);
rbacContract("over HTTP", overHttp);

async function readText(source: Source<Bytes>): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const batch = await source.next();
    if (batch === undefined) return text;
    for (const bytes of batch) text += decoder.decode(bytes, { stream: true });
  }
}

test("a target is split and decoded", () => {
  expect(parseTarget("/a%2Fb?x=1&y=a%20b+c&z")).toEqual({
    path: "/a%2Fb",
    query: [
      ["x", "1"],
      ["y", "a b c"],
      ["z", ""],
    ],
  });
});

test("bodies may be YAML, and are bounded", async () => {
  const { server } = await makeWorld(overHttp);
  const post = (bytes: Bytes, type: string) =>
    server.handler({
      method: "POST",
      path: configMaps,
      query: [],
      headers: { "content-type": type, accept: "application/yaml" },
      body: { bytes },
      gone: never,
      direct: false,
      user: admin,
    });
  const text = new TextEncoder().encode("metadata:\n  name: m\ndata:\n  a: 'b'\n");
  const made = await post(text, "application/yaml");
  if (made.content.type !== "bytes") throw new Error("bytes were expected");
  expect(made.content.mediaType).toBe("application/yaml");
  expect(new TextDecoder().decode(made.content.bytes)).toContain("data:\n  a: b\n");
  expect((await post(new Uint8Array(3 * 1024 * 1024 + 1), "application/json")).status).toBe(413);
  expect((await post(new TextEncoder().encode("{"), "application/json")).status).toBe(400);
});

test("a body over the limit is answered with a Status before it comes here", async () => {
  const { server, clock, log } = await makeWorld(overHttp);
  const network = new MemoryNetwork({ clock, log }).host("192.0.2.9");
  const address = { host: "192.0.2.9", port: 80 };
  await server.serveHttp(network, address);
  const body = new Uint8Array(3 * 1024 * 1024 + 1);
  const client = network.http(address, { version: 1 });
  const answer = await client.send({ method: "POST", target: configMaps, body });
  expect(JSON.parse(await readText(answer.body))).toEqual({
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message: "Request entity too large: limit is 3145728",
    reason: "RequestEntityTooLarge",
    code: 413,
  });
});

test("every watcher of a change gets the same bytes", async () => {
  const { server, as } = await makeWorld(overHttp);
  const handler = await as(admin);
  const watch = async () => {
    const answer = await server.handler({
      method: "GET",
      path: configMaps,
      query: [
        ["watch", "1"],
        ["resourceVersion", "1"],
      ],
      headers: {},
      gone: never,
      direct: false,
      user: admin,
    });
    if (answer.content.type !== "stream") throw new Error("a stream was expected");
    return answer.content.bytes;
  };
  const [a, b] = [await watch(), await watch()];
  await ask(handler, "POST", configMaps, configMap("x"));
  const [first, second] = [await a.next(), await b.next()];
  expect(first?.[0]).toBe(second?.[0]);
  const events = decodeWatch(onlyOnce(first?.[0]));
  expect((await events.next())?.[0]).toMatchObject({
    type: "ADDED",
    object: { kind: "ConfigMap" },
  });
  a.stop();
  b.stop();
});

test("protobuf: objects, lists, watches and refusals; custom kinds stay JSON", async () => {
  const { server } = await makeWorld(overHttp);
  const get = (path: string, accept: string, query: readonly (readonly [string, string])[] = []) =>
    server.handler({
      method: "GET",
      path,
      query,
      headers: { accept },
      gone: never,
      direct: false,
      user: admin,
    });
  const type = "application/vnd.kubernetes.protobuf";
  const list = await get("/api/v1/namespaces", type);
  if (list.content.type !== "bytes") throw new Error("bytes were expected");
  expect(list.content.mediaType).toBe(type);
  const read = readProtobuf(
    list.content.bytes,
    typeSchema("io.k8s.api.core.v1.NamespaceList"),
  ) as unknown as { kind: string; items: { metadata: { name: string } }[] };
  expect(read.kind).toBe("NamespaceList");
  expect(read.items.map(({ metadata }) => metadata.name)).toContain("kube-system");
  const partial = await get(
    "/api/v1/namespaces/default",
    `${type};as=PartialObjectMetadata;g=meta.k8s.io;v=v1`,
  );
  if (partial.content.type !== "bytes") throw new Error("bytes were expected");
  const meta = typeSchema("io.k8s.apimachinery.pkg.apis.meta.v1.PartialObjectMetadata");
  expect(readProtobuf(partial.content.bytes, meta)).toMatchObject({
    kind: "PartialObjectMetadata",
    apiVersion: "meta.k8s.io/v1",
    metadata: { name: "default" },
  });
  const missing = await get("/api/v1/namespaces/none", type);
  if (missing.content.type !== "bytes") throw new Error("bytes were expected");
  const status = typeSchema("io.k8s.apimachinery.pkg.apis.meta.v1.Status");
  expect(readProtobuf(missing.content.bytes, status)).toMatchObject({
    reason: "NotFound",
    code: 404,
  });
  const watch = await get("/api/v1/namespaces", type, [["watch", "1"]]);
  if (watch.content.type !== "stream") throw new Error("a stream was expected");
  expect(watch.content.mediaType).toBe(`${type};stream=watch`);
  const [frame] = (await watch.content.bytes.next()) ?? [];
  if (frame === undefined) throw new Error("a frame was expected");
  expect(new DataView(frame.buffer, frame.byteOffset).getUint32(0)).toBe(frame.length - 4);
  expect(new TextDecoder().decode(frame.subarray(6, 11))).toBe("ADDED");
  watch.content.bytes.stop();
});
