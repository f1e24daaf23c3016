/** .dockerignore: which files of the folder are no part of what is built (Dockerfile reference, ".dockerignore file"). Pure. */

interface Rule {
  readonly matches: RegExp;
  readonly isException: boolean;
}

export type IsIgnored = (path: string) => boolean;

/** Go's filepath.Match with "**" for any number of folders. */
export function pathPattern(pattern: string): RegExp {
  let source = "";
  for (let at = 0; at < pattern.length; at++) {
    const letter = pattern[at] as string;
    if (letter === "*") {
      if (pattern[at + 1] !== "*") source += "[^/]*";
      else {
        at++;
        if (pattern[at + 1] === "/") at++;
        source += at + 1 >= pattern.length ? ".*" : "(?:.*/)?";
      }
    } else if (letter === "?") source += "[^/]";
    else if (letter === "[") {
      const end = pattern.indexOf("]", at + 2);
      if (end < 0) throw new Error(`syntax error in pattern ${pattern}: its bracket never closes`);
      const inner = pattern.slice(at + 1, end).replace(/\\/g, "\\\\");
      source += `[${inner}]`;
      at = end;
    } else if (letter === "\\") source += escaped(pattern[++at] ?? "\\");
    else source += escaped(letter);
  }
  return new RegExp(`^${source}$`, "u");
}

const escaped = (letter: string): string => letter.replace(/[\\^$.|+*?()[\]{}/]/, "\\$&");

const tidy = (line: string): string =>
  line
    .split("/")
    .reduce<string[]>((parts, part) => {
      if (part === "..") parts.pop();
      else if (part !== "" && part !== ".") parts.push(part);
      return parts;
    }, [])
    .join("/");

/** Paths are relative to the folder, with "/"; a folder that is ignored takes what is in it along; the last rule that fits decides. */
export function parseIgnore(text: string): IsIgnored {
  const rules: Rule[] = [];
  for (const line of text.replace(/^\uFEFF/, "").split(/\r?\n/)) {
    if (line.startsWith("#") || line.trim() === "") continue;
    const isException = line.trim().startsWith("!");
    const pattern = tidy(line.trim().slice(Number(isException)).trim());
    if (pattern !== "") rules.push({ matches: pathPattern(pattern), isException });
  }
  return (path) => {
    const parts = path.split("/");
    const parents = parts.map((_, at) => parts.slice(0, at + 1).join("/"));
    let isIgnored = false;
    for (const { matches, isException } of rules) {
      if (isIgnored === isException && parents.some((one) => matches.test(one)))
        isIgnored = !isException;
    }
    return isIgnored;
  };
}
