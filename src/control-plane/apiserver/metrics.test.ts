import { expect, test } from "vitest";
import type { ApiResponse, Handler } from "#api/request.ts";
import { admin, ask, configMap, configMaps, directly, makeWorld } from "./api.contract.ts";

const textOf = ({ content }: ApiResponse): string =>
  content.type === "bytes" ? new TextDecoder().decode(content.bytes) : "";
const metricsOf = async (handler: Handler): Promise<string[]> =>
  textOf(await ask(handler, "GET", "/metrics")).split("\n");

test("requests are counted under upstream's names, by what they asked for and how they ended", async () => {
  const { as, clock } = await makeWorld(directly);
  const handler = await as(admin);
  await ask(handler, "POST", configMaps, configMap("a", {}));
  await ask(handler, "POST", configMaps, configMap("a", {}));
  await ask(handler, "POST", `${configMaps}?dryRun=All`, configMap("b", {}));
  await ask(handler, "GET", `${configMaps}/none`);
  const gone = new AbortController();
  const watch = await ask(handler, "GET", `${configMaps}?watch=true`, undefined, {
    gone: gone.signal,
  });
  const lines = await metricsOf(handler);
  const of = (verb: string, scope: string, more: string) =>
    `apiserver_request_total{verb="${verb}",dry_run="",group="",version="v1",resource="configmaps",subresource="",scope="${scope}",component="apiserver",${more}`;
  // The other one is the cluster's own, made at start.
  expect(lines).toContain(of("POST", "namespace", 'code="201"} 2'));
  expect(lines).toContain(of("POST", "namespace", 'code="409"} 1'));
  const counted = (start: string) => lines.some((line) => line.startsWith(start));
  expect(counted(of("GET", "resource", 'code="404"}'))).toBe(true);
  expect(lines.some((line) => line.includes('dry_run="All"') && line.endsWith(" 1"))).toBe(true);
  const open = lines.find((line) => /^apiserver_longrunning_requests.*configmaps/.test(line));
  expect(open).toMatch(/verb="WATCH".* 1$/);
  expect(lines).toContain('apiserver_storage_objects{resource="configmaps"} 2');
  expect(lines).toContain('apiserver_current_inflight_requests{request_kind="mutating"} 0');
  if (watch.content.type === "watch") watch.content.events.stop();
  await clock.settle();
  expect(await metricsOf(handler)).toContain(of("WATCH", "namespace", 'code="200"} 1'));
});

test("health says what was asked, what was left out, and what could not be", async () => {
  const { as } = await makeWorld(directly);
  const handler = await as(admin);
  const asked = async (path: string) => textOf(await ask(handler, "GET", path));
  expect(await asked("/readyz")).toBe("ok");
  expect(await asked("/livez/ping")).toBe("ok");
  const verbose = await asked("/readyz?verbose=true&exclude=etcd&exclude=none");
  expect(verbose).toContain("[+]ping ok\n[+]etcd excluded: ok\n");
  expect(verbose).toContain("[+]poststarthook/rbac/bootstrap-roles ok\n");
  expect(verbose).toMatch(
    /warn: some health checks cannot be excluded: no matches for "none"\nreadyz check passed\n$/,
  );
});
