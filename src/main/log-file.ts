/** The log file of the background process: appended to, with a bound: at 10 MiB it is put aside, two old ones are kept. */
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  renameSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { Writable } from "node:stream";

const bytesMax = 10 * 1024 * 1024;
const keptMax = 2;

export function openLogFile(path: string): Writable {
  mkdirSync(dirname(path), { recursive: true, mode: 0o750 });
  let file = openSync(path, "a", 0o640);
  let bytes = fstatSync(file).size;
  const putAside = (): void => {
    closeSync(file);
    for (let n = keptMax - 1; n >= 0; n--) {
      const from = n === 0 ? path : `${path}.${n}`;
      if (existsSync(from)) renameSync(from, `${path}.${n + 1}`);
    }
    file = openSync(path, "a", 0o640);
    bytes = 0;
  };
  return new Writable({
    decodeStrings: true,
    write(chunk: Buffer, _encoding, done) {
      try {
        if (bytes > bytesMax) putAside();
        bytes += writeSync(file, chunk);
        done();
      } catch (error) {
        done(error instanceof Error ? error : new Error(String(error)));
      }
    },
  });
}
