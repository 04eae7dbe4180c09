// Scales and the places of their ticks.

export interface Scale {
  (value: number): number;
  invert(at: number): number;
  low: number;
  high: number;
  log: boolean;
}

/** From values to places between `from` and `to`. A log scale takes its low end from the smallest value above 0. */
export function scale(low: number, high: number, from: number, to: number, log = false): Scale {
  const f = log ? Math.log10 : (x: number) => x;
  const g = log ? (x: number) => 10 ** x : (x: number) => x;
  const [a, b] = [f(low), f(high)];
  const width = b - a || 1;
  const at = ((value: number) => from + ((f(value) - a) / width) * (to - from)) as Scale;
  at.invert = (place) => g(a + ((place - from) / (to - from)) * width);
  return Object.assign(at, { low, high, log });
}

/** About n round values between the ends. */
export function ticks(low: number, high: number, n = 5, log = false): number[] {
  if (!(high > low)) return [low];
  if (log) {
    const [from, to] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
    const step = Math.max(1, Math.ceil((to - from) / n));
    const tens = Array.from({ length: Math.max(0, Math.floor((to - from) / step) + 1) }, (_, i) => 10 ** (from + i * step));
    if (tens.length > 2) return tens;
    for (const parts of [[1, 2, 5], [1, 3]]) {
      const all = [from - 1, from, from + 1].flatMap((power) => parts.map((part) => Number((part * 10 ** power).toPrecision(1))));
      const inside = all.filter((each) => each >= low * (1 - 1e-9) && each <= high * (1 + 1e-9));
      if (inside.length > 2 && inside.length < n + 3) return inside;
    }
    if (tens.length > 1) return tens;
  }
  const raw = (high - low) / n;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 5, 10].find((each) => each * power >= raw) ?? 10);
  const found: number[] = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}

/** The smallest and largest of the finite values (above 0, on a log scale); null where there are none. */
export function extent(values: ArrayLike<number>, log = false): [number, number] | null {
  let [low, high] = [Infinity, -Infinity];
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (!Number.isFinite(value) || (log && value <= 0)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : null;
}

/** A tick as text: powers of ten as such. */
export function tick(value: number): string {
  if (value === 0) return "0";
  const power = Math.log10(Math.abs(value));
  if (power >= 4 || power < -3) {
    const exponent = Math.floor(power + 1e-9);
    const factor = Number((value / 10 ** exponent).toPrecision(3));
    const raised = String(exponent).replace(/[-0-9]/g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]);
    return factor === 1 ? `10${raised}` : `${factor}·10${raised}`;
  }
  return String(Number(value.toPrecision(6))).replace("-", "−");
}
