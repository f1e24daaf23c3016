import { directly } from "./api.contract.ts";
import { overHttp } from "./http-transport.contract.ts";
import { mutatingPoliciesContract } from "./mutating-policies.contract.ts";

mutatingPoliciesContract("directly", directly);
mutatingPoliciesContract("over HTTP", overHttp);
