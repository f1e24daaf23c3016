/** Image names as the runtime gets them; and which of a pod's credentials fit. Pure. */
import { decodeBase64 } from "#machinery/base64.ts";
import { parseImageReference } from "#machinery/image-reference.ts";
import { isObject } from "#machinery/object.ts";

export type ImageReference =
  | {
      /** With ":latest" where neither tag nor digest was given. */
      readonly reference: string;
      /** Registry and repository, "docker.io/library/busybox". */
      readonly repository: string;
    }
  | { readonly problem: string };

export function parseImage(image: string): ImageReference {
  const parsed = parseImageReference(image);
  if ("problem" in parsed)
    return { problem: `couldn't parse image name "${image}": ${parsed.problem}` };
  const { domain = "docker.io", path, tag, digest } = parsed;
  const inLibrary = domain === "docker.io" && !path.includes("/");
  const bare = digest === undefined && tag === undefined;
  return {
    reference: bare ? `${image}:latest` : image,
    repository: `${domain}/${inLibrary ? "library/" : ""}${path}`,
  };
}

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** "https://index.docker.io/v1/" and "index.docker.io" mean docker.io; schemes and trailing slashes don't count. */
function normalHost(key: string): string {
  const bare = key.replace(/^https?:\/\//, "").replace(/\/(?:v[12]\/?)?$/, "");
  return bare.replace(/^(?:index|registry-1)\.docker\.io/, "docker.io");
}

/** "*.example.com/team" matches "eu.example.com/team/app": a star stands for one label. */
function matches(pattern: string, repository: string): boolean {
  const [host = "", ...path] = normalHost(pattern).split("/");
  const [wantedHost = "", ...wantedPath] = repository.split("/");
  const labels = host.split(".");
  const wantedLabels = wantedHost.split(".");
  if (labels.length !== wantedLabels.length) return false;
  const sameHost = labels.every((label, index) => {
    const wanted = wantedLabels[index] ?? "";
    if (!label.includes("*")) return label === wanted;
    const [before = "", after = ""] = label.split("*", 2);
    return wanted.startsWith(before) && wanted.endsWith(after);
  });
  return sameHost && path.every((part, index) => wantedPath[index] === part);
}

function credentialsOf(entry: unknown): Credentials | undefined {
  if (!isObject(entry)) return undefined;
  let { username, password } = entry as { username?: unknown; password?: unknown };
  if (typeof entry["auth"] === "string" && (username ?? "") === "") {
    const decoded = decodeBase64(entry["auth"]);
    const text = "bytes" in decoded ? new TextDecoder().decode(decoded.bytes) : "";
    const colon = text.indexOf(":");
    if (colon < 0) return undefined;
    username = text.slice(0, colon);
    password = text.slice(colon + 1);
  }
  if (typeof username !== "string" || typeof password !== "string") return undefined;
  return { username, password };
}

/** The credentials in a pull secret that fit a repository, the most specific first. */
export function credentialsFor(
  repository: string,
  type: string | undefined,
  data: ReadonlyMap<string, Uint8Array>,
): Credentials[] {
  const modern = type === "kubernetes.io/dockerconfigjson";
  const bytes = data.get(modern ? ".dockerconfigjson" : ".dockercfg");
  if (bytes === undefined) return [];
  let parsed: unknown;
  try {
    parsed = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return [];
  }
  const auths = modern && isObject(parsed) ? parsed["auths"] : parsed;
  if (!isObject(auths)) return [];
  return Object.keys(auths)
    .filter((key) => matches(key, repository))
    .toSorted((a, b) => b.length - a.length)
    .map((key) => credentialsOf(auths[key]))
    .filter((one) => one !== undefined);
}
