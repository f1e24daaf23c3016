/**
 * The order of keys: that of their UTF-8 bytes, which is that of their code points. JavaScript compares UTF-16 units, which
 * differs where surrogates meet U+E000…U+FFFF. `orderKey` swaps those two groups, so that plain `<` on its results is right;
 * a key without either (any key that Kubernetes makes) is its own order key.
 */

const special = /[\ud800-\uffff]/;
const loneSurrogate = /\p{Surrogate}/u;

function swapped(unit: number): number {
  if (unit >= 0xe000) return unit - 0x800;
  return unit >= 0xd800 ? unit + 0x2000 : unit;
}

export function orderKey(key: string): string {
  if (!special.test(key)) return key;
  const units: number[] = [];
  for (let index = 0; index < key.length; index += 1) units.push(swapped(key.charCodeAt(index)));
  return String.fromCharCode(...units);
}

/** Why `key` cannot be stored; undefined if it can. */
export function keyProblem(key: string): string | undefined {
  if (key === "") return "a key must not be empty";
  if (special.test(key) && loneSurrogate.test(key))
    return "the key has half a surrogate pair, which UTF-8 cannot hold";
  return undefined;
}
