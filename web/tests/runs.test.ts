import { expect, test } from "vitest";
import { match, nearest } from "../src/data/match";
import { front, leaves, measured, score, stage, varying } from "../src/data/runs";
import type { Run } from "../src/data/types";
import { around, clusters } from "../src/othello/clusters";
import { random } from "./fixture";

test("what differs between runs is found by the leaves of their configs", () => {
  const configs = [
    { method: "topk(k=8)", training: { lr: 0.1, steps: 5 }, seed: 0 },
    { method: "topk(k=8)", training: { lr: 0.2, steps: 5 }, seed: 1 },
  ].map((config) => leaves(config));
  expect([...configs[0]]).toEqual([["method", "topk(k=8)"], ["training.lr", 0.1], ["training.steps", 5], ["seed", 0]]);
  expect(varying(configs)).toEqual(["training.lr", "seed"]);
});

test("how far a training is", () => {
  const run = (of: object): Run => ({ trained: false, steps: 0, config: { training: { steps: 2000 } }, ...of }) as unknown as Run;
  expect(stage(run({ trained: true, steps: 2000 }))).toBe("trained");
  expect(stage(run({ steps: 1500 }))).toBe("step 1,500 of 2,000");
  expect(stage(run({}))).toBe("not begun");
});

test("a run that was not scored is known by what its training last measured", () => {
  const run = { scores: null, last: { l0: 32, fvu: 0.2, dead: 0.1 } } as unknown as Run;
  expect(measured(run, "fvu")).toEqual({ value: 0.2, scored: false });
  expect(score(run, "fvu")).toBeNaN();
  expect(measured(run, "dead").value).toBeNaN(); // training counts it otherwise
  expect(measured({ ...run, scores: { "fvu/1": 0.3 } }, "fvu")).toEqual({ value: 0.3, scored: true });
});

test.each([false, true])("the front holds every point that no other beats in both, higher being better: %s", (up) => {
  const draw = random(3);
  const points = Array.from({ length: 60 }, (): [number, number] => [draw(), draw()]);
  const beats = (a: [number, number], b: [number, number]): boolean => a !== b && a[0] <= b[0] && (up ? a[1] >= b[1] : a[1] <= b[1]);
  const slow = points.filter((point) => !points.some((other) => beats(other, point))).sort((a, b) => a[0] - b[0]);
  expect(front([...points, [NaN, 0], [0.5, NaN]], up)).toEqual(slow);
});

test("clusters hold their share of the counts, each counted once", () => {
  expect(clusters(new Float64Array(64))).toEqual([]);
  const corner = new Float64Array(64);
  corner[0] = 5;
  expect(clusters(corner)).toHaveLength(1);
  const draw = random(4);
  const counts = Array.from({ length: 64 }, () => Math.floor(20 * draw()));
  const total = counts.reduce((a, b) => a + b);
  const held = (centres: number[]): number => [...new Set(centres.flatMap(around))].reduce((sum, s) => sum + counts[s], 0);
  const found = clusters(counts);
  expect(held(found)).toBeGreaterThanOrEqual(0.9 * total);
  expect(held(found.slice(0, -1))).toBeLessThan(0.9 * total);
  expect(around(0)).toEqual([0, 1, 8, 9]);
  expect(around(27)).toHaveLength(9);
});

test("every direction's nearest is the one of largest cosine", async () => {
  const draw = random(5);
  const width = 6;
  const unit = (): number[] => {
    const row = Array.from({ length: width }, () => draw() - 0.5);
    const size = Math.hypot(...row);
    return row.map((x) => x / size);
  };
  const [a, b] = [9, 14].map((n) => Array.from({ length: n }, unit));
  const [from, to] = [a, b].map((rows) => ({ rows: Float32Array.from(rows.flat()), width }));
  const found = (await match(from, to, () => false))!;
  a.forEach((row, i) => {
    const cosines = b.map((other) => other.reduce((sum, x, k) => sum + x * row[k], 0));
    expect(found.id[i]).toBe(cosines.indexOf(Math.max(...cosines)));
    expect(found.cosine[i]).toBeCloseTo(Math.max(...cosines), 5);
    expect(nearest(from, i, to).id).toBe(found.id[i]);
  });
});
