/**
 * Running the same command line with kubectl and with `wherry kubectl`, each in a namespace of its own, and comparing what they say and
 * how they end. What differs by nature (ages, names drawn at random, addresses, versions) is masked on both sides.
 */
import { expect } from "vitest";
import type { TestCluster } from "./cluster.ts";
import type { Outcome, RunOptions } from "./programs.ts";

const masks: readonly (readonly [RegExp, string])[] = [
  [/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "UID"],
  [/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)/g, "TIME"],
  [/\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}/g, "TIME"],
  [/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} \S+/g, "TIME"],
  [/(resourceVersion\\*"?: ?\\*)"\d+\\*"/g, "$1N"],
  [/\b10\.\d+\.\d+\.\d+\b/g, "IP"],
  [/\b3[0-2]\d{3}\b/g, "NODEPORT"],
  [/-[0-9a-f]{8,10}(-[bcdfghjklmnpqrstvwxz2456789]{5})?\b/g, "-HASH"],
  [/\b(\d+[smhdy])+\b/g, "AGE"],
  [/ \(x\d+ over AGE\)/g, ""],
  [/v1\.3\d\.\d+/g, "VERSION"],
  [/^Kustomize Version.*\n/gm, ""],
  [/^Warning: version difference.*\n/gm, ""],
  [/^ +Kube-Proxy Version:.*\n/gm, ""],
  // How often it looks depends on the moment.
  [/^Waiting for .*\n/gm, ""],
  [/^E\d{4} .*memcache\.go.*\n/gm, ""],
  [/^Warning: resource \S+ was previously managed.*\n/gm, ""],
  [/#success=/g, "successThreshold="],
  [/#failure=/g, "failureThreshold="],
  [/^( +NodeName:).*/gm, "$1 NODE"],
  [/web-[a-z0-9]{5}\b/g, "web-HASH"],
  [/-{2,}/g, "--"],
  [/ +$/gm, ""],
  [/ {2,}/g, "  "],
];

export class Comparison {
  readonly #cluster: TestCluster;
  readonly #namespaces = ["compare-one", "compare-two"] as const;

  constructor(cluster: TestCluster) {
    this.#cluster = cluster;
  }
  async start(): Promise<void> {
    for (const name of this.#namespaces) {
      await this.#cluster.ok("create", "namespace", name);
      await this.#cluster.until("serviceaccount/default", ".metadata.name", /default/, "-n", name);
    }
  }

  #mask(text: string): string {
    let masked = this.#namespaces.reduce((all, name) => all.replaceAll(name, "NAMESPACE"), text);
    for (const [pattern, instead] of masks) masked = masked.replace(pattern, instead);
    return masked;
  }

  /** Both must say the same and end alike; gives what wherry said. `unordered`: lines may come in any order. */
  async same(
    args: readonly string[],
    options: RunOptions & { readonly unordered?: boolean } = {},
  ): Promise<Outcome> {
    const [one, two] = this.#namespaces;
    const config = ["--kubeconfig", this.#cluster.kubeconfig];
    // Flags behind a command's own "--" would be its arguments.
    const dash = args.indexOf("--");
    const put = (more: readonly string[]): string[] =>
      dash < 0 ? [...args, ...more] : [...args.slice(0, dash), ...more, ...args.slice(dash)];
    const theirs = await this.#cluster.kubectl(put(["-n", one]), options);
    const ours = await this.#cluster.wherry(["kubectl", ...config, ...put(["-n", two])], options);
    const shown = (outcome: Outcome): object => {
      const lines = (text: string): string | string[] => {
        const masked = this.#mask(text);
        return options.unordered === true ? masked.split("\n").toSorted() : masked;
      };
      return { code: outcome.code, stdout: lines(outcome.stdout), stderr: lines(outcome.stderr) };
    };
    expect(shown(ours), args.join(" ")).toEqual(shown(theirs));
    return ours;
  }
}
