/** Does the cluster's DNS answer where pods ask it? Asked at start, until it does. */
import { readAddresses, recordTypes, writeQuery } from "#addons/dns/message.ts";
import type { Clock } from "#ports/clock.ts";
import type { Network } from "#ports/network.ts";

/** UDP tells nothing of a query that is lost, so it is sent again. */
const resendMs = 50;

/** Resolves with the first answer for the API server's name; never rejects for silence: whoever asks has a limit of their own. */
export async function untilDnsAnswers(options: {
  readonly network: Network;
  readonly clock: Clock;
  /** The address of the DNS Service. */
  readonly address: string;
  readonly domain: string;
}): Promise<void> {
  const { network, clock, address, domain } = options;
  let answered: () => void = () => {};
  const answer = new Promise<void>((resolve) => {
    answered = resolve;
  });
  const socket = await network.udp({ host: "0.0.0.0", port: 0 }, (bytes) => {
    if (readAddresses(bytes).length > 0) answered();
  });
  const query = writeQuery(`kubernetes.default.svc.${domain}`, recordTypes.A);
  let cancel: () => void = () => {};
  const ask = (): void => {
    socket.send(query, { host: address, port: 53 });
    cancel = clock.after(resendMs, ask);
  };
  ask();
  try {
    await answer;
  } finally {
    cancel();
    await socket.close(0);
  }
}
