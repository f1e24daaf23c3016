import { directly } from "./api.contract.ts";
import { overHttp } from "./http-transport.contract.ts";
import { policiesContract } from "./policies.contract.ts";

policiesContract("directly", directly);
policiesContract("over HTTP", overHttp);
