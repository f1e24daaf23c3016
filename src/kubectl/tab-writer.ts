/**
 * Text in columns: cells end with a tab, and a run of lines that have a cell in a column shares its width; the last cell of a line is
 * in no column. The elastic tab stops of Go's text/tabwriter, padded with spaces, as kubectl sets them.
 */

export interface TabStops {
  readonly widthMin: number;
  readonly padding: number;
}
/** Of tables. */
export const tableStops: TabStops = { widthMin: 6, padding: 3 };
/** Of descriptions. */
export const describeStops: TabStops = { widthMin: 0, padding: 2 };

const lengthOf = (text: string): number => {
  let length = text.length;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code >= 0xdc00 && code <= 0xdfff) length -= 1;
  }
  return length;
};

class Layout {
  readonly #lines: readonly (readonly string[])[];
  readonly #stops: TabStops;
  readonly #widths: number[] = [];
  readonly #remembered: number[] | undefined;
  text = "";

  constructor(
    lines: readonly (readonly string[])[],
    stops: TabStops,
    remembered: number[] | undefined,
  ) {
    this.#lines = lines;
    this.#stops = stops;
    this.#remembered = remembered;
  }

  format(from: number, to: number): void {
    const column = this.#widths.length;
    const has = (at: number): boolean => column < (this.#lines[at]?.length ?? 0) - 1;
    let first = from;
    for (let at = from; at < to; at++) {
      if (!has(at)) continue;
      this.#write(first, at);
      first = at;
      let width = Math.max(this.#stops.widthMin, this.#remembered?.[column] ?? 0);
      for (; at < to && has(at); at++) {
        const cell = this.#lines[at]?.[column] ?? "";
        width = Math.max(width, lengthOf(cell) + this.#stops.padding);
      }
      if (this.#remembered !== undefined) this.#remembered[column] = width;
      this.#widths.push(width);
      this.format(first, at);
      this.#widths.pop();
      first = at;
    }
    this.#write(first, to);
  }

  #write(from: number, to: number): void {
    for (let at = from; at < to; at++) {
      for (const [column, cell] of (this.#lines[at] ?? []).entries()) {
        const width = this.#widths[column];
        this.text += width === undefined ? cell : cell + " ".repeat(width - lengthOf(cell));
      }
      this.text += "\n";
    }
  }
}

/** `remembered` keeps the widths from one call to the next, so that what follows lines up. */
export function alignTabs(text: string, stops: TabStops, remembered?: number[]): string {
  if (text === "") return "";
  const whole = text.endsWith("\n") ? text.slice(0, -1) : text;
  const lines = whole.split("\n").map((line) => line.split("\t"));
  const layout = new Layout(lines, stops, remembered);
  layout.format(0, lines.length);
  return text.endsWith("\n") ? layout.text : layout.text.slice(0, -1);
}
