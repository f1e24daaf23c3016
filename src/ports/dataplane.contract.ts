/** What every dataplane keeps to: two pods "a" and "b" on one machine, and what each of the three reaches. */
import { afterEach, expect, test } from "vitest";
import type { Dataplane, DataplaneFact, GateFact, PolicyRule, ServiceFact } from "./dataplane.ts";

export type Place = "a" | "b" | "host";
export interface Talk {
  /** Sends something and gives the name of who answers; "silence": nobody. */
  say(): Promise<string>;
  end(): void;
}
export interface DataplaneWorld {
  readonly dataplane: Dataplane;
  /** Of the pods, each with a server on TCP and UDP 8080 and 9090 that says its name, and of the machine. */
  readonly addresses: Readonly<Record<Place, string>>;
  /** An address that belongs to nobody; packets for it get as far as the dataplane. */
  readonly service: string;
  /** What else always holds (a route to `service`). */
  readonly fixed: Readonly<Record<string, DataplaneFact>>;
  /** "a" or "b" answered, "refused", or "silence" within a time. */
  readonly ask: (
    from: Place,
    protocol: "TCP" | "UDP",
    address: string,
    port: number,
  ) => Promise<string>;
  /** A connection, or a socket for datagrams, that is kept. */
  readonly talk: (
    from: Place,
    protocol: "TCP" | "UDP",
    address: string,
    port: number,
  ) => Promise<Talk>;
}

export function dataplaneContract(name: string, world: () => DataplaneWorld): void {
  const set = (facts: Record<string, DataplaneFact>): Promise<void> =>
    world().dataplane.replace(new Map(Object.entries({ ...world().fixed, ...facts })));
  const change = (facts: Record<string, DataplaneFact | undefined>): Promise<void> =>
    world().dataplane.apply(new Map(Object.entries(facts)));
  const backend = (place: "a" | "b", local = true, port = 8080) => ({
    address: world().addresses[place],
    port,
    local,
  });
  const service = (over: Partial<ServiceFact>): ServiceFact => ({
    type: "service",
    protocol: "TCP",
    port: 80,
    addresses: [world().service],
    externalAddresses: [],
    balancerAddresses: [],
    backends: [],
    externalLocal: false,
    internalLocal: false,
    sourceRanges: [],
    ...over,
  });
  const gate = (
    place: "a" | "b",
    direction: GateFact["direction"],
    ...policies: string[]
  ): GateFact => ({ type: "gate", direction, address: world().addresses[place], policies });
  const policy = (direction: GateFact["direction"], ...rules: PolicyRule[]): DataplaneFact => ({
    type: "policy",
    direction,
    rules,
  });
  const only = (...addresses: string[]): PolicyRule => ({ peers: { addresses, blocks: [] } });
  const pod = (from: Place, to: "a" | "b", port = 8080, protocol: "TCP" | "UDP" = "TCP") =>
    world().ask(from, protocol, world().addresses[to], port);
  afterEach(() => set({}));

  test(`${name}: a Service leads to its backends, and refuses without any`, async () => {
    const ask = (from: Place) => world().ask(from, "TCP", world().service, 80);
    await set({ web: service({ backends: [backend("b")] }) });
    expect(await ask("a")).toBe("b");
    expect(await ask("b")).toBe("b");
    expect(await ask("host")).toBe("b");
    await change({ web: service({}) });
    expect(await ask("a")).toBe("refused");
    await change({ web: service({ backends: [backend("a")] }) });
    expect(await ask("b")).toBe("a");
  });

  test(`${name}: node ports, external and balancer addresses`, async () => {
    const { addresses, ask } = world();
    const fact = service({
      nodePort: 31_997,
      balancerAddresses: [addresses.host],
      port: 31_996,
      backends: [backend("b")],
    });
    await set({ web: fact });
    for (const from of ["a", "b", "host"] as const) {
      expect(await ask(from, "TCP", addresses.host, 31_997)).toBe("b");
      expect(await ask(from, "TCP", addresses.host, 31_996)).toBe("b");
    }
    expect(await ask("host", "TCP", "127.0.0.1", 31_997)).toBe("b");
    await change({ web: { ...fact, sourceRanges: [`${addresses.b}/32`] } });
    expect(await ask("b", "TCP", addresses.host, 31_996)).toBe("b");
    expect(await ask("a", "TCP", addresses.host, 31_996)).toBe("silence");
    // The ranges are the balancer's: node ports do not ask.
    expect(await ask("a", "TCP", addresses.host, 31_997)).toBe("b");
  });

  test(`${name}: only local backends: for what comes from outside, not for what is sent here`, async () => {
    const { addresses, ask, fixed } = world();
    const fact = service({
      nodePort: 31_997,
      externalLocal: true,
      backends: [backend("b", false)],
    });
    await set({ web: fact });
    expect(await ask("a", "TCP", addresses.host, 31_997)).toBe("silence");
    expect(await ask("host", "TCP", addresses.host, 31_997)).toBe("b");
    expect(await ask("a", "TCP", world().service, 80)).toBe("b");
    const out = { type: "masquerade", source: `${addresses.a}/32`, except: ["0.0.0.0/0"] } as const;
    await world().dataplane.replace(new Map(Object.entries({ ...fixed, web: fact, out })));
    expect(await ask("a", "TCP", addresses.host, 31_997)).toBe("b");
    expect(await ask("b", "TCP", addresses.host, 31_997)).toBe("silence");
    await change({ web: service({ internalLocal: true, backends: [backend("b", false)] }) });
    expect(await ask("a", "TCP", world().service, 80)).toBe("silence");
  });

  test(`${name}: affinity keeps a client with its backend, also when its length changes`, async () => {
    const backends = [backend("a"), backend("b")];
    const ask = () => world().ask("host", "TCP", world().service, 80);
    await set({ web: service({ affinitySeconds: 600, backends }) });
    const first = await ask();
    for (let i = 0; i < 8; i++) expect(await ask()).toBe(first);
    await change({ web: service({ affinitySeconds: 300, backends }) });
    const then = await ask();
    for (let i = 0; i < 8; i++) expect(await ask()).toBe(then);
    const other = then === "a" ? "b" : "a";
    await change({ web: service({ affinitySeconds: 300, backends: [backend(other)] }) });
    expect(await ask()).toBe(other);
  });

  test(`${name}: a UDP socket that goes on asking finds the new backend`, async () => {
    const fact = (...backends: ServiceFact["backends"]) =>
      service({ protocol: "UDP", port: 53, nodePort: 31_995, backends });
    await set({ dns: fact(backend("a")) });
    const inside = await world().talk("b", "UDP", world().service, 53);
    const outside = await world().talk("b", "UDP", world().addresses.host, 31_995);
    expect(await inside.say()).toBe("a");
    expect(await outside.say()).toBe("a");
    await change({ dns: fact(backend("b")) });
    expect(await inside.say()).toBe("b");
    expect(await outside.say()).toBe("b");
    inside.end();
    outside.end();
  });

  test(`${name}: a gate without a policy lets nobody in but the machine and the pod itself`, async () => {
    await set({ gate: gate("b", "ingress"), web: service({ backends: [backend("b")] }) });
    expect(await pod("a", "b")).toBe("silence");
    expect(await pod("a", "b", 8080, "UDP")).toBe("silence");
    expect(await world().ask("a", "TCP", world().service, 80)).toBe("silence");
    expect(await pod("host", "b")).toBe("b");
    expect(await pod("b", "b")).toBe("b");
    expect(await world().ask("b", "TCP", world().service, 80)).toBe("b");
    // Answers to what it asks itself.
    expect(await pod("b", "a")).toBe("a");
    expect(await pod("b", "a", 8080, "UDP")).toBe("a");
    await change({ gate: undefined });
    expect(await pod("a", "b")).toBe("b");
  });

  test(`${name}: a gate lets out only where its policies say`, async () => {
    const { a, b, host } = world().addresses;
    await set({ gate: gate("a", "egress") });
    expect(await pod("a", "b")).toBe("silence");
    expect(await world().ask("a", "TCP", host, 9)).toBe("silence");
    expect(await pod("b", "a")).toBe("a");
    await change({ out: policy("egress", only(b)), gate: gate("a", "egress", "out") });
    expect(await pod("a", "b")).toBe("b");
    expect(await world().ask("a", "TCP", host, 9)).toBe("silence");
    // Peers come and go without the gate.
    await change({ out: policy("egress", only(a)) });
    expect(await pod("a", "b")).toBe("silence");
    await change({ out: policy("egress", only(a, b)) });
    expect(await pod("a", "b")).toBe("b");
    await change({ out: undefined, gate: undefined });
    expect(await pod("a", "b")).toBe("b");
  });

  test(`${name}: both gates of a connection must open`, async () => {
    const { a, b } = world().addresses;
    await set({
      out: policy("egress", only(b)),
      leave: gate("a", "egress", "out"),
      enter: gate("b", "ingress"),
    });
    expect(await pod("a", "b")).toBe("silence");
    await change({ in: policy("ingress", only(a)), enter: gate("b", "ingress", "in") });
    expect(await pod("a", "b")).toBe("b");
    await change({ leave: gate("a", "egress"), out: undefined });
    expect(await pod("a", "b")).toBe("silence");
  });

  test(`${name}: policies add up; blocks have holes; ports have ranges and places`, async () => {
    const { a, b } = world().addresses;
    const enter = (...policies: string[]) => gate("b", "ingress", ...policies);
    const block = (cidr: string, ...except: string[]): PolicyRule => ({
      peers: { addresses: [], blocks: [{ cidr, except }] },
    });
    await set({ one: policy("ingress", block("0.0.0.0/0", `${a}/32`)), enter: enter("one") });
    expect(await pod("a", "b")).toBe("silence");
    await change({ two: policy("ingress", block(`${a}/32`)), enter: enter("one", "two") });
    expect(await pod("a", "b")).toBe("b");
    const ports = (...all: NonNullable<PolicyRule["ports"]>) =>
      change({ two: policy("ingress", { peers: only(a).peers ?? never(), ports: all }) });
    await ports({ protocol: "TCP", range: [8000, 8999] }, { protocol: "UDP", range: [9090, 9090] });
    expect(await pod("a", "b", 8080)).toBe("b");
    expect(await pod("a", "b", 9090)).toBe("silence");
    expect(await pod("a", "b", 8080, "UDP")).toBe("silence");
    expect(await pod("a", "b", 9090, "UDP")).toBe("b");
    await ports({ protocol: "TCP", range: [8080, 8080], at: [a] }, { protocol: "UDP" });
    expect(await pod("a", "b", 8080)).toBe("silence");
    expect(await pod("a", "b", 8080, "UDP")).toBe("b");
    await ports({ protocol: "TCP", range: [8080, 8080], at: [a, b] });
    expect(await pod("a", "b", 8080)).toBe("b");
    await change({ two: policy("ingress", { ports: [{ protocol: "TCP" }] }) });
    expect(await pod("a", "b", 9090)).toBe("b");
    await change({ two: policy("ingress", {}) });
    expect(await pod("a", "b", 9090, "UDP")).toBe("b");
  });

  test(`${name}: a connection that was goes on when a gate closes`, async () => {
    const { b } = world().addresses;
    const talk = await world().talk("a", "TCP", b, 8080);
    expect(await talk.say()).toBe("b");
    await change({ gate: gate("b", "ingress") });
    expect(await talk.say()).toBe("b");
    expect(await pod("a", "b")).toBe("silence");
    talk.end();
  });
}

const never = (): never => {
  throw new Error("a rule with addresses has peers");
};
