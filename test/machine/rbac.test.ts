/** Who may do what, as an unmodified kubectl lives it: roles, can-i, whoami, tokens, reconcile, impersonation, certificates. */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestCluster } from "./cluster.ts";

const cluster = new TestCluster("rbac-t", ["--runtime", "simulated"]);
beforeAll(() => cluster.start(), 120_000);
afterAll(() => cluster.purge(), 60_000);

const account = "system:serviceaccount:default:reader";

test("the bootstrap roles are there, aggregated", async () => {
  expect(
    await cluster.ok("get", "clusterrole", "cluster-admin", "admin", "edit", "view"),
  ).toContain("CREATED AT");
  expect(await cluster.ok("describe", "clusterrole", "view")).toContain("deployments.apps");
  expect(await cluster.ok("auth", "whoami")).toContain("kubernetes-admin");
});

test("a service account may what its role says, in its namespace, and can say so", async () => {
  await cluster.ok("create", "serviceaccount", "reader");
  await cluster.ok("create", "role", "pods", "--verb=get,list", "--resource=pods");
  await cluster.ok(
    "create",
    "rolebinding",
    "pods",
    "--role=pods",
    "--serviceaccount=default:reader",
  );
  expect(await cluster.ok("auth", "can-i", "list", "pods", "--as", account)).toBe("yes\n");
  expect(await cluster.refused("auth", "can-i", "list", "secrets", "--as", account)).toContain(
    "no",
  );
  expect(await cluster.ok("auth", "can-i", "--list", "--as", account)).toMatch(
    /pods +\[\] +\[\] +\[get list\]/,
  );
  const token = (await cluster.ok("create", "token", "reader")).trim();
  const server = await cluster.ok(
    "config",
    "view",
    "--minify",
    "-o",
    "jsonpath={.clusters[0].cluster.server}",
  );
  const file = join(cluster.folder, "ca.crt");
  const data = await cluster.ok(
    "config",
    "view",
    "--raw",
    "--minify",
    "-o",
    "jsonpath={.clusters[0].cluster.certificate-authority-data}",
  );
  writeFileSync(file, Buffer.from(data, "base64"));
  const empty = join(cluster.folder, "empty");
  writeFileSync(empty, "");
  const asIt = (...words: string[]) =>
    cluster.kubectl([
      "--kubeconfig",
      empty,
      "--server",
      server,
      "--certificate-authority",
      file,
      "--token",
      token,
      ...words,
    ]);
  expect((await asIt("get", "pods")).code).toBe(0);
  expect((await asIt("get", "pods", "-n", "kube-system")).stderr).toContain(
    `pods is forbidden: User "${account}" cannot list resource "pods" in API group "" in the namespace "kube-system"`,
  );
  expect((await asIt("auth", "whoami")).stdout).toContain(account);
});

test("nobody grants what they do not hold", async () => {
  await cluster.ok(
    "create",
    "clusterrole",
    "granter",
    "--verb=create,get,list,update,patch",
    "--resource=roles,rolebindings",
  );
  await cluster.ok("create", "rolebinding", "granter", "--clusterrole=granter", "--user=jane");
  const refused = await cluster.refused(
    "create",
    "role",
    "thief",
    "--verb=get",
    "--resource=secrets",
    "--as",
    "jane",
  );
  expect(refused).toContain("is attempting to grant RBAC permissions not currently held");
  expect(refused).toContain('{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}');
});

test("auth reconcile adds what is missing", async () => {
  const manifest = join(cluster.folder, "role.yaml");
  writeFileSync(
    manifest,
    `apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: pods, namespace: default }
rules:
  - { apiGroups: [""], resources: [pods], verbs: [watch] }
`,
  );
  expect(await cluster.ok("auth", "reconcile", "-f", manifest)).toContain(
    "role.rbac.authorization.k8s.io/pods reconciled",
  );
  expect(await cluster.ok("auth", "can-i", "watch", "pods", "--as", account)).toBe("yes\n");
  expect(await cluster.ok("auth", "can-i", "get", "pods", "--as", account)).toBe("yes\n");
});

test("a certificate by request: approved by hand, issued, and good for what it says", async () => {
  const at = (name: string): string => join(cluster.folder, name);
  execFileSync(
    "openssl",
    [
      "req",
      "-new",
      "-newkey",
      "rsa:2048",
      "-nodes",
      "-keyout",
      at("j.key"),
      "-out",
      at("j.csr"),
      "-subj",
      "/O=devs/CN=joe",
    ],
    { stdio: "ignore" },
  );
  await cluster.apply(`apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: { name: joe }
spec:
  request: ${readFileSync(at("j.csr")).toString("base64")}
  signerName: kubernetes.io/kube-apiserver-client
  expirationSeconds: 3600
  usages: [client auth]
`);
  expect(await cluster.ok("get", "csr", "joe")).toContain("Pending");
  await cluster.ok("certificate", "approve", "joe");
  await cluster.ok("wait", "--for=jsonpath={.status.certificate}", "csr/joe", "--timeout=30s");
  const certificate = await cluster.ok("get", "csr", "joe", "-o", "jsonpath={.status.certificate}");
  writeFileSync(at("j.crt"), Buffer.from(certificate, "base64"));
  const who = await cluster.ok(
    "--client-certificate",
    at("j.crt"),
    "--client-key",
    at("j.key"),
    "auth",
    "whoami",
  );
  expect(who).toMatch(/Username +joe/);
  expect(who).toContain("devs");
});

test("join tokens: made, listed, deleted", async () => {
  const wherry = (...words: string[]) =>
    cluster.wherry(["token", ...words, "--name", cluster.name]);
  const made = await wherry("create", "--ttl", "1h", "--description", "a test");
  expect(made.stdout).toMatch(/^[a-z0-9]{6}\.[a-z0-9]{16}\.[0-9a-f]{64}\n$/);
  expect(made.stderr).toContain("wherry join --server https://");
  expect((await wherry("list")).stdout).toContain("a test");
  expect((await wherry("delete", made.stdout.trim())).stdout).toContain("is gone");
  expect((await wherry("list")).stdout).not.toContain("a test");
  expect((await wherry("delete", "abcdef")).code).toBe(1);
});
