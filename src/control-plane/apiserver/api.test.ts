import { apiContract, directly } from "./api.contract.ts";
import { rbacContract } from "./rbac.contract.ts";

apiContract("directly", directly);
rbacContract("directly", directly);
