/** CEL's semantic versions (semver.org 2.0): reading, comparing, taking apart. */

import { type Overload, overload } from "./environment.ts";
import { CelError, Opaque } from "./value.ts";

interface Version {
  readonly numbers: readonly [bigint, bigint, bigint];
  readonly pre: readonly string[];
}

const full = /^(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+([0-9A-Za-z.-]+))?$/;

function read(text: string): Version | { readonly problem: string } {
  if (text === "") return { problem: "Version string empty" };
  const found = full.exec(text);
  if (found === null) {
    const parts = text.split(".");
    if (parts.length < 3) return { problem: "No Major.Minor.Patch elements found" };
    return { problem: `Invalid character(s) found in version ${JSON.stringify(text)}` };
  }
  const [, major = "", minor = "", patch = "", pre = "", build = ""] = found;
  const numbers: [string, string][] = [
    ["Major", major],
    ["Minor", minor],
    ["Patch", patch],
  ];
  for (const [what, digits] of numbers)
    if (digits.length > 1 && digits.startsWith("0"))
      return {
        problem: `${what} number must not contain leading zeroes ${JSON.stringify(digits)}`,
      };
  const marks = pre === "" ? [] : pre.split(".");
  for (const mark of marks) {
    if (mark === "") return { problem: "Prerelease is empty" };
    if (/^0\d+$/.test(mark))
      return {
        problem: `Numeric PreRelease version must not contain leading zeroes ${JSON.stringify(mark)}`,
      };
  }
  if (build !== "" && build.split(".").includes("")) return { problem: "Build meta data is empty" };
  return { numbers: [BigInt(major), BigInt(minor), BigInt(patch)], pre: marks };
}

/** Takes "v1", "1.0" and leading zeros for what is meant. */
function tolerant(text: string): Version | { readonly problem: string } {
  const plain = text.trim().replace(/^v/, "");
  const end = plain.search(/[-+]/);
  const head = (end === -1 ? plain : plain.slice(0, end)).split(".");
  const tail = end === -1 ? "" : plain.slice(end);
  const parts = head.map((part) => part.replace(/^0+(?=\d)/, ""));
  if (parts.length < 3 && tail !== "")
    return { problem: "short version cannot contain PreRelease/Build meta data" };
  while (parts.length < 3) parts.push("0");
  return read(`${parts.join(".")}${tail}`);
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function compareMarks(a: string, b: string): number {
  const left = /^\d+$/.test(a);
  const right = /^\d+$/.test(b);
  if (left !== right) return left ? -1 : 1;
  if (!left) return compareText(a, b);
  const difference = BigInt(a) - BigInt(b);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

function compare(a: Version, b: Version): number {
  for (const [index, one] of a.numbers.entries()) {
    const other = b.numbers[index] ?? 0n;
    if (one !== other) return one < other ? -1 : 1;
  }
  // A release comes behind its candidates.
  if (a.pre.length === 0 || b.pre.length === 0)
    return Math.sign(Number(a.pre.length === 0) - Number(b.pre.length === 0));
  for (const [index, mark] of a.pre.entries()) {
    const other = b.pre[index];
    if (other === undefined) return 1;
    const order = compareMarks(mark, other);
    if (order !== 0) return order;
  }
  return a.pre.length < b.pre.length ? -1 : 0;
}

type SemverValue = Opaque<Version>;
function value(found: Version | { readonly problem: string }): SemverValue {
  if ("problem" in found) throw new CelError(found.problem);
  return new Opaque("kubernetes.Semver", found, (a, b) => compare(a, b) === 0);
}
const reader = (normalizes: boolean) => (normalizes ? tolerant : read);
const order = (a: SemverValue, b: SemverValue): number => compare(a.value, b.value);

export const semverLibrary: readonly Overload[] = [
  overload("semver(string):kubernetes.Semver", (text: string) => value(read(text))),
  overload("semver(string,bool):kubernetes.Semver", (text: string, normalizes: boolean) =>
    value(reader(normalizes)(text)),
  ),
  overload("isSemver(string):bool", (text: string) => !("problem" in read(text))),
  overload(
    "isSemver(string,bool):bool",
    (text: string, normalizes: boolean) => !("problem" in reader(normalizes)(text)),
  ),
  overload("kubernetes.Semver.major():int", (one: SemverValue) => one.value.numbers[0]),
  overload("kubernetes.Semver.minor():int", (one: SemverValue) => one.value.numbers[1]),
  overload("kubernetes.Semver.patch():int", (one: SemverValue) => one.value.numbers[2]),
  overload(
    "kubernetes.Semver.isLessThan(kubernetes.Semver):bool",
    (a: SemverValue, b: SemverValue) => order(a, b) < 0,
  ),
  overload(
    "kubernetes.Semver.isGreaterThan(kubernetes.Semver):bool",
    (a: SemverValue, b: SemverValue) => order(a, b) > 0,
  ),
  overload("kubernetes.Semver.compareTo(kubernetes.Semver):int", (a: SemverValue, b: SemverValue) =>
    BigInt(order(a, b)),
  ),
];
