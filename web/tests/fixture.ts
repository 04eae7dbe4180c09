// Small views that follow docs/view-format.md, made without Python: games whose features are squares held by "me", and a
// text of a few words. Everything is drawn from a seed.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import * as rules from "../src/othello/rules";
import type { Block, Column, Example } from "../src/data/types";

const S = 60;
const PER_OCTAVE = 4;

export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export function tensors(arrays: Record<string, { dtype: string; shape: number[]; data: ArrayBufferView }>): Buffer {
  let at = 0;
  const header: Record<string, unknown> = {};
  for (const [name, { dtype, shape, data }] of Object.entries(arrays)) {
    header[name] = { dtype, shape, data_offsets: [at, (at += data.byteLength)] };
  }
  let text = JSON.stringify(header);
  text += " ".repeat((8 - (text.length % 8)) % 8);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const parts = Object.values(arrays).map(({ data }) => Buffer.from(data.buffer, data.byteOffset, data.byteLength));
  return Buffer.concat([length, Buffer.from(text), ...parts]);
}

interface Written {
  folder: string;
  manifest: Record<string, unknown>;
  columns: [Column, Float32Array | Uint32Array | Int32Array][];
  blocks: Block[] | ((feature: number) => Block);
  features: number;
  rows: { tokens: Uint8Array | Uint16Array; kind: Uint8Array; length: number };
  extra: Record<string, Buffer | string>;
}

function write({ folder, manifest, columns, blocks, features, rows, extra }: Written): void {
  mkdirSync(folder, { recursive: true });
  const pages: Buffer[] = [];
  const index = new BigUint64Array(features + 1);
  const one = Array.isArray(blocks) ? null : gzipSync(JSON.stringify(blocks(0)));
  for (let f = 0; f < features; f++) {
    const page = one ?? gzipSync(JSON.stringify((blocks as Block[])[f]));
    pages.push(page);
    index[f + 1] = index[f] + BigInt(page.length);
  }
  const G = rows.tokens.length / rows.length;
  const draw = random(5);
  const width = 16;
  const files: Record<string, Buffer | string> = {
    "pages.bin": Buffer.concat(pages),
    "pages.idx": Buffer.from(index.buffer),
    "rows.safetensors": tensors({
      tokens: { dtype: rows.tokens instanceof Uint8Array ? "U8" : "U16", shape: [G, rows.length], data: rows.tokens },
      kind: { dtype: "U8", shape: [G, rows.length], data: rows.kind },
    }),
    "map.safetensors": tensors({
      xy: { dtype: "F32", shape: [features, 2], data: Float32Array.from({ length: 2 * features }, () => draw() * 2 - 1 + (draw() - 0.5)) },
    }),
    "directions.safetensors": tensors({
      decoder: { dtype: "I8", shape: [features, width], data: Int8Array.from({ length: width * features }, () => Math.round(254 * draw() - 127)) },
    }),
    ...extra,
  };
  const sizes = Object.fromEntries(Object.entries(files).map(([name, data]) => [name, { bytes: data.length, sha256: "" }]));
  files["columns.safetensors"] = tensors(
    Object.fromEntries(columns.map(([column, data]) => [column.name, { dtype: column.dtype, shape: [features], data }])),
  );
  files["manifest.json"] = JSON.stringify({
    version: "unweave.view/2", target: "", d_in: 128, d_sae: features,
    made: { hash: "1f0c9a77", dictionary: "d".repeat(64), evaluation: null },
    bins: { per_octave: PER_OCTAVE }, window: { before: 12, after: 6 },
    effects: { kind: "direct", title: "Direct effect on the logits", help: "Decoder row times the unembedding." },
    groups: [
      { name: "top", title: "Strongest", help: "The largest activations." },
      { name: "share", title: "At 90, 80, 70, 50 % of the maximum", help: "The nearest to these shares." },
      { name: "interval", title: "By quantile", help: "At random from between two quantiles." },
      { name: "random", title: "At random", help: "From all positions where it is active." },
      { name: "near", title: "Near misses", help: "Not active, with the largest pre-activation." },
    ],
    columns: columns.map(([column]) => column), files: sizes, ...manifest,
  });
  for (const [name, data] of Object.entries(files)) writeFileSync(join(folder, name), data);
}

function column(name: string, title: string, help: string, more: Partial<Column> = {}): Column {
  return { name, title, unit: "", help, dtype: "F32", kind: "number", scale: "linear", ...more };
}

const COLUMNS: Record<string, Column> = {
  density: column("density", "Density", "How often it is active.", { unit: "share of positions", scale: "log" }),
  active: column("active", "Active at", "At how many positions it is active.", { dtype: "U32", scale: "log" }),
  max: column("max", "Max", "The largest activation."),
  mean: column("mean", "Mean", "The mean activation where it is active."),
  nearest_cosine: column("nearest_cosine", "Nearest cosine", "The largest cosine to another decoder row."),
  position: column("position", "Position", "The mean position where it is active."),
};

/** Activations above 0 of every feature: [row, position, value]. */
type Fired = [number, number, number][];

function blockOf(id: number, fired: Fired, positions: number, length: number, features: number, draw: () => number): Block {
  const sorted = [...fired].sort((a, b) => b[2] - a[2]);
  const byRow = new Map<number, [number, number][]>();
  for (const [row, at, value] of [...fired].sort((a, b) => a[1] - b[1])) byRow.set(row, [...(byRow.get(row) ?? []), [at, value]]);
  const examples: Example[] = [];
  const places = new Map<string, number>();
  const example = ([row, at, value]: [number, number, number], pre?: number): number => {
    const key = `${row} ${at}`;
    if (!places.has(key)) {
      places.set(key, examples.length);
      examples.push({ row, at, value, ...(pre === undefined ? {} : { pre }), row_values: byRow.get(row) ?? [] });
    }
    return places.get(key)!;
  };
  const max = sorted[0]?.[2] ?? 0;
  const rising = sorted.map((each) => each[2]).reverse();
  const quantile = (q: number): number => rising[Math.min(rising.length - 1, Math.floor(q * rising.length))];
  const nearest = (share: number): number[] => {
    const all = [...sorted].sort((a, b) => Math.abs(a[2] - share * max) - Math.abs(b[2] - share * max));
    return all.slice(0, 4).map((each) => example(each));
  };
  const some = (list: Fired, n: number): number[] =>
    Array.from({ length: Math.min(n, list.length) }, () => example(list[Math.floor(draw() * list.length)])).filter((e, i, all) => all.indexOf(e) === i);
  const groups: Block["groups"] = sorted.length
    ? [
        { name: "top", examples: sorted.slice(0, 12).map((each) => example(each)) },
        ...[0.9, 0.8, 0.7, 0.5].map((share) => ({ name: "share", share, examples: nearest(share) })),
        ...[0.8, 0.6, 0.4, 0.2, 0].map((from) => {
          const [low, high] = [quantile(from), quantile(from + 0.2)];
          const inside = sorted.filter((each) => each[2] >= low && each[2] <= high);
          return { name: "interval", from, to: from + 0.2, low, high, count: inside.length, examples: some(inside, 6) };
        }),
        { name: "random", examples: some(sorted, 12) },
        { name: "near", examples: [example([0, 3, 0], 0.21), example([1, 7, 0], 0.13)] },
      ]
    : ["top", "random", "near"].map((name) => ({ name, examples: [] }));
  const first = rising.length ? Math.floor(Math.log2(rising[0]) * PER_OCTAVE) : 0;
  const counts: number[] = [];
  for (const value of rising) {
    const bin = Math.floor(Math.log2(value) * PER_OCTAVE) - first;
    while (counts.length <= bin) counts.push(0);
    counts[bin]++;
  }
  const at = new Array<number>(length).fill(0);
  for (const each of fired) at[each[1]]++;
  const other = (step: number): number => (id + step) % features;
  return {
    id, active: fired.length, positions, max, bins: rising.length ? { first, counts } : null,
    quantiles: rising.length ? Array.from({ length: 11 }, (_, i) => quantile(i / 10)) : [], examples, groups, at,
    neighbours: {
      decoder: [[other(1), 0.71], [other(2), 0.55], [other(9), 0.41]], encoder: [[other(1), 0.65], [other(8), 0.3]],
      opposite: [[other(5), -0.52]], together: [[other(3), 120, 8.1], [other(4), 80, 4.4]], apart: [[other(7), 2, 0.01]],
    },
    logits: null,
  };
}

export function playGame(draw: () => number): number[] {
  const moves: number[] = [];
  for (let at = rules.start(); at.legal.length; ) {
    const move = at.legal[Math.floor(draw() * at.legal.length)];
    moves.push(move);
    at = rules.play(at, move);
  }
  return moves;
}

export function games(folder: string, features = 64, seed = 1, rowsN = 40): void {
  const draw = random(seed);
  const tokens = new Uint8Array(rowsN * S).fill(255);
  const kind = new Uint8Array(rowsN * S);
  const real = Math.min(features, 64);
  const fired: Fired[] = Array.from({ length: real }, () => []);
  const share = [0, 1, 2].map(() => new Float64Array(64));
  const whenOn = Array.from({ length: real }, () => [0, 1, 2].map(() => new Float64Array(64)));
  const last = Array.from({ length: real }, () => new Array<number>(64).fill(0));
  const next = Array.from({ length: real }, () => new Array<number>(64).fill(0));
  let positions = 0;
  for (let row = 0; row < rowsN; row++) {
    const moves = playGame(draw);
    tokens.set(moves, row * S);
    const boards = rules.replay(moves).slice(1);
    boards.forEach((at, ply) => {
      kind[row * S + ply] = ply < moves.length - 1 ? 1 : 2;
      if (ply === moves.length - 1) return;
      positions++;
      const own = at.black ? rules.BLACK : rules.WHITE;
      const state = (s: number): number => (at.discs[s] === 0 ? 2 : at.discs[s] === own ? 0 : 1);
      for (let s = 0; s < 64; s++) share[state(s)][s]++;
      for (let f = 0; f < real; f++) {
        if (f === 13 || state(f) !== 0 || draw() < 0.15) continue;
        fired[f].push([row, ply, 0.4 + 4 * draw() * draw() + (ply / 60) * 2]);
        for (let s = 0; s < 64; s++) whenOn[f][state(s)][s]++;
        last[f][at.played]++;
        next[f][moves[ply + 1]]++;
      }
    });
  }
  const symmetries = rules.SYMMETRIES.slice(1).map(({ title, map }) => ({
    name: title, square: Array.from({ length: 64 }, (_, s) => map(s)), legal: title.includes("180") || title.includes("along"),
  }));
  const names = ["mine", "theirs", "empty"].flatMap((state) => Array.from({ length: 64 }, (_, s) => `${rules.name(s)} is ${state}`));
  names.push(...Array.from({ length: 64 }, (_, s) => s).filter((s) => !rules.CENTRE.includes(s)).map((s) => `${rules.name(s)} is legal`));
  const auroc = new Uint16Array(252 * features);
  for (let label = 0; label < 252; label++) {
    for (let f = 0; f < features; f++) {
      const value = label === f % 64 ? 0.9 + 0.09 * draw() : Math.min(0.89, 0.42 + 0.25 * draw());
      auroc[label * features + f] = label >= 128 && label < 192 && rules.CENTRE.includes(label - 128) ? 65535 : Math.round(value * 65534);
    }
  }
  const row = (f: number): (number | null)[] =>
    Array.from({ length: 252 }, (_, label) => {
      const value = auroc[label * features + f];
      return value === 65535 ? null : Number((value / 65534).toPrecision(4));
    });
  const blocks = fired.map((list, f) => {
    const block = blockOf(f, list, positions, S, features, draw);
    block.logits = { values: Array.from({ length: 64 }, (_, s) => (rules.CENTRE.includes(s) ? null : s === f ? 1.4 : (draw() - 0.5) * 0.5)), sd: 0.2 };
    const n = Math.max(1, list.length);
    const [mine, theirs, empty] = [0, 1, 2].map((state) => Array.from({ length: 64 }, (_, s) => whenOn[f][state][s] / n - share[state][s] / positions));
    block.board = { mine, theirs, empty };
    block.last = last[f];
    block.next = next[f];
    block.mirrors = list.length ? symmetries.map(({ square }, i) => [i, square[f], 0.93] as [number, number, number]) : [];
    block.truth = { label: f, text: names[f], auroc: row(f), within: row(f) };
    return block;
  });
  const numbers = (read: (list: Fired, f: number) => number): Float32Array =>
    Float32Array.from({ length: features }, (_, f) => (f < real ? read(fired[f], f) : read(fired[f % 64], f) * (0.5 + draw())));
  const sum = (list: Fired): number => list.reduce((total, each) => total + each[2], 0);
  write({
    folder, features, blocks: features > 64 ? () => blocks[0] : blocks, rows: { tokens, kind, length: S },
    manifest: {
      kind: "games", run: "games", subject: "othello()", site: "mlp_in.1", method: "topk(k=16)",
      data: { what: "games", split: "test", seed: 1, asked: rowsN, rows: rowsN, positions, length: S, text: null },
      summary: { l0: 15.9, alive: features - 1, dead: 1 }, scores: SCORES, symmetries, kinds: [],
    },
    columns: [
      [COLUMNS.density, numbers((list) => list.length / positions)],
      [COLUMNS.active, Uint32Array.from(numbers((list) => list.length))],
      [COLUMNS.max, numbers((list) => list.reduce((most, each) => Math.max(most, each[2]), 0))],
      [COLUMNS.mean, numbers((list) => (list.length ? sum(list) / list.length : NaN))],
      [COLUMNS.nearest_cosine, numbers(() => 0.3 + 0.6 * draw())],
      [COLUMNS.position, numbers((list) => (list.length ? list.reduce((total, each) => total + each[1], 0) / list.length : NaN))],
      [column("label", "Best label", "The label it classifies best.", { kind: "category", dtype: "I32", names }), Int32Array.from({ length: features }, (_, f) => f % 64)],
      [column("auroc", "AUROC", "Of its best label, on held-out games."), numbers((_, f) => auroc[(f % 64) * features + f] / 65534)],
    ],
    extra: {
      "truth.safetensors": tensors({
        auroc: { dtype: "U16", shape: [252, features], data: auroc },
        auroc_within: { dtype: "U16", shape: [252, features], data: auroc },
      }),
      "labels.json": JSON.stringify({
        labels: [
          ...names.slice(0, real).map((text, feature) => ({ feature, text, by: "rule", score: 0.95, metric: "AUROC" })),
          { feature: 20, text: "<script>document.title = 'taken'</script>", by: "a model", score: 0.8, metric: "detection" },
        ],
      }),
      "notes.jsonl": [
        { id: "a1", time: 1, feature: 3, kind: "star", text: "", author: "" },
        { id: "a2", time: 2, feature: 3, kind: "tag", text: "edge", author: "" },
        { id: "a3", time: 3, feature: 9, kind: "label", text: "near the corner", author: "" },
        { id: "a4", time: 4, feature: 9, kind: "note", text: "Fires late. <b>not bold</b>", author: "M" },
      ].map((event) => JSON.stringify(event) + "\n").join("") + "{ damaged\n",
    },
  });
}

const SCORES = {
  rows: [
    { name: "dictionary", readout: "activations", is_control: false, scores: { "l0/1": 15.9, "fvu/1": 0.071, "ce_score/1": 0.982, "dead/1": 0.0156, "pairs/1": 61 } },
    { name: "untrained", readout: "activations", is_control: true, scores: { "l0/1": 15.9, "fvu/1": 0.792, "ce_score/1": 0.41, "dead/1": 0, "pairs/1": 2 } },
    { name: "PCA", readout: "components", is_control: true, scores: { "l0/1": 64, "fvu/1": 0.21, "ce_score/1": 0.9, "pairs/1": 5 } },
  ],
  metrics: {
    "l0/1": { title: "L0", definition: "How many features are active at a position, on average.", better: "lower", null: "all features: 64" },
    "fvu/1": { title: "FVU", definition: "The share of the variance that the reconstruction misses.", better: "lower", null: "the mean vector: 1" },
    "ce_score/1": { title: "CE score", definition: "How much of the model's loss the reconstruction keeps, 0 being zero ablation.", better: "higher", null: "zero ablation: 0" },
    "dead/1": { title: "dead", definition: "The share of features that are never active on the held-out games.", better: "lower", null: "0" },
    "pairs/1": { title: "distinct pairs > 0.9", definition: "How many of the 192 pairs of a square and a state have a feature with AUROC above 0.9.", better: "higher", null: "an always-on feature: 0" },
  },
};

const WORDS = ["<|end|>", "The", " cat", " sat", " on", " the", " mat", ".", "\n", " Caf", "\u00c3", "\u00a9", " <script>alert(1)</script>", "  ", " dog", " ran", "\tif", " x", " =", " 1"];

const KINDS: [string, number[]][] = [["begins a word", [1, 2, 3, 4, 5, 6, 9, 12, 14, 15, 16, 17]], ["number", [19]], ["punctuation", [7, 18]], ["blank", [8, 13]], ["part of a character", [10, 11]]];

export function text(folder: string, features = 32, seed = 2): void {
  const draw = random(seed);
  const length = 48;
  const rowsN = 30;
  const tokens = new Uint16Array(rowsN * length);
  const kind = new Uint8Array(rowsN * length).fill(1);
  for (let i = 0; i < tokens.length; i++) {
    const previous = tokens[i - 1];
    tokens[i] = previous === 10 ? 11 : previous === 9 ? 10 : 1 + Math.floor(draw() * (WORDS.length - 1));
    if (tokens[i] === 11 && previous !== 10) tokens[i] = 5;
    if (i % length === 0) kind[i] = 2;
  }
  const V = WORDS.length;
  const fired: Fired[] = Array.from({ length: features }, () => []);
  const counts = new Array<number>(V).fill(0);
  for (let i = 0; i < tokens.length; i++) {
    if (kind[i] !== 1) continue;
    counts[tokens[i]]++;
    for (let f = 0; f < features; f++) {
      if (f !== 7 && (tokens[i] === f % V || draw() < 0.02)) fired[f].push([Math.floor(i / length), i % length, tokens[i] === f % V ? 1 + 4 * draw() : 0.2 * draw() + 0.05]);
    }
  }
  const positions = rowsN * (length - 1);
  const blocks = fired.map((list, f) => {
    const block = blockOf(f, list, positions, length, features, draw);
    const logit = (sign: number) => Array.from({ length: 10 }, (_, i) => [(f + i * 3 + (sign > 0 ? 1 : 2)) % V, sign * (2 - i / 6)] as [number, number]);
    block.logits = { top: logit(1), bottom: logit(-1), histogram: { low: -2, high: 2, counts: Array.from({ length: 40 }, (_, i) => Math.round(6 * Math.exp(-(((i - 20) / 6) ** 2)))) }, sd: 0.2 };
    const by = new Map<number, number>();
    for (const [row, at] of list) by.set(tokens[row * length + at], (by.get(tokens[row * length + at]) ?? 0) + 1);
    block.tokens = [...by].sort((a, b) => b[1] - a[1]).slice(0, 10).map(([id, n]) => [id, n, counts[id]]);
    const kinds = KINDS.map(([, ids]) => [ids.reduce((n, id) => n + (by.get(id) ?? 0), 0), ids.reduce((n, id) => n + counts[id], 0)] as [number, number]);
    return { ...block, kinds };
  });
  const numbers = (read: (list: Fired, f: number) => number): Float32Array => Float32Array.from(fired, read);
  const bytes = { "10": [0xc3], "11": [0xa9] };
  write({
    folder, features, blocks, rows: { tokens, kind, length },
    manifest: {
      kind: "text", run: "text", subject: "huggingface('tiny')", site: "resid_post.1", method: "jumprelu(l0=8)",
      data: { what: "text", split: "test", seed: 1, asked: rowsN, rows: rowsN, positions, length, text: "stdlib()" },
      summary: { l0: 7.9, alive: features - 1, dead: 1 }, scores: null, kinds: KINDS.map(([name]) => name),
    },
    columns: [
      [COLUMNS.density, numbers((list) => list.length / positions)],
      [COLUMNS.active, Uint32Array.from(numbers((list) => list.length))],
      [COLUMNS.max, numbers((list) => list.reduce((most, each) => Math.max(most, each[2]), 0))],
      [COLUMNS.mean, numbers((list) => (list.length ? list.reduce((total, each) => total + each[2], 0) / list.length : NaN))],
      [COLUMNS.nearest_cosine, numbers(() => draw())],
      [column("strongest_token", "Strongest token", "At which it is most active.", { kind: "token", dtype: "I32" }), Int32Array.from(fired, (list) => {
        const [row, at] = list.reduce((best, each) => (each[2] > best[2] ? each : best), [-1, -1, 0]);
        return row < 0 ? -1 : tokens[row * length + at];
      })],
      [column("top_token", "Commonest token", "At which it is most often active.", { kind: "token", dtype: "I32" }), Int32Array.from(blocks, (block) => block.tokens?.[0]?.[0] ?? -1)],
    ],
    extra: {
      "tokens.json": JSON.stringify({ pieces: WORDS, bytes, specials: [0] }),
      "labels.json": JSON.stringify({ labels: [{ feature: 2, text: "cats", by: "a model", score: 0.91, metric: "detection" }] }),
    },
  });
}

export function runs(folder: string, live: boolean, paths: { path: string; kind: string; d_sae: number }[], broken = true): void {
  const draw = random(9);
  const list = paths.map(({ path, kind, d_sae }, i) => {
    const steps = Array.from({ length: 40 }, (_, step) => 50 * (step + 1));
    const error = 0.07 + 0.03 * i;
    return {
      path, name: path.split("/").at(-1), error: null, hash: `1f0c9a7${i}`, trained: true, steps: 2000,
      config: {
        subject: kind === "games" ? "othello()" : "huggingface('tiny')", site: kind === "games" ? "mlp_in.1" : "resid_post.1", target: "",
        method: `topk(k=${16 * (i + 1)})`, d_sae, seed: i, data: { seed: 0, sequences: 2048 }, training: { steps: 2000, lr: 0.003 * (i + 1) },
      },
      curve: { step: steps, loss: steps.map((step) => 10 * Math.exp(-step / 400) + 2 + error * 10 + 0.1 * draw()), fvu: steps.map((step) => Math.exp(-step / 300) + error) },
      last: { step: 2000, loss: 2 + error * 10, fvu: error },
      scores: { "l0/1": 16 * (i + 1), "fvu/1": error, "ce_score/1": 1 - error / 2 }, controls: { "untrained (activations)": { "fvu/1": 0.79 } },
      metrics: SCORES.metrics, view: { kind, d_sae, current: i !== 1, why: i === 1 ? "the evaluation has changed since the view was made" : "" },
    };
  });
  const damaged = { path: "broken", name: "broken", error: "broken/config.json is damaged: it is no JSON", config: null, hash: null, trained: false, steps: null, curve: null, last: null, scores: null, controls: null, metrics: null, view: null };
  writeFileSync(join(folder, "runs.json"), JSON.stringify({ version: "unweave.runs/1", folder: "demo", live, lab: live, runs: broken ? [...list, damaged] : list }));
}

/** A folder as a static export has it: runs.json and data/<run>/. */
export function demo(folder: string, live: boolean): void {
  mkdirSync(join(folder, "data"), { recursive: true });
  games(join(folder, "data", "topk-64"));
  games(join(folder, "data", "sweep", "topk-64-b"), 64, 3);
  text(join(folder, "data", "words"));
  runs(folder, live, [
    { path: "topk-64", kind: "games", d_sae: 64 }, { path: "sweep/topk-64-b", kind: "games", d_sae: 64 },
    { path: "words", kind: "text", d_sae: 32 },
  ]);
}
