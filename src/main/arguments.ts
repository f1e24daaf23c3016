/** The command line: one table of options a command, one reader, one kind of error. */

/** What the user got wrong; printed without a stack, exit code 2. */
export class UsageError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "UsageError";
  }
}

export interface Option {
  readonly name: string;
  /** Placeholder of its value; without one it is a switch. */
  readonly value?: string;
  readonly short?: string;
  readonly default?: string;
  readonly repeated?: boolean;
  readonly help: string;
}
export interface Command {
  readonly name: string;
  /** Arguments besides options, as shown in the usage line. */
  readonly operands?: string;
  readonly summary: string;
  readonly options: readonly Option[];
  /** Gives the exit code. */
  readonly run: (given: Arguments) => Promise<number>;
}
export interface Arguments {
  readonly operands: readonly string[];
  /** Behind "--". */
  readonly rest: readonly string[] | undefined;
  text(name: string): string | undefined;
  list(name: string): readonly string[];
  switch(name: string): boolean;
  /** Was it given, rather than defaulted? */
  given(name: string): boolean;
}

export function readArguments(command: Command, words: readonly string[]): Arguments {
  const values = new Map<string, string[]>();
  const operands: string[] = [];
  let rest: string[] | undefined;
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? "";
    if (word === "--") {
      rest = words.slice(at + 1);
      break;
    }
    if (!word.startsWith("-") || word === "-") {
      operands.push(word);
      continue;
    }
    const equals = word.indexOf("=");
    const flag = equals < 0 ? word : word.slice(0, equals);
    const option = command.options.find(
      (one) => `--${one.name}` === flag || (one.short !== undefined && `-${one.short}` === flag),
    );
    if (option === undefined) throw new UsageError(unknownOption(command, flag));
    const list = values.get(option.name) ?? [];
    if (list.length > 0 && !option.repeated) throw new UsageError(`${flag} is given twice.`);
    if (option.value === undefined) {
      const text = equals < 0 ? "true" : word.slice(equals + 1);
      if (text !== "true" && text !== "false") {
        throw new UsageError(`${flag} is a switch: it takes no value but true or false.`);
      }
      values.set(option.name, [text]);
      continue;
    }
    const value = equals >= 0 ? word.slice(equals + 1) : words[++at];
    if (value === undefined)
      throw new UsageError(`${flag} needs a value: ${flag} ${option.value}.`);
    values.set(option.name, [...list, value]);
  }
  const defaults = new Map(command.options.map((option) => [option.name, option.default]));
  return {
    operands,
    rest,
    text: (name) => values.get(name)?.[0] ?? defaults.get(name),
    list: (name) => values.get(name) ?? [],
    switch: (name) => values.get(name)?.[0] === "true",
    given: (name) => values.has(name),
  };
}

function unknownOption(command: Command, flag: string): string {
  const near = command.options
    .map(({ name }) => `--${name}`)
    .find((name) => distance(name, flag) <= 2 || name.startsWith(flag));
  const hint = near === undefined ? "" : ` Did you mean ${near}?`;
  return `${flag} is not an option of wherry ${command.name}.${hint} See wherry ${command.name} --help.`;
}

/** How many letters differ (Levenshtein). */
export function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + same));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

export function commandHelp(command: Command): string {
  const usage = `Usage: wherry ${command.name}${command.operands ? ` ${command.operands}` : ""}${command.options.length > 0 ? " [options]" : ""}`;
  const left = command.options.map(({ name, short, value }) => {
    const flags = short === undefined ? `    --${name}` : `-${short}, --${name}`;
    return value === undefined ? flags : `${flags} ${value}`;
  });
  const width = Math.max(0, ...left.map((text) => text.length));
  const lines = command.options.map((option, i) => {
    const fallback = option.default === undefined ? "" : ` (default ${option.default})`;
    return `  ${(left[i] ?? "").padEnd(width)}  ${option.help}${fallback}`;
  });
  return [command.summary, "", usage, ...(lines.length > 0 ? ["", ...lines] : []), ""].join("\n");
}

/** "60s", "5m", "1500ms" in milliseconds. */
export function readDuration(flag: string, text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text);
  if (match === null) throw new UsageError(`${flag} ${text}: not a duration; write 60s, 5m or 1h.`);
  const units: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  return Number(match[1]) * (units[match[2] ?? "s"] ?? 1000);
}

export function readInteger(flag: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || value > most) {
    throw new UsageError(`${flag} ${text}: not a whole number from ${least} to ${most}.`);
  }
  return value;
}
