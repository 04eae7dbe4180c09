// Which feature of one dictionary is which of another: the largest cosine of decoder rows.

export interface Directions {
  rows: Float32Array;
  width: number;
}

/** Of the rows of `b`, the one whose cosine with a row of `a` is largest. */
export function nearest(a: Directions, row: number, b: Directions): { id: number; cosine: number } {
  const { width } = a;
  const own = a.rows.subarray(row * width, (row + 1) * width);
  let best = { id: -1, cosine: -Infinity };
  for (let id = 0, at = 0; at < b.rows.length; id++, at += width) {
    let sum = 0;
    for (let i = 0; i < width; i++) sum += own[i] * b.rows[at + i];
    if (sum > best.cosine) best = { id, cosine: sum };
  }
  return best;
}

/** How many products a match of all with all takes; above some ten thousand million a browser is too slow for it. */
export function cost(a: Directions, b: Directions): number {
  return (a.rows.length / a.width) * b.rows.length;
}

/** For every row of `a` its nearest of `b`; it yields to the page between stretches, and stops when `stopped` says so. */
export async function match(a: Directions, b: Directions, stopped: () => boolean): Promise<{ id: Int32Array; cosine: Float32Array } | null> {
  const n = a.rows.length / a.width;
  const found = { id: new Int32Array(n), cosine: new Float32Array(n) };
  let began = performance.now();
  for (let row = 0; row < n; row++) {
    const best = nearest(a, row, b);
    found.id[row] = best.id;
    found.cosine[row] = best.cosine;
    if (performance.now() - began > 30) {
      await new Promise((resolve) => setTimeout(resolve));
      if (stopped()) return null;
      began = performance.now();
    }
  }
  return found;
}
