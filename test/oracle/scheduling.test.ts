/**
 * Our scheduler's decisions beside those of the original (scheduling/answers.jsonl, recorded by `npm run oracle:scheduling`): for each of the small
 * clusters what every node says of the waiting Pod, what each plugin's score is, the message, and whom preemption would evict where.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Answer, answerOf } from "./scheduling/answer.ts";
import { clusterCount, drawCluster } from "./scheduling/clusters.ts";

const golden = readFileSync(join(import.meta.dirname, "scheduling", "answers.jsonl"), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as Answer);

test.each(golden)("$id: same nodes, scores, words and victims", (theirs) => {
  const seed = Number(theirs.id.replace("cluster-", ""));
  expect(answerOf(drawCluster(seed))).toEqual(theirs);
});

test("the clusters are all there, and of all sorts", () => {
  expect(golden.length).toBe(clusterCount);
  const text = JSON.stringify(golden);
  for (const part of [
    "didn't match pod affinity rules",
    "didn't match pod anti-affinity rules",
    "didn't satisfy existing pods anti-affinity rules",
    "didn't match pod topology spread constraints",
    "(missing required label)",
    "untolerated taint(s)",
    "were unschedulable",
    "didn't match Pod's node affinity/selector",
    "didn't satisfy plugin(s)",
    "Insufficient cpu",
    "Too many pods",
    "free ports",
    "found a potential placement",
    "No preemption victims",
    "Preemption is not helpful",
    "preemptionPolicy=Never",
    "ImageLocality",
    "InterPodAffinity",
  ]) {
    expect(text).toContain(part);
  }
  expect(golden.filter((one) => (one.victims ?? []).length > 1).length).toBeGreaterThan(5);
});
