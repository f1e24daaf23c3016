/**
 * The images that the suite's pods run, made here and without a registry: upstream's own programs on Debian's packages, under the names
 * and tags that the suite asks for. busybox, bash, curl, dig, nginx and etcd are Debian's builds, stand-ins for those of upstream's images.
 */
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join, relative } from "node:path";
import { ociArchitecture, writeArchive } from "#main/image/build.ts";
import { type LayerEntry, linkEntry, writeLayer } from "#main/image/layer.ts";
import type { ImageConfig, Layer } from "#node/image/oci.ts";
import { pauseProgram } from "#node/image/pause.ts";
import { unpackPackages } from "./packages.ts";
import { imageFolder, sources } from "./paths.ts";
import { moduleFolder, toolProgram } from "./programs.ts";
import { must } from "./run.ts";

interface Recipe {
  readonly references: readonly string[];
  readonly packages: readonly string[];
  readonly files: readonly LayerEntry[];
  readonly config: Partial<ImageConfig>;
}

const testImage = (name: string): string => `registry.k8s.io/e2e-test-images/${name}`;
const program = (path: string, from: string, mode = 0o755): LayerEntry => ({
  path,
  type: "copy",
  from,
  mode,
});
const text = (path: string, content: string): LayerEntry => ({
  path,
  type: "content",
  mode: 0o644,
  content: new TextEncoder().encode(content),
});
const directory = (path: string, mode = 0o755): LayerEntry => ({ path, type: "directory", mode });

const accounts = (users: string, groups: string): readonly LayerEntry[] => [
  text(
    "etc/passwd",
    `root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n${users}`,
  ),
  text("etc/group", `root:x:0:\nnogroup:x:65534:\n${groups}`),
  text("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
];

const tools =
  "busybox bash bind9-dnsutils libc-bin curl netcat-openbsd iproute2 iperf util-linux socat wget".split(
    " ",
  );

const nginxConfiguration = `user www-data;
worker_processes 1;
error_log /dev/stderr notice;
pid /run/nginx.pid;
events { worker_connections 256; }
http {
  types { text/html html; text/plain txt; image/jpeg jpg; application/json json; }
  default_type application/octet-stream;
  access_log /dev/stdout;
  server {
    listen 80;
    server_name localhost;
    location / { root /usr/share/nginx/html; index index.html; }
  }
}
`;

function agnhostFiles(upstream: string): readonly LayerEntry[] {
  const porter = join(upstream, "test/images/agnhost/porter");
  return [
    // A test looks the second account's groups up in the image.
    ...accounts(
      "user-defined-in-image:x:1000:1000::/home:/bin/sh\n",
      "user-defined-in-image:x:1000:\ngroup-defined-in-image:x:50000:user-defined-in-image\n",
    ),
    directory("uploads"),
    // Debian chooses between its two by install scripts, which do not run; busybox' own knows too few options.
    { path: "bin/nc", type: "link", linkTo: "nc.openbsd" },
    // Tests give wget a time limit and try again themselves.
    text("etc/wgetrc", "tries = 1\n"),
    program("agnhost", toolProgram("agnhost")),
    { path: "agnhost-2", type: "link", linkTo: "agnhost" },
    program("localhost.crt", join(porter, "localhost.crt"), 0o644),
    program("localhost.key", join(porter, "localhost.key"), 0o644),
  ];
}

function recipes(upstream: string): readonly Recipe[] {
  const agnhost = agnhostFiles(upstream);
  const serving = {
    entrypoint: ["/agnhost"],
    exposedPorts: ["80", "8080", "8081", "9376", "5000"],
  };
  const html = (name: string): string => join(upstream, "test/images", name, "html");
  const picture = (name: string): Recipe => ({
    references: [testImage(`${name}:1.8`)],
    packages: tools,
    files: [
      ...agnhost,
      program(`${name}.jpg`, join(html(name), `${name}.jpg`), 0o644),
      program("data.json", join(html(name), "data.json"), 0o644),
      // Upstream's is made on Alpine, and a test of image volumes looks for that.
      text("etc/os-release", 'NAME="Alpine Linux"\nID=alpine\n'),
    ],
    config: { ...serving, command: ["test-webserver"] },
  });
  // Debian's busybox shell drops variables that it cannot name, and its wget dies of a time limit: bash stands in for the shell that PATH
  // finds, and wget for wget. /bin/sh is busybox', whose words a test knows.
  const shell = { path: "usr/local/bin/sh", type: "link", linkTo: "/bin/bash" } as const;
  const busybox = { packages: ["busybox", "bash", "wget"], files: [...accounts("", ""), shell] };
  const nginx = (version: string): Recipe => ({
    references: [testImage(`nginx:${version}`)],
    packages: ["nginx-light", "busybox", "curl"],
    files: [
      ...accounts("www-data:x:33:33:www-data:/var/www:/bin/false\n", "www-data:x:33:\n"),
      text("etc/nginx/nginx.conf", nginxConfiguration),
      text("usr/share/nginx/html/index.html", "<!doctype html><title>Welcome to nginx!</title>\n"),
      directory("run"),
      directory("var/log/nginx"),
      directory("var/lib/nginx"),
    ],
    config: { entrypoint: ["nginx", "-g", "daemon off;"], exposedPorts: ["80"] },
  });
  return [
    {
      references: [testImage("agnhost:2.66.1"), testImage("agnhost:2.55")],
      packages: tools,
      files: agnhost,
      config: { ...serving, command: ["pause"] },
    },
    picture("kitten"),
    picture("nautilus"),
    {
      references: [testImage("glibc-dns-testing:2.1.1")],
      packages: tools,
      files: accounts("", ""),
      config: { command: ["bash"] },
    },
    { ...busybox, references: [testImage("busybox:1.37.0-2")], config: { command: ["sh"] } },
    {
      ...busybox,
      references: [testImage("nonroot:1.5")],
      config: { command: ["sh"], user: "1234" },
    },
    {
      packages: ["busybox"],
      references: [testImage("nonewprivs:1.4")],
      files: [...accounts("", ""), program("usr/local/bin/nnp", toolProgram("nonewprivs"), 0o6755)],
      config: { command: ["nnp"] },
    },
    {
      packages: ["busybox"],
      references: [testImage("regression-issue-74839:1.5")],
      files: [program("regression-issue-74839", toolProgram("regression-issue-74839"))],
      config: { entrypoint: ["/regression-issue-74839"] },
    },
    {
      packages: ["busybox"],
      references: [testImage("sample-apiserver:1.29.2")],
      files: [...accounts("", ""), program("sample-apiserver", toolProgram("sample-apiserver"))],
      config: { entrypoint: ["/sample-apiserver"] },
    },
    {
      packages: ["etcd-server", "etcd-client", "busybox"],
      references: ["registry.k8s.io/etcd:3.7.0-0"],
      files: [
        ...accounts("", ""),
        { path: "usr/local/bin/etcd", type: "link", linkTo: "/usr/bin/etcd" },
      ],
      config: { entrypoint: [] },
    },
    nginx("1.27.0-2"),
    nginx("1.28.0-2"),
    {
      packages: [],
      references: ["registry.k8s.io/pause:3.10.2"],
      files: [
        {
          path: "pause",
          type: "content",
          mode: 0o755,
          content: pauseProgram(ociArchitecture() === "arm64" ? "arm64" : "amd64"),
        },
      ],
      config: { entrypoint: ["/pause"], user: "65535:65535" },
    },
  ];
}

const leftOut =
  /^(usr\/share\/(doc|man|locale|info|lintian|bug|perl5)|var\/(lib\/dpkg|cache)|usr\/lib\/systemd)(\/|$)/;

/** The packages' files, and a link to busybox for each of its commands that no package brings. */
async function packageEntries(packages: readonly string[]): Promise<readonly LayerEntry[]> {
  if (packages.length === 0) return [];
  const root = await unpackPackages(packages);
  const entries: LayerEntry[] = [
    directory("tmp", 0o1777),
    directory("root", 0o700),
    directory("proc"),
    directory("sys"),
    directory("dev"),
    directory("etc"),
  ];
  const commands = new Set<string>();
  for (const item of readdirSync(root, { withFileTypes: true, recursive: true })) {
    const from = join(item.parentPath, item.name);
    const path = relative(root, from);
    if (leftOut.test(path)) continue;
    if (/^(usr\/)?s?bin\//.test(path)) commands.add(item.name);
    if (item.isSymbolicLink()) entries.push(await linkEntry(path, from));
    else if (item.isFile()) entries.push({ path, type: "copy", from });
  }
  const applets = (await must(join(root, "bin/busybox"), ["--list"])).trim().split("\n");
  for (const name of applets) {
    if (!commands.has(name)) entries.push({ path: `bin/${name}`, type: "link", linkTo: "busybox" });
  }
  return entries;
}

/** Layers by what is in them, so that images share them. */
class Layers {
  readonly #byKey = new Map<string, Promise<Layer>>();
  readonly #work: string;

  constructor(work: string) {
    this.#work = work;
  }
  of(key: string, entries: () => Promise<readonly LayerEntry[]>): Promise<Layer> {
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    const made = this.#make(key, entries);
    this.#byKey.set(key, made);
    return made;
  }
  async #make(key: string, entries: () => Promise<readonly LayerEntry[]>): Promise<Layer> {
    const name = createHash("sha256").update(key).digest("hex");
    const file = join(this.#work, `${name}.tar`);
    const layer = await writeLayer(file, await entries());
    renameSync(file, join(this.#work, layer.digest.slice("sha256:".length)));
    return layer;
  }
}

/** The archives, one a reference; made again when this file or the programs change. */
export async function buildImages(
  suite: string,
  say: (line: string) => void,
): Promise<readonly string[]> {
  const all = recipes(await moduleFolder());
  const key = createHash("sha256").update(suite);
  for (const file of ["images.ts", "packages.ts"]) key.update(readFileSync(join(sources, file)));
  const wanted = key.digest("hex");
  const stamp = join(imageFolder, "built");
  const fileOf = (reference: string): string =>
    join(imageFolder, `${reference.replace(/[^\w.-]+/g, "_")}.tar`);
  const files = all.flatMap(({ references }) => references.map(fileOf));
  const current = existsSync(stamp) && readFileSync(stamp, "utf8") === wanted;
  if (current && files.every((file) => existsSync(file))) return files;

  const work = join(imageFolder, "work");
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  const layers = new Layers(work);
  for (const recipe of all) {
    const base = await layers.of(`packages ${recipe.packages.join(" ")}`, () =>
      packageEntries(recipe.packages),
    );
    const own = await layers.of(`files of ${recipe.references[0]}`, async () => recipe.files);
    const config: ImageConfig = {
      entrypoint: [],
      env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
      workingDirectory: "/",
      ...recipe.config,
    };
    const stack = recipe.packages.length === 0 ? [own] : [base, own];
    for (const reference of recipe.references) {
      say(`building ${reference}`);
      await writeArchive({ reference, output: fileOf(reference) }, work, stack, config);
    }
  }
  rmSync(work, { recursive: true });
  writeFileSync(stamp, wanted);
  return files;
}
