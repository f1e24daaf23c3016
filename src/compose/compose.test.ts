/** Compose files to objects: what is made, what is named with its line, what is refused. */
import { expect, test } from "vitest";
import type { JsonObject } from "#machinery/object.ts";
import { type Conversion, convertCompose } from "./convert.ts";
import { interpolate, readDotEnv } from "./interpolate.ts";
import { bytesQuantity, portMappings, seconds, shellWords } from "./values.ts";

const files: Readonly<Record<string, string>> = {
  "/shop/web.env": "A=file\nB='$kept'\n",
  "/shop/token.txt": "secret",
};
const variables: Readonly<Record<string, string>> = { TAG: "7", EMPTY: "" };
function convert(text: string, more: { profiles?: string[]; project?: string } = {}): Conversion {
  return convertCompose({
    text,
    file: "compose.yaml",
    folder: "/shop",
    project: more.project,
    profiles: more.profiles ?? [],
    environment: (name) => variables[name],
    read: (path) => (files[path] === undefined ? undefined : new TextEncoder().encode(files[path])),
    isFolder: () => false,
  });
}
const found = (conversion: Conversion, kind: string, name: string): JsonObject => {
  const object = conversion.objects.find(
    (one) => one["kind"] === kind && (one["metadata"] as JsonObject)["name"] === name,
  );
  if (object === undefined) throw new Error(`no ${kind} ${name}`);
  return object;
};
const pod = (object: JsonObject): { containers: JsonObject[]; [key: string]: unknown } =>
  ((object["spec"] as JsonObject)["template"] as JsonObject)["spec"] as {
    containers: JsonObject[];
  };

test("depends_on: stages, what is waited for, and tasks that others wait for", () => {
  const made = convert(`services:
  web:
    image: x
    depends_on:
      migrate: { condition: service_completed_successfully }
      db: { condition: service_healthy }
      extra: { condition: service_started, required: false }
  migrate: { image: x, depends_on: [db] }
  db: { image: x }
  extra: { image: x, profiles: [more] }
`);
  expect(made.notes).toEqual([]);
  expect(made.stages).toEqual([["db"], ["migrate"], ["web"]]);
  expect(made.services.find(({ name }) => name === "web")?.after).toEqual([
    { name: "migrate", wanted: "completed" },
    { name: "db", wanted: "healthy" },
  ]);
  expect(found(made, "Job", "migrate")["spec"]).toMatchObject({ backoffLimit: 0 });
});

test("interpolation", () => {
  const missing: string[] = [];
  const read = (text: string): string =>
    interpolate(
      text,
      (name) => variables[name],
      (name) => missing.push(name),
    );
  expect(
    read("v$TAG ${TAG} $$TAG ${NO:-x${TAG}} ${EMPTY:-y} ${EMPTY-z} ${TAG:+set} ${NO+set}"),
  ).toBe("v7 7 $TAG x7 y  set ");
  expect(read("$NO")).toBe("");
  expect(missing).toEqual(["NO"]);
  expect(() => read("${NO:?say it}")).toThrow("NO must be set: say it");
});

test(".env", () => {
  const values = readDotEnv(
    "# x\nexport A=1 # note\nB=\"two\\nlines $TAG\"\nC='$TAG'\nD=$A\n",
    (name) => variables[name],
  );
  expect(Object.fromEntries(values)).toEqual({ A: "1", B: "two\nlines 7", C: "$TAG", D: "1" });
});

test("values", () => {
  expect(["90s", "1m30s", "500ms", "2h", "x"].map(seconds)).toEqual([90, 90, 1, 7200, undefined]);
  expect(["512m", "1g", "1.5k", 1024, "x"].map(bytesQuantity)).toEqual([
    "512Mi",
    "1Gi",
    "1536",
    "1024",
    undefined,
  ]);
  expect(shellWords(`sh -c "echo 'a b'" c\\ d ''`)).toEqual(["sh", "-c", "echo 'a b'", "c d", ""]);
  expect(portMappings("127.0.0.1:80:8080/udp")).toEqual([
    { published: 80, target: 8080, protocol: "UDP", host: "127.0.0.1" },
  ]);
  expect(
    portMappings("3000-3001:4000-4001")?.map(({ published, target }) => [published, target]),
  ).toEqual([
    [3000, 4000],
    [3001, 4001],
  ]);
  expect(portMappings("80")).toEqual([{ target: 80, protocol: "TCP" }]);
  expect(["a:b", "70000", "1-2:3"].map(portMappings)).toEqual([undefined, undefined, undefined]);
});

test("a web service: deployment, service by name, load balancer for what is published", () => {
  const conversion = convert(`
name: demo
services:
  web:
    image: shop/web:\${TAG}
    command: run "a b" $$HOME $(x)
    ports: ["8080:80"]
    env_file: web.env
    environment: [A=own, TAG]
    healthcheck: { test: curl -f localhost, interval: 5s, timeout: 2s, retries: 2, start_period: 1m }
    deploy: { replicas: 3, resources: { limits: { cpus: "0.5", memory: 512m }, reservations: { memory: 64m } } }
    user: "1000:1000"
    stop_grace_period: 30s
`);
  const deployment = found(conversion, "Deployment", "web");
  expect((deployment["spec"] as JsonObject)["replicas"]).toBe(3);
  const [container] = pod(deployment).containers;
  expect(container).toMatchObject({
    image: "shop/web:7",
    args: ["run", "a b", "$HOME", "$$(x)"],
    env: [
      { name: "A", value: "own" },
      { name: "B", value: "$kept" },
      { name: "TAG", value: "7" },
    ],
    resources: { limits: { cpu: "500m", memory: "512Mi" }, requests: { memory: "64Mi" } },
    readinessProbe: {
      exec: { command: ["/bin/sh", "-c", "curl -f localhost"] },
      periodSeconds: 5,
      timeoutSeconds: 2,
      failureThreshold: 2,
      initialDelaySeconds: 60,
    },
    securityContext: { runAsUser: 1000, runAsGroup: 1000 },
  });
  expect(pod(deployment)["terminationGracePeriodSeconds"]).toBe(30);
  expect(found(conversion, "Service", "web")["spec"]).toMatchObject({
    ports: [{ port: 80, targetPort: 80 }],
  });
  expect(found(conversion, "Service", "web-published")["spec"]).toMatchObject({
    type: "LoadBalancer",
    ports: [{ port: 8080, targetPort: 80 }],
  });
  expect(conversion.notes).toEqual([]);
});

test("volumes, secrets and configs", () => {
  const conversion = convert(`
services:
  db:
    image: db
    volumes: [data:/var/lib/db, ./init:/init:ro, /cache, { type: tmpfs, target: /run, tmpfs: { size: 64m } }]
    secrets: [token]
    configs: [{ source: motd, target: /etc/motd, mode: 0440 }]
volumes: { data: { driver_opts: { size: 5g } } }
secrets: { token: { file: token.txt } }
configs: { motd: { content: hello } }
`);
  const deployment = found(conversion, "Deployment", "db");
  expect((deployment["spec"] as JsonObject)["strategy"]).toEqual({ type: "Recreate" });
  expect(pod(deployment).containers[0]?.["volumeMounts"]).toEqual([
    { name: "data", mountPath: "/var/lib/db" },
    { name: "host--shop-init", mountPath: "/init", readOnly: true },
    { name: "data--cache", mountPath: "/cache" },
    { name: "tmp--run", mountPath: "/run" },
    { name: "shop-token", mountPath: "/run/secrets/token", readOnly: true, subPath: "token" },
    { name: "shop-motd", mountPath: "/etc/motd", readOnly: true, subPath: "motd" },
  ]);
  expect(found(conversion, "PersistentVolumeClaim", "shop-data")["spec"]).toMatchObject({
    resources: { requests: { storage: "5Gi" } },
  });
  expect(found(conversion, "Secret", "shop-token")["data"]).toEqual({ token: "c2VjcmV0" });
  expect(found(conversion, "Service", "db")["spec"]).toMatchObject({ clusterIP: "None" });
});

test("restart and mode choose the workload; profiles choose services; builds are tagged", () => {
  const conversion = convert(
    `
services:
  once: { image: x, restart: "no" }
  retry: { image: x, restart: "on-failure:4" }
  all: { image: x, deploy: { mode: global } }
  app: { build: ./app }
  tool: { image: x, profiles: [tools] }
`,
    { project: "My Shop" },
  );
  expect(found(conversion, "Job", "once")["spec"]).toMatchObject({ backoffLimit: 0 });
  expect(found(conversion, "Job", "retry")["spec"]).toMatchObject({ backoffLimit: 4 });
  expect(found(conversion, "DaemonSet", "all")).toBeDefined();
  expect(conversion.builds).toEqual([{ image: "my-shop-app:latest", context: "/shop/app" }]);
  expect(pod(found(conversion, "Deployment", "app")).containers[0]?.["imagePullPolicy"]).toBe(
    "IfNotPresent",
  );
  expect(conversion.services.map(({ name }) => name)).not.toContain("tool");
  expect(
    convert("services: { tool: { image: x, profiles: [tools] } }", { profiles: ["tools"] })
      .services,
  ).toHaveLength(1);
});

test("a build takes its Dockerfile, stage and arguments along", () => {
  const { builds, notes } = convert(`services:
  web:
    build:
      context: ./web
      dockerfile: docker/Release
      target: release
      args: { VERSION: 3, EMPTY: "" }
`);
  expect(notes).toEqual([]);
  expect(builds[0]).toMatchObject({
    context: "/shop/web",
    dockerfile: "/shop/web/docker/Release",
    target: "release",
    args: [
      ["VERSION", "3"],
      ["EMPTY", ""],
    ],
  });
});

test("what has no counterpart is named with its line", () => {
  const { notes } = convert(`services:
  web:
    image: x
    logging: { driver: json-file }
    blkio_config: {}
    ports:
      - "127.0.0.1:80:80"
    build:
      context: .
      dockerfile_inline: FROM x
    environment:
      V: $UNSET
`);
  expect(notes.map((note) => note.split(": ").slice(0, 2).join(": "))).toEqual([
    "compose.yaml:12: services.web.environment.V",
    "compose.yaml:10: services.web.build.dockerfile_inline",
    "compose.yaml:6: services.web.ports",
    "compose.yaml:4: services.web.logging",
    "compose.yaml:5: services.web.blkio_config",
  ]);
});

test.each([
  ["services: {}", "compose.yaml:1: services: names no service"],
  ["services:\n  a: {}", "compose.yaml:2: services.a: needs an image or a build"],
  [
    "services:\n  a:\n    image: x\n    ports: [nope]",
    "compose.yaml:4: services.a.ports.0: nope is no port mapping; write HOST:CONTAINER",
  ],
  [
    "services:\n  a:\n    image: x\n    depends_on: [b]",
    "compose.yaml:4: services.a.depends_on: there is no service b",
  ],
  [
    "services:\n  a:\n    image: x\n    depends_on: [b]\n  b:\n    image: x\n    profiles: [p]",
    "compose.yaml:4: services.a.depends_on: the service b belongs to a profile that is not chosen",
  ],
  [
    "services:\n  a:\n    image: x\n    depends_on: [b]\n  b:\n    image: x\n    depends_on: [a]",
    "compose.yaml:4: services.a.depends_on: depends on itself: a -> b -> a",
  ],
  [
    "services:\n  a:\n    image: x\n    depends_on: { b: { condition: nice } }\n  b: { image: x }",
    "compose.yaml:4: services.a.depends_on.b.condition: nice is none of service_started",
  ],
  [
    "services:\n  a:\n    image: x\n    depends_on: { b: { condition: service_completed_successfully } }\n  b: { image: x, restart: always }",
    "compose.yaml:5: services.b: others wait until it has completed",
  ],
  [
    "services:\n  a:\n    image: x\n    volumes: [v:/v]",
    "compose.yaml:4: services.a.volumes.0: the volume v is not among the file's volumes",
  ],
  [
    "services:\n  a:\n    image: ${V:?needed}",
    "compose.yaml:3: services.a.image: V must be set: needed",
  ],
  [
    "services:\n  a:\n    image: x\n    env_file: none.env",
    "compose.yaml:4: services.a.env_file: there is no file none.env",
  ],
  ["services: [", "compose.yaml: yaml:"],
])("%j is refused", (text, message) => {
  expect(() => convert(text)).toThrow(message);
});
