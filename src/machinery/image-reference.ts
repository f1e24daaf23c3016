/** Image references as docker and containerd spell them in full. Pure. */

const defaultDomain = "docker.io";
const domainPattern = /[.:]|^localhost$|[A-Z]/;

/** `web` → `docker.io/library/web:latest`; with a tag and a digest only the digest stays. */
export function normalizeImageReference(reference: string): string {
  const at = reference.indexOf("@");
  const digest = at < 0 ? "" : reference.slice(at);
  const named = at < 0 ? reference : reference.slice(0, at);
  const colon = named.lastIndexOf(":");
  const tagged = colon > named.lastIndexOf("/");
  const tag = tagged ? named.slice(colon) : ":latest";
  const path = withDomain(tagged ? named.slice(0, colon) : named);
  return `${path}${digest === "" ? tag : digest}`;
}

function withDomain(name: string): string {
  const slash = name.indexOf("/");
  const first = slash < 0 ? "" : name.slice(0, slash);
  if (first !== "" && domainPattern.test(first) && first !== "index.docker.io") {
    return first === defaultDomain ? withLibrary(name.slice(slash + 1)) : name;
  }
  return withLibrary(first === "index.docker.io" ? name.slice(slash + 1) : name);
}

const withLibrary = (path: string): string =>
  path.includes("/") ? `${defaultDomain}/${path}` : `${defaultDomain}/library/${path}`;

/** The registry that a reference names, `docker.io` if none. */
export function imageDomain(reference: string): string {
  const full = normalizeImageReference(reference);
  return full.slice(0, full.indexOf("/"));
}

const domainForm =
  /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9-]+)*|\[[0-9a-fA-F:]+\])(?::\d+)?$/;
const pathPartForm = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const tagForm = /^\w[\w.-]{0,127}$/;
const digestForm = /^[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}$/;

const nameLengthMax = 255;

/** The parts of a reference as they were written. */
export interface ImageName {
  /** Undefined: the default one. */
  readonly domain: string | undefined;
  readonly path: string;
  readonly tag: string | undefined;
  readonly digest: string | undefined;
}

/** `problem`: in the words of the registries' own library. */
export function parseImageReference(reference: string): ImageName | { readonly problem: string } {
  const malformed = { problem: "invalid reference format" };
  const at = reference.indexOf("@");
  const digest = at < 0 ? undefined : reference.slice(at + 1);
  const named = at < 0 ? reference : reference.slice(0, at);
  const colon = named.lastIndexOf(":");
  const tag = colon > named.lastIndexOf("/") ? named.slice(colon + 1) : undefined;
  const name = tag === undefined ? named : named.slice(0, colon);
  const parts = name.split("/");
  const [first = ""] = parts;
  const domain = parts.length > 1 && domainPattern.test(first) ? first : undefined;
  if (digest !== undefined && !digestForm.test(digest)) return malformed;
  if (tag !== undefined && !tagForm.test(tag)) return malformed;
  if (domain !== undefined && !domainForm.test(domain)) return malformed;
  const path = domain === undefined ? parts : parts.slice(1);
  if (!path.every((part) => pathPartForm.test(part))) {
    const lowered = path.every((part) => pathPartForm.test(part.toLowerCase()));
    return lowered
      ? { problem: `${malformed.problem}: repository name must be lowercase` }
      : malformed;
  }
  if (name.length > nameLengthMax)
    return { problem: `repository name must not be more than ${nameLengthMax} characters` };
  return { domain, path: path.join("/"), tag, digest };
}

/** The tag: "latest" if neither tag nor digest is given, "" for a digest alone; undefined if this is no reference. */
export function imageTag(reference: string): string | undefined {
  const parsed = parseImageReference(reference);
  if ("problem" in parsed) return undefined;
  return parsed.tag ?? (parsed.digest === undefined ? "latest" : "");
}
