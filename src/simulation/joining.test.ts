/** Stories of machines that join: token, discovery, certificates by request, what is refused. Over the simulated network. */
import { afterEach, expect, test } from "vitest";
import { memoryCrypto } from "#adapters/memory/crypto.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import { CertificateSigningRequest } from "#api/certificates/v1/certificatesigningrequest.ts";
import { Node } from "#api/core/v1/node.ts";
import { Secret } from "#api/core/v1/secret.ts";
import { createClient } from "#client/client.ts";
import { remoteHandler } from "#client/remote.ts";
import { type JoinOrder, join, orderAsNode } from "#cluster/join.ts";
import { provideJoinInfo } from "#cluster/join-info.ts";
import { certificateHash, parseJoinToken } from "#cluster/join-token.ts";
import { createToken, listTokens } from "#cluster/join-tokens.ts";
import { createWorld, type World } from "./world.ts";

let world: World | undefined;
afterEach(async () => {
  await world?.stop();
  world = undefined;
});

const server = { host: "198.18.0.1", port: 6443 };
const machine = "198.19.0.7";

async function start() {
  world = await createWorld({ seed: 5, nodes: 1, transport: "https" });
  const { client, clock, network, controlPlane } = world;
  const crypto = memoryCrypto(seededRandom("joiner"));
  const authority = await controlPlane.certificates.authority();
  const facts = { podCidr: "10.244.0.0/16", serviceCidr: "10.96.0.0/16", domain: "cluster.local" };
  await provideJoinInfo(client, facts, `https://${server.host}:${server.port}`, authority);
  const ports = { network: network.host(machine), crypto, clock };
  const token = await createToken(client, ports, { ttlMs: 3_600_000, description: "a test" });
  const caHash = certificateHash(crypto, authority);
  const order: JoinOrder = {
    server,
    token: { ...token, caHash },
    nodeName: "new-node",
    addresses: [machine],
    certificateMsMax: 30_000,
  };
  const during = async <T>(promise: Promise<T>): Promise<T> => {
    const outcomes: ({ value: T } | { error: unknown })[] = [];
    void promise.then(
      (value) => outcomes.push({ value }),
      (error: unknown) => outcomes.push({ error }),
    );
    for (let steps = 0; outcomes.length === 0 && steps < 600; steps++) await clock.advance(100);
    const [outcome] = outcomes;
    if (outcome === undefined) throw new Error("it takes for ever");
    if ("error" in outcome) throw outcome.error;
    return outcome.value;
  };
  return { world, ports, order, facts, authority, during };
}

test("a machine with a token becomes a node, with certificates that only it has the keys of", async () => {
  const { world: w, ports, order, facts, authority, during } = await start();
  const joined = await during(join(order, ports));
  expect(joined.facts).toEqual(facts);
  expect(joined.authority).toBe(authority);
  const client = ports.crypto.readCertificate(joined.client.certificate);
  expect(client).toMatchObject({
    user: "system:node:new-node",
    groups: ["system:nodes"],
    names: [],
    uses: ["client auth"],
  });
  const serving = ports.crypto.readCertificate(joined.server.certificate);
  expect(serving).toMatchObject({ names: ["new-node", machine], uses: ["server auth"] });
  const identity = () => ({ chain: joined.client.certificate, key: joined.client.privateKey });
  const remote = remoteHandler(ports.network, ports.clock, server, {
    tls: { roots: authority, identity },
    version: 1,
    timeoutMs: 5000,
  });
  const node = createClient(remote.handler, { userAgent: "kubelet" });
  const made = await during(node.create(Node, { metadata: { name: "new-node" }, spec: {} }));
  expect(made.metadata.name).toBe("new-node");
  await expect(during(node.list(Secret))).rejects.toThrow("can only read namespaced object");
  remote.close();
  // It renews what it has by itself, as the node that it is now.
  const renewed = await during(orderAsNode("client", order, ports, authority, joined.client));
  expect(renewed.certificate).not.toBe(joined.client.certificate);
  const requests = await w.client.list(CertificateSigningRequest);
  expect(
    requests.items.map(({ spec }) => spec.username ?? "").toSorted((a, b) => (a < b ? -1 : 1)),
  ).toEqual([`system:bootstrap:${order.token.id}`, "system:node:new-node", "system:node:new-node"]);
  // Requests that are done with go after an hour, the token when it has expired.
  await w.clock.advance(3_700_000);
  expect((await during(w.client.list(CertificateSigningRequest))).items).toEqual([]);
  expect(await during(listTokens(w.client))).toEqual([]);
});

test("a wrong token, a wrong hash and a name that is not one's own get nothing", async () => {
  const { ports, order, during } = await start();
  const wrong = { ...order, token: { ...order.token, secret: "0000000000000000" } };
  await expect(during(join(wrong, ports))).rejects.toThrow(
    "the cluster does not know this token, or it has expired",
  );
  const elsewhere = { ...order, token: { ...order.token, caHash: "0".repeat(64) } };
  await expect(during(join(elsewhere, ports))).rejects.toThrow("this is another cluster");
  await expect(during(join({ ...order, nodeName: "node-1" }, ports))).rejects.toThrow(
    "the cluster has a node node-1 already, and it is Ready",
  );
  const joined = await during(join(order, ports));
  const stolen = orderAsNode(
    "serving",
    { ...order, nodeName: "node-1" },
    ports,
    joined.authority,
    joined.client,
  );
  await expect(during(stolen)).rejects.toThrow(
    "can only create a node CSR with CN=system:node:new-node",
  );
});

test("tokens are read as they are written", () => {
  const hash = "0123456789abcdef".repeat(4);
  const bare = { id: "abcdef", secret: "0123456789abcdef" };
  expect(parseJoinToken("abcdef.0123456789abcdef")).toEqual({ ...bare, caHash: undefined });
  expect(parseJoinToken(`abcdef.0123456789abcdef.${hash}`)).toEqual({ ...bare, caHash: hash });
  for (const text of ["", "abcdef", "ABCDEF.0123456789abcdef", "abcdef.0123456789abcdef.12"])
    expect(parseJoinToken(text)).toBeUndefined();
});
