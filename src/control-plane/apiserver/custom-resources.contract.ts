/** Stories of custom resources that every way to the API server must tell alike. */
import { describe, expect, test } from "vitest";
import type { ApiResponse, Handler } from "#api/request.ts";
import type { JsonObject } from "#machinery/object.ts";
import {
  admin,
  ask,
  itemsOf,
  type Loose,
  makeWorld,
  namesOf,
  objectOf,
  refusal,
  type Transport,
  type World,
} from "./api.contract.ts";

const definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const group = "/apis/stable.example.com";
const cronTabs = `${group}/v1/namespaces/default/crontabs`;

export const cronTabSchema: JsonObject = {
  type: "object",
  required: ["spec"],
  properties: {
    spec: {
      type: "object",
      required: ["cronSpec"],
      properties: {
        cronSpec: { type: "string", pattern: "^(\\S+\\s){4}\\S+$" },
        image: { type: "string", default: "busybox" },
        replicas: { type: "integer", minimum: 1, maximum: 10, default: 1 },
        port: { "x-kubernetes-int-or-string": true },
        free: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
        labels: { type: "object", additionalProperties: { type: "string" } },
        mode: { type: "string", enum: ["fast", "slow"] },
        rules: {
          type: "array",
          "x-kubernetes-list-type": "map",
          "x-kubernetes-list-map-keys": ["name"],
          items: {
            type: "object",
            required: ["name"],
            properties: { name: { type: "string" }, weight: { type: "integer" } },
          },
        },
      },
    },
    status: {
      type: "object",
      properties: {
        replicas: { type: "integer" },
        phase: { type: "string" },
        selector: { type: "string" },
      },
    },
  },
};

export const cronTabDefinition = (changes: JsonObject = {}): JsonObject => ({
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "crontabs.stable.example.com" },
  spec: {
    group: "stable.example.com",
    scope: "Namespaced",
    names: { plural: "crontabs", kind: "CronTab", shortNames: ["ct"], categories: ["all"] },
    versions: [
      {
        name: "v1",
        served: true,
        storage: true,
        schema: { openAPIV3Schema: cronTabSchema },
        subresources: {
          status: {},
          scale: {
            specReplicasPath: ".spec.replicas",
            statusReplicasPath: ".status.replicas",
            labelSelectorPath: ".status.selector",
          },
        },
        additionalPrinterColumns: [
          { name: "Spec", type: "string", jsonPath: ".spec.cronSpec" },
          { name: "Replicas", type: "integer", jsonPath: ".spec.replicas" },
          { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
        ],
        selectableFields: [{ jsonPath: ".spec.mode" }],
      },
    ],
    ...changes,
  },
});

const cronTab = (name: string, spec: JsonObject = {}): JsonObject => ({
  apiVersion: "stable.example.com/v1",
  kind: "CronTab",
  metadata: { name },
  spec: { cronSpec: "* * * * */5", ...spec },
});

/** Waits until the definition has the condition, as `kubectl wait` does: by a watch. */
export async function condition(handler: Handler, name: string, type: string): Promise<Loose> {
  const stop = new AbortController();
  const query = `?watch=1&fieldSelector=metadata.name%3D${name}`;
  const answer = await ask(handler, "GET", `${definitions}${query}`, undefined, {
    gone: stop.signal,
  });
  if (answer.content.type !== "watch") throw new Error("a watch was expected");
  const { events } = answer.content;
  for (;;) {
    const batch = await events.next();
    if (batch === undefined) throw new Error("the watch ended");
    for (const { object, type: what } of batch) {
      if (what === "DELETED") continue;
      const { status } = object as Loose;
      const conditions = (status?.conditions ?? []) as { type: string; status: string }[];
      if (!conditions.some((one) => one.type === type && one.status === "True")) continue;
      events.stop();
      stop.abort();
      return object as Loose;
    }
  }
}

async function withCronTabs(transport: Transport, changes: JsonObject = {}) {
  const world: World = await makeWorld(transport);
  const handler = await world.as(admin);
  const made = await ask(handler, "POST", definitions, cronTabDefinition(changes));
  expect(made.status).toBe(201);
  const established = await condition(handler, "crontabs.stable.example.com", "Established");
  return { world, handler, established };
}

const fields = (answer: ApiResponse): JsonObject => objectOf(answer).spec as JsonObject;

export function customResourcesContract(how: string, transport: Transport): void {
  describe(`custom resources, ${how}`, () => {
    test("a definition is accepted, established and discovered", async () => {
      const { handler, established } = await withCronTabs(transport);
      expect(established.status?.acceptedNames).toEqual({
        plural: "crontabs",
        singular: "crontab",
        kind: "CronTab",
        listKind: "CronTabList",
        shortNames: ["ct"],
        categories: ["all"],
      });
      expect(established.status?.storedVersions).toEqual(["v1"]);
      expect(established.spec?.conversion).toEqual({ strategy: "None" });
      const groups = objectOf(await ask(handler, "GET", "/apis")) as unknown as {
        groups: { name: string }[];
      };
      expect(groups.groups.at(-1)?.name).toBe("stable.example.com");
      const { resources } = objectOf(await ask(handler, "GET", `${group}/v1`)) as unknown as {
        resources: { name: string; shortNames?: string[] }[];
      };
      expect(resources.map(({ name }) => name)).toEqual([
        "crontabs",
        "crontabs/status",
        "crontabs/scale",
      ]);
      expect(resources[0]?.shortNames).toEqual(["ct"]);
    });

    test("objects are pruned, defaulted and judged", async () => {
      const { handler } = await withCronTabs(transport);
      const made = await ask(handler, "POST", cronTabs, {
        ...cronTab("a", { port: "http", free: { any: [1, null] }, labels: { x: "y" }, odd: 1 }),
        status: { phase: "mine" },
      });
      expect(made.status).toBe(201);
      expect(fields(made)).toEqual({
        cronSpec: "* * * * */5",
        free: { any: [1, null] },
        image: "busybox",
        labels: { x: "y" },
        port: "http",
        replicas: 1,
      });
      const object = objectOf(made);
      expect(object.status).toBeUndefined();
      expect(object.metadata.generation).toBe(1);
      expect(object.metadata.managedFields?.[0]?.manager).toBe("story");
      const bad = await ask(handler, "POST", cronTabs, {
        ...cronTab("b", { cronSpec: "x", replicas: 11, mode: "odd", image: 3 }),
      });
      expect(refusal(bad)).toEqual([
        422,
        'CronTab.stable.example.com "b" is invalid: [' +
          "spec.cronSpec: Invalid value: \"x\": spec.cronSpec in body should match '^(\\S+\\s){4}\\S+$', " +
          'spec.image: Invalid value: "integer": spec.image in body must be of type string: "integer", ' +
          'spec.mode: Unsupported value: "odd": supported values: "fast", "slow", ' +
          "spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10]",
      ]);
      const none = await ask(handler, "POST", cronTabs, { ...cronTab("c"), spec: {} });
      expect(refusal(none)[1]).toBe(
        'CronTab.stable.example.com "c" is invalid: spec.cronSpec: Required value',
      );
      const twice = cronTab("d", { rules: [{ name: "x" }, { name: "y" }, { name: "x" }] });
      expect(refusal(await ask(handler, "POST", cronTabs, twice))[1]).toBe(
        'CronTab.stable.example.com "d" is invalid: spec.rules[2]: Duplicate value: {"name":"x"}',
      );
      const strict = `${cronTabs}?fieldValidation=Strict`;
      expect(refusal(await ask(handler, "POST", strict, cronTab("e", { odd: 1 })))).toEqual([
        400,
        'CronTab in version "v1" cannot be handled as a CronTab: strict decoding error: unknown field "spec.odd"',
      ]);
    });

    test("status, scale and generation", async () => {
      const { handler } = await withCronTabs(transport);
      await ask(handler, "POST", cronTabs, cronTab("a"));
      const patch = (path: string, body: object, type = "application/merge-patch+json") =>
        ask(handler, "PATCH", `${cronTabs}/a${path}`, body, { type });
      const status = await patch("/status", {
        metadata: { labels: { no: "way" } },
        spec: { replicas: 5 },
        status: { replicas: 1, selector: "app=a" },
      });
      expect(objectOf(status).status).toEqual({ replicas: 1, selector: "app=a" });
      expect(objectOf(status).metadata.generation).toBe(1);
      expect(objectOf(status).metadata.labels).toBeUndefined();
      expect(fields(status).replicas).toBe(1);
      const scaled = await patch("/scale", { spec: { replicas: 3 } });
      expect(objectOf(scaled).kind).toBe("Scale");
      expect(objectOf(scaled).spec).toEqual({ replicas: 3 });
      expect(objectOf(scaled).status).toEqual({ replicas: 1, selector: "app=a" });
      const now = await ask(handler, "GET", `${cronTabs}/a`);
      expect(fields(now).replicas).toBe(3);
      expect(objectOf(now).metadata.generation).toBe(2);
      expect(objectOf(now).status).toEqual({ replicas: 1, selector: "app=a" });
      const strategic = await patch("", {}, "application/strategic-merge-patch+json");
      expect(refusal(strategic)).toEqual([
        415,
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
      ]);
    });

    test("server-side apply merges lists by their keys and sees conflicts", async () => {
      const { handler } = await withCronTabs(transport);
      const apply = (manager: string, spec: JsonObject) =>
        ask(handler, "PATCH", `${cronTabs}/a?fieldManager=${manager}`, cronTab("a", spec), {
          type: "application/apply-patch+yaml",
        });
      expect((await apply("one", { rules: [{ name: "x", weight: 1 }] })).status).toBe(201);
      const both = await apply("two", { rules: [{ name: "y", weight: 2 }] });
      expect(fields(both).rules).toEqual([
        { name: "x", weight: 1 },
        { name: "y", weight: 2 },
      ]);
      const clash = await apply("two", { rules: [{ name: "x", weight: 3 }] });
      expect(clash.status).toBe(409);
      expect(refusal(clash)[1]).toBe(
        'Apply failed with 1 conflict: conflict with "one": .spec.rules[name="x"].weight',
      );
    });

    test("tables, field selectors and watches", async () => {
      const { handler } = await withCronTabs(transport);
      const stop = new AbortController();
      const watch = await ask(handler, "GET", `${cronTabs}?watch=1`, undefined, {
        gone: stop.signal,
      });
      await ask(handler, "POST", cronTabs, cronTab("a", { mode: "fast" }));
      await ask(handler, "POST", cronTabs, cronTab("b", { mode: "slow" }));
      const table = await ask(handler, "GET", cronTabs, undefined, {
        accept: "application/json;as=Table;v=v1;g=meta.k8s.io",
      });
      const shown = objectOf(table) as unknown as {
        columnDefinitions: { name: string }[];
        rows: { cells: unknown[] }[];
      };
      expect(shown.columnDefinitions.map(({ name }) => name)).toEqual([
        "Name",
        "Spec",
        "Replicas",
        "Age",
      ]);
      expect(shown.rows[0]?.cells).toEqual(["a", "* * * * */5", 1, "0s"]);
      const slow = await ask(handler, "GET", `${cronTabs}?fieldSelector=spec.mode%3Dslow`);
      expect(namesOf(slow)).toEqual(["b"]);
      expect((objectOf(slow) as unknown as { kind: string }).kind).toBe("CronTabList");
      if (watch.content.type !== "watch") throw new Error("a watch was expected");
      const seen: string[] = [];
      while (seen.length < 2)
        for (const { type, object } of (await watch.content.events.next()) ?? [])
          seen.push(`${type} ${(object as Loose).metadata.name}`);
      expect(seen).toEqual(["ADDED a", "ADDED b"]);
      watch.content.events.stop();
      stop.abort();
    });

    test("several versions of one kind are one store", async () => {
      const versions = [
        {
          name: "v1beta1",
          served: true,
          storage: false,
          schema: {
            openAPIV3Schema: {
              type: "object",
              properties: {
                spec: { type: "object", properties: { cronSpec: { type: "string" } } },
              },
            },
          },
        },
        ...((cronTabDefinition().spec as JsonObject).versions as JsonObject[]),
      ];
      const { handler } = await withCronTabs(transport, { versions });
      const beta = `${group}/v1beta1/namespaces/default/crontabs`;
      const old = { ...cronTab("a"), apiVersion: "stable.example.com/v1beta1" };
      expect(fields(await ask(handler, "POST", beta, old))).toEqual({ cronSpec: "* * * * */5" });
      const stable = await ask(handler, "GET", `${cronTabs}/a`);
      expect(objectOf(stable).apiVersion).toBe("stable.example.com/v1");
      expect(fields(stable).image).toBe("busybox");
      const { versions: told, preferredVersion } = objectOf(
        await ask(handler, "GET", group),
      ) as unknown as { versions: { version: string }[]; preferredVersion: { version: string } };
      expect(told.map(({ version }) => version)).toEqual(["v1", "v1beta1"]);
      expect(preferredVersion.version).toBe("v1");
    });

    test("names that another definition has are refused until it goes", async () => {
      const { handler } = await withCronTabs(transport);
      const other = cronTabDefinition({
        names: { plural: "others", kind: "Other", shortNames: ["ct"] },
      });
      other.metadata = { name: "others.stable.example.com" };
      await ask(handler, "POST", definitions, other);
      let conditions: { type: string; status: string; reason: string; message: string }[] = [];
      while (conditions.length === 0) {
        const now = objectOf(await ask(handler, "GET", `${definitions}/others.stable.example.com`));
        conditions = (now.status?.conditions ?? []) as typeof conditions;
      }
      expect(conditions.map(({ type, status, reason }) => [type, status, reason])).toEqual([
        ["NamesAccepted", "False", "ShortNamesConflict"],
        ["Established", "False", "NotAccepted"],
      ]);
      expect(conditions[0]?.message).toBe('"ct" is already in use');
      await ask(handler, "DELETE", `${definitions}/crontabs.stable.example.com`);
      await condition(handler, "others.stable.example.com", "Established");
    });

    test("a definition goes when its objects have gone", async () => {
      const { handler } = await withCronTabs(transport);
      const held = cronTab("held");
      held.metadata = { name: "held", finalizers: ["example.com/hold"] };
      await ask(handler, "POST", cronTabs, held);
      await ask(handler, "POST", cronTabs, cronTab("free"));
      const gone = await ask(handler, "DELETE", `${definitions}/crontabs.stable.example.com`);
      expect(objectOf(gone).metadata.finalizers).toEqual([
        "customresourcecleanup.apiextensions.k8s.io",
      ]);
      await condition(handler, "crontabs.stable.example.com", "Terminating");
      let left: (string | undefined)[] = ["free", "held"];
      while (left.length > 1) left = namesOf(await ask(handler, "GET", cronTabs));
      expect(left).toEqual(["held"]);
      expect(refusal(await ask(handler, "POST", cronTabs, cronTab("late")))).toEqual([
        405,
        "create not allowed while custom resource definition is terminating",
      ]);
      await ask(
        handler,
        "PATCH",
        `${cronTabs}/held`,
        { metadata: { finalizers: null } },
        { type: "application/merge-patch+json" },
      );
      let status = 200;
      while (status === 200)
        status = (await ask(handler, "GET", `${definitions}/crontabs.stable.example.com`)).status;
      expect(status).toBe(404);
      do status = (await ask(handler, "GET", cronTabs)).status;
      while (status !== 404);
      await ask(handler, "POST", definitions, cronTabDefinition());
      await condition(handler, "crontabs.stable.example.com", "Established");
      expect(itemsOf(await ask(handler, "GET", cronTabs))).toEqual([]);
    });

    test("where unknown fields are kept, they can be applied, too", async () => {
      const schema = {
        type: "object",
        "x-kubernetes-preserve-unknown-fields": true,
        properties: { spec: { type: "object", properties: { known: { type: "string" } } } },
      };
      const version = { name: "v1", served: true, storage: true };
      const versions = [{ ...version, schema: { openAPIV3Schema: schema } }];
      const { handler } = await withCronTabs(transport, { versions });
      const type = "application/apply-patch+yaml";
      const apply = (body: object) =>
        ask(
          handler,
          "PATCH",
          `${cronTabs}/a?fieldManager=me&fieldValidation=Strict`,
          { ...cronTab("a"), spec: {}, ...body },
          { type },
        );
      expect((await apply({ free: { deep: [1] }, spec: { known: "x" } })).status).toBe(201);
      expect(objectOf(await ask(handler, "GET", `${cronTabs}/a`))).toMatchObject({
        free: { deep: [1] },
        spec: { known: "x" },
      });
      expect((await apply({ spec: { unknown: "x" } })).status).not.toBe(200);
    });

    test("a changed schema counts from then on, and holds nothing old against anyone", async () => {
      const { handler, established } = await withCronTabs(transport);
      await ask(handler, "POST", cronTabs, cronTab("a", { image: "old" }));
      const next = structuredClone(established) as unknown as {
        spec: {
          versions: {
            schema: { openAPIV3Schema: { properties: { spec: { properties: JsonObject } } } };
          }[];
        };
      };
      const { properties } = next.spec.versions[0]?.schema.openAPIV3Schema.properties.spec ?? {
        properties: {},
      };
      properties.image = { type: "string", enum: ["new"] };
      properties.added = { type: "string", default: "x" };
      const path = `${definitions}/crontabs.stable.example.com`;
      expect((await ask(handler, "PUT", path, next)).status).toBe(200);
      let spec: JsonObject = {};
      while (spec.added === undefined) spec = fields(await ask(handler, "GET", `${cronTabs}/a`));
      const type = "application/merge-patch+json";
      const patch = (body: object) =>
        ask(handler, "PATCH", `${cronTabs}/a`, { spec: body }, { type });
      expect((await patch({ replicas: 2 })).status).toBe(200);
      expect((await patch({ image: "other" })).status).toBe(422);
    });
  });
}
