import { expect, test } from "vitest";
import { seededRandom } from "#adapters/memory/random.ts";
import { typeSchema } from "#api/facts.ts";
import type { Service } from "#api/generated/core/v1.ts";
import type { ApiRequest } from "#api/request.ts";
import { allowsMetaConversion, bodyFormat, negotiate } from "./media-type.ts";
import { encodeForStore } from "./object-codec.ts";
import { readProtobuf } from "./protobuf.ts";
import { requestInfoOf } from "./request-info.ts";
import { ServiceAllocator } from "./service-allocator.ts";

const request = (method: string, path: string, query: ApiRequest["query"] = []): ApiRequest => ({
  method,
  path,
  query,
  headers: {},
  gone: new AbortController().signal,
  direct: true,
});

test("request info: verbs, scopes, subresources", () => {
  const told = (method: string, path: string, query: ApiRequest["query"] = []) => {
    const info = requestInfoOf(request(method, path, query));
    const { verb, group, namespace, resource, subresource, name } = info;
    return info.isResource ? [verb, group, namespace, resource, subresource, name].join(" ") : verb;
  };
  expect(told("GET", "/")).toBe("get");
  expect(told("GET", "/apis/apps/v1")).toBe("get");
  expect(told("GET", "/api/v1/pods")).toBe("list   pods  ");
  expect(told("GET", "/api/v1/pods", [["watch", ""]])).toBe("watch   pods  ");
  expect(told("GET", "/api/v1/pods", [["watch", "false"]])).toBe("list   pods  ");
  expect(told("POST", "/api/v1/namespaces/a/pods")).toBe("create  a pods  ");
  expect(told("PUT", "/api/v1/namespaces/a")).toBe("update  a namespaces  a");
  expect(told("PUT", "/api/v1/namespaces/a/finalize")).toBe("update  a namespaces finalize a");
  expect(told("DELETE", "/api/v1/namespaces/a/pods")).toBe("deletecollection  a pods  ");
  expect(told("PATCH", "/apis/apps/v1/namespaces/a/deployments/d/scale")).toBe(
    "patch apps a deployments scale d",
  );
  const one: ApiRequest["query"] = [["fieldSelector", "metadata.name=x"]];
  expect(told("GET", "/api/v1/namespaces/a/pods", one)).toBe("list  a pods  x");
});

test("negotiation: client-go's headers get protobuf, tables where allowed, else 406", () => {
  const choose = (accept: string, stream = false, protobuf = true) =>
    negotiate({
      accept,
      pretty: undefined,
      userAgent: undefined,
      allows: allowsMetaConversion,
      stream,
      protobuf,
    });
  const go = "application/vnd.kubernetes.protobuf,application/json";
  expect(choose(go)).toEqual({ format: "protobuf", pretty: false });
  expect(choose(go, false, false)).toEqual({ format: "json", pretty: false });
  const goTable =
    "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json";
  expect(choose(goTable).format).toBe("json");
  expect(choose("application/json;q=0.5,application/yaml").format).toBe("yaml");
  expect(choose("*/*").format).toBe("json");
  const table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
  expect(choose(table, true).as?.kind).toBe("Table");
  const unknown = "application/json;as=Foo;v=v1;g=meta.k8s.io,application/json";
  expect(choose(unknown).as).toBeUndefined();
  expect(() => choose("image/png")).toThrow(
    "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf",
  );
  expect(() => choose("application/yaml", true)).toThrow(
    "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch",
  );
  expect(bodyFormat("application/json; charset=utf-8")).toBe("json");
  expect(() => bodyFormat("text/html")).toThrow("the body of the request was in an unknown format");
});

test("protobuf: a ConfigMap and a ServicePort as Go writes them", () => {
  const text = new TextEncoder();
  const field = (number: number, ...content: (Uint8Array | number)[]): Uint8Array => {
    const body = content.flatMap((one) => (typeof one === "number" ? [one] : [...one]));
    return new Uint8Array([number * 8 + 2, body.length, ...body]);
  };
  const envelope = (apiVersion: string, kind: string, raw: Uint8Array): Uint8Array =>
    new Uint8Array([
      0x6b,
      0x38,
      0x73,
      0,
      ...field(1, field(1, text.encode(apiVersion)), field(2, text.encode(kind))),
      ...field(2, raw),
    ]);
  const metadata = field(1, field(1, text.encode("a")), field(8));
  const data = field(2, field(1, text.encode("k")), field(2, text.encode("v")));
  const map = envelope("v1", "ConfigMap", new Uint8Array([...metadata, ...data]));
  expect(readProtobuf(map, typeSchema("io.k8s.api.core.v1.ConfigMap"))).toEqual({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: "a", creationTimestamp: null },
    data: { k: "v" },
  });
  // port 80, targetPort "http" (type 1), nodePort 0
  const target = field(4, 8, 1, 16, 0, field(3, text.encode("http")));
  const port = field(1, field(2, text.encode("TCP")), 24, 80, target, 40, 0);
  const service = envelope("v1", "Service", field(2, port));
  expect(readProtobuf(service, typeSchema("io.k8s.api.core.v1.Service")).spec).toEqual({
    ports: [{ protocol: "TCP", port: 80, targetPort: "http", nodePort: 0 }],
  });
  expect(() => readProtobuf(text.encode("{}"), typeSchema("io.k8s.api.core.v1.Pod"))).toThrow(
    "expected prefix [107 56 115 0]",
  );
  expect(() => readProtobuf(map.subarray(0, 30), typeSchema("io.k8s.api.core.v1.Pod"))).toThrow(
    "unexpected EOF",
  );
});

test("service allocation: bands, exhaustion, giving back", () => {
  const range = { first: 30000, last: 30003 };
  const allocator = new ServiceAllocator("10.0.0.0/28", range, seededRandom(1));
  expect(allocator.firstAddress).toBe("10.0.0.1");
  const service = (spec: object): Service =>
    ({ kind: "Service", apiVersion: "v1", metadata: { name: "s" }, spec }) as Service;
  const begin = (one: Service) => allocator.hooks.beginCreate?.(one, false) ?? (() => {});
  const made = Array.from({ length: 14 }, () => service({ ports: [{ port: 1 }] }));
  const finish = made.map(begin);
  expect(new Set(made.map((one) => one.spec.clusterIP)).size).toBe(14);
  expect(() => begin(service({}))).toThrow(
    'failed to allocate a serviceIP for Service "s": range is full',
  );
  finish[0]?.(false);
  const last = service({});
  begin(last);
  expect(last.spec.clusterIP).toBe(made[0]?.spec.clusterIP);
  finish[1]?.(false);
  const both = service({
    type: "NodePort",
    ports: [
      { name: "t", port: 53, protocol: "TCP", nodePort: 30001 },
      { name: "u", port: 53, protocol: "UDP" },
    ],
  });
  begin(both);
  expect(both.spec.ports?.map((port) => port.nodePort)).toEqual([30001, 30001]);
  expect(() =>
    begin(service({ type: "NodePort", clusterIP: "None", ports: [{ port: 1, nodePort: 5 }] })),
  ).toThrow("provided port is not in the valid range. The range of valid ports is 30000-30003");
  expect(() => begin(service({ clusterIP: "10.9.9.9" }))).toThrow(
    "the provided IP (10.9.9.9) is not in the valid range. The range of valid IPs is 10.0.0.0/28",
  );
  expect(() => begin(service({ ipFamilyPolicy: "RequireDualStack" }))).toThrow(
    "this cluster is not configured for dual-stack services",
  );
});

test("objects larger than etcd takes are refused as etcd does", () => {
  const large = { kind: "ConfigMap", apiVersion: "v1", metadata: {}, data: "x".repeat(1_600_000) };
  expect(() => encodeForStore(large)).toThrow("etcdserver: request is too large");
});
