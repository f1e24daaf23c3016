/** APIService: who serves a group version: this server itself, or an extension server behind a Service. */

import { decodeBase64 } from "#machinery/base64.ts";
import { type FieldError, invalid, notSupported, required } from "#machinery/field-error.ts";
import { formatTime } from "#machinery/time.ts";
import {
  isDns1035Label,
  isDns1123Subdomain,
  isPathSegmentName,
  isPortNumber,
} from "#machinery/validation.ts";
import type * as g from "../../generated/apiregistration/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";

export type APIService = g.APIService;
export type APIServiceCondition = g.APIServiceCondition;

export const apiregistrationGroup = "apiregistration.k8s.io";
const groupPriorityMax = 20_000;
const versionPriorityMax = 1000;
const portDefault = 443;

export const availableOf = ({ status }: APIService): APIServiceCondition | undefined =>
  status?.conditions?.find(({ type }) => type === "Available");
export const isAvailable = (service: APIService): boolean =>
  availableOf(service)?.status === "True";

function nameProblem(name: string, _prefix?: boolean, object?: APIService): string[] {
  const problems = isPathSegmentName(name);
  if (problems.length > 0 || object === undefined) return problems;
  const { spec } = object;
  const wanted = `${spec.version ?? ""}.${spec.group ?? ""}`;
  return name === wanted
    ? []
    : [`must be \`spec.version+"."+spec.group\`: ${JSON.stringify(wanted)}`];
}

function bundleLength(bundle: string): number {
  const decoded = decodeBase64(bundle);
  return "bytes" in decoded ? decoded.bytes.length : 0;
}

function validateLocal({ spec }: APIService): FieldError[] {
  const errors: FieldError[] = [];
  const { caBundle = "", insecureSkipTLSVerify } = spec;
  if (caBundle !== "") {
    const value = `${bundleLength(caBundle)} bytes`;
    errors.push(invalid("spec.caBundle", value, "local APIServices may not have a caBundle"));
  }
  if (insecureSkipTLSVerify === true) {
    const why = "local APIServices may not have insecureSkipTLSVerify";
    errors.push(invalid("spec.insecureSkipTLSVerify", true, why));
  }
  return errors;
}

function validateRemote({ spec }: APIService, service: g.ServiceReference): FieldError[] {
  const errors: FieldError[] = [];
  const { namespace = "", name = "", port = 0 } = service;
  if (namespace === "") errors.push(required("spec.service.namespace"));
  if (name === "") errors.push(required("spec.service.name"));
  const problems = isPortNumber(port);
  if (problems.length > 0) {
    const why = `port is not valid: ${problems.join(", ")}`;
    errors.push(invalid("spec.service.port", port, why));
  }
  if (spec.insecureSkipTLSVerify === true && (spec.caBundle ?? "") !== "") {
    const why = "may not be true if caBundle is present";
    errors.push(invalid("spec.insecureSkipTLSVerify", true, why));
  }
  return errors;
}

function validateApiService(object: APIService): FieldError[] {
  const { group = "", version = "", service, groupPriorityMinimum, versionPriority } = object.spec;
  const errors: FieldError[] = [];
  if (group === "" && version !== "v1") {
    const why = "only v1 may have an empty group and it better be legacy kube";
    errors.push(required("spec.group", why));
  }
  if (group !== "") {
    for (const text of isDns1123Subdomain(group)) errors.push(invalid("spec.group", group, text));
  }
  for (const text of isDns1035Label(version)) errors.push(invalid("spec.version", version, text));
  if (groupPriorityMinimum <= 0 || groupPriorityMinimum > groupPriorityMax) {
    const why = "must be positive and less than 20000";
    errors.push(invalid("spec.groupPriorityMinimum", groupPriorityMinimum, why));
  }
  if (versionPriority <= 0 || versionPriority > versionPriorityMax) {
    const why = "must be positive and less than 1000";
    errors.push(invalid("spec.versionPriority", versionPriority, why));
  }
  const rest = service === undefined ? validateLocal(object) : validateRemote(object, service);
  return [...errors, ...rest];
}

function validateStatus({ status }: APIService): FieldError[] {
  const known = ["False", "True", "Unknown"];
  return (status?.conditions ?? []).flatMap(({ status: value }, index) =>
    known.includes(value)
      ? []
      : [notSupported(`status.conditions[${index}].status`, value, ["True", "False", "Unknown"])],
  );
}

function availability(service: APIService): string {
  const condition = availableOf(service);
  if (condition === undefined) return "Unknown";
  const { status, reason = "" } = condition;
  return status === "True" || reason === "" ? status : `${status} (${reason})`;
}

export const APIService = defineResource<APIService>({
  group: apiregistrationGroup,
  version: "v1",
  plural: "apiservices",
  storagePrefix: "/registry/apiregistration.k8s.io/apiservices",
  printerColumns: [
    {
      name: "Service",
      value: ({ spec: { service } }) =>
        service === undefined ? "Local" : `${service.namespace ?? ""}/${service.name ?? ""}`,
    },
    { name: "Available", value: availability },
    ageColumn,
  ],
  strategy: {
    allowUnconditionalUpdate: false,
    nameProblems: nameProblem,
    defaults({ spec }) {
      if (spec.service !== undefined) spec.service.port ??= portDefault;
    },
    prepareForCreate(object, { now }) {
      if (object.spec.service !== undefined) return;
      const local: APIServiceCondition = {
        type: "Available",
        status: "True",
        lastTransitionTime: formatTime(now),
        reason: "Local",
        message: "Local APIServices are always available",
      };
      object.status = { conditions: [local] };
    },
    prepareForStatusUpdate({ metadata }, { metadata: old }) {
      if (old.labels === undefined) delete metadata.labels;
      else metadata.labels = { ...old.labels };
      if (old.annotations === undefined) delete metadata.annotations;
      else metadata.annotations = { ...old.annotations };
    },
    validate: validateApiService,
    validateUpdate: (object) => [
      ...nameProblem(object.metadata.name ?? "", false, object).map((text) =>
        invalid("metadata.name", object.metadata.name, text),
      ),
      ...validateApiService(object),
    ],
    validateStatusUpdate: validateStatus,
    statusResetFields: ["metadata"],
  },
});
