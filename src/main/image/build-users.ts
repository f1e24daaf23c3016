/** Who a build's commands run as and whom its files belong to: numbers, or names out of the image's own /etc/passwd and /etc/group. */
import { readFile } from "node:fs/promises";
import { scopedPath } from "./scoped-path.ts";

export interface Owner {
  readonly uid: number;
  readonly gid: number;
  /** Further groups that name the user. */
  readonly groups: readonly number[];
  /** "/" for who has none. */
  readonly home: string;
}

const number = /^\d{1,10}$/;

async function table(root: string, path: string): Promise<string[][]> {
  const text = await readFile(await scopedPath(root, path), "utf8").catch(() => "");
  return text
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.split(":"));
}

/** "user", "user:group", each a name or a number; "" is root. */
export async function ownerOf(root: string, text: string): Promise<Owner> {
  const [user = "", group] = text.split(":");
  const users = await table(root, "/etc/passwd");
  const groups = await table(root, "/etc/group");
  const row = users.find(([name, , uid]) => (number.test(user) ? uid === user : name === user));
  if (row === undefined && user !== "" && !number.test(user))
    throw new Error(`unable to find user ${user}: no matching entries in passwd file`);
  const uid = Number(row?.[2] ?? (user === "" ? 0 : user));
  const home = row?.[5] === undefined || row[5] === "" ? "/" : row[5];
  if (group !== undefined && group !== "") {
    const found = groups.find(([name]) => name === group)?.[2];
    if (found === undefined && !number.test(group))
      throw new Error(`unable to find group ${group}: no matching entries in group file`);
    return { uid, gid: Number(found ?? group), groups: [], home };
  }
  const name = row?.[0];
  const further = groups
    .filter(([, , , members]) => name !== undefined && members?.split(",").includes(name) === true)
    .map(([, , gid]) => Number(gid));
  return { uid, gid: Number(row?.[3] ?? 0), groups: further, home };
}
