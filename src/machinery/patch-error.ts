/** PatchError: a patch that cannot be applied, with upstream's wording and the status that answers it. */
import { StatusError } from "./status-error.ts";

export type PatchFailure =
  /** 400: the patch itself is malformed. */
  | "BadRequest"
  /** 422: it does not fit the object. */
  | "Invalid"
  /** 413: too many operations, or copies too large. */
  | "RequestEntityTooLarge"
  /** 500: upstream has no better answer than the bare message. */
  | "Unknown";

export class PatchError extends Error {
  readonly failure: PatchFailure;
  constructor(failure: PatchFailure, message: string) {
    super(message);
    this.name = "PatchError";
    this.failure = failure;
  }

  toStatusError(): StatusError {
    switch (this.failure) {
      case "BadRequest":
        return new StatusError(400, "BadRequest", this.message);
      case "RequestEntityTooLarge":
        return new StatusError(413, "RequestEntityTooLarge", this.message);
      case "Invalid":
        // Upstream: the reason is not said in the message; kubectl prints it as "The request is invalid: …".
        return new StatusError(
          422,
          "Invalid",
          "the server rejected our request due to an error in our request",
          {},
        );
      default:
        return new StatusError(500, "", this.message);
    }
  }
}
