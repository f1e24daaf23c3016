/** The class that claims get that name none: a directory on the node of the first pod that uses it. */
import { StorageClass } from "#api/storage/v1/storageclass.ts";
import type { Client } from "#client/client.ts";
import { isStatus } from "#machinery/status-error.ts";

export const provisionerName = "wherry.io/local-path";
const className = "standard";

/** Made once; whoever changes it later is left alone. */
export async function provideStorageClass(client: Client): Promise<void> {
  try {
    await client.get(StorageClass, { name: className });
    return;
  } catch (error) {
    if (!isStatus(error, "NotFound")) throw error;
  }
  await client.create(StorageClass, {
    metadata: {
      name: className,
      annotations: { "storageclass.kubernetes.io/is-default-class": "true" },
    },
    provisioner: provisionerName,
    reclaimPolicy: "Delete",
    volumeBindingMode: "WaitForFirstConsumer",
  });
}
