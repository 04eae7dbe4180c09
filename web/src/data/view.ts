// A view: the manifest and the columns at once, everything else when it is first asked for.

import { address, inflated, json, Problem, Ranged, whole } from "./files";
import * as safetensors from "./safetensors";
import type { Numbers, Tensor } from "./safetensors";
import type { Block, Column, Label, Manifest, Note } from "./types";
import * as notes from "./notes";
import { Pieces, visible } from "./pieces";

const VERSION = "unweave.view/2";

export class View {
  readonly n: number;
  readonly columns = new Map<string, Column>();
  #whole = new Map<string, boolean>();
  #values = new Map<string, Numbers>();
  #blocks = new Map<number, Promise<Block>>();
  #once = new Map<string, Promise<unknown>>();
  #pages: Ranged;
  #rows: { tokens: Numbers; kind: Numbers; length: number } | null = null;

  private constructor(
    readonly run: string,
    readonly manifest: Manifest,
    tensors: Map<string, Tensor>,
    readonly labels: Label[],
    readonly pieces: Pieces,
    public events: Note[],
  ) {
    this.n = manifest.d_sae;
    for (const column of manifest.columns) {
      const found = tensors.get(column.name);
      if (!found || found.data.length !== this.n) {
        throw new Problem(`The view of ${run} is damaged: its column “${column.name}” is missing or cut short.`);
      }
      this.columns.set(column.name, column);
      this.#values.set(column.name, found.data);
    }
    this.#pages = new Ranged(address(run, "pages.bin"));
  }

  /** Throws a Problem for what is missing, damaged, or of another version. */
  static async open(run: string): Promise<View> {
    const manifest = await json<Manifest>(address(run, "manifest.json"));
    if (manifest.version !== VERSION) {
      throw new Problem(`The view of ${run} is of another version (${String(manifest.version)}): make it again with “unweave view”.`);
    }
    const text = manifest.kind === "text";
    const [tensors, labels, said, tokens] = await Promise.all([
      tensorsOf(run, "columns.safetensors"),
      whole(address(run, "labels.json"), "is fine").then((found) => found?.json() as Promise<{ labels: Label[] }> | undefined),
      whole(address(run, "notes.jsonl"), "is fine").then((found) => found?.text() ?? ""),
      text ? json<ConstructorParameters<typeof Pieces>[0]>(address(run, "tokens.json")) : undefined,
    ]);
    return new View(run, manifest, tensors, labels?.labels ?? [], new Pieces(tokens), notes.parse(said));
  }

  /** A column's numbers; undefined where there is no such column. */
  values(name: string): Numbers | undefined {
    return this.#values.get(name);
  }

  value(name: string, feature: number): number {
    return this.#values.get(name)?.[feature] ?? NaN;
  }

  /** Whether a column holds whole numbers only, as far as it holds any. */
  whole(name: string): boolean {
    let found = this.#whole.get(name);
    if (found === undefined) this.#whole.set(name, (found = isWhole(this.#values.get(name) ?? [])));
    return found;
  }

  /** Where the values of the table are read from, as text where they are not numbers. */
  shown(name: string, feature: number): string | number {
    const column = this.columns.get(name);
    const value = this.value(name, feature);
    if (column?.kind === "category") return column.names?.[value] ?? "";
    if (column?.kind === "token") return value < 0 ? "" : this.pieces.name(value);
    return value;
  }

  /** The token of a feature's strongest example, as it stands in for a name; "" where there is none. */
  token(feature: number): string {
    return this.value("strongest_token", feature) >= 0 ? `“${visible(String(this.shown("strongest_token", feature)), true)}”` : "";
  }

  /** A feature's block, kept once read, when the rows that its examples are from are there too. */
  block(feature: number): Promise<Block> {
    let found = this.#blocks.get(feature);
    if (!found) {
      found = this.#block(feature);
      this.#blocks.set(feature, found);
      found.catch(() => this.#blocks.delete(feature));
      if (this.#blocks.size > 300) this.#blocks.delete(this.#blocks.keys().next().value!);
    }
    return found;
  }

  async #block(feature: number): Promise<Block> {
    const [index] = await Promise.all([this.#index(), this.#readRows()]);
    const [from, to] = [Number(index[feature]), Number(index[feature + 1])];
    return inflated<Block>(await this.#pages.read(from, to), this.#pages.url);
  }

  #index(): Promise<BigUint64Array> {
    return this.#kept("index", async () => {
      const file = address(this.run, "pages.idx");
      const buffer = await (await whole(file))!.arrayBuffer();
      if (buffer.byteLength !== 8 * (this.n + 1)) throw new Problem(`${file} is cut short: make the view again.`);
      return new BigUint64Array(buffer);
    });
  }

  /** The tokens of a held-out row, without what fills it up; there as soon as any block is. */
  row(row: number): Numbers {
    const { tokens, kind, length } = this.#rows!;
    let to = (row + 1) * length;
    while (to > row * length && kind[to - 1] === 0) to--;
    return tokens.subarray(row * length, to);
  }

  #readRows(): Promise<void> {
    return this.#kept("rows", async () => {
      const held = await tensorsOf(this.run, "rows.safetensors");
      const [tokens, kind] = [held.get("tokens"), held.get("kind")];
      if (!tokens || !kind) throw new Problem(`The view of ${this.run} is damaged: rows.safetensors lacks its arrays.`);
      this.#rows = { tokens: tokens.data, kind: kind.data, length: tokens.shape[1] };
    });
  }

  /** Two coordinates a feature, one after another. */
  map(): Promise<Numbers> {
    return this.#kept("map", async () => {
      const found = (await tensorsOf(this.run, "map.safetensors")).get("xy");
      if (!found) throw new Problem(`The view of ${this.run} is damaged: map.safetensors lacks its array.`);
      return found.data;
    });
  }

  /** Every decoder row [F, D] at length 1; null where the view has none. */
  directions(): Promise<{ rows: Float32Array; width: number } | null> {
    return this.#kept("directions", async () => {
      if (!this.manifest.files["directions.safetensors"]) return null;
      const found = (await tensorsOf(this.run, "directions.safetensors")).get("decoder");
      if (!found) throw new Problem(`The view of ${this.run} is damaged: directions.safetensors lacks its array.`);
      const width = found.shape[1];
      const rows = Float32Array.from(found.data);
      for (let at = 0; at < rows.length; at += width) {
        let sum = 0;
        for (let i = at; i < at + width; i++) sum += rows[i] * rows[i];
        const scale = sum > 0 ? 1 / Math.sqrt(sum) : 0;
        for (let i = at; i < at + width; i++) rows[i] *= scale;
      }
      return { rows, width };
    });
  }

  /** AUROC of every feature for one label; NaN where it is undefined, null where the view has no truth. */
  async truth(label: number, within: boolean): Promise<Float32Array | null> {
    return (await this.#truth(label, label + 1, within))?.[0] ?? null;
  }

  /** Of each label (-1 for none) the best AUROC of any feature; null where none is defined. The labels lie close together. */
  async bestOf(labels: number[], within: boolean): Promise<(number | null)[] | null> {
    const known = labels.filter((label) => label >= 0);
    const first = Math.min(...known);
    const rows = await this.#truth(first, Math.max(...known) + 1, within);
    return rows && labels.map((label) => {
      let best = -1;
      for (const value of label < 0 ? [] : rows[label - first]) if (value > best) best = value;
      return best < 0 ? null : best;
    });
  }

  async #truth(from: number, to: number, within: boolean): Promise<Float32Array[] | null> {
    if (!this.manifest.files["truth.safetensors"]) return null;
    const { file, arrays, at } = await this.#kept("truth", async () => {
      const file = new Ranged(address(this.run, "truth.safetensors"));
      const length = Number(new DataView(await (await file.read(0, 8)).arrayBuffer()).getBigUint64(0, true));
      const arrays = JSON.parse(await (await file.read(8, 8 + length)).text()) as Record<string, { data_offsets: [number, number] }>;
      return { file, arrays, at: 8 + length };
    });
    const start = at + arrays[within ? "auroc_within" : "auroc"].data_offsets[0];
    const bytes = await (await file.read(start + 2 * this.n * from, start + 2 * this.n * to)).arrayBuffer();
    return Array.from({ length: to - from }, (_, i) =>
      Float32Array.from(new Uint16Array(bytes, 2 * this.n * i, this.n), (value) => (value === 65535 ? NaN : value / 65534)),
    );
  }

  #kept<T>(name: string, make: () => Promise<T>): Promise<T> {
    let found = this.#once.get(name) as Promise<T> | undefined;
    if (!found) {
      found = make();
      this.#once.set(name, found);
      found.catch(() => this.#once.delete(name));
    }
    return found;
  }
}

async function tensorsOf(run: string, file: string): Promise<Map<string, Tensor>> {
  const response = await whole(address(run, file));
  try {
    return safetensors.read(await response!.arrayBuffer(), file);
  } catch (error) {
    throw new Problem(`The view of ${run} cannot be shown. ${(error as Error).message}`);
  }
}

export function isWhole(values: ArrayLike<number>): boolean {
  for (let i = 0; i < values.length; i++) if (!Number.isNaN(values[i]) && !Number.isInteger(values[i])) return false;
  return true;
}
