/**
 * The shop's api: takes orders and keeps them in a queue in memory, from which workers fetch them.
 *   POST /orders {"item": "tea"}   → 201, the order
 *   GET  /orders                   → the latest orders
 *   GET  /queue/next               → the next open order; waits up to 20 s for one (204: none came)
 *   POST /orders/ID/done           → the worker is finished with it
 * Workers show the token of the Secret. Configuration comes from the environment, as Kubernetes sets it.
 */
import { createServer } from "node:http";

const { API_TOKEN: token, CURRENCY: currency = "EUR" } = process.env;
const port = Number(process.env.PORT ?? 8080);
if (!token) {
  console.error("API_TOKEN is not set: the Secret shop-token gives it");
  process.exit(1);
}

const ordersKept = 1000;
const waitMs = 20_000;
const orders = new Map();
const open = [];
const waiting = [];
let nextId = 1;
let stopping = false;

function place(item) {
  const order = { id: nextId++, item, currency, state: "open", placedAt: new Date().toISOString() };
  orders.set(order.id, order);
  if (orders.size > ordersKept) orders.delete(orders.keys().next().value);
  const waiter = waiting.shift();
  if (waiter) waiter(order);
  else open.push(order);
  return order;
}

function next(response) {
  const order = open.shift();
  if (order) return send(response, 200, order);
  const give = (one) => {
    clearTimeout(timer);
    send(response, 200, one);
  };
  const forget = () => {
    const at = waiting.indexOf(give);
    if (at >= 0) waiting.splice(at, 1);
    clearTimeout(timer);
  };
  const timer = setTimeout(() => {
    forget();
    send(response, 204);
  }, waitMs);
  response.on("close", forget);
  waiting.push(give);
}

function send(response, status, body) {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(body === undefined ? undefined : JSON.stringify(body));
}

async function readJson(request) {
  let text = "";
  for await (const chunk of request) text += chunk;
  return JSON.parse(text || "{}");
}

const server = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, "http://api");
  const done = /^\/orders\/(\d+)\/done$/.exec(pathname);
  try {
    if (pathname === "/healthz") return send(response, 200, { ok: true });
    if (pathname === "/readyz") return send(response, stopping ? 503 : 200, { ready: !stopping });
    if (pathname === "/orders" && request.method === "GET") {
      return send(response, 200, [...orders.values()].slice(-20).reverse());
    }
    if (pathname === "/orders" && request.method === "POST") {
      const { item } = await readJson(request);
      if (typeof item !== "string" || item === "") return send(response, 400, { error: "say which item" });
      return send(response, 201, place(item));
    }
    if (pathname === "/queue/next" || done) {
      if (request.headers.authorization !== `Bearer ${token}`) return send(response, 401, { error: "wrong token" });
      if (!done) return next(response);
      const order = orders.get(Number(done[1]));
      if (!order) return send(response, 404, { error: "no such order" });
      Object.assign(order, { state: "done", worker: request.headers["x-worker"] });
      return send(response, 200, order);
    }
    send(response, 404, { error: "not found" });
  } catch (error) {
    send(response, 400, { error: error.message });
  }
});
server.listen(port, () => console.log(`api: listening on ${port}`));

process.on("SIGTERM", () => {
  stopping = true;
  console.log("api: stopping");
  server.close(() => process.exit(0));
  server.closeIdleConnections();
  for (const give of waiting.splice(0)) give({ id: 0 });
});
