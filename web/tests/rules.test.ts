import { describe, expect, test } from "vitest";
import * as rules from "../src/othello/rules";

function perft(at: rules.Position, depth: number): number {
  if (depth === 0 || at.legal.length === 0) return 1;
  return at.legal.reduce((sum, square) => sum + perft(rules.play(at, square), depth - 1), 0);
}

describe("the rules", () => {
  // Published counts; up to this depth no side must pass.
  test.each([[1, 4], [2, 12], [3, 56], [4, 244], [5, 1396], [6, 8200], [7, 55092]])("perft %i = %i", (depth, count) => {
    expect(perft(rules.start(), depth)).toBe(count);
  });

  test("a side that cannot move passes, and the one that has just moved moves again", () => {
    // The shortest games with a forced pass have their pass after ply 8.
    let found: rules.Position | undefined;
    const search = (at: rules.Position, depth: number): void => {
      if (at.passed) found = at;
      if (!found && depth > 0) for (const square of at.legal) search(rules.play(at, square), depth - 1);
    };
    search(rules.start(), 8);
    expect(found).toBeDefined();
    expect(found!.discs[found!.played]).toBe(found!.black ? rules.BLACK : rules.WHITE);
    expect(found!.legal.length).toBeGreaterThan(0);
  });

  test("the shortest game ends after nine moves with nothing left of white", () => {
    const moves = "e6f4e3f6g5d6e7f5c5".match(/../g)!.map(rules.square);
    const positions = rules.replay(moves);
    expect(positions).toHaveLength(10);
    expect(positions[9].legal).toEqual([]);
    expect([...positions[9].discs].filter((disc) => disc === rules.WHITE)).toHaveLength(0);
  });

  test("what is not legal stops a replay and is refused in play", () => {
    expect(rules.replay([rules.square("f5"), rules.square("a1")])).toHaveLength(2);
    expect(() => rules.play(rules.start(), 0)).toThrow("a1 cannot be played here");
  });

  test("names, tokens and symmetries are one to one", () => {
    for (let s = 0; s < 64; s++) expect(rules.square(rules.name(s))).toBe(s);
    for (let id = 1; id <= 60; id++) expect(rules.tokenOf(rules.squareOf(id))).toBe(id);
    expect(rules.squareOf(0)).toBe(-1);
    for (const { map } of rules.SYMMETRIES) expect(new Set(Array.from({ length: 64 }, (_, s) => map(s))).size).toBe(64);
    const opening = new Set(rules.start().legal);
    // d3 c4 f5 e6 are the four first moves of black: half of the symmetries keep them.
    const kept = rules.SYMMETRIES.filter(({ map }) => [...opening].every((s) => opening.has(map(s))));
    expect(kept).toHaveLength(4);
  });
});
