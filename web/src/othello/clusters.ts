// Where on the board something happens, as few 3 by 3 squares: report 000's location (H1) and predictive (H2) features.

/** The centres of the 3 by 3 squares that, taken greedily, hold `share` of the counts; the fullest first. */
export function clusters(counts: ArrayLike<number>, share = 0.9): number[] {
  const left = Float64Array.from(counts);
  const total = left.reduce((sum, each) => sum + each, 0);
  const centres: number[] = [];
  for (let held = 0; total > 0 && held < share * total - 1e-9; ) {
    let [best, most] = [-1, 0];
    for (let centre = 0; centre < 64; centre++) {
      const inside = around(centre).reduce((sum, s) => sum + left[s], 0);
      if (inside > most) [best, most] = [centre, inside];
    }
    centres.push(best);
    held += most;
    for (const s of around(best)) left[s] = 0;
  }
  return centres;
}

/** The squares of a 3 by 3 square that are on the board. */
export function around(centre: number): number[] {
  const [x, y] = [centre % 8, centre >> 3];
  const found: number[] = [];
  for (let b = Math.max(0, y - 1); b <= Math.min(7, y + 1); b++) {
    for (let a = Math.max(0, x - 1); a <= Math.min(7, x + 1); a++) found.push(8 * b + a);
  }
  return found;
}
