import { expect, test } from "vitest";
import { readJunit } from "./junit.ts";

const report = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="5"><testsuite name="Kubernetes e2e suite">
<testcase name="[SynchronizedBeforeSuite]" classname="x" status="passed" time="0.1"></testcase>
<testcase name="[It] [sig-node] Pods should &#34;work&#34; &amp; play [Conformance]" status="passed" time="3.14159"/>
<testcase name="[It] [sig-node] not selected" status="skipped" time="0"><skipped message="skipped"></skipped></testcase>
<testcase name="[It] [sig-node] two nodes" status="skipped" time="0.5"><skipped message="skipped - Requires at least 2 nodes (not 1)"></skipped></testcase>
<testcase name="[It] [sig-apps] Job fails" status="failed" time="12.06"><failure type="failed">[FAILED] creating job: the server could not find
  &lt;*errors.StatusError | 0xc000123456&gt;: the requested resource
In [It] at: job.go:42 @ 11/22/26 21:00:00.000
</failure><system-err>timeline &gt; with <![CDATA[text]]></system-err></testcase>
<testcase name="[It] [sig-apps] panics" status="panicked" time="1"><error type="panicked">[PANICKED] nil map
In [It] at: x.go:1</error></testcase>
</testsuite></testsuites>`;

test("selected specs, how they ended, and why", () => {
  expect(readJunit(report)).toEqual([
    {
      name: '[sig-node] Pods should "work" & play [Conformance]',
      status: "passed",
      reason: "",
      seconds: 3.1,
    },
    {
      name: "[sig-node] two nodes",
      status: "skipped",
      reason: "skipped - Requires at least 2 nodes (not 1)",
      seconds: 0.5,
    },
    {
      name: "[sig-apps] Job fails",
      status: "failed",
      reason: "creating job: the server could not find the requested resource",
      seconds: 12.1,
    },
    { name: "[sig-apps] panics", status: "failed", reason: "nil map", seconds: 1 },
  ]);
});

test("a file that was cut short gives the cases that are whole", () => {
  expect(readJunit(report.slice(0, report.indexOf("[sig-apps] Job fails")))).toHaveLength(2);
});
