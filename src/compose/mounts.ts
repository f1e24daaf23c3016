/** What a compose service mounts: named volumes, folders of the machine, memory, secrets and configs. */
import { isObject, type JsonObject } from "#machinery/object.ts";
import { absolutePath, type ConversionContext } from "./context.ts";
import type { Path, Section } from "./report.ts";
import { plainScalar } from "./scalar.ts";
import { bytesQuantity, kubernetesName } from "./values.ts";

export interface Mounts {
  readonly mounts: readonly JsonObject[];
  readonly volumes: readonly JsonObject[];
  /** A named volume is among them. */
  readonly keepsData: boolean;
}

interface Wanted {
  readonly type: "volume" | "bind" | "tmpfs";
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  readonly size?: string;
  readonly subPath?: string;
}

/** "data:/var/lib/x:ro", "./src:/app", "/cache". */
function readShort(section: Section, path: Path, text: string): Wanted {
  const parts = text.split(":");
  const isPath = (part: string): boolean => /^[./~]/.test(part);
  const [first = "", second, options = ""] = parts;
  if (second === undefined) return { type: "volume", source: "", target: first, readOnly: false };
  if (!second.startsWith("/"))
    return section.report.fail(path, `${second} is no path inside the container`);
  const readOnly = options.split(",").includes("ro");
  return { type: isPath(first) ? "bind" : "volume", source: first, target: second, readOnly };
}

function readLong(section: Section, path: Path, one: JsonObject): Wanted {
  const type = plainScalar(one["type"]) ?? "volume";
  const target = plainScalar(one["target"]) ?? section.report.fail(path, "needs a target");
  if (type !== "volume" && type !== "bind" && type !== "tmpfs")
    return section.report.fail(path, `volumes of type ${type} have no counterpart`);
  const tmpfs = isObject(one["tmpfs"]) ? bytesQuantity(one["tmpfs"]["size"]) : undefined;
  const subPath = isObject(one["volume"]) ? plainScalar(one["volume"]["subpath"]) : undefined;
  return {
    type,
    source: plainScalar(one["source"]) ?? "",
    target,
    readOnly: one["read_only"] === true,
    ...(tmpfs === undefined ? {} : { size: tmpfs }),
    ...(subPath === undefined ? {} : { subPath }),
  };
}

class Collector {
  readonly mounts: JsonObject[] = [];
  readonly volumes: JsonObject[] = [];
  keepsData = false;
  readonly #context: ConversionContext;
  readonly #section: Section;
  constructor(context: ConversionContext, section: Section) {
    this.#context = context;
    this.#section = section;
  }
  /** The volume's name; the same source is mounted from one volume. */
  volume(hint: string, source: JsonObject): string {
    const key = JSON.stringify(source);
    const known = this.volumes.find(
      (one) =>
        JSON.stringify({ ...one, name: undefined }) ===
          JSON.stringify({ name: undefined, ...source }) && key !== '{"emptyDir":{}}',
    );
    if (known !== undefined) return String(known["name"]);
    const base = kubernetesName(hint);
    let name = base;
    for (let i = 2; this.volumes.some((one) => one["name"] === name); i++) name = `${base}-${i}`;
    this.volumes.push({ name, ...source });
    return name;
  }
  mount(
    volume: string,
    wanted: { readonly target: string; readonly readOnly: boolean; readonly subPath?: string },
  ): void {
    this.mounts.push({
      name: volume,
      mountPath: wanted.target,
      ...(wanted.readOnly ? { readOnly: true } : {}),
      ...(wanted.subPath === undefined ? {} : { subPath: wanted.subPath }),
    });
  }
  add(wanted: Wanted, path: Path): void {
    const { input, volumes } = this.#context;
    if (wanted.type === "tmpfs") {
      const limit = wanted.size === undefined ? {} : { sizeLimit: wanted.size };
      this.mount(
        this.volume(`tmp-${wanted.target}`, { emptyDir: { medium: "Memory", ...limit } }),
        wanted,
      );
    } else if (wanted.type === "bind") {
      if (wanted.source.startsWith("~"))
        this.#section.report.fail(
          path,
          "~ stands for nobody's home on a node; write the whole path",
        );
      const host = absolutePath(input.folder, wanted.source);
      const isFile = !input.isFolder(host) && input.read(host) !== undefined;
      this.mount(
        this.volume(`host-${host}`, {
          hostPath: { path: host, type: isFile ? "File" : "DirectoryOrCreate" },
        }),
        wanted,
      );
    } else if (wanted.source === "") {
      this.mount(this.volume(`data-${wanted.target}`, { emptyDir: {} }), wanted);
    } else {
      const claim = volumes.get(wanted.source);
      if (claim === undefined) {
        this.#section.report.fail(
          path,
          `the volume ${wanted.source} is not among the file's volumes`,
        );
        return;
      }
      this.keepsData = true;
      this.mount(
        this.volume(wanted.source, { persistentVolumeClaim: { claimName: claim } }),
        wanted,
      );
    }
  }
  /** Secrets and configs: one file each. */
  file(key: "secrets" | "configs", one: unknown, path: Path): void {
    const names = this.#context[key];
    const source = isObject(one) ? plainScalar(one["source"]) : plainScalar(one);
    const object = source === undefined ? undefined : names.get(source);
    if (source === undefined || object === undefined) {
      this.#section.report.fail(path, `${source ?? "it"} is not among the file's ${key}`);
      return;
    }
    const given = isObject(one) ? plainScalar(one["target"]) : undefined;
    const folder = key === "secrets" ? "/run/secrets/" : "/";
    const target =
      given === undefined ? folder + source : given.startsWith("/") ? given : folder + given;
    const mode = isObject(one) ? one["mode"] : undefined;
    const bits =
      typeof mode === "number"
        ? { defaultMode: mode }
        : typeof mode === "string"
          ? { defaultMode: Number.parseInt(mode, 8) }
          : {};
    const volume =
      key === "secrets"
        ? { secret: { secretName: object, ...bits } }
        : { configMap: { name: object, ...bits } };
    this.mount(this.volume(object, volume), { target, readOnly: true, subPath: source });
  }
}

export function mountsOf(context: ConversionContext, _service: string, section: Section): Mounts {
  const collector = new Collector(context, section);
  for (const [i, one] of section.list("volumes").entries()) {
    const path = section.at("volumes", i);
    const wanted = isObject(one)
      ? readLong(section, path, one)
      : readShort(section, path, plainScalar(one) ?? "");
    collector.add(wanted, path);
  }
  for (const text of section.texts("tmpfs")) {
    const [target = "", options = ""] = text.split(":");
    const size = bytesQuantity(/(?:^|,)size=([^,]+)/.exec(options)?.[1] ?? "");
    collector.add(
      {
        type: "tmpfs",
        source: "",
        target,
        readOnly: false,
        ...(size === undefined ? {} : { size }),
      },
      section.at("tmpfs"),
    );
  }
  const shared = section.text("shm_size");
  if (shared !== undefined) {
    const size =
      bytesQuantity(shared) ??
      section.report.fail(section.at("shm_size"), `${shared} is no amount`);
    collector.add(
      { type: "tmpfs", source: "", target: "/dev/shm", readOnly: false, size },
      section.at("shm_size"),
    );
  }
  section.leaveOut("volumes_from", "name the volumes in both services instead");
  for (const key of ["secrets", "configs"] as const) {
    for (const [i, one] of section.list(key).entries())
      collector.file(key, one, section.at(key, i));
  }
  return collector;
}
