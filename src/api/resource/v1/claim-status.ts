/** What the status of a claim may say: the devices it was given, who may use them, and how drivers find them. */
import {
  type FieldError,
  forbidden,
  invalid,
  notSupported,
  required,
  tooLong,
  tooMany,
} from "#machinery/field-error.ts";
import { parseCidr } from "#machinery/ip.ts";
import { validateConditions } from "#machinery/meta-validation.ts";
import { equalObjects } from "#machinery/object.ts";
import { validateNodeSelector } from "../../core/v1/pod-validation/scheduling.ts";
import type * as g from "../../generated/resource/v1.ts";
import {
  type RequestNames,
  requestNamesOf,
  validateRequestName,
  validateRequestNames,
} from "./claim-validation.ts";
import {
  validateDeclaredDriver,
  validateDeclaredPool,
  validateDriverName,
  validateLabelName,
  validatePoolName,
  validateUuid,
} from "./device-names.ts";
import {
  configurationsMax,
  validateBindingConditions,
  validateConfiguration,
  validateOpaque,
  validateToleration,
} from "./device-parts.ts";
import { duplicates, eachOf, eachOfSet, Findings } from "./findings.ts";

const resultsMax = 32;
const consumersMax = 256;
const conditionsMax = 8;
const dataBytesMax = 10 * 1024;
const addressesMax = 16;
const interfaceBytesMax = 256;
const hardwareBytesMax = 128;
const sources = ["FromClaim", "FromClass"];
const encoder = new TextEncoder();

interface DeviceKey {
  readonly driver: string;
  readonly pool: string;
  readonly device: string;
  readonly shareID?: string;
}
/** driver/pool/device, and of a shared device the share. */
export const deviceKey = ({ driver, pool, device, shareID }: DeviceKey): string =>
  `${driver}/${pool}/${device}${shareID === undefined ? "" : `/${shareID}`}`;

const allocatedKeys = ({ allocation }: g.ResourceClaimStatus): ReadonlySet<string> =>
  new Set((allocation?.devices?.results ?? []).map(deviceKey));

/** What drivers said of devices goes with the devices. */
export function dropFreedDevices(status: g.ResourceClaimStatus, old: g.ResourceClaimStatus): void {
  const kept = allocatedKeys(status);
  const freed = [...allocatedKeys(old)].filter((key) => !kept.has(key));
  const devices = (status.devices ?? []).filter((one) => !freed.includes(deviceKey(one)));
  if (devices.length > 0) status.devices = devices;
  else delete status.devices;
}

function validateResult(
  found: Findings,
  result: g.DeviceRequestAllocationResult,
  path: string,
  known: RequestNames,
): void {
  const { driver, pool, device, shareID } = result;
  found.tell(...validateRequestName(result.request, `${path}.request`, known));
  found.tell(...validateLabelName(device, `${path}.device`));
  found.declare(...validateDeclaredDriver(driver, `${path}.driver`));
  found.declare(...validateDeclaredPool(pool, `${path}.pool`));
  for (const [index, one] of (result.tolerations ?? []).entries())
    validateToleration(found, one, `${path}.tolerations[${index}]`);
  const { bindingConditions, bindingFailureConditions } = result;
  validateBindingConditions(found, bindingConditions, bindingFailureConditions, path);
  if (shareID !== undefined) found.declare(...validateUuid(shareID, `${path}.shareID`));
}

function validateAllocation(
  found: Findings,
  { devices, nodeSelector }: g.AllocationResult,
  path: string,
  known: RequestNames,
): void {
  const { results = [], config = [] } = devices ?? {};
  const at = `${path}.devices`;
  eachOf(found, results, `${at}.results`, resultsMax, (one, where) =>
    validateResult(found, one, where, known),
  );
  eachOf(found, config, `${at}.config`, 2 * configurationsMax, (one, where) => {
    if (one.source === "") found.declare(required(`${where}.source`));
    else if (!sources.includes(one.source))
      found.declare(notSupported(`${where}.source`, one.source, sources));
    validateRequestNames(found, one.requests ?? [], `${where}.requests`, known);
    validateConfiguration(found, one, where);
  });
  if (nodeSelector !== undefined)
    found.tell(...validateNodeSelector(nodeSelector, `${path}.nodeSelector`, false));
}

function validateAddress(value: string, path: string): FieldError[] {
  const cidr = parseCidr(value);
  if (cidr !== undefined) return [];
  const why = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)";
  return [invalid(path, value, why)];
}

function validateNetwork(found: Findings, data: g.NetworkDeviceData, path: string): void {
  const { interfaceName = "", hardwareAddress = "", ips = [] } = data;
  const isLong = (text: string, max: number): boolean => encoder.encode(text).length > max;
  if (isLong(interfaceName, interfaceBytesMax))
    found.declare(tooLong(`${path}.interfaceName`, interfaceBytesMax));
  eachOfSet(
    found,
    ips,
    `${path}.ips`,
    addressesMax,
    (one) => one,
    (one, at) => found.tell(...validateAddress(one, at)),
  );
  if (isLong(hardwareAddress, hardwareBytesMax))
    found.declare(tooLong(`${path}.hardwareAddress`, hardwareBytesMax));
}

function validateDevice(
  found: Findings,
  device: g.AllocatedDeviceStatus,
  path: string,
  allocated: ReadonlySet<string>,
): void {
  const { driver, pool, shareID, data, networkData } = device;
  // Upstream: who leaves conditions out is shown null.
  const conditions = device.conditions ?? [];
  found.tell(...validateDriverName(driver, `${path}.driver`));
  found.tell(...validatePoolName(pool, `${path}.pool`));
  found.tell(...validateLabelName(device.device, `${path}.device`));
  if (shareID !== undefined) found.declare(...validateUuid(shareID, `${path}.shareID`));
  if (!allocated.has(deviceKey(device))) {
    const shown = { Driver: driver, Pool: pool, Device: device.device, ShareID: shareID ?? "" };
    found.tell(invalid(path, shown, "must be an allocated device in the claim"));
  }
  const at = `${path}.conditions`;
  if (conditions.length > conditionsMax) found.tell(tooMany(at, conditions.length, conditionsMax));
  found.tell(...validateConditions(conditions, at));
  if (data !== undefined) found.tell(...validateOpaque(data, `${path}.data`, dataBytesMax));
  if (networkData !== undefined) validateNetwork(found, networkData, `${path}.networkData`);
}

function validateConsumers(
  found: Findings,
  { metadata, status }: g.ResourceClaim,
  old: g.ResourceClaim,
): void {
  const path = "status.reservedFor";
  const consumers = status.reservedFor ?? [];
  eachOfSet(
    found,
    consumers,
    path,
    consumersMax,
    ({ uid }) => uid,
    ({ resource, name, uid }, at) => {
      if (resource === "") found.tell(required(`${at}.resource`));
      if (name === "") found.tell(required(`${at}.name`));
      if (uid === "") found.tell(required(`${at}.uid`));
    },
  );
  if (consumers.length === 0) return;
  if (status.allocation === undefined) {
    found.tell(forbidden(path, "may not be specified when `allocated` is not set"));
    return;
  }
  const before = old.status.reservedFor ?? [];
  const isNew = consumers.some((one) => !before.some((known) => equalObjects(known, one)));
  if (metadata.deletionTimestamp === undefined || !isNew) return;
  const why =
    "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
  found.tell(forbidden(path, why));
}

export function validateClaimStatus(claim: g.ResourceClaim, old: g.ResourceClaim): FieldError[] {
  const found = new Findings();
  const { status } = claim;
  const path = "status.allocation";
  const before = old.status.allocation;
  if (before !== undefined && status.allocation !== undefined) {
    if (!equalObjects(status.allocation, before))
      found.declare(invalid(path, null, "field cannot be modified once set"));
  } else if (status.allocation !== undefined)
    validateAllocation(found, status.allocation, path, requestNamesOf(claim.spec.devices));
  validateConsumers(found, claim, old);
  const devices = status.devices ?? [];
  const allocated = allocatedKeys(status);
  for (const [index, device] of devices.entries())
    validateDevice(found, device, `status.devices[${index}]`, allocated);
  found.declare(...duplicates(devices, "status.devices", deviceKey, (one) => one));
  return found.all();
}
