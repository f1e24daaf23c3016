/** ComponentStatus: nothing is stored of it: who asks is told how the components are at that moment. */
import { ComponentStatus } from "#api/core/v1/componentstatus.ts";
import type { ApiResponse } from "#api/request.ts";
import {
  compileFieldSelector,
  parseFieldSelectorText,
  parseLabelSelectorText,
} from "#machinery/selector.ts";
import { badRequest, notFound } from "#machinery/status-error.ts";
import { answerPlain, formOf } from "./answer.ts";
import type { ChainContext } from "./chain.ts";
import { queryValue } from "./request-info.ts";
import { notAllowed } from "./resource-verbs.ts";
import { partialMetadata, partialMetadataList, tableOf } from "./table.ts";

export interface Component {
  /** "etcd-0", "scheduler", "controller-manager". */
  readonly name: string;
  /** Undefined: it is well; else what is wrong. */
  readonly problem: () => string | undefined;
}

function statusOf({ name, problem }: Component): ComponentStatus {
  const error = problem();
  const condition =
    error === undefined
      ? { type: "Healthy", status: "True", message: "ok" }
      : { type: "Healthy", status: "False", error };
  return {
    apiVersion: "v1",
    kind: "ComponentStatus",
    metadata: { name },
    conditions: [condition],
  };
}

function chosen(context: ChainContext, all: readonly ComponentStatus[]): ComponentStatus[] {
  const labels = parseLabelSelectorText(queryValue(context.request, "labelSelector") ?? "");
  if ("problem" in labels) throw badRequest(labels.problem);
  const fields = parseFieldSelectorText(queryValue(context.request, "fieldSelector") ?? "");
  if ("problem" in fields) throw badRequest(fields.problem);
  const matches = compileFieldSelector<ComponentStatus>(
    fields.requirements,
    ({ metadata }, field) => (field === "metadata.name" ? (metadata.name ?? "") : ""),
  );
  return all.filter((one) => labels.query.matches(undefined) && matches(one));
}

export function handleComponentStatus(
  context: ChainContext,
  components: readonly Component[],
  now: number,
): ApiResponse {
  const { info } = context;
  if (info.subresource !== "" || (info.verb !== "get" && info.verb !== "list")) throw notAllowed();
  const form = formOf(context, now);
  const { as } = form.mediaType;
  const all = components.map(statusOf);
  const options = { version: as?.version ?? "v1", includeObject: form.includeObject, now };
  if (info.verb === "get") {
    const one = all.find(({ metadata }) => metadata.name === info.name);
    if (one === undefined) throw notFound({ group: "", plural: "componentstatus" }, info.name);
    if (as === undefined) return answerPlain(200, one, form);
    if (as.kind !== "Table") return answerPlain(200, partialMetadata(one, as.version), form);
    return answerPlain(200, tableOf(ComponentStatus, [one], {}, options), form);
  }
  const items = chosen(context, all);
  if (as?.kind === "Table")
    return answerPlain(
      200,
      tableOf(ComponentStatus, items, {}, { ...options, isList: true }),
      form,
    );
  if (as !== undefined) return answerPlain(200, partialMetadataList(items, {}, as.version), form);
  const list = { kind: "ComponentStatusList", apiVersion: "v1", metadata: {}, items };
  return answerPlain(200, list, form);
}
