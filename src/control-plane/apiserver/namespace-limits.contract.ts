/** Stories of LimitRange and ResourceQuota that every way to the API server must tell alike. */
import { describe, expect, test } from "vitest";
import {
  admin,
  ask,
  makeWorld,
  namesOf,
  objectOf,
  pods,
  refusal,
  type Transport,
} from "./api.contract.ts";

const core = "/api/v1/namespaces/default";
const pod = (name: string, resources: object = {}): object => ({
  metadata: { name },
  spec: { containers: [{ name: "c", image: "i", resources }] },
});

const firstOf = (list: unknown): unknown => (Array.isArray(list) ? list[0] : undefined);

export function namespaceLimitsContract(how: string, transport: Transport): void {
  const start = async () => {
    const world = await makeWorld(transport);
    const handler = await world.as(admin);
    const call = (method: string, target: string, body?: object) =>
      ask(handler, method, target, body);
    await call("POST", `${core}/serviceaccounts`, { metadata: { name: "default" } });
    return call;
  };
  const quota = async (
    call: Awaited<ReturnType<typeof start>>,
    hard: object,
    spec: object = {},
  ): Promise<void> => {
    const made = await call("POST", `${core}/resourcequotas`, {
      metadata: { name: "q" },
      spec: { hard, ...spec },
    });
    const used = Object.fromEntries(Object.keys(hard).map((name) => [name, "0"]));
    const status = { ...objectOf(made), status: { hard, used } };
    expect((await call("PUT", `${core}/resourcequotas/q/status`, status)).status).toBe(200);
  };

  describe(`limits of a namespace, ${how}`, () => {
    test("containers get the defaults, and are held to the bounds", async () => {
      const call = await start();
      const made = await call("POST", `${core}/limitranges`, {
        metadata: { name: "l" },
        spec: {
          limits: [
            {
              type: "Container",
              max: { memory: "1Gi" },
              defaultRequest: { cpu: "100m" },
              maxLimitRequestRatio: { memory: "2" },
            },
          ],
        },
      });
      expect(firstOf(objectOf(made).spec?.limits)).toMatchObject({
        default: { memory: "1Gi" },
        defaultRequest: { cpu: "100m", memory: "1Gi" },
      });
      const plain = objectOf(await call("POST", pods, pod("plain")));
      expect(firstOf(plain.spec?.containers)).toMatchObject({
        resources: { limits: { memory: "1Gi" }, requests: { cpu: "100m", memory: "1Gi" } },
      });
      expect(plain.metadata.annotations).toEqual({
        "kubernetes.io/limit-ranger":
          "LimitRanger plugin set: cpu, memory request for container c; memory limit for container c",
      });
      const large = pod("large", { limits: { memory: "2Gi" }, requests: { memory: "512Mi" } });
      expect(refusal(await call("POST", pods, large))).toEqual([
        403,
        'pods "large" is forbidden: [maximum memory usage per Container is 1Gi, but limit is 2Gi, ' +
          "memory max limit to request ratio per Container is 2, but provided ratio is 4.000000]",
      ]);
    });

    test("a quota is never exceeded, however many ask at once", async () => {
      const call = await start();
      await quota(call, { pods: "3", "requests.cpu": "1" });
      expect(refusal(await call("POST", pods, pod("silent")))).toEqual([
        403,
        'pods "silent" is forbidden: failed quota: q: must specify requests.cpu for: c',
      ]);
      const answers = await Promise.all(
        Array.from({ length: 8 }, (_, at) =>
          call("POST", pods, pod(`p${at}`, { requests: { cpu: "100m" } })),
        ),
      );
      expect(answers.filter(({ status }) => status === 201)).toHaveLength(3);
      const refused = answers.filter(({ status }) => status === 403).map(refusal);
      expect(refused).toHaveLength(5);
      expect(refused[0]?.[1]).toMatch(
        /^pods "p\d" is forbidden: exceeded quota: q, requested: pods=1, used: pods=3, limited: pods=3$/,
      );
      expect(namesOf(await call("GET", pods))).toHaveLength(3);
      expect(objectOf(await call("GET", `${core}/resourcequotas/q`)).status?.used).toEqual({
        pods: "3",
        "requests.cpu": "300m",
      });
    });

    test("dry runs are checked, not charged; other scopes are left alone", async () => {
      const call = await start();
      await quota(call, { pods: "1" }, { scopes: ["BestEffort"] });
      const burstable = pod("burstable", { requests: { cpu: "1" } });
      expect((await call("POST", pods, burstable)).status).toBe(201);
      expect((await call("POST", `${pods}?dryRun=All`, pod("dry"))).status).toBe(201);
      expect((await call("POST", pods, pod("one"))).status).toBe(201);
      expect((await call("POST", `${pods}?dryRun=All`, pod("dry"))).status).toBe(403);
    });

    test("kinds are counted, services by their ports", async () => {
      const call = await start();
      await quota(call, { "count/configmaps": "1", "services.nodeports": "1" });
      const map = (name: string) => call("POST", `${core}/configmaps`, { metadata: { name } });
      expect((await map("a")).status).toBe(201);
      expect(refusal(await map("b"))[1]).toBe(
        'configmaps "b" is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=1, limited: count/configmaps=1',
      );
      const service = {
        metadata: { name: "s" },
        spec: {
          type: "NodePort",
          ports: [
            { name: "a", port: 80 },
            { name: "b", port: 81 },
          ],
        },
      };
      expect(refusal(await call("POST", `${core}/services`, service))[1]).toContain(
        "requested: services.nodeports=2, used: services.nodeports=0, limited: services.nodeports=1",
      );
    });

    test("pods are held to the level that the namespace's labels name", async () => {
      const call = await start();
      const labels = { "pod-security.kubernetes.io/enforce": "baseline" };
      const path = "/api/v1/namespaces/default";
      const host = { ...pod("host"), spec: { hostNetwork: true, containers: [] } };
      const spec = { hostNetwork: true, containers: [{ name: "c", image: "i" }] };
      await call("POST", pods, { ...host, metadata: { name: "there" }, spec });
      const space = objectOf(await call("GET", path));
      const labelled = await call("PUT", path, {
        ...space,
        metadata: { ...space.metadata, labels: { ...space.metadata.labels, ...labels } },
      });
      expect(labelled.headers.warning).toContain(
        'existing pods in namespace \\"default\\" violate the new PodSecurity enforce level \\"baseline:latest\\"',
      );
      expect(refusal(await call("POST", pods, { ...host, spec }))).toEqual([
        403,
        'pods "host" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)',
      ]);
      expect((await call("POST", pods, pod("plain"))).status).toBe(201);
    });

    test("bad quotas and ranges", async () => {
      const call = await start();
      const bad = { metadata: { name: "b" }, spec: { hard: { odd: "1", pods: "0.5" } } };
      expect(refusal(await call("POST", `${core}/resourcequotas`, bad))[1]).toBe(
        'ResourceQuota "b" is invalid: [spec.hard[odd]: Invalid value: "odd": must be a standard resource type or fully qualified, ' +
          'spec.hard[odd]: Invalid value: "odd": must be a standard resource for quota, ' +
          'spec.hard[pods]: Invalid value: "500m": must be an integer]',
      );
      const range = {
        metadata: { name: "b" },
        spec: { limits: [{ type: "Container", min: { cpu: "2" }, max: { cpu: "1" } }] },
      };
      expect(refusal(await call("POST", `${core}/limitranges`, range))[1]).toContain(
        'spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1',
      );
    });
  });
}
