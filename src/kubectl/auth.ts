/** `kubectl auth can-i|whoami|reconcile` and `kubectl certificate`. */
import { isObject, type JsonObject } from "#machinery/object.ts";
import { formatTime } from "#machinery/time.ts";
import { type Invocation, type KubectlCommand, usageFailure } from "./command.ts";
import { CommandError, ExitError, throwAll } from "./errors.ts";
import { text, toggle } from "./flags.ts";
import { fileFlags } from "./manifests.ts";
import { type AnyObject, objectsAt, textAt, textsAt } from "./objects.ts";
import { printerOf, printFlags } from "./printers.ts";
import { fetchPlan, planSelection } from "./selection.ts";
import { alignTabs, tableStops } from "./tab-writer.ts";

const authorization = "/apis/authorization.k8s.io/v1";

async function canI(given: Invocation): Promise<void> {
  const { session, flags, args } = given;
  if (flags.switch("list")) return listRights(given);
  const [verb = "", what = "", named, ...more] = args;
  const rest = await session.rest();
  const quiet = flags.switch("quiet");
  if (more.length > 0 || verb === "" || what === "") {
    throw new CommandError(
      "you must specify two arguments: verb resource or verb resource/resourceName.\nSee 'kubectl auth can-i -h' for help and examples.",
    );
  }
  if (flags.switch("no-headers"))
    throw new CommandError("--no-headers cannot be set without --list specified");
  const discovery = what.startsWith("/") ? undefined : await session.discovery();
  let attributes: JsonObject;
  if (discovery === undefined) {
    if (flags.text("subresource") !== "")
      throw new CommandError("--subresource can not be used with NonResourceURL");
    attributes = { nonResourceAttributes: { verb, path: what } };
  } else {
    const [type = "", inline = ""] = what.split("/");
    const found = type === "*" ? undefined : discovery.find(type);
    if (found === undefined && type !== "*")
      session.warn(`the server doesn't have a resource type '${type}'`);
    if (found !== undefined && !found.namespaced && !flags.switch("all-namespaces")) {
      session.warn(
        `resource '${found.plural}' is not namespace scoped${found.group === "" ? "" : ` in group '${found.group}'`}\n`,
      );
    }
    attributes = {
      resourceAttributes: {
        namespace: flags.switch("all-namespaces") ? "" : await session.namespace(),
        verb,
        group: found?.group ?? (type === "*" ? "*" : ""),
        resource: found?.plural ?? type,
        subresource: flags.text("subresource"),
        name: inline || (named ?? ""),
      },
    };
  }
  const answer = await rest.json("POST", `${authorization}/selfsubjectaccessreviews`, {
    body: {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SelfSubjectAccessReview",
      spec: attributes,
    },
  });
  const { status } = answer;
  const allowed = isObject(status) && status["allowed"] === true;
  const reasons = ["reason", "evaluationError"]
    .map((key) => textAt(status, key))
    .filter((one) => one !== "");
  if (!quiet) session.out(allowed ? "yes\n" : `no${reasons.map((one) => ` - ${one}`).join("")}\n`);
  if (!allowed) throw new ExitError(1);
}

async function listRights({ session, flags }: Invocation): Promise<void> {
  if (flags.switch("quiet") || flags.switch("all-namespaces") || flags.text("subresource") !== "") {
    throw new CommandError(
      "list option can't be specified with neither quiet, all-namespaces nor subresource options",
    );
  }
  const rest = await session.rest();
  const answer = await rest.json("POST", `${authorization}/selfsubjectrulesreviews`, {
    body: {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SelfSubjectRulesReview",
      spec: { namespace: await session.namespace() },
    },
  });
  const rows = [
    ...objectsAt(answer, "status", "resourceRules").flatMap((rule) => {
      const names = `[${textsAt(rule, "resourceNames").join(" ")}]`;
      const verbs = `[${textsAt(rule, "verbs").join(" ")}]`;
      return textsAt(rule, "apiGroups").flatMap((group) =>
        textsAt(rule, "resources").map((resource) => [
          group === "" ? resource : `${resource}.${group}`,
          "[]",
          names,
          verbs,
        ]),
      );
    }),
    ...objectsAt(answer, "status", "nonResourceRules").map((rule) => [
      "",
      `[${textsAt(rule, "nonResourceURLs").join(" ")}]`,
      "[]",
      `[${textsAt(rule, "verbs").join(" ")}]`,
    ]),
  ].toSorted((a, b) =>
    (a[0] ?? "") < (b[0] ?? "")
      ? -1
      : (a[0] ?? "") > (b[0] ?? "")
        ? 1
        : (a[1] ?? "") < (b[1] ?? "")
          ? -1
          : 1,
  );
  const header = ["Resources", "Non-Resource URLs", "Resource Names", "Verbs"];
  const lines = flags.switch("no-headers") ? rows : [header, ...rows];
  session.out(alignTabs(lines.map((cells) => `${cells.join("\t")}\n`).join(""), tableStops));
}

async function whoAmI({ session, flags }: Invocation): Promise<void> {
  const rest = await session.rest();
  const answer = await rest.json("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {
    body: { apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" },
  });
  const printer = printerOf(flags, session.around);
  if (printer !== undefined) {
    session.out(printer(answer, true));
    return;
  }
  const info = isObject(answer["status"]) ? answer["status"]["userInfo"] : {};
  const rows = [["ATTRIBUTE", "VALUE"]];
  const [username, uid, groups] = [
    textAt(info, "username"),
    textAt(info, "uid"),
    textsAt(info, "groups"),
  ];
  if (username !== "") rows.push(["Username", username]);
  if (uid !== "") rows.push(["UID", uid]);
  if (groups.length > 0) rows.push(["Groups", `[${groups.join(" ")}]`]);
  const extra = isObject(info) && isObject(info["extra"]) ? info["extra"] : {};
  for (const key of Object.keys(extra).toSorted())
    rows.push([`Extra: ${key}`, `[${textsAt(extra, key).join(" ")}]`]);
  session.out(alignTabs(rows.map((cells) => `${cells.join("\t")}\n`).join(""), tableStops));
}

export const authCommand: KubectlCommand = {
  name: "auth",
  summary: "Inspect authorization",
  usage: "SUBCOMMAND",
  commands: [
    {
      name: "can-i",
      summary: "Check whether an action is allowed",
      usage: "VERB [TYPE | TYPE/NAME | NONRESOURCEURL]",
      flags: [
        toggle("all-namespaces", "Check the specified action in all namespaces", { short: "A" }),
        toggle("list", "Print all allowed actions"),
        toggle("no-headers", "Print allowed actions without headers"),
        toggle("quiet", "Suppress output and just return the exit code", { short: "q" }),
        text("subresource", "SubResource such as pod/log or deployment/scale"),
      ],
      run: canI,
    },
    {
      name: "reconcile",
      summary:
        "Reconciles rules for RBAC role, role binding, cluster role, and cluster role binding objects",
      run: () => {
        throw new CommandError(
          "auth reconcile is not part of wherry kubectl; apply the roles and bindings instead",
        );
      },
    },
    {
      name: "whoami",
      summary: "Experimental: Check self subject attributes",
      flags: printFlags,
      run: whoAmI,
    },
  ],
};

const decide =
  (verb: "approve" | "deny") =>
  async (given: Invocation): Promise<void> => {
    const { session, flags, args } = given;
    if (args.length === 0 && flags.list("filename").length === 0)
      throw usageFailure(given, "one or more CSRs must be specified as <name> or -f <filename>");
    const plan = await planSelection(
      given,
      args.length === 0 ? [] : ["certificatesigningrequests", ...args],
      { typeAlone: false },
    );
    const { found, errors } = await fetchPlan(session, plan);
    throwAll(errors);
    const rest = await session.rest();
    const type = verb === "approve" ? "Approved" : "Denied";
    const other = verb === "approve" ? "Denied" : "Approved";
    const printer = printerOf(flags, session.around);
    for (const { object, name } of found) {
      const conditions = objectsAt(object, "status", "conditions");
      if (conditions.some((one) => one["type"] === other))
        throw new CommandError(
          `certificate signing request ${JSON.stringify(name)} is already ${other}`,
        );
      let done: AnyObject = object;
      if (!conditions.some((one) => one["type"] === type) || flags.switch("force")) {
        const condition = {
          type,
          status: "True",
          reason: `Kubectl${verb === "approve" ? "Approve" : "Deny"}`,
          message: `This CSR was ${verb === "approve" ? "approved" : "denied"} by kubectl certificate ${verb}.`,
          lastUpdateTime: formatTime(session.around.clock.now()),
        };
        const status = {
          ...(isObject(object["status"]) ? object["status"] : {}),
          conditions: [...conditions, condition],
        };
        done = await rest.json<AnyObject>(
          "PUT",
          `/apis/certificates.k8s.io/v1/certificatesigningrequests/${name}/approval`,
          { body: { ...object, status } },
        );
      }
      session.out(
        printer === undefined
          ? `certificatesigningrequest.certificates.k8s.io/${name} ${verb === "approve" ? "approved" : "denied"}\n`
          : printer(done, true),
      );
    }
  };
const decisionFlags = [
  ...printFlags,
  ...fileFlags("identifying the resource to update"),
  toggle("force", "Update the CSR even if it is already approved or denied"),
];
export const certificateCommand: KubectlCommand = {
  name: "certificate",
  summary: "Modify certificate resources",
  usage: "SUBCOMMAND",
  commands: [
    {
      name: "approve",
      summary: "Approve a certificate signing request",
      usage: "(-f FILENAME | NAME)",
      flags: decisionFlags,
      run: decide("approve"),
    },
    {
      name: "deny",
      summary: "Deny a certificate signing request",
      usage: "(-f FILENAME | NAME)",
      flags: decisionFlags,
      run: decide("deny"),
    },
  ],
};
