/** Token cleaner: deletes bootstrap tokens that have expired. Reads and deletes Secrets of their type in kube-system. */
import { Secret } from "#api/core/v1/secret.ts";
import { decodeBase64 } from "#machinery/base64.ts";
import { isStatus } from "#machinery/status-error.ts";
import { parseTime } from "#machinery/time.ts";
import { type Outcome, requeueAfter } from "./controller.ts";
import { defineController } from "./runner.ts";

/** When the token ends; Infinity: never. What cannot be read counts as over, as the authenticator has it. */
export function tokenEndMs(secret: Secret): number {
  const encoded = secret.data?.expiration ?? "";
  if (encoded === "") return Infinity;
  const decoded = decodeBase64(encoded);
  const text = "bytes" in decoded ? new TextDecoder().decode(decoded.bytes) : "";
  return parseTime(text) ?? 0;
}

export const tokenCleanerController = defineController<Secret>({
  name: "token-cleaner",
  account: "token-cleaner",
  reconciles: Secret,
  async reconcile(secret, { client, now }): Promise<Outcome> {
    const { namespace, name, uid, deletionTimestamp } = secret.metadata;
    if (namespace !== "kube-system" || secret.type !== "bootstrap.kubernetes.io/token") return {};
    if (deletionTimestamp !== undefined) return {};
    const end = tokenEndMs(secret);
    if (now < end) return requeueAfter(end - now);
    try {
      await client.delete(Secret, { namespace, name }, { preconditions: { uid } });
    } catch (error) {
      if (!isStatus(error, "NotFound") && !isStatus(error, "Conflict")) throw error;
    }
    return {};
  },
});
