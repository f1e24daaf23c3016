import { clockContract } from "#ports/clock.contract.ts";
import { systemClock } from "./clock.ts";

clockContract("systemClock", () => ({
  clock: systemClock,
  // Measured by a timer of the clock itself, which never runs early.
  pass: (ms) => new Promise((done) => systemClock.after(ms, done)),
}));
