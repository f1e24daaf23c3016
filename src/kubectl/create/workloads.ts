/** `create deployment|job|cronjob`. */
import type { CronJob } from "#api/generated/batch/v1.ts";
import type { KubectlCommand } from "../command.ts";
import { CommandError } from "../errors.ts";
import { integer, list, text } from "../flags.ts";
import { commandArguments, generator } from "./generate.ts";

/** "registry/shop/web:1@sha256:…" is "web". */
export function containerName(image: string): string {
  const last = image.slice(image.lastIndexOf("/") + 1);
  return (
    last
      .split("@")[0]
      ?.split(":")[0]
      ?.replace(/[^-a-zA-Z0-9]/g, "-") ?? last
  );
}

const deployment = generator({
  name: "deployment",
  aliases: ["deploy"],
  summary: "Create a deployment with the specified name",
  usage: "NAME --image=image -- [COMMAND] [args...]",
  flags: [
    list("image", "Image names to run"),
    integer("port", "The container port that this deployment exposes", { default: "-1" }),
    integer("replicas", "Number of replicas to create", { short: "r", default: "1" }),
  ],
  what: "deployment",
  make: (given, name) => {
    const { flags } = given;
    const images = flags.list("image");
    const command = commandArguments(given);
    if (images.length === 0) throw new CommandError('required flag(s) "image" not set');
    if (images.length > 1 && command.length > 0) {
      throw new CommandError("cannot specify multiple --image options and command");
    }
    const labels = { app: name };
    const port = flags.integer("port");
    const containers = images.map((image) => ({
      name: containerName(image),
      image,
      ...(command.length === 0 ? {} : { command: [...command] }),
      ...(port >= 0 ? { ports: [{ containerPort: port }] } : {}),
      resources: {},
    }));
    return {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name, labels },
      spec: {
        replicas: flags.integer("replicas"),
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers } },
      },
    };
  },
});

const job = generator({
  name: "job",
  summary: "Create a job with the specified name",
  usage: "NAME --image=image [--from=cronjob/name] -- [COMMAND] [args...]",
  flags: [text("image", "Image name to run"), text("from", "The CronJob to create a Job from")],
  what: "job",
  make: async (given, name) => {
    const { flags, session } = given;
    const [image, from] = [flags.text("image"), flags.text("from")];
    const command = commandArguments(given);
    if ((image === "") === (from === ""))
      throw new CommandError("either --image or --from must be specified");
    if (from !== "" && command.length > 0)
      throw new CommandError("cannot specify --from and command");
    if (from === "") {
      const container = {
        name,
        image,
        ...(command.length === 0 ? {} : { command: [...command] }),
        resources: {},
      };
      return {
        apiVersion: "batch/v1",
        kind: "Job",
        metadata: { name },
        spec: { template: { spec: { containers: [container], restartPolicy: "Never" } } },
      };
    }
    const [type = "", source = ""] = from.split("/");
    const resource = (await session.discovery()).require(type);
    if (resource.kind !== "CronJob" || resource.group !== "batch") {
      throw new CommandError("from must be an existing cronjob");
    }
    const rest = await session.rest();
    const cron = await rest.json<CronJob>(
      "GET",
      `/apis/batch/v1/namespaces/${await session.namespace()}/cronjobs/${source}`,
    );
    const template = cron.spec.jobTemplate;
    return {
      apiVersion: "batch/v1",
      kind: "Job",
      metadata: {
        name,
        annotations: {
          ...template.metadata?.annotations,
          "cronjob.kubernetes.io/instantiate": "manual",
        },
        ...(template.metadata?.labels === undefined ? {} : { labels: template.metadata.labels }),
        ownerReferences: [
          {
            apiVersion: "batch/v1",
            kind: "CronJob",
            name: cron.metadata.name ?? "",
            uid: cron.metadata.uid ?? "",
            controller: true,
          },
        ],
      },
      spec: template.spec,
    };
  },
});

const cronjob = generator({
  name: "cronjob",
  aliases: ["cj"],
  summary: "Create a cron job with the specified name",
  usage: "NAME --image=image --schedule='0/5 * * * ?' -- [COMMAND] [args...] [flags]",
  flags: [
    text("image", "Image name to run"),
    text("schedule", "A schedule in the Cron format the job should be run with"),
    text("restart", "The job's restart policy: OnFailure or Never"),
  ],
  what: "cronjob",
  make: (given, name) => {
    const { flags } = given;
    const missing = ["image", "schedule"].filter((flag) => !flags.given(flag));
    if (missing.length > 0) {
      throw new CommandError(
        `required flag(s) ${missing.map((flag) => `"${flag}"`).join(", ")} not set`,
      );
    }
    const command = commandArguments(given);
    const container = {
      name,
      image: flags.text("image"),
      ...(command.length === 0 ? {} : { command: [...command] }),
      resources: {},
    };
    const restartPolicy = flags.text("restart") || "OnFailure";
    return {
      apiVersion: "batch/v1",
      kind: "CronJob",
      metadata: { name },
      spec: {
        schedule: flags.text("schedule"),
        jobTemplate: {
          metadata: { name },
          spec: { template: { spec: { containers: [container], restartPolicy } } },
        },
      },
    };
  },
});

export const workloadGenerators: readonly KubectlCommand[] = [cronjob, deployment, job];
