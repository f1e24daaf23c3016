import { directly } from "./api.contract.ts";
import { overHttp } from "./http-transport.contract.ts";
import { namespaceLimitsContract } from "./namespace-limits.contract.ts";

namespaceLimitsContract("directly", directly);
namespaceLimitsContract("over HTTP", overHttp);
