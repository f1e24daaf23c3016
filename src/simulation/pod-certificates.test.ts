/** Stories of pod certificates on simulated machines: asked for by the kubelet, issued by a signer, shown, renewed, refused. */
import { afterEach, expect, test } from "vitest";
import { memoryCrypto } from "#adapters/memory/crypto.ts";
import { seededRandom } from "#adapters/memory/random.ts";
import { PodCertificateRequest } from "#api/certificates/v1/podcertificaterequest.ts";
import { Event } from "#api/core/v1/event.ts";
import { Pod } from "#api/core/v1/pod.ts";
import { decodeBase64 } from "#machinery/base64.ts";
import type { Stored } from "#machinery/meta.ts";
import { armour } from "#machinery/pem.ts";
import { isStatus } from "#machinery/status-error.ts";
import { formatTime } from "#machinery/time.ts";
import { fileShowing } from "./file-showing.ts";
import { createWorld, isReady, type World } from "./world.ts";

let world: World | undefined;
afterEach(async () => {
  const ended = world;
  world = undefined;
  await ended?.stop();
  expect(ended?.clock.waiting ?? 0).toBe(0);
});

const namespace = "default";
const crypto = memoryCrypto(seededRandom("signer"));
const hourMs = 3_600_000;

const { program: showing, read } = fileShowing("/id/all.pem");
const pod = `
apiVersion: v1
kind: Pod
metadata: { name: one }
spec:
  terminationGracePeriodSeconds: 0
  volumes:
    - name: id
      projected:
        sources:
          - podCertificate:
              signerName: example.com/one
              keyType: ED25519
              credentialBundlePath: all.pem
              userAnnotations: { example.com/color: blue }
  containers:
    - { name: show, image: show:1, volumeMounts: [{ name: id, mountPath: /id }] }
`;

type Request = Stored<PodCertificateRequest>;
const requests = async (on: World): Promise<readonly Request[]> =>
  (await on.client.list(PodCertificateRequest, { namespace })).items;
const pending = async (on: World): Promise<Request | undefined> =>
  (await requests(on)).find(({ status }) => status.conditions === undefined);
async function nextRequest(on: World): Promise<Request> {
  await on.until(async () => (await pending(on)) !== undefined, 2 * hourMs);
  const request = await pending(on);
  if (request === undefined) throw new Error("the request is gone");
  return request;
}
const conclude = (on: World, request: Request, type: string, status: object = {}) => {
  const lastTransitionTime = formatTime(on.clock.now());
  const condition = { type, status: "True", reason: "Told", message: "so", lastTransitionTime };
  const whole = { ...request, status: { ...status, conditions: [condition] } };
  return on.client.updateStatus(PodCertificateRequest, whole);
};

async function certify(on: World, request: Request): Promise<string> {
  const decoded = decodeBase64(request.spec.stubPKCS10Request);
  const bytes = "bytes" in decoded ? decoded.bytes : new Uint8Array();
  const stub = crypto.readRequest(armour("CERTIFICATE REQUEST", bytes));
  if ("refused" in stub) throw new Error(stub.refused);
  const ca = await crypto.generateKey("ES256");
  const fromMs = Math.floor(on.clock.now() / 1000) * 1000;
  const toMs = fromMs + hourMs;
  const facts = { user: "one", groups: [], names: ["one"], uses: [], fromMs, toMs } as const;
  const certificateChain = await crypto.issue(facts, stub.publicKey, ca);
  await conclude(on, request, "Issued", {
    certificateChain,
    notBefore: formatTime(fromMs),
    notAfter: formatTime(toMs),
    beginRefreshAt: formatTime(fromMs + hourMs / 6),
  });
  return certificateChain;
}
const untilReady = (on: World) =>
  on.until(async () => isReady(await on.client.get(Pod, { namespace, name: "one" })), hourMs);

test("a pod starts when its certificate is issued, gets the next in time, and requests go away", async () => {
  const on = await createWorld({ seed: 5, nodes: 1, transport: "direct", programs: [showing] });
  world = on;
  await on.apply(pod);
  const first = await nextRequest(on);
  expect(first.spec).toMatchObject({
    signerName: "example.com/one",
    podName: "one",
    maxExpirationSeconds: 86_400,
    unverifiedUserAnnotations: { "example.com/color": "blue" },
  });
  const chain = await certify(on, first);
  await untilReady(on);
  const shown = await read();
  expect(shown).toMatch(/^-----BEGIN PRIVATE KEY-----/);
  expect(shown.endsWith(chain)).toBe(true);
  const second = await nextRequest(on);
  expect(await read()).toBe(shown);
  const renewed = await certify(on, second);
  await on.until(async () => (await read()).endsWith(renewed), hourMs);
  await on.client.delete(Pod, { namespace, name: "one" });
  await on.until(async () => (await requests(on)).length === 0, hourMs);
});

test("what is issued must be for the key and the time that were asked for; what is denied is denied for good", async () => {
  const on = await createWorld({ seed: 6, nodes: 1, transport: "direct", programs: [showing] });
  world = on;
  await on.apply(pod);
  const request = await nextRequest(on);
  const why = async (change: Promise<unknown>): Promise<string> => {
    try {
      await change;
      return "";
    } catch (error) {
      if (!isStatus(error, "Invalid") || !(error instanceof Error)) throw error;
      return error.message;
    }
  };
  const key = await crypto.generateKey("ED25519");
  const ca = await crypto.generateKey("ES256");
  const fromMs = Math.floor(on.clock.now() / 1000) * 1000;
  const facts = { user: "", groups: [], names: [], uses: [], fromMs, toMs: fromMs + hourMs };
  const certificateChain = await crypto.issue(facts, key.publicKey, ca);
  expect(await why(conclude(on, request, "Issued", { certificateChain }))).toContain(
    "leaf certificate was not issued to the requested public key",
  );
  expect(await why(conclude(on, request, "Issued"))).toContain(
    "issued certificate chain must contain at least one certificate",
  );
  expect(await why(conclude(on, request, "Denied", { certificateChain }))).toContain(
    "non-condition status fields must be empty",
  );
  expect(await why(conclude(on, request, "Pondered"))).toContain(
    'status.conditions[0].type: Unsupported value: "Pondered"',
  );
  const denied = await conclude(on, request, "Denied");
  expect(await why(conclude(on, denied, "Failed"))).toContain(
    "immutable after PodCertificateRequest is issued, denied, or failed",
  );
  await on.until(async () => {
    const { items } = await on.client.list(Event, { namespace });
    return items.some(({ message = "" }) =>
      message.includes('PodCertificateRequest was permanently denied: reason="Told" message="so"'),
    );
  }, hourMs);
  expect(await requests(on)).toHaveLength(1);
});
