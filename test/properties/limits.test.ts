/** What is too large, too deep or means harm is refused with a Status that says so, and stores nothing. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type Answer, namespace, protobuf, startServer, type TestServer } from "./server.ts";

const maps = `/api/v1/namespaces/${namespace}/configmaps`;
const definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const apply = "application/apply-patch+yaml";
let server: TestServer;
let revision: number;
beforeAll(async () => {
  server = await startServer();
  await server.ask("POST", maps, { body: { metadata: { name: "there" } } });
  revision = await server.revision();
});
afterEach(async () => {
  expect(server.bugs()).toEqual([]);
  expect(await server.revision()).toBe(revision);
});
afterAll(() => server.close());

const create = (body: object | string, type = "application/json"): Promise<Answer> =>
  server.ask("POST", maps, { body, type });
const refusal = ({ status, object }: Answer): [number, unknown, unknown] => [
  status,
  object["reason"],
  object["message"],
];

test("a body of more than 3 MB, of any type", async () => {
  const data = { a: "x".repeat(3 * 1024 * 1024) };
  const large = { metadata: { name: "large" }, data };
  const expected = [413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728"];
  for (const type of ["application/json", "application/yaml", protobuf])
    expect(refusal(await create(large, type))).toEqual(expected);
  for (const type of ["merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml"]) {
    const at = `${maps}/there?fieldManager=me`;
    const answer = await server.ask("PATCH", at, { body: large, type: `application/${type}` });
    expect(refusal(answer)).toEqual(expected);
  }
});

test("an object that is more than the store takes", async () => {
  const data = { a: "x".repeat(1024 * 1024 - 1) };
  const binaryData = { b: "AAAA".repeat(10) };
  const tooMuch = await create({ metadata: { name: "large" }, data: { ...data, b: "xx" } });
  expect(refusal(tooMuch).slice(0, 2)).toEqual([422, "Invalid"]);
  expect(tooMuch.text).toContain("Too long: may not be more than 1048576 bytes");
  // Kinds without a limit of their own meet the store's.
  const value = { metadata: { name: "a" }, revision: 1, data: { text: "x".repeat(1_600_000) } };
  const revisions = `/apis/apps/v1/namespaces/${namespace}/controllerrevisions`;
  const answer = await server.ask("POST", revisions, { body: value });
  expect(refusal(answer)).toEqual([500, undefined, "etcdserver: request is too large"]);
  expect((await create({ metadata: { name: "fits" }, binaryData }, "text/plain")).status).toBe(415);
});

test("annotations of more than 256 KiB together", async () => {
  const annotations = { a: "x".repeat(200 * 1024), b: "x".repeat(56 * 1024) };
  const answer = await create({ metadata: { name: "noted", annotations } });
  expect(refusal(answer)).toEqual([
    422,
    "Invalid",
    'ConfigMap "noted" is invalid: metadata.annotations: Too long: may not be more than 262144 bytes',
  ]);
});

test("nesting without bounds, in every format", async () => {
  const deep = (open: string, close: string, times: number): string =>
    `{"metadata":{"name":"deep"},"data":${open.repeat(times)}1${close.repeat(times)}}`;
  for (const times of [9_000, 100_000]) {
    expect((await create(deep('{"a":', "}", times))).status).toBe(400);
    expect((await create(deep("[", "]", times))).status).toBe(400);
    expect((await create(deep("[", "]", times), "application/yaml")).status).toBe(400);
    for (const type of ["merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml"]) {
      const at = `${maps}/there?fieldManager=me&fieldValidation=Strict`;
      const sent = { body: deep('{"a":', "}", times), type: `application/${type}` };
      const answer = await server.ask("PATCH", at, sent);
      expect([type, answer.status >= 400 && answer.status < 600]).toEqual([type, true]);
    }
    const patch = `[{"op":"add","path":"/data","value":${"[".repeat(times)}${"]".repeat(times)}}]`;
    const sent = { body: patch, type: "application/json-patch+json" };
    expect((await server.ask("PATCH", `${maps}/there`, sent)).status).toBeGreaterThanOrEqual(400);
  }
});

test("an alias bomb", async () => {
  const lines = [
    "apiVersion: v1",
    "kind: ConfigMap",
    "metadata: {name: bomb}",
    "a0: &a0 [x,x,x,x,x,x,x,x,x]",
  ];
  for (let level = 1; level < 10; level++) {
    const aliases = Array.from({ length: 9 }, () => `*a${level - 1}`);
    lines.push(`a${level}: &a${level} [${aliases.join(",")}]`);
  }
  const bomb = lines.join("\n");
  const created = await create(bomb, "application/yaml");
  expect(created.status).toBe(400);
  expect(created.text).toContain("document contains excessive aliasing");
  const at = `${maps}/bomb?fieldManager=me`;
  const applied = await server.ask("PATCH", at, { body: bomb, type: apply });
  expect(applied.status).toBe(400);
});

test("keys that JavaScript treats specially are names like any other", async () => {
  const evil = '{"__proto__":{"polluted":"1"},"constructor":{"prototype":{"polluted":"1"}}}';
  const metadata = `{"name":"evil","labels":${evil},"annotations":${evil}}`;
  expect((await create(`{"metadata":${metadata},"data":${evil}}`)).status).toBe(400);
  expect((await create(`{"metadata":${metadata},"data":${evil}}`, "application/yaml")).status).toBe(
    400,
  );
  expect((await create(`{"__proto__":{"metadata":{"name":"evil"}}}`)).status).toBe(422);
  for (const type of ["merge-patch+json", "strategic-merge-patch+json"]) {
    const sent = { body: `{"data":${evil}}`, type: `application/${type}` };
    expect((await server.ask("PATCH", `${maps}/there`, sent)).status).toBeGreaterThanOrEqual(400);
  }
  for (const path of [
    "/__proto__/polluted",
    "/data/__proto__/polluted",
    "/constructor/prototype/x",
  ]) {
    const body = [{ op: "add", path, value: "1" }];
    const sent = { body, type: "application/json-patch+json" };
    expect((await server.ask("PATCH", `${maps}/there`, sent)).status).toBe(422);
  }
  expect("polluted" in {}).toBe(false);
  for (const name of ["__proto__", "constructor", "toString"]) {
    expect((await server.ask("GET", `${maps}/${name}`)).status).toBe(404);
    expect((await server.ask("GET", `/api/v1/${name}`)).status).toBe(404);
    expect((await server.ask("GET", `/apis/${name}/v1/${name}`)).status).toBe(404);
    const list = await server.ask("GET", `${maps}?${name}=1&fieldSelector=${name}%3D1`);
    expect(list.status).toBe(400);
  }
});

test("names that are paths", async () => {
  for (const name of ["..", ".", "a/b", "../../../etc/passwd", "a%b"]) {
    const answer = await create({ metadata: { name } });
    expect([name, answer.status]).toEqual([name, 422]);
  }
  // Of kinds whose names may hold nearly anything.
  const roles = `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}/roles`;
  for (const name of ["..", ".", "a/b", "a%b"]) {
    const answer = await server.ask("POST", roles, { body: { metadata: { name } } });
    expect([name, answer.status]).toEqual([name, 422]);
  }
  for (const path of [
    `${maps}/..`,
    `${maps}/%2e%2e`,
    `${maps}/..%2fsecrets`,
    `${maps}/../secrets/x`,
  ]) {
    const answer = await server.ask("GET", path);
    expect([path, answer.status]).toEqual([path, 404]);
  }
  const names = { plural: "..", kind: "Odd", singular: "odd", listKind: "OddList" };
  const spec = { group: "../x", scope: "Namespaced", names, versions: [] };
  const definition = { metadata: { name: "....../x" }, spec };
  expect((await server.ask("POST", definitions, { body: definition })).status).toBe(422);
});

test("texts that are no UTF-8, and numbers that no field holds", async () => {
  const broken = new Uint8Array([
    ...Buffer.from('{"metadata":{"name":"'),
    0xff,
    0xfe,
    ...Buffer.from('"}}'),
  ]);
  expect((await server.ask("POST", maps, { body: broken })).status).toBe(422);
  const services = `/api/v1/namespaces/${namespace}/services`;
  for (const port of ["1e400", "99999999999999999999", "1.5", "-1"]) {
    const body = `{"metadata":{"name":"s"},"spec":{"ports":[{"port":${port}}]}}`;
    const { status } = await server.ask("POST", services, { body });
    expect([port, [400, 422].includes(status)]).toEqual([port, true]);
  }
});
