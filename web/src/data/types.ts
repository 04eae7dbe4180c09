// The files of a view, as docs/view-format.md describes them.

export interface Column {
  name: string;
  title: string;
  unit: string;
  help: string;
  dtype: string;
  kind: "number" | "category" | "token";
  scale: "linear" | "log";
  names?: string[];
  by?: string;
}

export interface Metric {
  title: string;
  definition: string;
  better: string;
  null: string;
}

export type Scores = Record<string, number | null>;

export interface ScoreRow {
  name: string;
  readout: string;
  is_control: boolean;
  scores: Scores;
}

export interface Manifest {
  version: string;
  kind: "games" | "text";
  run: string;
  subject: string;
  site: string;
  target: string;
  method: string;
  d_in: number;
  d_sae: number;
  made: { hash: string; dictionary: string; evaluation: string | null };
  data: {
    what: string; split: string; seed: number; asked: number; rows: number; positions: number; length: number; text: string | null;
  };
  summary: Record<string, number>;
  scores: { rows: ScoreRow[]; metrics: Record<string, Metric> } | null;
  columns: Column[];
  bins: { per_octave: number };
  groups: { name: string; title: string; help: string }[];
  window: { before: number; after: number };
  effects: { kind: string; title: string; help: string } | null;
  kinds: string[];
  symmetries?: { name: string; square: number[]; legal: boolean }[];
  files: Record<string, { bytes: number; sha256: string }>;
}

export interface Example {
  row: number;
  at: number;
  value: number;
  pre?: number;
  row_values: [number, number][];
  /** Texts: for each of `row_values`, what it adds to the logit of the token that comes next. */
  next?: (number | null)[];
}

export interface Group {
  name: string;
  share?: number;
  from?: number;
  to?: number;
  low?: number;
  high?: number;
  count?: number;
  examples: number[];
}

export interface Block {
  id: number;
  active: number;
  positions: number;
  max: number;
  bins: { first: number; counts: number[] } | null;
  quantiles: number[];
  examples: Example[];
  groups: Group[];
  at: number[];
  neighbours: {
    decoder: [number, number][];
    encoder: [number, number][];
    opposite: [number, number][];
    together: [number, number, number][];
    apart: [number, number, number][];
  };
  logits:
    | {
        sd: number;
        /** Games. */
        values?: (number | null)[];
        /** Texts. */
        top?: [number, number][];
        bottom?: [number, number][];
        histogram?: { low: number; high: number; counts: number[] };
      }
    | null;
  board?: { mine: number[]; theirs: number[]; empty: number[] };
  last?: number[];
  next?: number[];
  mirrors?: [number, number, number][];
  truth?: { label: number; text: string; auroc: (number | null)[]; within: (number | null)[] } | null;
  tokens?: [number, number, number][];
  /** Texts: of each kind of token, at how many it is active, of how many. */
  kinds?: [number, number][];
}

export interface Run {
  path: string;
  name: string;
  error: string | null;
  config: Record<string, unknown> | null;
  hash: string | null;
  trained: boolean;
  steps: number | null;
  curve: Record<string, (number | null)[]> | null;
  last: Record<string, number | null> | null;
  scores: Scores | null;
  controls: Record<string, Scores> | null;
  metrics: Record<string, Metric> | null;
  view: { kind: string; d_sae: number; current: boolean; why: string } | null;
}

export interface Runs {
  version: string;
  folder: string;
  live: boolean;
  lab: boolean;
  runs: Run[];
}

export interface Label {
  feature: number;
  text: string;
  by: string;
  score: number;
  metric: string;
}

export interface Note {
  id: string;
  time: number;
  feature: number;
  kind: "label" | "note" | "star" | "unstar" | "tag" | "untag" | "remove";
  text: string;
  author: string;
}
