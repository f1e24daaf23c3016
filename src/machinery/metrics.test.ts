import { expect, test } from "vitest";
import { Metrics } from "./metrics.ts";

test("metrics are written in Prometheus' text form, families by name", () => {
  const metrics = new Metrics();
  metrics.histogram("b_seconds", "How long.", ["verb"], [0.1, 1]).of(["GET"]).observe(0.5);
  metrics.histogram("b_seconds", "How long.", ["verb"], [0.1, 1]).of(["GET"]).observe(2);
  metrics.counter("a_total", "How often.", ["code", "path"]).of(["200", 'a"\\\n']).add();
  const gauge = metrics.gauge("c", "How many.");
  metrics.gather(() => gauge.of([]).set(3));
  metrics.counter("unused_total", "Never.");
  expect(metrics.write()).toBe(
    [
      "# HELP a_total How often.",
      "# TYPE a_total counter",
      'a_total{code="200",path="a\\"\\\\\\n"} 1',
      "# HELP b_seconds How long.",
      "# TYPE b_seconds histogram",
      'b_seconds_bucket{verb="GET",le="0.1"} 0',
      'b_seconds_bucket{verb="GET",le="1"} 1',
      'b_seconds_bucket{verb="GET",le="+Inf"} 2',
      'b_seconds_sum{verb="GET"} 2.5',
      'b_seconds_count{verb="GET"} 2',
      "# HELP c How many.",
      "# TYPE c gauge",
      "c 3",
      "",
    ].join("\n"),
  );
});

test("a family is bounded, whatever its labels are made from", () => {
  const counter = new Metrics().counter("a_total", "How often.", ["name"]);
  for (let at = 0; at < 30_000; at++) counter.of([String(at)]).add();
  expect(counter.all).toHaveLength(20_000);
});
