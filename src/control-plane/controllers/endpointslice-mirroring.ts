/**
 * EndpointSlice mirroring controller: Endpoints that somebody wrote for a Service without a selector
 * become EndpointSlices, which is what proxies and DNS read. Reads Endpoints and Services; writes
 * EndpointSlices that carry its mark, and leaves all others alone.
 */
import { Endpoints } from "#api/core/v1/endpoints.ts";
import { Service } from "#api/core/v1/service.ts";
import { EndpointSlice } from "#api/discovery/v1/endpointslice.ts";
import { keyOf, type Stored } from "#machinery/meta.ts";
import { isStatus } from "#machinery/status-error.ts";
import { index, keyFor, type ReconcileContext, watch } from "./controller.ts";
import { isMirror, planMirror, wantsMirror } from "./endpointslice-mirroring-plan.ts";
import { serviceNameLabel } from "./endpointslice-plan.ts";
import { defineController, isEnding } from "./runner.ts";

const mirrorIndex = "mirror-of";

const mirrorKeys = (slice: EndpointSlice): readonly string[] =>
  isMirror(slice)
    ? [keyFor(slice.metadata.namespace, slice.metadata.labels?.[serviceNameLabel] ?? "")]
    : [];

const slicesOf = (key: string, context: ReconcileContext): readonly Stored<EndpointSlice>[] =>
  context
    .cache(EndpointSlice)
    .byIndex(mirrorIndex, key)
    .filter((slice) => slice.metadata.deletionTimestamp === undefined);

async function removeAll(
  slices: readonly Stored<EndpointSlice>[],
  { client }: ReconcileContext,
): Promise<void> {
  for (const { metadata } of slices) {
    const { namespace = "", name } = metadata;
    try {
      await client.delete(EndpointSlice, { namespace, name });
    } catch (error) {
      if (!isStatus(error, "NotFound")) throw error;
    }
  }
}

export const endpointSliceMirroringController = defineController<Endpoints>({
  name: "endpointslicemirroring",
  eventSource: "endpoint-slice-mirroring-controller",
  reconciles: Endpoints,
  retriesMax: 15,
  indexes: [index(EndpointSlice, mirrorIndex, mirrorKeys)],
  watches: [
    watch(EndpointSlice, mirrorKeys),
    watch(
      Service,
      (service) => [keyOf(service)],
      (service, old) => (service.spec.selector === undefined) !== (old.spec.selector === undefined),
    ),
  ],

  async reconcile(endpoints, context) {
    const key = keyOf(endpoints);
    const existing = slicesOf(key, context);
    const service = context.cache(Service).get(key);
    if (!wantsMirror(endpoints) || service === undefined || service.spec.selector !== undefined) {
      await removeAll(existing, context);
      return;
    }
    const plan = planMirror(endpoints, existing);
    if (plan.invalid > 0) {
      const message = `Skipped ${plan.invalid} invalid IP addresses when mirroring to EndpointSlices`;
      context.event(endpoints, "Warning", "InvalidIPAddress", message);
    }
    if (plan.skipped > 0) {
      const message = `A max of 1000 addresses can be mirrored to EndpointSlices per Endpoints subset. ${plan.skipped + plan.invalid} addresses were skipped`;
      context.event(endpoints, "Warning", "TooManyAddressesToMirror", message);
    }
    const { client } = context;
    if (endpoints.metadata.deletionTimestamp === undefined) {
      for (const slice of plan.create) {
        try {
          await client.create(EndpointSlice, slice);
        } catch (error) {
          if (isEnding(error)) return;
          throw error;
        }
      }
    }
    for (const slice of plan.update) await client.update(EndpointSlice, slice);
    await removeAll(plan.remove, context);
  },
  gone: async (key, context) => await removeAll(slicesOf(key, context), context),
});
