/** The difference of two texts as people know it: unified, with three lines of context. */

const contextLines = 3;
/** Beyond this many cells of comparison what differs is shown as replaced as a whole. */
const cellsMax = 4_000_000;

/** Equal runs: [start in a, start in b, length], in order, the last one empty at both ends. */
type Match = readonly [number, number, number];

/** Longest common subsequence of what differs. */
function matchesOf(a: readonly string[], b: readonly string[]): Match[] {
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head += 1;
  let tail = 0;
  const room = Math.min(a.length, b.length) - head;
  while (tail < room && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail += 1;
  const rows = a.length - head - tail;
  const columns = b.length - head - tail;
  const matches: Match[] = head > 0 ? [[0, 0, head]] : [];
  if (rows * columns <= cellsMax) {
    for (const [i, j] of commonLines(a, b, head, rows, columns)) matches.push([i, j, 1]);
  }
  if (tail > 0) matches.push([a.length - tail, b.length - tail, tail]);
  return [...matches, [a.length, b.length, 0]];
}

function commonLines(
  a: readonly string[],
  b: readonly string[],
  from: number,
  rows: number,
  columns: number,
): [number, number][] {
  const width = columns + 1;
  const lengths = new Uint32Array((rows + 1) * width);
  for (let i = rows - 1; i >= 0; i--) {
    for (let j = columns - 1; j >= 0; j--) {
      const below = lengths[(i + 1) * width + j] ?? 0;
      const right = lengths[i * width + j + 1] ?? 0;
      const diagonal = (lengths[(i + 1) * width + j + 1] ?? 0) + 1;
      lengths[i * width + j] = a[from + i] === b[from + j] ? diagonal : Math.max(below, right);
    }
  }
  const found: [number, number][] = [];
  for (let i = 0, j = 0; i < rows && j < columns; ) {
    if (a[from + i] === b[from + j]) {
      found.push([from + i, from + j]);
      i += 1;
      j += 1;
    } else if ((lengths[(i + 1) * width + j] ?? 0) >= (lengths[i * width + j + 1] ?? 0)) i += 1;
    else j += 1;
  }
  return found;
}

interface Line {
  readonly mark: " " | "-" | "+";
  readonly text: string;
  /** How many lines of a and b come before it. */
  readonly a: number;
  readonly b: number;
}

function linesOf(a: readonly string[], b: readonly string[]): Line[] {
  const lines: Line[] = [];
  let [i, j] = [0, 0];
  for (const [atA, atB, length] of matchesOf(a, b)) {
    for (; i < atA; i++) lines.push({ mark: "-", text: a[i] ?? "", a: i, b: j });
    for (; j < atB; j++) lines.push({ mark: "+", text: b[j] ?? "", a: i, b: j });
    for (let n = 0; n < length; n++, i++, j++) {
      lines.push({ mark: " ", text: a[i] ?? "", a: i, b: j });
    }
  }
  return lines;
}

const range = (start: number, count: number): string => {
  if (count === 1) return String(start + 1);
  return `${count === 0 ? start : start + 1},${count}`;
};

/** "" if they are equal. Every line ends with a newline. */
export function unifiedDiff(before: string, after: string): string {
  const lines = linesOf(before.split("\n"), after.split("\n"));
  const changed = lines.flatMap(({ mark }, index) => (mark === " " ? [] : [index]));
  let text = "";
  for (let at = 0; at < changed.length; ) {
    const first = changed[at] ?? 0;
    let last = first;
    while (at < changed.length && (changed[at] ?? 0) - last <= 2 * contextLines + 1) {
      last = changed[at] ?? 0;
      at += 1;
    }
    const hunk = lines.slice(Math.max(first - contextLines, 0), last + contextLines + 1);
    const ofA = hunk.filter(({ mark }) => mark !== "+").length;
    const ofB = hunk.filter(({ mark }) => mark !== "-").length;
    text += `@@ -${range(hunk[0]?.a ?? 0, ofA)} +${range(hunk[0]?.b ?? 0, ofB)} @@\n`;
    for (const { mark, text: line } of hunk) text += `${mark}${line}\n`;
  }
  return text;
}
