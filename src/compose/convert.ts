/**
 * A compose file as Kubernetes objects: each service a Deployment (or DaemonSet, or Job), a Service under its name so that others find it
 * there, a LoadBalancer for published ports; named volumes as claims, secrets and configs as Secrets and ConfigMaps. What has no
 * counterpart is named with its line. Pure: files and variables come from the caller.
 */
import { encodeBase64 } from "#machinery/base64.ts";
import { isObject, type JsonObject } from "#machinery/object.ts";
import { readYaml, yamlLines } from "#machinery/yaml.ts";
import {
  absolutePath,
  type ComposeInput,
  type ConversionContext,
  type ImageToBuild,
  labelsFor,
  managedBy,
} from "./context.ts";
import { completingServices, startStages } from "./dependencies.ts";
import { type Environment, interpolate, MissingVariable } from "./interpolate.ts";
import { ComposeError, type Path, Report, Section } from "./report.ts";
import { convertService, type Service } from "./service.ts";
import { bytesQuantity, kubernetesName } from "./values.ts";

export interface Conversion {
  readonly project: string;
  readonly objects: readonly JsonObject[];
  readonly builds: readonly ImageToBuild[];
  /** What could not be translated, each with its line. */
  readonly notes: readonly string[];
  readonly services: readonly Service[];
  /** Names of services, those first that others depend on. */
  readonly stages: readonly (readonly string[])[];
}

export const projectSelector = (project: string): string =>
  `app.kubernetes.io/managed-by=${managedBy},app.kubernetes.io/part-of=${project}`;

const depthMax = 100;

function interpolateAll(
  value: unknown,
  path: Path,
  environment: Environment,
  report: Report,
  depth = 0,
): unknown {
  if (depth > depthMax) return report.fail(path, "nests too deeply");
  if (typeof value === "string") {
    try {
      return interpolate(value, environment, (name) => {
        report.leftOut(path, `the variable ${name} is not set and reads as empty`);
      });
    } catch (error) {
      if (error instanceof MissingVariable) return report.fail(path, error.message);
      throw error;
    }
  }
  if (Array.isArray(value))
    return value.map((item: unknown, i) =>
      interpolateAll(item, [...path, i], environment, report, depth + 1),
    );
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => [
      key,
      interpolateAll(one, [...path, key], environment, report, depth + 1),
    ]),
  );
}

export function convertCompose(input: ComposeInput): Conversion {
  let parsed: unknown;
  try {
    parsed = readYaml(input.text);
  } catch (error) {
    throw new ComposeError(
      `${input.file}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  const report = new Report(input.file, yamlLines(input.text));
  if (!isObject(parsed))
    throw new ComposeError(`${input.file} is no compose file: it must be a mapping with services`);
  const root = new Section(report, [], interpolateAll(parsed, [], input.environment, report));
  const folderName =
    input.folder
      .split("/")
      .filter((part) => part !== "")
      .at(-1) ?? "app";
  const project = kubernetesName(
    input.project ?? root.text("name") ?? input.environment("COMPOSE_PROJECT_NAME") ?? folderName,
  );
  root.ignore("name", "version");
  root.leaveOut("include", "other files are not taken in; pass one file that holds all");
  const services = root.section("services");
  if (services.keys.length === 0) report.fail(["services"], "names no service");
  const objects: JsonObject[] = [];
  const volumes = convertVolumes(root.section("volumes"), project, objects);
  const secrets = convertData(root.section("secrets"), project, input, "Secret", objects);
  const configs = convertData(root.section("configs"), project, input, "ConfigMap", objects);
  convertNetworks(root.section("networks"));
  const active = services.keys.filter((name) => isActive(services.section(name), input.profiles));
  const context: ConversionContext = {
    input,
    project,
    report,
    serviceNames: services.keys,
    active: new Set(active),
    completing: completingServices(services, active),
    volumes,
    secrets,
    configs,
  };
  const converted = active.map((name): Service => {
    const section = services.section(name);
    const service = convertService(context, name, section);
    section.finish();
    return service;
  });
  objects.push(...converted.flatMap((service) => service.objects));
  root.finish();
  const builds = converted.flatMap(({ build }) => (build === undefined ? [] : [build]));
  const stages = startStages(converted, (name, circle) =>
    report.fail(["services", name, "depends_on"], `depends on itself: ${circle.join(" -> ")}`),
  );
  return { project, objects, builds, notes: report.notes, services: converted, stages };
}

function isActive(service: Section, given: readonly string[]): boolean {
  const profiles = service.texts("profiles");
  return (
    profiles.length === 0 || profiles.some((one) => given.includes(one)) || given.includes("*")
  );
}

function convertVolumes(
  section: Section,
  project: string,
  objects: JsonObject[],
): Map<string, string> {
  const names = new Map<string, string>();
  for (const name of section.keys) {
    const volume = section.section(name);
    const external = volume.raw("external");
    const given = volume.text("name");
    if (external === true || isObject(external)) {
      names.set(name, kubernetesName(given ?? name));
      volume.finish();
      continue;
    }
    const claim = kubernetesName(given ?? `${project}-${name}`);
    names.set(name, claim);
    const options = volume.section("driver_opts");
    const size = bytesQuantity(options.text("size") ?? volume.text("x-size") ?? "1g") ?? "1Gi";
    for (const key of options.keys)
      if (key !== "size")
        options.leaveOut(key, "drivers and their options belong to the cluster's StorageClass");
    if (volume.text("driver") !== undefined && volume.text("driver") !== "local") {
      volume.leaveOut(
        "driver",
        "drivers belong to the cluster's StorageClass; the default one is used",
      );
    }
    volume.ignore("labels");
    volume.finish();
    objects.push({
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: { name: claim, labels: labelsFor(project, name) },
      spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: size } } },
    });
  }
  return names;
}

function dataOf(section: Section, input: ComposeInput): Uint8Array {
  const { report } = section;
  const [file, variable, content] = [
    section.text("file"),
    section.text("environment"),
    section.text("content"),
  ];
  if (file !== undefined) {
    const bytes = input.read(absolutePath(input.folder, file));
    return bytes ?? report.fail(section.at("file"), `there is no file ${file}`);
  }
  if (variable !== undefined) {
    const value = input.environment(variable);
    if (value === undefined)
      return report.fail(section.at("environment"), `the variable ${variable} is not set`);
    return new TextEncoder().encode(value);
  }
  if (content !== undefined) return new TextEncoder().encode(content);
  return report.fail(
    section.path,
    "needs a file, an environment variable or, for configs, content",
  );
}

function convertData(
  section: Section,
  project: string,
  input: ComposeInput,
  kind: "Secret" | "ConfigMap",
  objects: JsonObject[],
): Map<string, string> {
  const names = new Map<string, string>();
  for (const name of section.keys) {
    const one = section.section(name);
    const given = one.text("name");
    if (one.raw("external") === true) {
      names.set(name, kubernetesName(given ?? name));
      one.finish();
      continue;
    }
    const object = kubernetesName(given ?? `${project}-${name}`);
    names.set(name, object);
    const base64 = encodeBase64(dataOf(one, input));
    one.ignore("labels");
    one.finish();
    objects.push({
      apiVersion: "v1",
      kind,
      metadata: { name: object, labels: labelsFor(project, name) },
      ...(kind === "Secret" ? { data: { [name]: base64 } } : { binaryData: { [name]: base64 } }),
    });
  }
  return names;
}

function convertNetworks(section: Section): void {
  for (const name of section.keys) {
    const network = section.section(name);
    for (const key of network.keys) {
      if (["name", "external", "driver", "labels", "attachable"].includes(key)) continue;
      network.leaveOut(key, "the cluster has one network for all pods");
    }
  }
}
