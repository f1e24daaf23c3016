/** From what kubelets say to what is used: reading the text, and two readings together. */
import { describe, expect, test } from "vitest";
import { type Point, type Reading, readExposition } from "./exposition.ts";
import { UsageWindow } from "./usage-window.ts";

const text = `# HELP container_cpu_usage_seconds_total x
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="web",namespace="shop",pod="web-1"} 1.5 1700000001234
container_cpu_usage_seconds_total{container="half",namespace="shop",pod="half-1"} 2 1700000001234
container_memory_working_set_bytes{container="web",namespace="shop",pod="web-1"} 1.048576e+06 1700000001234
container_start_time_seconds{container="web",namespace="shop",pod="web-1"} 1.69999e+09
container_start_time_seconds{container="half",namespace="shop",pod="half-1"} 1.69999e+09
node_cpu_usage_seconds_total 77.25 1700000001000
node_memory_working_set_bytes 4096 1700000001000
pod_cpu_usage_seconds_total{namespace="shop",pod="web-1"} 3 1700000001234
resource_scrape_error 0
strange{a="\\"x\\"",b="\\\\"} NaN
not a line
`;

describe("the text of a kubelet", () => {
  test("is read as far as it is known; a pod of which something is missing is left out", () => {
    const { node, pods } = readExposition(text);
    expect(node).toEqual({ atMs: 1_700_000_001_000, cpuSeconds: 77.25, memoryBytes: 4096 });
    expect([...pods]).toEqual([
      [
        "shop/web-1",
        new Map([
          [
            "web",
            {
              atMs: 1_700_000_001_234,
              cpuSeconds: 1.5,
              memoryBytes: 1_048_576,
              startedAtMs: 1_699_990_000_000,
            },
          ],
        ]),
      ],
    ]);
  });
  test("is nothing where it is empty", () => {
    expect(readExposition("")).toEqual({ node: undefined, pods: new Map() });
  });
});

const second = 1000;
const at = (seconds: number, cpuSeconds: number, startedAtSeconds?: number): Point => ({
  atMs: 1e12 + seconds * second,
  cpuSeconds,
  memoryBytes: 1024,
  ...(startedAtSeconds === undefined ? {} : { startedAtMs: 1e12 + startedAtSeconds * second }),
});
const reading = (node: Point, web?: Point): ReadonlyMap<string, Reading> =>
  new Map([
    ["n", { node, pods: new Map(web === undefined ? [] : [["shop/web", new Map([["c", web]])]]) }],
  ]);

describe("two readings", () => {
  test("give the use between them", () => {
    const window = new UsageWindow();
    window.take(reading(at(0, 10), at(0, 1, -100)), 15_000);
    expect(window.node("n")).toBeUndefined();
    expect(window.pod("shop", "web")).toBeUndefined();
    window.take(reading(at(2, 11), at(2, 1.5, -100)), 15_000);
    const seen = { memoryBytes: 1024, atMs: 1e12 + 2000, windowMs: 2000 };
    expect(window.node("n")).toEqual({ cpuNanoCores: 500_000_000, ...seen });
    expect(window.pod("shop", "web")).toEqual([{ name: "c", cpuNanoCores: 250_000_000, ...seen }]);
    expect(window.pod("shop", "other")).toBeUndefined();
  });

  test("of the same moment change nothing", () => {
    const window = new UsageWindow();
    window.take(reading(at(0, 10)), 15_000);
    window.take(reading(at(2, 12)), 15_000);
    window.take(reading(at(2, 12)), 15_000);
    expect(window.node("n")?.cpuNanoCores).toBe(1_000_000_000);
  });

  test("with a new start between them give none until there is another", () => {
    const window = new UsageWindow();
    window.take(reading(at(0, 10), at(0, 100, -50)), 15_000);
    window.take(reading(at(15, 11), at(15, 1, 12)), 15_000);
    expect(window.pod("shop", "web")).toBeUndefined();
    window.take(reading(at(30, 12), at(30, 16, 12)), 15_000);
    expect(window.pod("shop", "web")?.[0]?.cpuNanoCores).toBe(1_000_000_000);
  });

  test("are not needed of what started since the one before, and had the time to start", () => {
    const window = new UsageWindow();
    window.take(reading(at(15, 11), at(15, 6, 3)), 15_000);
    const [usage] = window.pod("shop", "web") ?? [];
    expect(usage).toMatchObject({ cpuNanoCores: 500_000_000, windowMs: 12_000 });
  });

  test("that go back give none, and a node that does not answer is left out", () => {
    const window = new UsageWindow();
    window.take(reading(at(0, 10)), 15_000);
    window.take(reading(at(15, 9)), 15_000);
    expect(window.node("n")).toBeUndefined();
    window.take(new Map(), 15_000);
    window.take(reading(at(45, 12)), 15_000);
    expect(window.node("n")).toBeUndefined();
  });
});
