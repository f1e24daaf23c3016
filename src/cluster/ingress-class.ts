/** The class that an Ingress gets when it names none: the nodes' own ingress answers for it. */
import { defaultIngressClassAnnotation, IngressClass } from "#api/networking/v1/ingressclass.ts";
import type { Client } from "#client/client.ts";
import { isStatus } from "#machinery/status-error.ts";

const name = "wherry";
const controller = "wherry.io/ingress-controller";

/** Made where it is not there; whoever changes it (no default any more, say) is left alone. */
export async function provideIngressClass(client: Client): Promise<void> {
  try {
    await client.get(IngressClass, { name });
    return;
  } catch (error) {
    if (!isStatus(error, "NotFound")) throw error;
  }
  await client.create(IngressClass, {
    metadata: { name, annotations: { [defaultIngressClassAnnotation]: "true" } },
    spec: { controller },
  });
}
