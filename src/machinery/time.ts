/** Time on the wire (RFC 3339) and in memory (milliseconds). The only pure file that may touch Date. */

/** The second that was printed last: of one moment much is told. */
let lastSecond = 0;
let lastText = "1970-01-01T00:00:00Z";

/** metav1.Time: whole seconds, UTC. */
export function formatTime(ms: number): string {
  const second = Math.floor(ms / 1000);
  if (second !== lastSecond) {
    lastText = new Date(second * 1000).toISOString().replace(".000Z", "Z");
    lastSecond = second;
  }
  return lastText;
}

/** metav1.MicroTime: six digits. */
export const formatMicroTime = (ms: number): string => {
  const whole = new Date(Math.floor(ms)).toISOString();
  const micros = Math.floor((ms - Math.floor(ms)) * 1000);
  return `${whole.slice(0, -1)}${String(micros).padStart(3, "0")}Z`;
};

const rfc3339 = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})(\.\d+)?(Z|[+-]\d{2}:\d{2})$/;

/** Milliseconds since the epoch (with fractions below the millisecond); undefined if it is no RFC 3339 time. */
export function parseTime(text: string): number | undefined {
  const match = rfc3339.exec(text);
  if (match === null) return undefined;
  const seconds = Date.parse(text.replace(match[7] ?? "", ""));
  if (Number.isNaN(seconds)) return undefined;
  return seconds + Number(`0${match[7] ?? ".0"}`) * 1000;
}
