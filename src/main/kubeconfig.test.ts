import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readYaml } from "#machinery/yaml.ts";
import { changeKubeconfig, mergedKubeconfig, prunedKubeconfig } from "./kubeconfig.ts";

const access = {
  name: "wherry",
  server: "https://127.0.0.1:6443",
  caPem: "ca",
  clientCertificatePem: "cert",
  clientKeyPem: "key",
};
const other = `apiVersion: v1
kind: Config
preferences: {}
current-context: work
clusters: [{ name: work, cluster: { server: "https://work.example:6443" } }]
users: [{ name: work, user: { exec: { command: aws, args: [eks] } } }]
contexts: [{ name: work, context: { cluster: work, user: work, namespace: team } }]
`;
let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "wherry-kc-"));
  file = join(folder, ".kube", "config");
});
afterEach(() => rmSync(folder, { recursive: true }));
const read = () => readYaml(readFileSync(file, "utf8")) as Record<string, unknown>;

test("a new file is made for its owner only, and names the context", () => {
  changeKubeconfig(file, (config) => mergedKubeconfig(config, access));
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(read()).toMatchObject({
    kind: "Config",
    "current-context": "wherry",
    clusters: [{ name: "wherry", cluster: { server: access.server } }],
  });
});

test("other contexts stay as they are, and the cluster's entries are replaced, not doubled", () => {
  changeKubeconfig(file, (config) => mergedKubeconfig(config, access));
  writeFileSync(file, other);
  chmodSync(file, 0o640);
  for (let i = 0; i < 2; i++) changeKubeconfig(file, (config) => mergedKubeconfig(config, access));
  const before = readYaml(other) as { users: unknown[]; contexts: unknown[] };
  const after = read() as { users: unknown[]; contexts: unknown[] };
  expect(after.users).toHaveLength(2);
  expect(after.users[0]).toEqual(before.users[0]);
  expect(after.contexts[0]).toEqual(before.contexts[0]);
  expect(statSync(file).mode & 0o777).toBe(0o640);
  changeKubeconfig(file, (config) => prunedKubeconfig(config, "wherry"));
  expect(read()).toMatchObject({
    users: before.users,
    contexts: before.contexts,
    "current-context": "",
  });
});

test("a file that is no YAML is left alone, and the message says what to do", () => {
  changeKubeconfig(file, (config) => config);
  writeFileSync(file, "a: [");
  expect(() => changeKubeconfig(file, (config) => mergedKubeconfig(config, access))).toThrow(
    /not valid YAML.*choose another file with --kubeconfig/s,
  );
  expect(readFileSync(file, "utf8")).toBe("a: [");
});

test("a file that another program changes is not touched", () => {
  changeKubeconfig(file, (config) => config);
  writeFileSync(`${file}.lock`, "");
  expect(() => changeKubeconfig(file, (config) => config)).toThrow(/another program is changing/);
});
