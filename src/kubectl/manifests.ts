/** -f: objects out of files, folders, standard input and URLs, in order. */
import { isObject } from "#machinery/object.ts";
import { readYamlDocuments } from "#machinery/yaml.ts";
import { asError, CommandError } from "./errors.ts";
import { type Flag, type Flags, list, text, toggle } from "./flags.ts";
import { compactJson } from "./json-print.ts";
import { type AnyObject, apiVersionIn, isList, kindOf } from "./objects.ts";
import { readWhole } from "./rest.ts";
import type { Surroundings } from "./surroundings.ts";

export const fileFlags = (what: string): readonly Flag[] => [
  list("filename", `Filename, directory, or URL to files ${what}`, { short: "f" }),
  text("kustomize", "Process a kustomization directory", { short: "k" }),
  toggle("recursive", "Process the directory used in -f, --filename recursively", { short: "R" }),
];

export interface Manifest {
  readonly object: AnyObject;
  /** The file's path, "STDIN" or the URL. */
  readonly source: string;
}
/** In the order of the files; what could not be read stands where it would have been. */
export type ManifestOrError = Manifest | { readonly error: Error };

const extensions = [".json", ".yaml", ".yml"];
const filesMax = 100_000;

export function hasFiles(flags: Flags): boolean {
  return flags.list("filename").length > 0 || flags.text("kustomize") !== "";
}

export function checkFileFlags(flags: Flags): void {
  if (flags.text("kustomize") === "") return;
  if (flags.list("filename").length > 0) {
    throw new CommandError("only one of -f or -k can be specified");
  }
  throw new CommandError(
    "-k: kustomizations are not part of wherry kubectl; build them with kustomize and apply the result with -f -",
  );
}

function pathsIn(around: Surroundings, folder: string, recursive: boolean, found: string[]): void {
  for (const name of around.files.list(folder).toSorted((a, b) => (a < b ? -1 : 1))) {
    const path = `${folder.replace(/\/+$/, "")}/${name}`;
    const facts = around.files.facts(path);
    if (facts?.kind === "folder") {
      if (recursive) pathsIn(around, path, recursive, found);
    } else if (extensions.some((one) => name.endsWith(one))) found.push(path);
    if (found.length > filesMax) throw new CommandError(`${folder} holds too many files`);
  }
}

async function readUrl(url: string, around: Surroundings): Promise<Uint8Array> {
  const parsed = new URL(url);
  const isTls = parsed.protocol === "https:";
  const port = Number(parsed.port || (isTls ? 443 : 80));
  const http = around.network.http(
    { host: parsed.hostname, port },
    { version: 1, ...(isTls ? { tls: {} } : {}) },
  );
  try {
    const answer = await http.send({
      method: "GET",
      target: `${parsed.pathname}${parsed.search}`,
      headers: { host: parsed.host },
    });
    const bytes = await readWhole(answer.body);
    if (answer.status !== 200) {
      throw new CommandError(
        `unable to read URL ${JSON.stringify(url)}, server reported ${answer.status}, status code=${answer.status}`,
      );
    }
    return bytes;
  } finally {
    http.close();
  }
}

/** Objects of one text; Lists are taken apart. */
export function manifestsIn(content: string | Uint8Array, source: string): ManifestOrError[] {
  let documents: readonly { readonly value: unknown }[];
  try {
    documents = readYamlDocuments(content);
  } catch (error) {
    const why = `error parsing ${source}: error converting YAML to JSON: ${asError(error).message}`;
    return [{ error: new CommandError(why) }];
  }
  return documents.flatMap(({ value }) => fromValue(value, source));
}

function fromValue(value: unknown, source: string): ManifestOrError[] {
  if (!isObject(value)) {
    const why = `error parsing ${source}: json: cannot unmarshal ${Array.isArray(value) ? "array" : typeof value} into Go value of type map[string]interface {}`;
    return [{ error: new CommandError(why) }];
  }
  const unset = [
    ...(apiVersionIn(value) === "" ? ["apiVersion not set"] : []),
    ...(kindOf(value) === "" ? ["kind not set"] : []),
  ];
  if (unset.length > 0) {
    const said = unset.length === 1 ? unset[0] : `[${unset.join(", ")}]`;
    const why = `error validating ${JSON.stringify(source)}: error validating data: ${said}; if you choose to ignore these errors, turn validation off with --validate=false`;
    return [{ error: new CommandError(why) }];
  }
  if (!isList(value)) return [{ object: value, source }];
  const items = value["items"];
  return (Array.isArray(items) ? items : []).flatMap((item: unknown): ManifestOrError[] => {
    if (isObject(item) && kindOf(item) !== "") return fromValue(item, source);
    const shown = compactJson(item);
    return [
      {
        error: new CommandError(
          `unable to decode ${JSON.stringify(source)}: Object 'Kind' is missing in '${shown}'`,
        ),
      },
    ];
  });
}

export async function readManifests(
  flags: Flags,
  around: Surroundings,
): Promise<ManifestOrError[]> {
  checkFileFlags(flags);
  const found: ManifestOrError[] = [];
  let usedInput = false;
  for (const name of flags.list("filename")) {
    if (name === "-") {
      if (usedInput) throw new CommandError("standard input cannot be used for multiple arguments");
      usedInput = true;
      found.push(...manifestsIn(await readWhole(around.terminal.input()), "STDIN"));
      continue;
    }
    if (/^https?:\/\//.test(name)) {
      found.push(...manifestsIn(await readUrl(name, around), name));
      continue;
    }
    const facts = around.files.facts(name);
    if (facts === undefined) {
      found.push({ error: new CommandError(`the path ${JSON.stringify(name)} does not exist`) });
      continue;
    }
    const paths: string[] = [];
    if (facts.kind !== "folder") paths.push(name);
    else {
      pathsIn(around, name, flags.switch("recursive"), paths);
      if (paths.length === 0) {
        const why = `error reading [${name}]: recognized file extensions are [.json .yaml .yml]`;
        found.push({ error: new CommandError(why) });
      }
    }
    for (const path of paths) found.push(...manifestsIn(around.files.read(path), path));
  }
  return found;
}
