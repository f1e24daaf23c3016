/** `wherry kubectl` in real containers: exec, cp, port-forward, logs, run, debug; and `wherry compose`. */
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestCluster } from "./cluster.ts";
import { type Outcome, Running, type RunOptions, wherryProgram } from "./programs.ts";
import { describeWith } from "./requirements.ts";

const image = "kubectl-stream:1";

describeWith(
  ["root", "containerd", "runc", "cni", "nft", "busybox"],
  "wherry kubectl in containers",
  () => {
    const cluster = new TestCluster("kubectl-stream");
    const folder = mkdtempSync(join(tmpdir(), "wh-kubectl-"));
    const k = (args: readonly string[], options: RunOptions = {}): Promise<Outcome> =>
      cluster.wherry(["kubectl", "--kubeconfig", cluster.kubeconfig, ...args], options);
    const ok = async (...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await k(args);
      expect(code, `${args.join(" ")}\n${stdout}${stderr}`).toBe(0);
      return stdout;
    };
    beforeAll(async () => {
      await cluster.start();
      const { code, stderr } = await cluster.wherry([
        "image",
        "build",
        "examples/shop/web",
        "-t",
        image,
        "--name",
        cluster.name,
      ]);
      expect(code, stderr).toBe(0);
      await ok("run", "web", `--image=${image}`, "--port=8080");
      await ok("wait", "pod/web", "--for=condition=Ready", "--timeout=60s");
    });
    afterAll(async () => {
      rmSync(folder, { recursive: true, force: true });
      await cluster.purge();
    });

    test("exec: output, input and the exit code", async () => {
      expect(await ok("exec", "web", "--", "echo", "hello")).toBe("hello\n");
      const failed = await k(["exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 3"]);
      expect(failed).toEqual({
        code: 3,
        stdout: "out\n",
        stderr: "err\ncommand terminated with exit code 3\n",
      });
      const input = "x".repeat(300_000);
      const echoed = await k(["exec", "-i", "web", "--", "cat"], { input });
      expect(echoed.stdout).toBe(input);
    });

    test("cp: a folder there and back", async () => {
      mkdirSync(join(folder, "a/b"), { recursive: true });
      writeFileSync(join(folder, "a/one"), "one\n");
      writeFileSync(join(folder, "a/b/two"), Buffer.alloc(100_000, 7));
      await ok("cp", join(folder, "a"), "web:/tmp/a");
      expect(await ok("exec", "web", "--", "cat", "/tmp/a/one")).toBe("one\n");
      await ok("cp", "web:/tmp/a", join(folder, "back"));
      expect(readFileSync(join(folder, "back/b/two"))).toEqual(Buffer.alloc(100_000, 7));
      const missing = await k(["cp", join(folder, "none"), "web:/tmp/none"]);
      expect(missing.stderr).toContain("doesn't exist in local filesystem");
    });

    test("port-forward: bytes both ways", async () => {
      const forward = new Running(process.execPath, [
        wherryProgram,
        "k",
        "--kubeconfig",
        cluster.kubeconfig,
        "port-forward",
        "pod/web",
        ":8080",
      ]);
      try {
        const said = await forward.prints(/Forwarding from 127\.0\.0\.1:(\d+) -> 8080/);
        const port = Number(/127\.0\.0\.1:(\d+)/.exec(said)?.[1]);
        const answer = await new Promise<string>((resolve, reject) => {
          let text = "";
          const socket = connect(port, "127.0.0.1", () =>
            socket.write("GET /version HTTP/1.0\r\n\r\n"),
          );
          socket.setEncoding("utf8").on("data", (part: string) => {
            text += part;
          });
          socket.on("end", () => resolve(text));
          socket.on("error", reject);
        });
        expect(answer).toMatch(/^HTTP\/1\.1 /);
        await forward.prints(/Handling connection for/);
      } finally {
        await forward.stop();
      }
    });

    test("logs of a container, with prefix and tail", async () => {
      expect(await ok("logs", "web", "--tail=1", "--prefix")).toMatch(/^\[pod\/web\/web\] .+\n$/);
      const following = new Running(process.execPath, [
        wherryProgram,
        "k",
        "--kubeconfig",
        cluster.kubeconfig,
        "logs",
        "-f",
        "web",
      ]);
      await following.prints(/listening/);
      await following.stop();
    });

    test("run --rm gives the container's exit code and leaves no pod", async () => {
      const once = await k(
        [
          "run",
          "once",
          `--image=${image}`,
          "--restart=Never",
          "--rm",
          "-i",
          "--quiet",
          "--command",
          "--",
          "sh",
          "-c",
          "cat; exit 4",
        ],
        { input: "said\n" },
      );
      expect(once.stdout).toBe("said\n");
      expect(once.code).toBe(4);
      await ok("wait", "pod/once", "--for=delete", "--timeout=60s");
    });

    test("debug: an ephemeral container sees the target's processes", async () => {
      const { code, stderr } = await k([
        "debug",
        "web",
        `--image=${image}`,
        "-c",
        "dbg",
        "--target=web",
        "--",
        "sleep",
        "600",
      ]);
      expect(code, stderr).toBe(0);
      await cluster.until(
        "pod/web",
        ".status.ephemeralContainerStatuses[0].state.running.startedAt",
        /\d/,
      );
      expect(await ok("exec", "web", "-c", "dbg", "--", "ps")).toContain("node");
    });

    test("compose up, a change that takes a service out, down", async () => {
      const project = join(folder, "shop");
      mkdirSync(project);
      cpSync("examples/shop/web", join(project, "web"), { recursive: true });
      const file = (more: string): void =>
        writeFileSync(
          join(project, "compose.yaml"),
          `name: boat\nservices:\n  front:\n    build: ./web\n    ports: ["28099:8080"]\n    configs: [{ source: motd, target: /etc/motd }]\n${more}configs: { motd: { content: "hi \${WHO:-you}" } }\n`,
        );
      const compose = (...args: string[]): Promise<Outcome> =>
        cluster.wherry(
          ["compose", ...args, "--kubeconfig", cluster.kubeconfig, "--name", cluster.name],
          { cwd: project, timeoutMs: 120_000 },
        );
      file(
        '  helper: { image: "boat-front:latest", pull_policy: never, command: sleep 600, ulimits: { nofile: 9 } }\n',
      );
      const first = await compose("up", "--wait");
      expect(first.code, first.stderr).toBe(0);
      expect(first.stderr).toContain("compose.yaml:7: services.helper.ulimits:");
      expect(await ok("exec", "deploy/front", "--", "cat", "/etc/motd")).toBe("hi you");
      const address = (
        await ok(
          "get",
          "node",
          "-o",
          'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}',
        )
      ).trim();
      expect(
        execFileSync(
          "curl",
          ["-s", "-o", "/dev/null", "-w", "%{http_code}", `http://${address}:28099/`],
          { encoding: "utf8" },
        ),
      ).toMatch(/^[1-5]\d\d$/);
      file("");
      const second = await compose("up", "--no-build");
      expect(second.stdout).toContain("deployment.apps/helper pruned");
      expect(second.stdout).toContain("deployment.apps/front unchanged");
      const last = await compose("down");
      expect(last.code, last.stderr).toBe(0);
      expect(
        await ok("get", "deploy,cm", "-o", "name", "-l", "app.kubernetes.io/part-of=boat"),
      ).toBe("");
    });
  },
);
