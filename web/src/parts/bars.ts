// Counts of a column's values between its least and its largest.

import { isWhole } from "../data/view";
import { extent } from "./axis";
import type { Bar } from "./Histogram.svelte";

export interface Counted {
  bars: Bar[];
  /** How many values are 0 or below, and so not on a log axis. */
  nothing: number;
}

export function count(values: ArrayLike<number>, rows: Uint32Array | null, log: boolean, n = 40): Counted {
  const ends = extent(values, log);
  let nothing = 0;
  if (log) for (let i = 0; i < values.length; i++) if (values[i] <= 0) nothing++;
  if (!ends) return { bars: [], nothing };
  const f = log ? Math.log : (x: number) => x;
  const g = log ? Math.exp : (x: number) => x;
  const low = f(ends[0]);
  const whole = !log && isWhole(values) && ends[1] - ends[0] < n;
  const step = whole ? 1 : (f(ends[1]) - low) / n || 1;
  const size = whole ? ends[1] - ends[0] + 1 : n;
  const bars: Bar[] = Array.from({ length: size }, (_, i) => ({ low: g(low + i * step), high: g(low + (i + 1) * step), count: 0 }));
  const bin = (value: number): number => {
    const at = Math.floor((f(value) - low) / step);
    return at >= size ? size - 1 : at;
  };
  for (let i = 0; i < values.length; i++) if (values[i] >= ends[0] && values[i] <= ends[1]) bars[bin(values[i])].count++;
  if (rows && rows.length < values.length) {
    for (const bar of bars) bar.part = 0;
    for (const row of rows) if (values[row] >= ends[0] && values[row] <= ends[1]) bars[bin(values[row])].part!++;
  }
  return { bars, nothing };
}
