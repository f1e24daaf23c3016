/** Log: lines for the people who run it. `facts` are printed as key=value (or JSON). */
export interface Log {
  write(
    level: "debug" | "info" | "warn" | "error",
    message: string,
    facts?: Readonly<Record<string, unknown>>,
  ): void;
  /** A log whose every line names its component. */
  child(component: string): Log;
}
