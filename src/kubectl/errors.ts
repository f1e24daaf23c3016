/** What a command may fail with, and how it is said: upstream's wording and exit codes, which scripts match on. */
import { StatusError } from "#machinery/status-error.ts";

/** Something is wrong that needs no server to know; printed behind "error: ". */
export class CommandError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "CommandError";
  }
}
/** The command line is wrong. */
export class UsageFailure extends CommandError {
  constructor(message: string, commandPath: string) {
    super(`${message}\nSee '${commandPath} -h' for help and examples`);
    this.name = "UsageFailure";
  }
}
/** Ends with this code after saying the message (if any) as it stands. */
export class ExitError extends Error {
  readonly code: number;
  constructor(code: number, message = "") {
    super(message);
    this.name = "ExitError";
    this.code = code;
  }
}
/** Several failed, the others went on. */
export class ManyErrors extends Error {
  readonly errors: readonly Error[];
  constructor(errors: readonly Error[]) {
    super(
      errors.length === 1
        ? (errors[0]?.message ?? "")
        : `[${errors.map((one) => one.message).join(", ")}]`,
    );
    this.name = "ManyErrors";
    this.errors = errors;
  }
}
/** The server was not reached. */
export class ConnectError extends Error {
  readonly host: string;
  readonly refused: boolean;
  constructor(host: string, why: string, refused: boolean) {
    super(why);
    this.name = "ConnectError";
    this.host = host;
    this.refused = refused;
  }
}
/** The kubeconfig names what it does not hold. */
export class ConfigError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "ConfigError";
  }
}

export const asError = (error: unknown): Error =>
  error instanceof Error ? error : new Error(String(error));

/** Throws what was collected, if anything. */
export function throwAll(errors: readonly Error[]): void {
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) throw new ManyErrors(errors);
}

function standardMessage(error: Error): string | undefined {
  if (error instanceof StatusError) {
    const { reason, message } = error;
    if (reason === "Unauthorized") return `error: You must be logged in to the server (${message})`;
    return reason === "" || reason === "Unknown"
      ? `Error from server: ${message}`
      : `Error from server (${reason}): ${message}`;
  }
  if (error instanceof ConnectError) {
    return error.refused
      ? `The connection to the server ${error.host} was refused - did you specify the right host or port?`
      : `Unable to connect to the server: ${error.message}`;
  }
  return undefined;
}

const flatten = (error: Error): readonly Error[] =>
  error instanceof ManyErrors ? error.errors.flatMap(flatten) : [error];

function invalidMessage({ status }: StatusError): string {
  const { details, message = "" } = status;
  let text = "The request is invalid";
  if (details === undefined) return message === "" ? text : `${text}: ${message}`;
  const causes = details.causes ?? [];
  const { kind = "", name = "" } = details;
  if (kind !== "" || name !== "") text = `The ${kind} ${JSON.stringify(name)} is invalid`;
  else if (message !== "" && causes.length === 0) text += `: ${message}`;
  const lines = [...new Set(causes.map((cause) => `${cause.field ?? ""}: ${cause.message ?? ""}`))];
  if (lines.length === 0) return text;
  if (lines.length === 1) return `${text}: ${lines[0]}`;
  return `${text}: \n${lines.map((line) => `* ${line}`).join("\n")}`;
}

/** The sentence that is printed, and the exit code. */
export function explain(error: Error): { readonly text: string; readonly code: number } {
  if (error instanceof ExitError) return { text: error.message, code: error.code };
  if (error instanceof StatusError && error.reason === "Invalid") {
    return { text: invalidMessage(error), code: 1 };
  }
  if (error instanceof ConfigError) {
    return { text: `Error in configuration: ${error.message}`, code: 1 };
  }
  if (error instanceof ManyErrors) {
    const lines = flatten(error).map((one) => standardMessage(one) ?? one.message);
    return { text: lines.join("\n"), code: 1 };
  }
  const text = standardMessage(error) ?? error.message;
  const isPlain = standardMessage(error) === undefined && !text.startsWith("error: ");
  return { text: isPlain ? `error: ${text}` : text, code: 1 };
}

/** Says of a server's error what was being done with which file. */
export function withSource(doing: string, source: string, error: unknown): Error {
  if (source === "") return asError(error);
  const told = `error when ${doing} ${JSON.stringify(source)}: ${asError(error).message}`;
  if (error instanceof StatusError) {
    const { code, reason, status } = error;
    return new StatusError(code, reason, told, status.details);
  }
  return error instanceof ConnectError ? error : new CommandError(told);
}
