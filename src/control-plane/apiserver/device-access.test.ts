import { directly } from "./api.contract.ts";
import { deviceAccessContract } from "./device-access.contract.ts";
import { overHttp } from "./http-transport.contract.ts";

deviceAccessContract("directly", directly);
deviceAccessContract("over HTTP", overHttp);
