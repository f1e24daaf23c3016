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
