/** What the parts of a conversion share: what goes in, names and labels, paths. */
import type { Environment } from "./interpolate.ts";
import type { Report } from "./report.ts";

export interface ComposeInput {
  readonly text: string;
  /** As it is shown in notes. */
  readonly file: string;
  /** Where relative paths start; absolute. */
  readonly folder: string;
  /** --project-name; else the file's `name`, else the folder's. */
  readonly project: string | undefined;
  readonly profiles: readonly string[];
  readonly environment: Environment;
  /** The text of a file beside the compose file; undefined: it is not there. */
  readonly read: (path: string) => Uint8Array | undefined;
  readonly isFolder: (path: string) => boolean;
}
export interface ImageToBuild {
  readonly image: string;
  /** Absolute. */
  readonly context: string;
  /** Absolute; undefined: the one in the context, if there is one. */
  readonly dockerfile?: string;
  readonly target?: string;
  /** A value of undefined: the environment's, if it has one. */
  readonly args?: readonly (readonly [name: string, value: string | undefined])[];
}

export const managedBy = "wherry-compose";

export const labelsFor = (project: string, name: string): Record<string, string> => ({
  "app.kubernetes.io/managed-by": managedBy,
  "app.kubernetes.io/name": name,
  "app.kubernetes.io/part-of": project,
});

/** What all services of a file share while it is converted. */
export interface ConversionContext {
  readonly input: ComposeInput;
  readonly project: string;
  readonly report: Report;
  readonly serviceNames: readonly string[];
  /** Of them, those that the given profiles leave in. */
  readonly active: ReadonlySet<string>;
  /** Services whose end others wait for: they are tasks. */
  readonly completing: ReadonlySet<string>;
  /** Name in the file to name in the cluster. */
  readonly volumes: ReadonlyMap<string, string>;
  readonly secrets: ReadonlyMap<string, string>;
  readonly configs: ReadonlyMap<string, string>;
}

export const absolutePath = (folder: string, path: string): string => {
  const whole = path.startsWith("/") ? path : `${folder}/${path}`;
  const parts: string[] = [];
  for (const part of whole.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === "..") parts.pop();
    else parts.push(part);
  }
  return `/${parts.join("/")}`;
};
