/** Names of signers: who signs certificates of a kind, "example.com/name". Pure. */
import { type FieldError, invalid, required, tooLong } from "#machinery/field-error.ts";
import {
  dns1123SubdomainLengthMax,
  isDns1123Label,
  isDns1123Subdomain,
} from "#machinery/validation.ts";

const signerLengthMax = 571;
const daySeconds = 24 * 3600;

/** What may be asked of the life of a pod's certificate, in seconds; the signers of Kubernetes itself give a day at most (KEP-4317). */
export const expirationSecondsMin = 3600;
export function expirationSecondsMax(signerName: string): number {
  const host = signerName.split("/")[0] ?? "";
  return host === "kubernetes.io" || host.endsWith(".kubernetes.io") ? daySeconds : 91 * daySeconds;
}

/** "example.com/name": a domain of at least two labels, a slash, a path of subdomains. */
export function validateSignerName(name: string, path: string): FieldError[] {
  if (name === "") return [required(path)];
  const [domain = "", rest, ...more] = name.split("/");
  if (rest === undefined || more.length > 0) {
    const detail =
      "must be a fully qualified domain and path of the form 'example.com/signer-name'";
    return [invalid(path, name, detail)];
  }
  const errors: FieldError[] = [];
  if (domain.length > dns1123SubdomainLengthMax)
    errors.push(tooLong(path, dns1123SubdomainLengthMax));
  const firstBad = (text: string, problems: (label: string) => string[]): FieldError[] => {
    const label = text.split(".").find((one) => problems(one).length > 0);
    if (label === undefined) return [];
    const lead = `validating label ${JSON.stringify(label)}: `;
    return problems(label).map((message) => invalid(path, text, `${lead}${message}`));
  };
  errors.push(...firstBad(domain, isDns1123Label));
  if (!domain.includes(".")) {
    const detail = "should be a domain with at least two segments separated by dots";
    errors.push(invalid(path, domain, detail));
  }
  errors.push(...firstBad(rest, isDns1123Subdomain));
  if (name.length > signerLengthMax) errors.push(tooLong(path, signerLengthMax));
  return errors;
}
