// The 252 labels of a view of games, in its order: mine of squares 0 to 63, theirs, empty, then legal of the 60 squares
// that can be played.

import { squareOf, tokenOf } from "../othello/rules";

export const STATES = ["mine", "theirs", "empty", "legal"] as const;
export type State = (typeof STATES)[number];

/** A label's index; -1 for a square that is never in that state. */
export function labelOf(square: number, state: State): number {
  if (state !== "legal") return 64 * STATES.indexOf(state) + square;
  const token = tokenOf(square);
  return token > 0 ? 192 + token - 1 : -1;
}

/** One list of 64 for each state. */
export function labelsOf(values: ArrayLike<number | null>): (number | null)[][] {
  const boards = STATES.map(() => new Array<number | null>(64).fill(null));
  for (let i = 0; i < 192; i++) boards[i >> 6][i % 64] = values[i];
  for (let i = 0; i < 60; i++) boards[3][squareOf(i + 1)] = values[192 + i];
  return boards;
}
