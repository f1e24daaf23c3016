/**
 * The program of the story: a small web server that says who it is, and that can be asked to misbehave. Other commands make it a job
 * or a client: `node server.js work N` counts to N and ends, `node server.js ask URL` prints what URL answers, `node server.js visit URL`
 * asks it again and again until it is stopped.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { hostname } from "node:os";
import { dirname } from "node:path";

const {
  GREETING: greeting = "Hello",
  VERSION: version = "1",
  NOTES: notes = "/data/notes.txt",
} = process.env;
const port = Number(process.env.PORT ?? 8080);
let stopping = false;
let busy = false;
let stuck = false;
let hoard = [];

function burn(ms) {
  const until = Date.now() + ms;
  while (Date.now() < until);
}

/** What is to end this process waits until the answer has been read. */
const routes = {
  "/": () => `${greeting} from ${hostname()}, version ${version}\n`,
  "/healthz": () => {
    if (stuck) throw new Error("stuck");
    return "ok\n";
  },
  "/readyz": () => {
    if (stopping || busy) throw new Error(stopping ? "stopping" : "busy");
    return "ready\n";
  },
  "/busy": () => {
    busy = true;
    return "give me a moment\n";
  },
  "/free": () => {
    busy = false;
    return "ready again\n";
  },
  "/stuck": () => {
    stuck = true;
    return "I can't get on\n";
  },
  "/burn": () => {
    burn(200);
    return "warm\n";
  },
  "/crash": () => {
    setTimeout(() => process.exit(1), 2000);
    return "goodbye\n";
  },
  "/hoard": () => {
    setTimeout(() => setInterval(() => hoard.push(Buffer.alloc(8 << 20, 1)), 20), 2000);
    return "more!\n";
  },
  "/notes": () => (existsSync(notes) ? readFileSync(notes, "utf8") : "no notes yet\n"),
  "/config": () => readFileSync("/config/message.txt", "utf8"),
};

function serve() {
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url, "http://here");
    if (stopping) response.setHeader("connection", "close");
    if (pathname === "/write") {
      mkdirSync(dirname(notes), { recursive: true });
      appendFileSync(notes, `${searchParams.get("text")}\n`);
      return response.end("written\n");
    }
    const route = routes[pathname];
    try {
      if (route === undefined) response.writeHead(404).end("there is nothing here\n");
      else response.end(route());
    } catch (error) {
      response.writeHead(500).end(`${error.message}\n`);
    }
  });
  server.listen(port, () => console.log(`version ${version} listens on ${port}`));
  process.on("SIGTERM", () => {
    stopping = true;
    console.log("asked to stop: finishing what is under way");
    server.close(() => process.exit(0));
  });
}

const [command, argument] = process.argv.slice(2);
if (command === "work") {
  for (let n = 1; n <= Number(argument); n += 1) console.log(`step ${n}`);
  if (process.env.FAIL === "yes") process.exit(3);
  if (process.env.RESULT) writeFileSync(process.env.RESULT, "done\n");
} else if (command === "ask") {
  try {
    const answer = await fetch(argument, { signal: AbortSignal.timeout(3000) });
    process.stdout.write(await answer.text());
  } catch (error) {
    console.log(`no answer: ${error.cause?.code ?? error.name}`);
    process.exitCode = 1;
  }
} else if (command === "visit") {
  process.on("SIGTERM", () => process.exit(0));
  for (;;) {
    // Each time by another way, if there are several. Nobody there yet: the next time.
    const options = { headers: { connection: "close" }, signal: AbortSignal.timeout(10000) };
    await fetch(argument, options).then(
      (answer) => answer.text(),
      () => undefined,
    );
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
} else serve();
