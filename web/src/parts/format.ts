// Numbers as they are written on the page.

/** Three significant digits, no more places than they need: 0.0213, 12.4, 1,204, 3.1e-7. */
export function number(value: number | null | undefined, digits = 3): string {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  let text: string;
  if (Number.isInteger(value) || size >= 10 ** digits) text = Math.round(value).toLocaleString("en-US");
  else if (size < 1e-3) text = value.toExponential(digits - 2);
  else text = value.toPrecision(digits);
  return text.replace("-", "−").replace("e−", "e−").replace(/e-/, "e−");
}

/** A value of a column: one of real numbers keeps its places, so that 1 stands as 1.00 among 0.982. */
export function cell(value: number, whole: boolean): string {
  return !whole && Number.isInteger(value) && value !== 0 && Math.abs(value) < 100 ? value.toPrecision(3).replace("-", "−") : number(value);
}

/** With its sign, for differences. */
export function signed(value: number | null | undefined, digits = 3): string {
  const text = number(value, digits);
  return value && value > 0 ? `+${text}` : text;
}

export function percent(share: number, digits = 1): string {
  return Number.isNaN(share) ? "–" : `${(100 * share).toFixed(share > 0 && share < 0.001 ? digits + 1 : digits)} %`;
}

export function integer(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${integer(n)} ${n === 1 ? one : many}`;
}
