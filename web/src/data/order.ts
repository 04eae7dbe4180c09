// Which rows, in which order: one filter and a list of sort keys over columns, in typed arrays.

import { compile, parse, type Fields, type Value } from "./query";

export interface Key {
  name: string;
  descending: boolean;
}

/** "-density,max" -> keys. */
export function keys(sort: string): Key[] {
  return sort
    .split(",")
    .filter(Boolean)
    .map((part) => ({ name: part.replace(/^-/, ""), descending: part.startsWith("-") }));
}

export function written(list: Key[]): string {
  return list.map((key) => (key.descending ? "-" : "") + key.name).join(",");
}

/** A click on a heading: descending, then ascending, then off. With `add`, beside the other keys. */
export function clicked(sort: string, name: string, add: boolean): string {
  const list = keys(sort);
  const at = list.findIndex((key) => key.name === name);
  const old = list[at];
  const next: Key | null = !old ? { name, descending: true } : old.descending ? { name, descending: false } : null;
  if (!add) return next ? written([next]) : "";
  if (old) list.splice(at, 1, ...(next ? [next] : []));
  else if (next) list.push(next);
  return written(list);
}

/** The rows that a query leaves, sorted; what is missing comes last, ties keep their order. Throws as `parse` does. */
export function order(n: number, fields: Fields, query: string, sort: string): Uint32Array {
  let rows: Uint32Array = new Uint32Array(n);
  let kept = 0;
  if (query.trim()) {
    const test = compile(parse(query), fields);
    for (let row = 0; row < n; row++) if (test(row)) rows[kept++] = row;
    rows = rows.slice(0, kept);
  } else {
    for (let row = 0; row < n; row++) rows[row] = row;
  }
  const by = keys(sort).flatMap((key) => {
    const read = fields.column(key.name);
    return read ? [{ ...ranks(rows, n, read), sign: key.descending ? -1 : 1 }] : [];
  });
  if (by.length === 0) return rows;
  if (by.length === 1) {
    const { values, sign } = by[0];
    return rows.sort((a, b) => compare(values[a], values[b], sign) || a - b);
  }
  return rows.sort((a, b) => {
    for (const { values, sign } of by) {
      const difference = compare(values[a], values[b], sign);
      if (difference) return difference;
    }
    return a - b;
  });
}

function compare(a: number, b: number, sign: number): number {
  if (a === b) return 0;
  if (a !== a) return b !== b ? 0 : 1;
  if (b !== b) return -1;
  return a < b ? -sign : sign;
}

/** A number for each row by which it sorts; texts by their place in the alphabet, "" as missing. */
function ranks(rows: Uint32Array, n: number, read: (row: number) => Value): { values: Float64Array } {
  const values = new Float64Array(n).fill(NaN);
  let texts: Map<string, number> | undefined;
  for (const row of rows) {
    const value = read(row);
    if (typeof value === "number") values[row] = value;
    else if (value) (texts ??= new Map()).set(value, 0);
  }
  if (texts) {
    [...texts.keys()].sort((a, b) => a.localeCompare(b)).forEach((text, i) => texts.set(text, i));
    for (const row of rows) {
      const value = read(row);
      if (typeof value === "string" && value) values[row] = texts.get(value)!;
    }
  }
  return { values };
}
