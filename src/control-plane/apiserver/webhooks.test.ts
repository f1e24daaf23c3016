import { directly } from "./api.contract.ts";
import { overHttp } from "./http-transport.contract.ts";
import { webhooksContract } from "./webhooks.contract.ts";

webhooksContract("directly", directly);
webhooksContract("over HTTP", overHttp);
