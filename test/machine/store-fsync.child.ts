/** The process under trace: writes to a store in argv[2], and says each acknowledgement in one system call of its own. */
import { writeSync } from "node:fs";
import { systemClock } from "#adapters/nodejs/clock.ts";
import { openLmdbStorage } from "#adapters/nodejs/lmdb-storage.ts";
import { openStore } from "#control-plane/store/store.ts";

const [directory, alone, together] = [process.argv[2] ?? "", 20, 200];
const store = await openStore({ storage: await openLmdbStorage(directory), clock: systemClock });

/** Large enough for a page of its own, which then begins with the mark. */
async function write(n: number): Promise<void> {
  const mark = String(n).padStart(4, "0");
  await store.put(`/key-${n % 50}`, new TextEncoder().encode(`mark-${mark}`.padEnd(3000)));
  writeSync(1, `ack-${mark}\n`);
}

for (let n = 0; n < alone; n += 1) await write(n);
await Promise.all(
  Array.from({ length: 20 }, async (_, writer) => {
    for (let n = alone + writer; n < alone + together; n += 20) await write(n);
  }),
);
await store.close();
