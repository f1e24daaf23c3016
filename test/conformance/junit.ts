/** Reads the JUnit files that the suite writes: which tests ran, and how they ended. */
export interface Case {
  readonly name: string;
  readonly status: "passed" | "failed" | "skipped";
  /** Why it did not pass, on one line. */
  readonly reason: string;
  readonly seconds: number;
}

const entities: Readonly<Record<string, string>> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
};

const unescape = (text: string): string =>
  text.replace(/&(#x[0-9a-f]+|#\d+|\w+);/gi, (whole, name: string) => {
    if (name.startsWith("#x")) return String.fromCodePoint(Number.parseInt(name.slice(2), 16));
    if (name.startsWith("#")) return String.fromCodePoint(Number(name.slice(1)));
    return entities[name] ?? whole;
  });

function attributes(text: string): ReadonlyMap<string, string> {
  const pairs = [...text.matchAll(/([\w-]+)="([^"]*)"/g)];
  return new Map(pairs.map(([, name = "", value = ""]) => [name, unescape(value)]));
}

const reasonLength = 400;

/** A failure's text without the object dumps, times and source places that Ginkgo and Gomega put around it, on one line. */
export function shortReason(text: string): string {
  const line = text
    .replace(/^\s*\[(?:FAILED|TIMEDOUT|INTERRUPTED|PANICKED|ABORTED)[^\]]*\]/, "")
    .replace(/\bIn \[[^\]]+\] at: [\s\S]*/, "")
    .replace(/<[*\w./|]+(?:\s*\|\s*0x[0-9a-f]+)?>:?/g, " ")
    .replace(/\b0x[0-9a-f]{6,}\b/g, "")
    .replace(/\s+/g, " ")
    .trim();
  return line.length <= reasonLength ? line : `${line.slice(0, reasonLength - 1)}…`;
}

/** The specs that were selected and came to an end; setup and teardown of the suite itself are no tests. */
export function readJunit(xml: string): readonly Case[] {
  const cases: Case[] = [];
  for (const [, head = "", closed, body = ""] of xml.matchAll(
    /<testcase\b((?:[^>"]|"[^"]*")*?)(?:(\/)>|>([\s\S]*?)<\/testcase>)/g,
  )) {
    const given = attributes(head);
    const name = given.get("name") ?? "";
    if (!name.startsWith("[It] ")) continue;
    const ended = endOf(closed === undefined ? body : "");
    if (ended === undefined) continue;
    const seconds = Math.round(Number(given.get("time") ?? 0) * 10) / 10;
    cases.push({ name: name.slice("[It] ".length), ...ended, seconds });
  }
  return cases;
}

const notSelected = "skipped";

function endOf(body: string): Pick<Case, "status" | "reason"> | undefined {
  const [, element, head = "", , text = ""] =
    /<(failure|error|skipped)\b((?:[^>"]|"[^"]*")*?)(?:(\/)>|>([\s\S]*?)<\/\1>)/.exec(body) ?? [];
  if (element === undefined) return { status: "passed", reason: "" };
  const message = attributes(head).get("message") ?? "";
  if (element !== "skipped") {
    return { status: "failed", reason: shortReason(unescape(text) || message) };
  }
  if (message === notSelected) return undefined;
  return { status: "skipped", reason: shortReason(message) };
}
