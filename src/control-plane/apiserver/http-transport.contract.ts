/** The front end and the remote transport over a wire that is a function call: how contracts are told over HTTP. */

import { remoteHandler } from "#client/remote.ts";
import { unarmour } from "#machinery/pem.ts";
import type { HttpHandler, HttpResponse, Network } from "#ports/network.ts";
import type { Bytes, Source } from "#ports/stream.ts";
import type { Transport } from "./api.contract.ts";

const never = new AbortController().signal;
export const onlyOnce = (bytes: Bytes | undefined): Source<Bytes> => {
  let left = bytes === undefined || bytes.length === 0 ? undefined : bytes;
  return {
    next: () => {
      const batch = left === undefined ? undefined : [left];
      left = undefined;
      return Promise.resolve(batch);
    },
    stop: () => {},
  };
};
const bodyOf = ({ body }: HttpResponse): Source<Bytes> =>
  body === undefined || body instanceof Uint8Array ? onlyOnce(body) : body;

/** The front end and the remote transport, with nothing but a function call for a wire. */
export const overHttp: Transport = async ({ server, clock, issue }) => {
  let handle: HttpHandler | undefined;
  let certificates: readonly Bytes[] = [];
  const wire: Pick<Network, "serve" | "http"> = {
    serve: (address, _options, handler) => {
      handle = handler;
      return Promise.resolve({ address, close: () => Promise.resolve() });
    },
    http: () => {
      const mine = certificates;
      return {
        async send({ method, target, headers = {}, body, signal = never }) {
          if (handle === undefined) throw new Error("nobody listens");
          const peer = { address: "192.0.2.7", certificates: mine };
          const sent = body === undefined ? {} : { body };
          const answer = await handle({ method, target, headers, gone: signal, peer, ...sent });
          return { ...answer, body: bodyOf(answer), trailers: Promise.resolve({}) };
        },
        close: () => {},
      };
    },
  };
  await server.serveHttp(wire as Network, { host: "api", port: 443 });
  return async (user) => {
    certificates = unarmour("CERTIFICATE", await issue(user));
    const address = { host: "api", port: 443 };
    return remoteHandler(wire as Network, clock, address, { version: 1, timeoutMs: 30_000 })
      .handler;
  };
};
