/** The contract of the dataplane, in memory. */
import { type DataplaneWorld, dataplaneContract, type Place } from "#ports/dataplane.contract.ts";
import type { Network } from "#ports/network.ts";
import { SteppedClock } from "./clock.ts";
import { MemoryDataplane } from "./dataplane.ts";
import { memoryLog } from "./log.ts";
import { MemoryNetwork } from "./network.ts";
import { seededRandom } from "./random.ts";

const addresses = { a: "10.251.7.11", b: "10.251.7.12", host: "10.251.7.1" } as const;
const waitMs = 5000;
const bytes = (text: string) => new TextEncoder().encode(text);
const text = (given: Uint8Array | undefined) =>
  given === undefined ? "silence" : new TextDecoder().decode(given);

async function world(): Promise<DataplaneWorld> {
  const clock = new SteppedClock({ startMs: 0 });
  const network = new MemoryNetwork({ clock, log: memoryLog() });
  const dataplane = new MemoryDataplane({
    clock,
    random: seededRandom(1),
    addresses: [addresses.host],
  });
  const places: Record<Place, Network> = {
    host: network.host(addresses.host),
    a: network.pod(addresses.a, addresses.host),
    b: network.pod(addresses.b, addresses.host),
  };
  network.translate(addresses.host, (...packet) => dataplane.translate(...packet));
  network.gates(addresses.host, (...packet) => dataplane.permits(...packet));
  for (const name of ["a", "b"] as const) {
    for (const port of [8080, 9090]) {
      const at = { host: addresses[name], port };
      await places[name].listen(at, {}, (connection) => {
        const serve = async (): Promise<void> => {
          while ((await connection.read()) !== undefined) await connection.write(bytes(name));
        };
        serve().catch(() => undefined);
      });
      const socket = await places[name].udp(at, (_bytes, from) => socket.send(bytes(name), from));
    }
  }
  /** What takes no time at all happens; all else takes too long. */
  const within = async (work: Promise<string>): Promise<string> => {
    const late = new Promise<string>((resolve) => {
      clock.after(waitMs, () => resolve("silence"));
    });
    const first = Promise.race([work, late]);
    await clock.advance(waitMs);
    return first;
  };
  const talk: DataplaneWorld["talk"] = async (from, protocol, address, port) => {
    if (protocol === "TCP") {
      const connection = await places[from].connect(
        { host: address, port },
        { timeoutMs: waitMs / 2 },
      );
      const say = async (): Promise<string> => {
        await connection.write(bytes("?"));
        return text(await connection.read());
      };
      return { say: () => within(say()), end: () => connection.end() };
    }
    let answered: (name: string) => void = () => {};
    const own = addresses[from];
    const socket = await places[from].udp({ host: own, port: 0 }, (got) => answered(text(got)));
    const say = (): Promise<string> => {
      const answer = new Promise<string>((resolve) => {
        answered = resolve;
      });
      socket.send(bytes("?"), { host: address, port });
      return answer;
    };
    return { say: () => within(say()), end: () => void socket.close(0) };
  };
  const ask: DataplaneWorld["ask"] = async (from, protocol, address, port) => {
    const opened = talk(from, protocol, address, port).then(
      (kept) => kept,
      (error: unknown) => (String(error).includes("ECONNREFUSED") ? "refused" : "silence"),
    );
    await clock.advance(waitMs);
    const kept = await opened;
    if (typeof kept === "string") return kept;
    const answer = await kept.say();
    kept.end();
    return answer;
  };
  return { dataplane, addresses, service: "10.252.7.10", fixed: {}, ask, talk };
}

const made = await world();
dataplaneContract("the dataplane in memory", () => made);
