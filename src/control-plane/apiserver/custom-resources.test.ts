import { directly } from "./api.contract.ts";
import { customResourcesContract } from "./custom-resources.contract.ts";
import { overHttp } from "./http-transport.contract.ts";

customResourcesContract("directly", directly);
customResourcesContract("over HTTP", overHttp);
