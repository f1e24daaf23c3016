/** What every source of random numbers keeps to. `isSeeded`: equal seeds give equal streams. */
import { expect, test } from "vitest";
import type { Random } from "./random.ts";

export interface RandomWorld {
  readonly isSeeded: boolean;
  random(seed: number): Random;
}

const draw = (random: Random, count: number): number[] =>
  Array.from({ length: count }, () => random.uint32());

export function randomContract(name: string, world: RandomWorld): void {
  test(`${name}: numbers are whole, within 32 bits and spread`, () => {
    const numbers = draw(world.random(1), 20_000);
    expect(numbers.every((n) => Number.isInteger(n) && n >= 0 && n < 2 ** 32)).toBe(true);
    // Each of the 16 highest buckets and each bit gets its share; 5 % is far beyond chance (over 10 sigma).
    for (let bit = 0; bit < 32; bit++) {
      const ones = numbers.filter((n) => (n >>> bit) & 1).length;
      expect(Math.abs(ones / numbers.length - 0.5)).toBeLessThan(0.05);
    }
    expect(new Set(numbers).size).toBeGreaterThan(19_900);
  });

  test(`${name}: bytes come in any count and share no memory`, () => {
    const random = world.random(2);
    for (const count of [0, 1, 3, 4, 16, 1000, 100_000]) {
      expect(random.bytes(count)).toHaveLength(count);
    }
    const first = random.bytes(32);
    const copy = Uint8Array.from(first);
    const second = random.bytes(32);
    second.fill(0);
    random.uint32();
    expect(first).toEqual(copy);
    expect(first.buffer).not.toBe(second.buffer);
    expect(first.some((byte) => byte !== 0)).toBe(true);
  });

  test(`${name}: forks are independent of each other`, () => {
    const root = world.random(3);
    const a = draw(root.fork("a"), 50);
    const b = draw(root.fork("b"), 50);
    expect(a).not.toEqual(b);
    expect(a).not.toEqual(draw(root, 50));
  });

  if (!world.isSeeded) return;

  test(`${name}: the seed alone decides`, () => {
    expect(draw(world.random(7), 100)).toEqual(draw(world.random(7), 100));
    expect(draw(world.random(7), 100)).not.toEqual(draw(world.random(8), 100));
    expect(world.random(7).bytes(33)).toEqual(world.random(7).bytes(33));
  });

  test(`${name}: a fork depends on seed and path, not on what was drawn before`, () => {
    const fresh = world.random(9);
    const used = world.random(9);
    draw(used, 17);
    used.fork("other");
    expect(draw(used.fork("x").fork("y"), 20)).toEqual(draw(fresh.fork("x").fork("y"), 20));
    expect(draw(fresh.fork("xy"), 20)).not.toEqual(draw(fresh.fork("x").fork("y"), 20));
    expect(draw(fresh.fork("y").fork("x"), 20)).not.toEqual(draw(fresh.fork("x").fork("y"), 20));
  });
}
