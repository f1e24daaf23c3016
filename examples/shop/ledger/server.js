/**
 * The shop's ledger: copies what is done into a file of its own, so that it outlives the api's memory.
 *   GET /orders  → every order in the ledger
 * `node server.js report URL` prints how many orders the ledger at URL has of each item: the nightly job.
 */
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { hostname } from "node:os";
import { setTimeout as pause } from "node:timers/promises";

const { API_URL: api = "http://api:8080", LEDGER: file = "/data/orders.jsonl" } = process.env;
const copyMs = 1000;

const readAll = () =>
  existsSync(file)
    ? readFileSync(file, "utf8")
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line))
    : [];

async function report(url) {
  const orders = await (await fetch(`${url}/orders`)).json();
  const counts = new Map();
  for (const { item } of orders) counts.set(item, (counts.get(item) ?? 0) + 1);
  console.log(`${orders.length} orders in the ledger`);
  for (const [item, count] of counts) console.log(`${count} x ${item}`);
}

async function keep() {
  // An api that was replaced counts from 1 again: number and time together are an order's name.
  const nameOf = ({ id, placedAt }) => `${id} ${placedAt}`;
  const known = new Set(readAll().map(nameOf));
  const server = createServer((request, response) => {
    if (request.url === "/healthz") return response.end("ok\n");
    if (request.url !== "/orders") return response.writeHead(404).end("not found\n");
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(readAll()));
  });
  server.listen(Number(process.env.PORT ?? 8082), () =>
    console.log(`ledger: ${hostname()} has ${known.size} orders`),
  );
  let stopping = false;
  process.on("SIGTERM", () => {
    stopping = true;
    server.close();
    server.closeIdleConnections();
  });
  while (!stopping) {
    try {
      for (const order of (await (await fetch(`${api}/orders`)).json()).reverse()) {
        if (order.state !== "done" || known.has(nameOf(order))) continue;
        appendFileSync(file, `${JSON.stringify(order)}\n`);
        known.add(nameOf(order));
      }
    } catch (error) {
      console.log(`ledger: ${error.cause?.message ?? error.message}; trying again`);
    }
    await pause(copyMs);
  }
}

const [command, url] = process.argv.slice(2);
if (command === "report") await report(url);
else await keep();
