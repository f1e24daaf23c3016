/**
 * The shop's web front: a page with the latest orders and a form. Everything it says comes from its environment (a ConfigMap), and
 * everything it knows from the api.
 */
import { createServer } from "node:http";
import { hostname } from "node:os";

const { API_URL: api = "http://api:8080", GREETING: greeting = "Welcome", SHOP_VERSION: version = "1" } = process.env;
const port = Number(process.env.PORT ?? 8080);
let stopping = false;

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

async function page() {
  const orders = await (await fetch(`${api}/orders`)).json();
  const rows = orders.map(
    ({ id, item, state, worker }) =>
      `<tr><td>${id}</td><td>${escape(item)}</td><td>${state}</td><td>${escape(worker ?? "")}</td></tr>`,
  );
  return `<!doctype html><title>Shop</title><h1>${escape(greeting)}</h1>
<form method="post" action="/order"><input name="item" value="tea"><button>Order</button></form>
<table><tr><th>Order</th><th>Item</th><th>State</th><th>Worker</th></tr>${rows.join("")}</table>
<p>version ${escape(version)}, served by ${escape(hostname())}</p>`;
}

async function order(request) {
  let text = "";
  for await (const chunk of request) text += chunk;
  const item = new URLSearchParams(text).get("item") ?? "";
  return fetch(`${api}/orders`, { method: "POST", body: JSON.stringify({ item }) });
}

const server = createServer(async (request, response) => {
  const reply = (status, type, body, headers = {}) =>
    response.writeHead(status, { "content-type": type, ...headers }).end(body);
  try {
    switch (`${request.method} ${request.url}`) {
      case "GET /healthz":
        return reply(200, "text/plain", "ok\n");
      case "GET /readyz":
        return reply(stopping ? 503 : 200, "text/plain", stopping ? "stopping\n" : "ok\n");
      case "GET /version":
        return reply(200, "text/plain", `${version} ${hostname()}\n`);
      case "GET /":
        return reply(200, "text/html; charset=utf-8", await page());
      case "POST /order": {
        const { ok, status } = await order(request);
        return ok ? reply(303, "text/plain", "", { location: "/" }) : reply(status, "text/plain", "refused\n");
      }
      default:
        return reply(404, "text/plain", "not found\n");
    }
  } catch (error) {
    console.log(`web: ${error.cause?.message ?? error.message}`);
    reply(502, "text/plain", "the api does not answer\n");
  }
});
server.keepAliveTimeout = 65_000;
server.listen(port, () => console.log(`web: version ${version} listening on ${port}`));

process.on("SIGTERM", () => {
  stopping = true;
  console.log("web: stopping");
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
