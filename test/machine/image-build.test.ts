/** Images from Dockerfiles on a real containerd: what is built runs, what did not change is not done again, nothing stays behind. */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestCluster } from "./cluster.ts";
import type { Outcome } from "./programs.ts";
import { describeWith } from "./requirements.ts";

const dockerfile = `
FROM scratch AS box
COPY --chmod=755 busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
ENV GREETING="hello there"
WORKDIR /srv

FROM box AS made
ARG WHO=world
COPY files/ ./
RUN --mount=type=cache,target=/kept --mount=type=secret,id=token \\
    echo "$GREETING $WHO, $(cat /run/secrets/token)" > out && \\
    echo once >> /kept/runs && wc -l < /kept/runs > runs
RUN <<EOF
rm unwanted
ln -s out link
EOF

FROM box
COPY --from=made --chown=1000:2000 /srv/ /srv/
COPY <<EOF /srv/page
$GREETING
EOF
USER 1000:2000
CMD ["sh", "-c", "ls -l /srv /kept; cat out link page runs; exec sleep 9999"]
`;

describeWith(["root", "containerd", "runc", "cni", "nft", "busybox"], "image build", () => {
  const cluster = new TestCluster("dockerfile");
  const folder = join(cluster.folder, "app");
  const build = (...more: string[]): Promise<Outcome> => {
    const named = [folder, "-t", "made:1", "--name", cluster.name];
    const secret = ["--secret", `id=token,src=${join(folder, "token")}`];
    return cluster.wherry(["image", "build", ...named, ...secret, ...more]);
  };
  /** The mounts of a build are named so. */
  const leftBehind = (): boolean => readFileSync("/proc/mounts", "utf8").includes("wherry-build");

  beforeAll(async () => {
    mkdirSync(join(folder, "files"), { recursive: true });
    copyFileSync("/bin/busybox", join(folder, "busybox"));
    chmodSync(join(folder, "busybox"), 0o700);
    for (const [name, text] of [
      ["Dockerfile", dockerfile],
      [".dockerignore", "files/*.log\n"],
      ["token", "secret words"],
      ["files/kept", "kept"],
      ["files/unwanted", "unwanted"],
      ["files/some.log", "log"],
    ] as const)
      writeFileSync(join(folder, name), text);
    await cluster.start();
  }, 60_000);
  afterAll(() => cluster.purge(), 60_000);

  test("stages, mounts, owners and here-documents end in an image that runs", async () => {
    const outcome = await build("--build-arg", "WHO=moon");
    expect(outcome.code, outcome.stderr).toBe(0);
    expect(outcome.stdout).toMatch(/^Built and loaded docker.io\/library\/made:1 /);
    await cluster.ok("run", "made", "--image=made:1", "--image-pull-policy=Never");
    await cluster.ok("wait", "pod/made", "--for=condition=Ready", "--timeout=60s");
    const said = await cluster.ok("logs", "made");
    expect(said).toContain("hello there moon, secret words\nhello there moon, secret words\n");
    expect(said).toMatch(/hello there\n1\n$/);
    expect(said).toMatch(/ 1000 +2000 .* out$/m);
    expect(said).toMatch(/ link -> out$/m);
    expect(said).toContain("/kept: No such file or directory");
    expect(said).not.toMatch(/unwanted|some\.log/);
    expect(leftBehind()).toBe(false);
  }, 120_000);

  test("what nothing changed for is not done again; what depends on a change is", async () => {
    const again = await build("--build-arg", "WHO=moon");
    expect(again.stderr).not.toMatch(/^\[[^\]]*\] (RUN|COPY)/m);
    writeFileSync(join(folder, "files", "kept"), "changed");
    const changed = await build("--build-arg", "WHO=moon");
    expect(changed.stderr).toMatch(/\] CACHED RUN \["\/bin\/busybox"/);
    expect(changed.stderr).toMatch(/\] COPY files\/ \.\/$/m);
    expect(changed.stderr).toMatch(/\] RUN echo "\$GREETING \$WHO/);
    const anew = await build("--no-cache");
    expect(anew.stderr).not.toContain("CACHED");
  }, 120_000);

  test.each([
    ["FROM nowhere.invalid/x:1", /Dockerfile:1: FROM nowhere\.invalid\/x:1: .*could not pull it/],
    ["FROM made:1\nRUN exit 3", /Dockerfile:2: RUN exit 3: process .* exit code: 3/],
    ["FROM made:1\nCOPY nothing /x", /Dockerfile:2: COPY nothing \/x: "\/nothing": not found/],
    ["FROM made:1\nUSER nobody\nRUN id", /unable to find user nobody: no matching entries/],
    ["FROM made:1\nRUN --mount=type=secret,id=no,required x", /secret no: not found/],
    [
      "FROM made:1\nUSER 0\nRUN ln -s ../../.. /up\nCOPY token /up/escaped\nRUN cat /escaped; exit 4",
      /secret words[^]*exit code: 4/,
    ],
  ])("%j fails and leaves nothing", async (text, message) => {
    const file = join(folder, "Other");
    writeFileSync(file, text);
    const outcome = await build("--file", file);
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toMatch(message);
    expect(leftBehind()).toBe(false);
    expect(existsSync("/escaped")).toBe(false);
  });
});
