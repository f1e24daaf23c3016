/** PriorityLevelConfiguration: how much of the server the requests of one level may take, and what becomes of those beyond. */
import {
  type FieldError,
  forbidden,
  invalid,
  notSupported,
  required,
} from "#machinery/field-error.ts";
import { equalObjects } from "#machinery/object.ts";
import type * as g from "../../generated/flowcontrol/v1.ts";
import { ageColumn } from "../../printer-columns.ts";
import { defineResource } from "../../resource.ts";
import { flowcontrolGroup, mandatory } from "./bootstrap.ts";
import { keepMetadata, validateFlowConditions } from "./flowschema.ts";

export type PriorityLevelConfiguration = g.PriorityLevelConfiguration;

const exempt = "exempt";
const roundTripAnnotation = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares";
const defaults = { shares: 30, handSize: 8, queues: 64, queueLengthLimit: 50 };
const queuesMax = 10_000_000;
const hashBitsMax = 60;

function fillDefaults({ spec }: PriorityLevelConfiguration): void {
  if (spec.exempt !== undefined) {
    spec.exempt.nominalConcurrencyShares ??= 0;
    spec.exempt.lendablePercent ??= 0;
  }
  const { limited } = spec;
  if (limited === undefined) return;
  limited.nominalConcurrencyShares ??= defaults.shares;
  limited.lendablePercent ??= 0;
  const { queuing } = limited.limitResponse;
  if (queuing === undefined) return;
  if (queuing.handSize === 0) queuing.handSize = defaults.handSize;
  if (queuing.queues === 0) queuing.queues = defaults.queues;
  if (queuing.queueLengthLimit === 0) queuing.queueLengthLimit = defaults.queueLengthLimit;
}

function validateQueuing(queuing: g.QueuingConfiguration, path: string): FieldError[] {
  const { queues, handSize, queueLengthLimit } = queuing;
  const errors: FieldError[] = [];
  const positive = "must be positive";
  if (queueLengthLimit <= 0)
    errors.push(invalid(`${path}.queueLengthLimit`, queueLengthLimit, positive));
  if (queues <= 0) errors.push(invalid(`${path}.queues`, queues, positive));
  else if (queues > queuesMax)
    errors.push(invalid(`${path}.queues`, queues, `must not be greater than ${queuesMax}`));
  const bits = Math.ceil(Math.log2(queues) * handSize);
  const at = `${path}.handSize`;
  if (handSize <= 0) errors.push(invalid(at, handSize, positive));
  else if (handSize > queues)
    errors.push(invalid(at, handSize, `should not be greater than queues (${queues})`));
  else if (bits > hashBitsMax) {
    const why = `required entropy bits of deckSize ${queues} and handSize ${handSize} should not be greater than ${hashBitsMax}`;
    errors.push(invalid(at, handSize, why));
  }
  return errors;
}

/**
 * A type and the one field that goes with it. Upstream: what this finds is told after everything else; an unknown type is told before.
 */
interface Choice {
  readonly path: string;
  readonly type: string;
  readonly types: readonly string[];
  readonly members: Readonly<Record<string, { readonly type: string; readonly value: unknown }>>;
  /** The fields that may be missing even where their type is chosen. */
  readonly optional?: readonly string[];
}

const unknownType = ({ path, type, types }: Choice): FieldError[] =>
  type === "" || types.includes(type) ? [] : [notSupported(`${path}.type`, type, types)];

function validateChoice({ path, type, members, optional = [] }: Choice): FieldError[] {
  const errors: FieldError[] = [];
  for (const [field, member] of Object.entries(members)) {
    const at = `${path}.${field}`;
    if (member.type !== type) {
      if (member.value !== undefined) errors.push(forbidden(at, ""));
    } else if (member.value === undefined && !optional.includes(field)) errors.push(required(at));
  }
  if (type === "") errors.push(required(`${path}.type`));
  return errors;
}

const responseChoice = ({ type, queuing }: g.LimitResponse): Choice => ({
  path: "spec.limited.limitResponse",
  type,
  types: ["Queue", "Reject"],
  members: { queuing: { type: "Queue", value: queuing } },
});
const levelChoice = ({ spec }: PriorityLevelConfiguration): Choice => ({
  path: "spec",
  type: spec.type,
  types: ["Exempt", "Limited"],
  members: {
    limited: { type: "Limited", value: spec.limited },
    exempt: { type: "Exempt", value: spec.exempt },
  },
  optional: ["exempt"],
});

function validateShares(shares: number | null | undefined, path: string): FieldError[] {
  if ((shares ?? 0) >= 0) return [];
  return [invalid(`${path}.nominalConcurrencyShares`, shares, "must be a non-negative integer")];
}
function validateLendable(percent: number | undefined, path: string): FieldError[] {
  if (percent === undefined || (percent >= 0 && percent <= 100)) return [];
  return [invalid(`${path}.lendablePercent`, percent, "must be between 0 and 100, inclusive")];
}

function validateLimited(limited: g.LimitedPriorityLevelConfiguration): FieldError[] {
  const path = "spec.limited";
  const { borrowingLimitPercent: borrowing, limitResponse } = limited;
  const { queuing, type } = limitResponse;
  const errors = [
    ...validateShares(limited.nominalConcurrencyShares, path),
    ...unknownType(responseChoice(limitResponse)),
    ...(queuing === undefined || type !== "Queue"
      ? []
      : validateQueuing(queuing, `${path}.limitResponse.queuing`)),
    ...validateLendable(limited.lendablePercent, path),
  ];
  if (borrowing !== undefined && borrowing < 0) {
    const why = "if specified, must be a non-negative integer";
    errors.push(invalid(`${path}.borrowingLimitPercent`, borrowing, why));
  }
  return errors;
}

function validateSpec(object: PriorityLevelConfiguration): FieldError[] {
  const { metadata, spec } = object;
  const errors: FieldError[] = [];
  if ((metadata.name === exempt) !== (spec.type === "Exempt")) {
    const why = "must be 'Exempt' if and only if `name` is 'exempt'";
    errors.push(invalid("spec.type", spec.type, why));
  }
  if (spec.type === "Exempt" && spec.exempt !== undefined) {
    errors.push(...validateShares(spec.exempt.nominalConcurrencyShares, "spec.exempt"));
    errors.push(...validateLendable(spec.exempt.lendablePercent, "spec.exempt"));
  }
  if (spec.type === "Limited" && spec.limited !== undefined)
    errors.push(...validateLimited(spec.limited));
  return [...errors, ...unknownType(levelChoice(object))];
}

const validateChoices = (object: PriorityLevelConfiguration): FieldError[] => [
  ...validateChoice(levelChoice(object)),
  ...(object.spec.limited === undefined
    ? []
    : validateChoice(responseChoice(object.spec.limited.limitResponse))),
];

/** An administrator may say how much is lent of what is exempt, and nothing else of the mandatory levels. */
function validateMandatory({ metadata, spec }: PriorityLevelConfiguration): FieldError[] {
  const { name = "" } = metadata;
  const fixed = mandatory.priorityLevels.get(name);
  if (fixed === undefined) return [];
  const own = { ...spec };
  if (name === exempt && fixed.exempt !== undefined) own.exempt = fixed.exempt;
  if (equalObjects(own, { ...fixed })) return [];
  const besides = name === exempt ? " except the 'spec.exempt' field" : "";
  return [invalid("spec", spec, `spec of '${name}'${besides} must equal the fixed value`)];
}

function validateLevel(object: PriorityLevelConfiguration): FieldError[] {
  const errors: FieldError[] = [];
  if (object.metadata.annotations?.[roundTripAnnotation] !== undefined) {
    const why = `annotation '${roundTripAnnotation}' is forbidden`;
    errors.push(forbidden("metadata.annotations", why));
  }
  return [
    ...errors,
    ...validateSpec(object),
    ...validateMandatory(object),
    ...validateFlowConditions(object.status?.conditions ?? []),
    ...validateChoices(object),
  ];
}

const queuingOf = ({ spec }: PriorityLevelConfiguration) => spec.limited?.limitResponse.queuing;

export const PriorityLevelConfiguration = defineResource<PriorityLevelConfiguration>({
  group: flowcontrolGroup,
  version: "v1",
  plural: "prioritylevelconfigurations",
  printerColumns: [
    { name: "Type", value: ({ spec }) => spec.type },
    {
      name: "NominalConcurrencyShares",
      value: ({ spec }) => spec.limited?.nominalConcurrencyShares ?? "<none>",
    },
    { name: "Queues", value: (object) => queuingOf(object)?.queues ?? "<none>" },
    { name: "HandSize", value: (object) => queuingOf(object)?.handSize ?? "<none>" },
    {
      name: "QueueLengthLimit",
      value: (object) => queuingOf(object)?.queueLengthLimit ?? "<none>",
    },
    ageColumn,
  ],
  strategy: {
    tracksGeneration: true,
    defaults: fillDefaults,
    validate: validateLevel,
    validateUpdate: validateLevel,
    prepareForStatusUpdate: keepMetadata,
    validateStatusUpdate: ({ status }) => validateFlowConditions(status?.conditions ?? []),
    statusResetFields: ["metadata"],
  },
});
