/** The shop's worker: fetches open orders from the api, works on each for a moment, reports it done. */
import { createServer } from "node:http";
import { hostname } from "node:os";
import { setTimeout as pause } from "node:timers/promises";

const { API_URL: api = "http://api:8080", API_TOKEN: token = "" } = process.env;
const workMs = Number(process.env.WORK_MS ?? 50);
const headers = { authorization: `Bearer ${token}`, "x-worker": hostname() };
let stopping = false;
let reached = false;

createServer((request, response) => {
  const fine = request.url === "/healthz" || reached;
  response.writeHead(fine ? 200 : 503).end(fine ? "ok\n" : `${api} was not reached yet\n`);
}).listen(Number(process.env.PORT ?? 8081));

process.on("SIGTERM", () => {
  stopping = true;
  console.log("worker: finishing the order at hand");
  // The wait for the next order may last; nothing is lost by leaving it.
  setTimeout(() => process.exit(0), workMs + 500).unref();
});

while (!stopping) {
  try {
    // Waiting for an order may last: that the api is there is asked first.
    if (!reached) reached = (await fetch(`${api}/healthz`)).ok;
    const response = await fetch(`${api}/queue/next`, { headers });
    if (response.status === 401) throw new Error("the api refused the token of the Secret shop-token");
    if (response.status !== 200) continue;
    const order = await response.json();
    if (order.id === 0) continue;
    await pause(workMs);
    await fetch(`${api}/orders/${order.id}/done`, { method: "POST", headers });
    console.log(`worker: order ${order.id} (${order.item}) is done`);
  } catch (error) {
    console.log(`worker: ${error.cause?.message ?? error.message}; trying again`);
    await pause(1000);
  }
}
process.exit(0);
