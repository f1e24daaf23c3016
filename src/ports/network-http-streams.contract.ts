/** HTTP bodies as streams: what arrives when, who holds whom back, and what either side learns when the other gives up. */
import { expect, test } from "vitest";
import { bytes, readAll, text } from "./network.contract.ts";
import {
  aborted,
  type HttpSetup,
  ignore,
  PushedSource,
  type Variant,
} from "./network-http-setup.contract.ts";

export function streamContract(setup: HttpSetup, full: string, variant: Variant): void {
  const { serve, get } = setup;
  test(`${full}: each batch of a stream arrives before the next is there`, async () => {
    const source = new PushedSource();
    const { client } = await serve(variant, async () => ({
      status: 200,
      headers: {},
      body: source,
    }));
    const { body, status } = await get(client);
    expect(status).toBe(200);
    for (const word of ["first", "second", "third"]) {
      source.push([bytes(word), bytes("\n")]);
      let line = "";
      while (!line.endsWith("\n")) line += text(...((await body.next()) ?? []));
      expect(line).toBe(`${word}\n`);
    }
    source.push(undefined);
    expect(await body.next()).toBeUndefined();
  });

  test(`${full}: who stops reading stops the source, and the handler hears of it`, async () => {
    const source = new PushedSource();
    let gone: AbortSignal | undefined;
    const { client } = await serve(variant, async (request) => {
      gone = request.gone;
      return { status: 200, headers: {}, body: source };
    });
    const { body } = await get(client);
    source.push([bytes("x")]);
    await body.next();
    const waiting = body.next();
    body.stop();
    body.stop();
    expect(await waiting).toBeUndefined();
    expect(await body.next()).toBeUndefined();
    await source.stopped;
    if (gone === undefined) throw new Error("the handler was not asked");
    await aborted(gone);
  });

  test(`${full}: a signal cancels before the answer and after it`, async () => {
    const source = new PushedSource();
    const gone: Promise<void>[] = [];
    let asked: () => void = ignore;
    const { client } = await serve(variant, (request) => {
      gone.push(aborted(request.gone));
      asked();
      if (request.target === "/stream") {
        return Promise.resolve({ status: 200, headers: {}, body: source });
      }
      return new Promise(ignore);
    });
    const never = new AbortController();
    const arrived = new Promise<void>((resolve) => {
      asked = resolve;
    });
    const first = client.send({ method: "GET", target: "/", signal: never.signal });
    await arrived;
    never.abort();
    await expect(first).rejects.toMatchObject({ name: "NetworkError", code: "ECANCELED" });
    const stream = new AbortController();
    const { body } = await client.send({
      method: "GET",
      target: "/stream",
      signal: stream.signal,
    });
    stream.abort();
    await expect(body.next()).rejects.toMatchObject({ code: "ECANCELED" });
    await source.stopped;
    const over = client.send({ method: "GET", target: "/", signal: never.signal });
    await expect(over).rejects.toMatchObject({ code: "ECANCELED" });
    await Promise.all(gone);
    expect(gone).toHaveLength(2);
  });

  test(`${full}: a signal that fires after the end does nothing, and gone stays silent`, async () => {
    let gone: AbortSignal | undefined;
    const { client } = await serve(variant, async (request) => {
      gone = request.gone;
      return { status: 200, headers: {}, body: bytes("done") };
    });
    const control = new AbortController();
    const response = await client.send({ method: "GET", target: "/", signal: control.signal });
    expect(await readAll(response.body)).toBe("done");
    control.abort();
    expect(await response.body.next()).toBeUndefined();
    await readAll((await get(client)).body);
    expect(gone?.aborted).toBe(false);
  });

  test(`${full}: a request whose body breaks off never reaches the handler`, async () => {
    const seen: string[] = [];
    const { client } = await serve(variant, async ({ target }) => {
      seen.push(target);
      return { status: 204, headers: {} };
    });
    const broken = new PushedSource();
    const first = client.send({ method: "POST", target: "/broken", body: broken });
    broken.push([bytes("half")]);
    broken.push(new Error("disk gone"));
    await expect(first).rejects.toMatchObject({ name: "NetworkError" });
    const control = new AbortController();
    const cancelled = new PushedSource();
    const second = client.send({
      method: "POST",
      target: "/cancelled",
      body: cancelled,
      signal: control.signal,
    });
    cancelled.push([bytes("half")]);
    await get(client, "/between");
    control.abort();
    await expect(second).rejects.toMatchObject({ code: "ECANCELED" });
    await cancelled.stopped;
    await get(client, "/after");
    expect(seen).toEqual(["/between", "/after"]);
  });

  test(`${full}: a source that breaks breaks the reader`, async () => {
    const source = new PushedSource();
    const { client } = await serve(variant, async () => ({
      status: 200,
      headers: {},
      body: source,
    }));
    const { body, trailers } = await get(client);
    source.push([bytes("half")]);
    expect(text(...((await body.next()) ?? []))).toBe("half");
    source.push(new Error("disk gone"));
    await expect(body.next()).rejects.toMatchObject({ name: "NetworkError" });
    await expect(trailers).rejects.toMatchObject({ name: "NetworkError" });
  });

  test(`${full}: a client that does not read holds the source back, not the others`, async () => {
    let given = 0;
    const block = new Uint8Array(64 * 1024);
    const { client } = await serve(variant, async ({ target }) => ({
      status: 200,
      headers: {},
      body:
        target === "/endless"
          ? { next: async () => (given++ < 1e6 ? [block] : undefined), stop: ignore }
          : bytes("small"),
    }));
    const { body } = await get(client, "/endless");
    for (let i = 0; i < 100; i++)
      expect(await readAll((await get(client, "/")).body)).toBe("small");
    expect(given * block.length).toBeLessThan(64 * 1024 * 1024);
    body.stop();
  });

  test(`${full}: long streams by the hundred leave room for more`, async () => {
    const sources = new Set<PushedSource>();
    const { client } = await serve(variant, async ({ target }) => {
      if (target !== "/watch") return { status: 200, headers: {}, body: bytes("small") };
      const body = new PushedSource();
      sources.add(body);
      return { status: 200, headers: {}, body };
    });
    const watches = await Promise.all(Array.from({ length: 150 }, () => get(client, "/watch")));
    expect(await readAll((await get(client)).body)).toBe("small");
    for (const source of sources) {
      source.push([bytes("event")]);
      source.push(undefined);
    }
    const events = await Promise.all(watches.map(({ body }) => readAll(body)));
    expect(events).toEqual(Array<string>(150).fill("event"));
  });
}
