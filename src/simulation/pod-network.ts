/**
 * The network as a pod's programs see it: the memory network, with names resolved as a pod's resolver does it: by the servers, the
 * search list and the options that the kubelet gave to the sandbox. Asks the cluster's DNS by UDP like anyone.
 */
import { readAddresses, recordTypes, writeQuery } from "#addons/dns/message.ts";
import { canonicalIp } from "#machinery/ip.ts";
import type { Clock } from "#ports/clock.ts";
import { type Address, type HttpClient, type Network, NetworkError } from "#ports/network.ts";
import type { SandboxConfig } from "#ports/runtime.ts";
import type { Bytes } from "#ports/stream.ts";

export type Resolver = NonNullable<SandboxConfig["dns"]>;

/** As a resolver has it by default: 5 s a try, two tries a server. */
const tryMs = 5000;
const tries = 2;
const dnsPort = 53;
const idBytes = 2;

/** "ndots:5" among the options: names with fewer dots go through the search list first. */
function dotsOf({ options }: Resolver): number {
  const found = options.map((one) => /^ndots:(\d+)$/.exec(one)?.[1]).find((one) => one);
  return Number(found ?? 1);
}

/** The names to ask for, in order. */
export function candidates(name: string, resolver: Resolver): readonly string[] {
  if (name.endsWith(".")) return [name.slice(0, -1)];
  const searched = resolver.searches.map((suffix) => `${name}.${suffix}`);
  const dots = name.split(".").length - 1;
  return dots >= dotsOf(resolver) ? [name, ...searched] : [...searched, name];
}

/** `network` as seen by a pod whose resolver is so configured. */
export function podNetwork(network: Network, resolver: Resolver, clock: Clock): Network {
  const resolve = async (name: string): Promise<readonly string[]> => {
    if (canonicalIp(name) !== undefined) return [name];
    if (name === "localhost") return ["127.0.0.1"];
    for (const candidate of candidates(name, resolver)) {
      const addresses = await askAll(network, resolver, clock, candidate);
      if (addresses.length > 0) return addresses;
    }
    return network.resolve(name);
  };
  const placeOf = async (to: Address): Promise<Address> => {
    if ("unix" in to) return to;
    const [host] = await resolve(to.host);
    if (host === undefined) {
      throw new NetworkError("ENOTFOUND", `cannot resolve ${to.host}: no such name (ENOTFOUND)`);
    }
    return { host, port: to.port };
  };
  return {
    connect: async (to, options) => network.connect(await placeOf(to), options),
    listen: (at, options, accept) => network.listen(at, options, accept),
    serve: (at, options, handle) => network.serve(at, options, handle),
    http: (to, options) => {
      if ("unix" in to || canonicalIp(to.host) !== undefined) return network.http(to, options);
      // The certificate is for the name that was asked for.
      const tls = options.tls && { serverName: to.host, ...options.tls };
      const all = tls === undefined ? options : { ...options, tls };
      return namedClient(to, async () => network.http(await placeOf(to), all));
    },
    udp: (at, got) => network.udp(at, got),
    resolve,
  };
}

/** Resolves the name with the first request, and sends it as the Host. */
function namedClient(
  to: { readonly host: string; readonly port: number },
  open: () => Promise<HttpClient>,
): HttpClient {
  let client: Promise<HttpClient> | undefined;
  return {
    async send(request) {
      client ??= open();
      const opened = await client.catch((error: unknown) => {
        client = undefined;
        throw error;
      });
      const headers = { host: `${to.host}:${to.port}`, ...request.headers };
      return opened.send({ ...request, headers });
    },
    close() {
      client?.then(
        (opened) => opened.close(),
        () => {},
      );
    },
  };
}

async function askAll(
  network: Network,
  { servers }: Resolver,
  clock: Clock,
  name: string,
): Promise<readonly string[]> {
  for (let attempt = 0; attempt < tries; attempt++) {
    for (const server of servers) {
      const answer = await ask(network, server, clock, name);
      if (answer !== undefined) return answer;
    }
  }
  return [];
}

/** Undefined: no answer in time. */
async function ask(
  network: Network,
  server: string,
  clock: Clock,
  name: string,
): Promise<readonly string[] | undefined> {
  let answered: (bytes: Bytes | undefined) => void = () => {};
  const answer = new Promise<Bytes | undefined>((resolve) => {
    answered = resolve;
  });
  const query = writeQuery(name, recordTypes.A);
  const socket = await network.udp({ host: "0.0.0.0", port: 0 }, (bytes, from) => {
    const isAnswer = bytes.subarray(0, idBytes).every((byte, i) => byte === query[i]);
    if (isAnswer && from.host === server && from.port === dnsPort) answered(bytes);
  });
  const cancel = clock.after(tryMs, () => answered(undefined));
  socket.send(query, { host: server, port: dnsPort });
  const bytes = await answer;
  cancel();
  await socket.close(0);
  if (bytes === undefined) return undefined;
  return readAddresses(bytes).flatMap((record) => (record.type === "A" ? [record.address] : []));
}
