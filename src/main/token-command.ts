/** `wherry token create|list|delete`: what other machines join a cluster of this machine with. Speaks as its administrator. */
import { systemClock } from "#adapters/nodejs/clock.ts";
import { systemCrypto } from "#adapters/nodejs/crypto.ts";
import { systemNetwork } from "#adapters/nodejs/network.ts";
import { ConfigMap } from "#api/core/v1/configmap.ts";
import { type Client, createClient } from "#client/client.ts";
import { remoteHandler } from "#client/remote.ts";
import { clusterInfoRef } from "#cluster/join-info.ts";
import { certificateHash, parseJoinToken } from "#cluster/join-token.ts";
import { createToken, deleteToken, listTokens } from "#cluster/join-tokens.ts";
import { isStatus } from "#machinery/status-error.ts";
import { adminAccess } from "./access.ts";
import { checkName, contextName, defaultName, findAllotment, pathsOf } from "./allotment.ts";
import { type Arguments, type Command, readDuration, UsageError } from "./arguments.ts";
import { askStatus } from "./control.ts";
import { isJoined } from "./joined.ts";
import { quietLog } from "./quiet-log.ts";

export const tokenCommand: Command = {
  name: "token",
  operands: "create | list | delete TOKEN",
  summary: "The tokens with which other machines join a cluster of this machine (wherry join).",
  options: [
    { name: "name", value: "N", default: defaultName, help: "the cluster" },
    { name: "ttl", value: "T", default: "24h", help: "create: how long it holds (0: for ever)" },
    { name: "description", value: "D", help: "create: what it is for" },
  ],
  run: token,
};

async function token(given: Arguments): Promise<number> {
  const [action, operand, ...more] = given.operands;
  const needed = action === "delete" ? operand !== undefined : operand === undefined;
  if (!["create", "list", "delete"].includes(action ?? "") || !needed || more.length > 0)
    throw new UsageError("wherry token create | list | delete TOKEN; see wherry token --help.");
  const name = checkName(given.text("name") ?? defaultName);
  const allotment = findAllotment(name);
  const paths = allotment === undefined ? undefined : pathsOf(allotment);
  if (paths === undefined || isJoined(paths))
    throw new Error(`There is no cluster ${name} on this machine. Run it where the cluster runs.`);
  const log = quietLog();
  const network = systemNetwork(log);
  const status = await askStatus(network, paths.controlSocket);
  if (status === undefined) throw new Error(`Cluster ${name} is stopped: start it with wherry up.`);
  const access = adminAccess(paths, contextName(name), status.server);
  const { hostname, port } = new URL(status.server);
  const remote = remoteHandler(
    network,
    systemClock,
    { host: hostname, port: Number(port) },
    {
      version: 1,
      timeoutMs: 10_000,
      tls: {
        roots: access.caPem,
        identity: () => ({ chain: access.clientCertificatePem, key: access.clientKeyPem }),
      },
    },
  );
  try {
    const client = createClient(remote.handler, { userAgent: "wherry" });
    if (action === "create") return await create(given, client, access.caPem);
    if (action === "list") return await list(client, access.caPem);
    return await remove(client, operand ?? "");
  } finally {
    remote.close();
  }
}

async function create(given: Arguments, client: Client, authority: string): Promise<number> {
  const text = given.text("ttl") ?? "24h";
  const ttlMs = text === "0" ? 0 : readDuration("--ttl", text);
  const parts = await createToken(
    client,
    { crypto: systemCrypto, clock: systemClock },
    { ttlMs, description: given.text("description") ?? "" },
  );
  const info = await client.get(ConfigMap, clusterInfoRef);
  const server = /server: (\S+)/.exec(info.data?.["kubeconfig"] ?? "")?.[1] ?? "https://HOST:6443";
  const whole = `${parts.id}.${parts.secret}.${certificateHash(systemCrypto, authority)}`;
  process.stdout.write(`${whole}\n`);
  process.stderr.write(
    `On the machine that shall join:\n  wherry join --server ${server} --token ${whole}\n`,
  );
  return 0;
}

async function list(client: Client, authority: string): Promise<number> {
  const hash = certificateHash(systemCrypto, authority);
  const rows = (await listTokens(client)).map((one) => [
    `${one.id}.${one.secret}.${hash}`,
    one.expiration ?? "<forever>",
    one.usages.join(",") || "<none>",
    one.description || "<none>",
  ]);
  const all = [["TOKEN", "EXPIRES", "USAGES", "DESCRIPTION"], ...rows];
  const widths = [0, 1, 2].map((column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  for (const row of all) {
    const cells = row.map((cell, column) => cell.padEnd(widths[column] ?? 0));
    process.stdout.write(`${cells.join("   ").trimEnd()}\n`);
  }
  return 0;
}

async function remove(client: Client, operand: string): Promise<number> {
  const id = parseJoinToken(operand)?.id ?? operand;
  if (!/^[a-z0-9]{6}$/.test(id))
    throw new UsageError(`wherry token delete ${operand}: give the token, or its first six signs.`);
  try {
    await deleteToken(client, id);
  } catch (error) {
    if (!isStatus(error, "NotFound")) throw error;
    process.stderr.write(`There is no token ${id}.\n`);
    return 1;
  }
  process.stdout.write(`Token ${id} is gone; nodes that joined with it stay.\n`);
  return 0;
}
