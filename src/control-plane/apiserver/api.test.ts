import { apiContract, directly } from "./api.contract.ts";

apiContract("directly", directly);
