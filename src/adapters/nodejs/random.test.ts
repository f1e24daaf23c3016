import { randomContract } from "#ports/random.contract.ts";
import { systemRandom } from "./random.ts";

randomContract("systemRandom", { isSeeded: false, random: () => systemRandom });
