import { expect, test } from "vitest";
import { SteppedClock } from "#adapters/memory/clock.ts";
import type { ApiRequest, ApiResponse } from "#api/request.ts";
import type { ChainContext } from "../chain.ts";
import { requestInfoOf } from "../request-info.ts";
import { timeOut } from "./timeout.ts";

const done: ApiResponse = {
  status: 200,
  headers: {},
  content: { type: "bytes", mediaType: "text/plain", bytes: new Uint8Array() },
};

function contextOf(path: string, query: ApiRequest["query"]): ChainContext {
  const request: ApiRequest = {
    method: "GET",
    path,
    query,
    headers: {},
    gone: new AbortController().signal,
    direct: true,
  };
  const user = { name: "u", groups: [] };
  return { request, warnings: [], info: requestInfoOf(request), protobuf: true, user };
}
const pods = "/api/v1/pods";

/** Asks what takes `ms` to answer. */
function ask(ms: number, timeout: string, more: ApiRequest["query"] = []) {
  const clock = new SteppedClock({ startMs: 0 });
  const handler = timeOut(clock)(
    () => new Promise((resolve) => clock.after(ms, () => resolve(done))),
  );
  const query = [...(timeout === "" ? [] : [["timeout", timeout] as const]), ...more];
  const answer = handler(contextOf(pods, query)).then(
    ({ status }) => status,
    (error: unknown) => (error as { status: object }).status,
  );
  return { clock, answer };
}

test("a timeout that is none is refused", async () => {
  const { answer } = ask(0, "bogus");
  expect(await answer).toMatchObject({
    code: 400,
    reason: "BadRequest",
    message: 'invalid timeout specified in the request URL - time: invalid duration "bogus"',
  });
});

test("what takes longer than asked is answered 504", async () => {
  const { clock, answer } = ask(2000, "1.5s");
  await clock.advance(1600);
  expect(await answer).toMatchObject({
    code: 504,
    reason: "Timeout",
    message: "Timeout: request did not complete within the allotted timeout",
  });
});

test.each(["", "0s", "-1s", "5m"])("timeout=%s: the server's own limit holds", async (timeout) => {
  const slow = ask(61_000, timeout);
  await slow.clock.advance(62_000);
  expect(await slow.answer).toMatchObject({ code: 504 });
  const quick = ask(59_000, timeout);
  await quick.clock.advance(60_000);
  expect(await quick.answer).toBe(200);
});

test("a watch lasts as long as it likes", async () => {
  const { clock, answer } = ask(90_000, "1s", [["watch", "true"]]);
  await clock.advance(100_000);
  expect(await answer).toBe(200);
});
