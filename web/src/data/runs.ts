// Runs as rows: their settings and scores by name, what differs between them, which of them no other beats.

import type { Fields, Value } from "./query";
import type { Run } from "./types";

/** The leaves of a config by dotted names. */
export function leaves(config: Record<string, unknown> | null, before = ""): Map<string, string | number> {
  const found = new Map<string, string | number>();
  for (const [name, value] of Object.entries(config ?? {})) {
    if (value !== null && typeof value === "object" && !Array.isArray(value)) {
      for (const [leaf, inner] of leaves(value as Record<string, unknown>, `${before}${name}.`)) found.set(leaf, inner);
    } else found.set(before + name, typeof value === "number" ? value : String(value));
  }
  return found;
}

/** The settings in which runs differ, in the order of the configs. */
export function varying(configs: Map<string, string | number>[]): string[] {
  const names = new Set(configs.flatMap((config) => [...config.keys()]));
  return [...names].filter((name) => new Set(configs.map((config) => config.get(name))).size > 1);
}

/** "fvu" for "fvu/1": a metric without its version, as one types it. */
export const bare = (metric: string): string => metric.split("/")[0];

/** What training itself measures of what an evaluation does. */
export const TRAINED = ["l0", "fvu"];

/** A run's score by a metric's bare name; NaN where it has none. */
export function score(run: Run, metric: string): number {
  for (const [name, value] of Object.entries(run.scores ?? {})) if (bare(name) === metric) return value ?? NaN;
  return NaN;
}

/** The same; where a run was not scored, what its training last measured, on what it was trained on. */
export function measured(run: Run, metric: string): { value: number; scored: boolean } {
  const value = score(run, metric);
  if (Number.isFinite(value) || !TRAINED.includes(metric)) return { value, scored: true };
  return { value: run.last?.[metric] ?? NaN, scored: false };
}

/** How far its training is. */
export function stage(run: Run): string {
  if (run.trained) return "trained";
  const { steps: all } = (run.config?.training ?? {}) as { steps?: number };
  const [done, of] = [run.steps, all].map((n) => n?.toLocaleString("en-US"));
  return run.steps ? `step ${done}${of ? ` of ${of}` : ""}` : "not begun";
}

/** What can be typed and sorted by: a setting (whole, or its last part), a metric, name, state, steps. */
export function fieldsOf(runs: Run[], configs: Map<string, string | number>[]): Fields {
  const settings = new Set(configs.flatMap((config) => [...config.keys()]));
  const metrics = new Set([...TRAINED, ...runs.flatMap((run) => Object.keys(run.scores ?? {}).map(bare))]);
  const column = (name: string): ((row: number) => Value) | undefined => {
    if (name === "name") return (row) => runs[row].path;
    if (name === "state") return (row) => stage(runs[row]);
    if (name === "steps") return (row) => runs[row].steps ?? undefined;
    if (metrics.has(name)) return (row) => measured(runs[row], name).value;
    const setting = settings.has(name) ? name : [...settings].find((each) => each.endsWith(`.${name}`));
    return setting ? (row) => configs[row].get(setting) : undefined;
  };
  return {
    names: ["name", "state", "steps", ...settings, ...metrics],
    column,
    text: (row) => [runs[row].path, ...configs[row].values()].join(" ").toLowerCase(),
  };
}

/** The points that no other beats in both, from the smallest x on. Smaller is better, unless `up` says so of y. */
export function front(points: [number, number][], up = false): [number, number][] {
  const better = (a: number, b: number): boolean => (up ? a > b : a < b);
  const sorted = points.filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y)).sort((a, b) => a[0] - b[0] || (up ? b[1] - a[1] : a[1] - b[1]));
  const kept: [number, number][] = [];
  for (const point of sorted) if (kept.length === 0 || better(point[1], kept.at(-1)![1])) kept.push(point);
  return kept;
}
