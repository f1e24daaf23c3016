/**
 * What is only for Windows, and what is not for Windows. Nodes here run Linux; the objects are
 * checked all the same.
 */
import {
  type FieldError,
  forbidden,
  invalid,
  notSupported,
  required,
} from "#machinery/field-error.ts";
import type { PodSpec, WindowsSecurityContextOptions } from "../../../generated/core/v1.ts";
import { visitContainers } from "../pod-containers.ts";
import { dnsSubdomain } from "./fields.ts";

const gmsaBytesMax = 64 * 1024;
const userDomainLengthMax = 256;
const userNameLengthMax = 104;
const encoder = new TextEncoder();
const hasControlCharacter = (text: string): boolean =>
  Array.from(text).some((char) => char < " " || char === "\u007f");
const netBiosName = /^[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}$/;
const dnsName =
  /^[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$/;

/** DOMAIN\USER, the domain may be missing. */
function validateUserName(name: string, path: string): FieldError[] {
  const refuse = (detail: string): FieldError => invalid(path, name, detail);
  if (name === "") return [refuse("runAsUserName cannot be an empty string")];
  if (hasControlCharacter(name)) {
    return [refuse("runAsUserName cannot contain control characters")];
  }
  const parts = name.split("\\");
  if (parts.length > 2) return [refuse("runAsUserName cannot contain more than one backslash")];
  const errors: FieldError[] = [];
  const user = parts.at(-1) ?? "";
  const domain = parts.length === 2 ? (parts[0] ?? "") : undefined;
  if (domain !== undefined && domain.length >= userDomainLengthMax) {
    const detail = `runAsUserName's Domain length must be under ${userDomainLengthMax} characters`;
    errors.push(refuse(detail));
  }
  if (domain !== undefined && !netBiosName.test(domain) && !dnsName.test(domain)) {
    errors.push(refuse("runAsUserName's Domain doesn't match the NetBios nor the DNS format"));
  }
  if (user === "") errors.push(refuse("runAsUserName's User cannot be empty"));
  else if (user.length > userNameLengthMax) {
    const detail = `runAsUserName's User length must not be longer than ${userNameLengthMax} characters`;
    errors.push(refuse(detail));
  }
  if (/^[. ]+$/.test(user)) {
    errors.push(refuse("runAsUserName's User cannot contain only periods or spaces"));
  }
  if (/["/\\:;|=,+*?<>@[\]]/.test(user)) {
    const detail =
      "runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]";
    errors.push(refuse(detail));
  }
  return errors;
}

export function validateWindowsOptions(
  options: WindowsSecurityContextOptions | undefined,
  path: string,
): FieldError[] {
  if (options === undefined) return [];
  const { gmsaCredentialSpecName, gmsaCredentialSpec, runAsUserName } = options;
  const errors: FieldError[] = [];
  if (gmsaCredentialSpecName !== undefined) {
    errors.push(...dnsSubdomain(`${path}.gmsaCredentialSpecName`, gmsaCredentialSpecName));
  }
  if (gmsaCredentialSpec !== undefined) {
    const at = `${path}.gmsaCredentialSpec`;
    const bytes = encoder.encode(gmsaCredentialSpec).length;
    if (bytes === 0) {
      const detail = "gmsaCredentialSpec cannot be an empty string";
      errors.push(invalid(at, gmsaCredentialSpec, detail));
    } else if (bytes > gmsaBytesMax) {
      errors.push(invalid(at, gmsaCredentialSpec, "gmsaCredentialSpec size must be under 64 KiB"));
    }
  }
  if (runAsUserName !== undefined) {
    errors.push(...validateUserName(runAsUserName, `${path}.runAsUserName`));
  }
  return errors;
}

/** Host-process containers: all of a pod's or none, and on the host's network. */
export function validateHostProcess(spec: PodSpec, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const ofPod = spec.securityContext?.windowsOptions?.hostProcess;
  const visited = visitContainers(spec, path);
  let count = 0;
  for (const { container, path: at } of visited) {
    const own = container.securityContext?.windowsOptions?.hostProcess;
    if (ofPod !== undefined && own !== undefined && ofPod !== own) {
      const detail = `pod hostProcess value must be identical if both are specified, was ${ofPod}`;
      errors.push(invalid(`${at}.securityContext.windowsOptions.hostProcess`, own, detail));
    }
    if (own ?? ofPod ?? false) count += 1;
  }
  if (count === 0) return errors;
  if (count !== visited.length) {
    const detail =
      "If pod contains any hostProcess containers then all containers must be HostProcess containers";
    errors.push(invalid(path, "", detail));
  }
  if (spec.hostNetwork !== true) {
    const detail = "hostNetwork must be true if pod contains any hostProcess containers";
    errors.push(invalid(`${path}.hostNetwork`, false, detail));
  }
  return errors;
}

function present(
  holder: object | undefined,
  fields: readonly string[],
  path: string,
): FieldError[] {
  if (holder === undefined) return [];
  return fields
    .filter((field) => Object.hasOwn(holder, field))
    .map((field) => forbidden(`${path}.${field}`, "cannot be set for a windows pod"));
}

const notInWindowsPods = [
  "appArmorProfile",
  "seLinuxOptions",
  "seccompProfile",
  "fsGroup",
  "fsGroupChangePolicy",
  "sysctls",
  "runAsUser",
  "runAsGroup",
  "supplementalGroups",
  "supplementalGroupsPolicy",
  "seLinuxChangePolicy",
];
const notInWindowsContainers = [
  "appArmorProfile",
  "seLinuxOptions",
  "seccompProfile",
  "capabilities",
  "readOnlyRootFilesystem",
  "privileged",
  "allowPrivilegeEscalation",
  "procMount",
  "runAsUser",
  "runAsGroup",
];

/** spec.os, and what it excludes. */
export function validateOs(spec: PodSpec, path: string): FieldError[] {
  if (spec.os === undefined) return [];
  const { name } = spec.os;
  if (name === "") return [required(`${path}.os.name`)];
  const containers = visitContainers(spec, path);
  switch (name) {
    case "linux":
      return [
        { holder: spec.securityContext, path: `${path}.securityContext` },
        ...containers.map(({ container, path: at }) => ({
          holder: container.securityContext,
          path: `${at}.securityContext`,
        })),
      ].flatMap(({ holder, path: at }) =>
        holder?.windowsOptions === undefined
          ? []
          : [forbidden(`${at}.windowsOptions`, "windows options cannot be set for a linux pod")],
      );
    case "windows":
      return [
        ...present(spec.securityContext, notInWindowsPods, `${path}.securityContext`),
        ...present(spec, ["hostUsers", "hostPID", "hostIPC", "shareProcessNamespace"], path),
        ...containers.flatMap(({ container, path: at }) =>
          present(container.securityContext, notInWindowsContainers, `${at}.securityContext`),
        ),
      ];
    default:
      return [notSupported(`${path}.os`, name, ["linux", "windows"])];
  }
}
