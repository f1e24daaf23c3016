import { httpProxyContract } from "#ports/http-proxy.contract.ts";
import { SteppedClock } from "./clock.ts";
import { memoryCrypto } from "./crypto.ts";
import { MemoryHttpProxy } from "./http-proxy.ts";
import { memoryLog } from "./log.ts";
import { MemoryNetwork } from "./network.ts";
import { seededRandom } from "./random.ts";

const dayMs = 86_400_000;

httpProxyContract("the proxy in memory", async () => {
  const clock = new SteppedClock({ startMs: dayMs });
  const crypto = memoryCrypto(seededRandom(1));
  const hub = new MemoryNetwork({ clock, log: memoryLog(), crypto });
  const network = hub.host("192.0.2.1");
  return {
    proxy: new MemoryHttpProxy({ network: () => network, ports: [80], tlsPorts: [443] }),
    network,
    host: "192.0.2.1",
    proxyHost: "192.0.2.1",
    async certificate(...names) {
      const { privateKey, publicKey } = await crypto.generateKey("ES256");
      const facts = {
        user: "test",
        groups: [],
        names,
        uses: ["ca", "server auth"] as const,
        fromMs: 0,
        toMs: 2 * dayMs,
      };
      const chain = await crypto.issue(facts, publicKey, { privateKey });
      return { chain, key: privateKey, roots: chain };
    },
  };
});
