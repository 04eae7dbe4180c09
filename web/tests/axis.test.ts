import { expect, test } from "vitest";
import { ticks } from "../src/parts/axis";
import { random } from "./fixture";

test("ticks are round and lie between the ends", () => {
  expect(ticks(0, 1, 5)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
  expect(ticks(12, 150, 4, true)).toEqual([20, 50, 100]);
  expect(ticks(1, 1e6, 3, true)).toEqual([1, 100, 1e4, 1e6]);
  expect(ticks(16, 32, 6, true)).toEqual([20, 25, 30]);
  expect(ticks(3, 3)).toEqual([3]);
});

test.each([false, true])("there are neither too few nor too many, on a log scale: %s", (log) => {
  const draw = random(6);
  for (let i = 0; i < 500; i++) {
    const low = 10 ** (6 * draw() - 4);
    const high = low * 10 ** (0.01 + 5 * draw());
    const found = ticks(low, high, 5, log);
    expect(found.length).toBeGreaterThan(1);
    expect(found.length).toBeLessThan(10);
    expect(found).toEqual([...new Set(found)].sort((a, b) => a - b));
    expect(found[0]).toBeGreaterThanOrEqual(low * (1 - 1e-8));
    expect(found.at(-1)).toBeLessThanOrEqual(high * (1 + 1e-8));
  }
});
