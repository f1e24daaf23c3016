/** Security contexts of pods and containers: users, profiles, sysctls. */
import { duplicate, type FieldError, invalid, required } from "#machinery/field-error.ts";
import { isGroupId } from "#machinery/validation.ts";
import type {
  AppArmorProfile,
  PodSpec,
  SeccompProfile,
  SecurityContext,
} from "../../../generated/core/v1.ts";
import { each, localDescendingPath, oneOf, userId } from "./fields.ts";
import type { PodRules } from "./rules.ts";
import { validateWindowsOptions } from "./windows.ts";

const profileTypes = ["Localhost", "RuntimeDefault", "Unconfined"];
const localhostProfileBytesMax = 4095;
const sysctlLengthMax = 253;
const sysctlForm = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
const encoder = new TextEncoder();

function validateSeccomp(profile: SeccompProfile | undefined, path: string): FieldError[] {
  if (profile === undefined) return [];
  const { type, localhostProfile } = profile;
  const at = `${path}.localhostProfile`;
  const errors =
    type === ""
      ? [required(`${path}.type`, "type is required when seccompProfile is set")]
      : oneOf(`${path}.type`, type, profileTypes);
  if (type !== "Localhost") {
    if (localhostProfile === undefined) return errors;
    return [...errors, invalid(at, profile, "can only be set when seccomp type is Localhost")];
  }
  if (localhostProfile !== undefined)
    return [...errors, ...localDescendingPath(at, localhostProfile)];
  return [...errors, required(at, "must be set when seccomp type is Localhost")];
}

export function validateAppArmor(profile: AppArmorProfile | undefined, path: string): FieldError[] {
  if (profile === undefined) return [];
  const { type, localhostProfile } = profile;
  const at = `${path}.localhostProfile`;
  if (type === "") {
    return [required(`${path}.type`, "type is required when appArmorProfile is set")];
  }
  if (type !== "Localhost") {
    const errors = oneOf(`${path}.type`, type, profileTypes);
    if (errors.length > 0 || localhostProfile === undefined) return errors;
    return [invalid(at, localhostProfile, "can only be set when AppArmor type is Localhost")];
  }
  const missing = required(at, "must be set when AppArmor type is Localhost");
  if (localhostProfile === undefined) return [missing];
  const errors: FieldError[] = [];
  if (localhostProfile.trim() !== localhostProfile) {
    errors.push(invalid(at, localhostProfile, "must not be padded with whitespace"));
  } else if (localhostProfile === "") errors.push(missing);
  if (encoder.encode(localhostProfile).length > localhostProfileBytesMax) {
    const message = `Too long: may not be more than ${localhostProfileBytesMax} bytes`;
    errors.push({ path: at, type: "FieldValueTooLong", message });
  }
  return errors;
}

const group = (path: string, value: number | undefined): FieldError[] =>
  value === undefined ? [] : each(path, value, isGroupId(value));

export function validateSecurityContext(
  context: SecurityContext | undefined,
  hostUsers: boolean,
  path: string,
  rules: PodRules,
): FieldError[] {
  if (context === undefined) return [];
  const { privileged, procMount, allowPrivilegeEscalation, capabilities } = context;
  const errors = [
    ...userId(`${path}.runAsUser`, context.runAsUser),
    ...group(`${path}.runAsGroup`, context.runAsGroup),
  ];
  if (procMount !== undefined) {
    errors.push(...oneOf(`${path}.procMount`, procMount, ["Default", "Unmasked"]));
    if (hostUsers && procMount === "Unmasked") {
      const detail = "`hostUsers` must be false to use `Unmasked`";
      errors.push(invalid(`${path}.procMount`, procMount, detail));
    }
  }
  errors.push(...validateSeccomp(context.seccompProfile, `${path}.seccompProfile`));
  if (allowPrivilegeEscalation === false) {
    const lead = "cannot set `allowPrivilegeEscalation` to false and";
    if (privileged === true) errors.push(invalid(path, context, `${lead} \`privileged\` to true`));
    const admin = (capabilities?.add ?? []).filter((one) => one === "CAP_SYS_ADMIN");
    if (!rules.allowSysAdminWithoutEscalation) {
      const detail = `${lead} \`capabilities.Add\` CAP_SYS_ADMIN`;
      errors.push(...admin.map(() => invalid(path, context, detail)));
    }
  }
  errors.push(...validateWindowsOptions(context.windowsOptions, `${path}.windowsOptions`));
  return [...errors, ...validateAppArmor(context.appArmorProfile, `${path}.appArmorProfile`)];
}

/** Which of the kernel's namespaces a sysctl belongs to. */
function sysctlNamespace(name: string): "IPC" | "Net" | "" {
  // A slash separates like a dot if it comes first; then dots are part of the names.
  const separator = name.search(/[./]/);
  const dotted =
    separator >= 0 && name[separator] === "/"
      ? name.replace(/[./]/g, (one) => (one === "/" ? "." : "/"))
      : name;
  const star = dotted.indexOf("*");
  const prefix = star < 0 ? dotted : dotted.slice(0, star);
  if (prefix.startsWith("net.")) return "Net";
  if (prefix.startsWith("fs.mqueue.")) return "IPC";
  return /^kernel\.(sem|shm(all|max|mni|_rmid_forced)?|msg(max|mnb|mni)?)$/.test(prefix)
    ? "IPC"
    : "";
}

export function validateHostSysctl(name: string, spec: PodSpec, path: string): FieldError[] {
  const namespace = sysctlNamespace(name);
  if (spec.hostNetwork === true && namespace === "Net") {
    return [invalid(path, name, "may not be specified when 'hostNetwork' is true")];
  }
  if (spec.hostIPC === true && namespace === "IPC") {
    return [invalid(path, name, "may not be specified when 'hostIPC' is true")];
  }
  return [];
}

const segment = /^[a-z0-9]([-_a-z0-9]*[a-z0-9])?$/;
const isSysctl = (name: string): boolean =>
  name.length <= sysctlLengthMax && name.split(/[./]/).every((part) => segment.test(part));

function validateSysctls(spec: PodSpec, path: string, rules: PodRules): FieldError[] {
  const seen = new Set<string>();
  return (spec.securityContext?.sysctls ?? []).flatMap(({ name }, index) => {
    const at = `${path}[${index}].name`;
    const errors: FieldError[] = [];
    if (name === "") errors.push(required(at));
    else if (!isSysctl(name)) {
      const detail = `must have at most ${sysctlLengthMax} characters and match regex ${sysctlForm}`;
      errors.push(invalid(at, name, detail));
    } else if (seen.has(name)) errors.push(duplicate(at, name));
    seen.add(name);
    if (!rules.allowHostSysctls) errors.push(...validateHostSysctl(name, spec, at));
    return errors;
  });
}

export function validatePodSecurityContext(
  spec: PodSpec,
  path: string,
  rules: PodRules,
): FieldError[] {
  const context = spec.securityContext;
  if (context === undefined) return [];
  const errors = [
    ...group(`${path}.fsGroup`, context.fsGroup),
    ...userId(`${path}.runAsUser`, context.runAsUser),
    ...group(`${path}.runAsGroup`, context.runAsGroup),
    ...(context.supplementalGroups ?? []).flatMap((id, index) =>
      group(`${path}.supplementalGroups[${index}]`, id),
    ),
    ...validateSysctls(spec, `${path}.sysctls`, rules),
  ];
  const choices = [
    ["fsGroupChangePolicy", ["Always", "OnRootMismatch"]],
    ["supplementalGroupsPolicy", ["Merge", "Strict"]],
    ["seLinuxChangePolicy", ["MountOption", "Recursive"]],
  ] as const;
  const choose = (index: 0 | 1 | 2): FieldError[] => {
    const [field, values] = choices[index];
    const value = context[field];
    return value === undefined ? [] : oneOf(`${path}.${field}`, value, values);
  };
  return [
    ...errors,
    ...choose(0),
    ...validateSeccomp(context.seccompProfile, `${path}.seccompProfile`),
    ...validateWindowsOptions(context.windowsOptions, `${path}.windowsOptions`),
    ...validateAppArmor(context.appArmorProfile, `${path}.appArmorProfile`),
    ...choose(1),
    ...choose(2),
  ];
}
