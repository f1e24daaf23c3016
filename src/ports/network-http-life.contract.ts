/** The life of HTTP connections: servers that close and come back, connections that are upgraded, certificates that are shown. */
import { expect, test } from "vitest";
import { anyPort, bytes, makeCertificates, readAll, readText, text } from "./network.contract.ts";
import type { HttpHandler } from "./network.ts";
import {
  aborted,
  bodyBytesMax,
  describeRequest,
  type HttpSetup,
  ignore,
  PushedSource,
  type Variant,
} from "./network-http-setup.contract.ts";
import type { Bytes } from "./stream.ts";

export function lifeContract(setup: HttpSetup, full: string, variant: Variant): void {
  const { serve, get } = setup;
  test(`${full}: nobody listening is an error with its code`, async () => {
    const { client, listener } = await serve(variant, async (request) => describeRequest(request));
    await listener.close(0);
    const code = variant.isUnix ? "ENOENT" : "ECONNREFUSED";
    await expect(get(client)).rejects.toMatchObject({ name: "NetworkError", code });
  });

  test(`${full}: a client finds a server that came back`, async () => {
    const handle: HttpHandler = async (request) => describeRequest(request);
    const first = await serve(variant, handle);
    expect((await get(first.client)).status).toBe(200);
    await first.listener.close(0);
    await expect(get(first.client)).rejects.toMatchObject({ name: "NetworkError" });
    await serve(variant, handle, first.address);
    expect((await get(first.client)).status).toBe(200);
  });

  test(`${full}: closing waits for what runs and refuses what is new`, async () => {
    let finish: () => void = ignore;
    let asked: () => void = ignore;
    const arrived = new Promise<void>((resolve) => {
      asked = resolve;
    });
    const { client, listener, another } = await serve(variant, async () => {
      asked();
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      return { status: 200, headers: {}, body: bytes("finished") };
    });
    const running = get(client);
    await arrived;
    const closing = listener.close(600_000);
    await expect(get(another())).rejects.toMatchObject({ name: "NetworkError" });
    finish();
    expect(await readAll((await running).body)).toBe("finished");
    await closing;
  });

  test(`${full}: what outlasts the grace is cut, on both sides`, async () => {
    const source = new PushedSource();
    let gone: AbortSignal | undefined;
    const { client, listener } = await serve(variant, async (request) => {
      gone = request.gone;
      return { status: 200, headers: {}, body: source };
    });
    const { body } = await get(client);
    source.push([bytes("x")]);
    await body.next();
    const broken = expect(body.next()).rejects.toMatchObject({ name: "NetworkError" });
    const closing = listener.close(20);
    await setup.world().pass(20);
    await closing;
    await broken;
    await source.stopped;
    if (gone === undefined) throw new Error("the handler was not asked");
    await aborted(gone);
  });

  test(`${full}: closing a client ends what it was doing`, async () => {
    const source = new PushedSource();
    const { client } = await serve(variant, (request) =>
      request.target === "/stream"
        ? Promise.resolve({ status: 200, headers: {}, body: source })
        : new Promise(ignore),
    );
    const { body } = await get(client, "/stream");
    const never = get(client, "/never");
    const ended = [
      expect(never).rejects.toMatchObject({ name: "NetworkError" }),
      expect(body.next()).rejects.toMatchObject({ name: "NetworkError" }),
    ];
    client.close();
    await Promise.all(ended);
    await source.stopped;
    await expect(get(client)).rejects.toMatchObject({ code: "ECANCELED" });
  });
}

export function upgradeContract(setup: HttpSetup, full: string, variant: Variant): void {
  const { serve, get } = setup;
  const upgrade = { connection: "Upgrade", upgrade: "echo/1" };
  const echoing: HttpHandler = async (request) => {
    if (request.target !== "/echo") {
      return { status: 403, headers: { "x-why": "no" }, body: bytes("forbidden") };
    }
    return {
      status: 101,
      headers: { connection: "Upgrade", upgrade: request.headers["upgrade"] ?? "" },
      upgrade: (raw) => {
        const run = async (): Promise<void> => {
          await raw.write(bytes("hello;"));
          for (let part = await raw.read(); part !== undefined; part = await raw.read()) {
            await raw.write(part);
          }
          await raw.write(bytes(";bye"));
          raw.end();
        };
        run().catch(ignore);
      },
    };
  };

  test(`${full}: an upgrade hands over the raw connection, both ways, half-closing included`, async () => {
    const { client } = await serve(variant, echoing);
    const { status, headers, raw, body } = await client.send({
      method: "POST",
      target: "/echo",
      headers: upgrade,
    });
    expect([status, headers["upgrade"]]).toEqual([101, "echo/1"]);
    expect(await body.next()).toBeUndefined();
    if (raw === undefined) throw new Error("no raw connection");
    // What the server said at once must not be lost with the head.
    expect(await readText(raw, 6)).toBe("hello;");
    await raw.write(bytes("ping"));
    expect(await readText(raw, 4)).toBe("ping");
    raw.end();
    expect(await readText(raw, 4)).toBe(";bye");
    expect(await raw.read()).toBeUndefined();
    expect((await get(client, "/other")).status).toBe(403);
  });

  test(`${full}: a request for an upgrade may be answered like any other`, async () => {
    const { client } = await serve(variant, echoing);
    for (let i = 0; i < 3; i++) {
      const response = await client.send({ method: "GET", target: "/no", headers: upgrade });
      expect([response.status, response.headers["x-why"]]).toEqual([403, "no"]);
      expect(response.raw).toBeUndefined();
      expect(await readAll(response.body)).toBe("forbidden");
    }
  });

  test(`${full}: a request for an upgrade may have a body`, async () => {
    const { client } = await serve(variant, async ({ body }) => ({
      status: 200,
      headers: {},
      body: bytes(`${body instanceof Uint8Array ? text(body).length : "none"}`),
    }));
    const send = async (body: Bytes): Promise<string> => {
      const response = await client.send({ method: "POST", target: "/", headers: upgrade, body });
      return `${response.status} ${await readAll(response.body)}`;
    };
    expect(await send(new Uint8Array(300_000))).toBe("200 300000");
    expect(await send(new Uint8Array(2 * bodyBytesMax))).toContain("413");
  });

  test(`${full}: an upgraded connection is cut with its server`, async () => {
    const { client, listener } = await serve(variant, echoing);
    const { raw } = await client.send({ method: "GET", target: "/echo", headers: upgrade });
    if (raw === undefined) throw new Error("no raw connection");
    await readText(raw, 6);
    const end = raw.read().catch((error: unknown) => error);
    await listener.close(0);
    const result = await end;
    expect(result === undefined || result instanceof Error).toBe(true);
    raw.abort(new Error("done"));
  });
}

export function certificateContract(setup: HttpSetup, full: string, variant: Variant): void {
  const { serve, get } = setup;
  test(`${full}: the handler sees the client's whole chain, and none where none was sent`, async () => {
    const seen: (readonly Bytes[] | undefined)[] = [];
    const handle: HttpHandler = async ({ peer }) => {
      seen.push(peer?.certificates);
      return { status: 204, headers: {} };
    };
    const server = await serve(variant, handle, anyPort, { askClient: true });
    await get(server.client);
    await get(server.another({ identity: () => setup.certificates().client }));
    // A second connection of the same client: nothing may be lost to a resumed session.
    await get(server.another({ identity: () => setup.certificates().client }));
    const [none, ...chains] = seen;
    expect(none).toEqual([]);
    for (const chain of chains) {
      expect(chain?.[0]).toEqual(setup.world().der(setup.certificates().client.chain));
      expect(chain?.[1]).toEqual(setup.world().der(setup.certificates().intermediate));
      expect(
        setup.world().crypto.judge(chain ?? [], setup.certificates().roots, setup.world().nowMs),
      ).toMatchObject({
        user: "alice",
        groups: ["dev"],
      });
    }
    expect(chains).toHaveLength(2);
  });

  test(`${full}: requests of one connection share what was proved`, async () => {
    const seen: unknown[] = [];
    const handle: HttpHandler = async ({ peer }) => {
      seen.push(peer?.certificates);
      return { status: 204, headers: {} };
    };
    const { client } = await serve(variant, handle);
    await get(client);
    await get(client);
    expect(seen[0]).toBe(seen[1]);
  });

  test(`${full}: an untrusted server is ETLS, and asking again does not hang`, async () => {
    const { another } = await serve(variant, async () => ({ status: 204, headers: {} }));
    const others = await makeCertificates(setup.world());
    const client = another({ roots: others.roots });
    for (let i = 0; i < 2; i++) {
      await expect(get(client)).rejects.toMatchObject({ name: "NetworkError", code: "ETLS" });
    }
  });
}
