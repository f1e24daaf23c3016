/** Volumes on demand: the default class, and the provisioner behind it. */
import { startProvisioner } from "#addons/provisioner/provisioner.ts";
import { provideStorageClass } from "#addons/provisioner/storage-class.ts";
import type { Client } from "#client/client.ts";
import { createInformers, type InformerPorts } from "#client/informer.ts";

export const provisionerAccount = "system:serviceaccount:kube-system:local-path-provisioner";

export interface Provisioning {
  stop(): Promise<void>;
}

/** `administrator` makes the class, `client` speaks as the provisioner's account. */
export async function startProvisioning(
  administrator: Client,
  client: Client,
  { clock, random, log }: InformerPorts,
): Promise<Provisioning> {
  await provideStorageClass(administrator);
  const informers = createInformers(client, { clock, random: random.fork("informers"), log });
  const provisioner = startProvisioner({ client, informers, clock, random, log });
  return {
    async stop() {
      await provisioner.stop();
      informers.stop();
    },
  };
}
