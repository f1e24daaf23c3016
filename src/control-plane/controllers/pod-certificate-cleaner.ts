/** Pod certificate request cleaner: deletes PodCertificateRequests half an hour after they were made; kubelets have what they need by then. */
import { PodCertificateRequest } from "#api/certificates/v1/podcertificaterequest.ts";
import { isStatus } from "#machinery/status-error.ts";
import { parseTime } from "#machinery/time.ts";
import { type Outcome, requeueAfter } from "./controller.ts";
import { defineController } from "./runner.ts";

const lifeMs = 30 * 60_000;

export const podCertificateCleaner = defineController<PodCertificateRequest>({
  name: "podcertificaterequestcleaner",
  account: "podcertificaterequestcleaner",
  reconciles: PodCertificateRequest,
  async reconcile({ metadata }, { client, now }): Promise<Outcome> {
    const { name, namespace, uid, creationTimestamp, deletionTimestamp } = metadata;
    if (deletionTimestamp !== undefined) return {};
    const end = (parseTime(creationTimestamp) ?? 0) + lifeMs;
    if (now < end) return requeueAfter(end - now);
    const ref = { name, ...(namespace === undefined ? {} : { namespace }) };
    try {
      await client.delete(PodCertificateRequest, ref, { preconditions: { uid } });
    } catch (error) {
      if (!isStatus(error, "NotFound") && !isStatus(error, "Conflict")) throw error;
    }
    return {};
  },
});
