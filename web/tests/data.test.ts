import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import * as notes from "../src/data/notes";
import { Pieces, visible } from "../src/data/pieces";
import * as safetensors from "../src/data/safetensors";
import { View } from "../src/data/view";
import { demo, tensors } from "./fixture";

const folder = mkdtempSync(join(tmpdir(), "view-"));
beforeAll(() => demo(folder, false));
afterEach(() => vi.unstubAllGlobals());

/** A server over the folder; with `ranges`, one that knows them. */
function serve(ranges: boolean, spoil: Record<string, (data: Buffer) => Buffer | null> = {}): string[] {
  const asked: string[] = [];
  vi.stubGlobal("fetch", async (url: string, init?: RequestInit) => {
    asked.push(url);
    let data: Buffer;
    try {
      data = readFileSync(join(folder, decodeURIComponent(url)));
    } catch {
      return new Response("", { status: 404 });
    }
    const spoiled = spoil[url.split("/").at(-1)!]?.(data);
    if (spoiled === null) return new Response("", { status: 404 });
    data = spoiled ?? data;
    const range = /bytes=(\d+)-(\d+)/.exec(new Headers(init?.headers).get("range") ?? "");
    if (!range || !ranges) return new Response(new Uint8Array(data));
    return new Response(new Uint8Array(data.subarray(Number(range[1]), Number(range[2]) + 1)), { status: 206 });
  });
  return asked;
}

describe("a view", () => {
  test.each([true, false])("is read from a server that knows ranges: %s", async (ranges) => {
    const asked = serve(ranges);
    const view = await View.open("topk-64");
    expect(view.n).toBe(64);
    expect(view.shown("label", 19)).toBe("d3 is mine");
    const [block, other] = await Promise.all([view.block(12), view.block(63)]);
    expect(block.id).toBe(12);
    expect(other.id).toBe(63);
    expect(block.active).toBe(view.value("active", 12));
    await view.block(12);
    expect(asked.filter((url) => url.endsWith("pages.bin"))).toHaveLength(ranges ? 2 : 1);
    const auroc = await view.truth(19, false);
    expect(auroc![19]).toBeCloseTo(view.value("auroc", 19), 5);
    expect(await view.truth(128 + 27, false)).toEqual(new Float32Array(64).fill(NaN));
    const directions = (await view.directions())!;
    const first = directions.rows.subarray(0, directions.width);
    expect(first.reduce((sum, x) => sum + x * x, 0)).toBeCloseTo(1, 5);
  });

  test("of a text has its tokens", async () => {
    serve(true);
    const view = await View.open("words");
    await view.block(0);
    const row = view.pieces.spans(view.row(0));
    expect(row.at(-1)!.to).toBe(view.row(0).length);
    expect(row.some((span) => span.text === "é" && span.to - span.from === 2)).toBe(true);
  });

  test.each([
    ["manifest.json", () => null, "There is no"],
    ["manifest.json", () => Buffer.from("{"), "is damaged"],
    ["manifest.json", (data: Buffer) => Buffer.from(String(data).replace("view/2", "view/0")), "another version"],
    ["columns.safetensors", (data: Buffer) => data.subarray(0, 400), "is damaged"],
    ["columns.safetensors", (data: Buffer) => Buffer.from(data.toString("latin1").replace("density", "densitx"), "latin1"), "“density” is missing"],
  ] as const)("with a damaged %s is refused in one sentence", async (file, spoil, said) => {
    serve(true, { [file]: spoil });
    await expect(View.open("topk-64")).rejects.toThrow(said);
  });

  test("with damaged blocks says so, and shows the rest", async () => {
    serve(true, { "pages.bin": (data) => Buffer.concat([Buffer.alloc(40), data.subarray(40)]) });
    const view = await View.open("topk-64");
    await expect(view.block(0)).rejects.toThrow("a block of it cannot be read");
    expect((await view.block(40)).id).toBe(40);
  });
});

test("safetensors of every kind are read", () => {
  const file = tensors({
    a: { dtype: "U8", shape: [3], data: Uint8Array.of(1, 2, 255) },
    b: { dtype: "F32", shape: [2], data: Float32Array.of(0.5, NaN) },
    c: { dtype: "I64", shape: [1], data: BigInt64Array.of(-7n) },
    d: { dtype: "F16", shape: [4], data: Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7c00) },
  });
  const found = safetensors.read(new Uint8Array(file).buffer, "x");
  expect([...found.get("a")!.data]).toEqual([1, 2, 255]);
  expect([...found.get("b")!.data]).toEqual([0.5, NaN]);
  expect([...found.get("c")!.data]).toEqual([-7]);
  expect([...found.get("d")!.data]).toEqual([1, -2, 2 ** -24, Infinity]);
  expect(() => safetensors.read(new ArrayBuffer(4), "x")).toThrow("x is damaged");
});

describe("notes", () => {
  const event = (id: string, time: number, kind: string, text = "") => ({ id, time, feature: 3, kind, text, author: "" });

  test("fold by time, whichever server wrote first, and count once", () => {
    const lines = [
      event("b", 20, "label", "new"), event("a", 10, "label", "old"), event("c", 5, "star"), event("d", 6, "unstar"),
      event("e", 7, "tag", "edge"), event("f", 8, "note", "kept"), event("g", 9, "note", "gone"), event("h", 11, "remove", "g"),
      event("f", 8, "note", "kept"),
    ];
    const said = notes.fold(notes.parse(lines.map((each) => JSON.stringify(each)).join("\n") + "\n{ damaged")).get(3)!;
    expect(said.label).toBe("new");
    expect(said.starred).toBe(false);
    expect(said.tags).toEqual(["edge"]);
    expect(said.notes.map((note) => note.text)).toEqual(["kept"]);
  });
});

describe("pieces", () => {
  const pieces = new Pieces({ pieces: ["a", "b", "?", "?", "?"], bytes: { "2": [0xe2], "3": [0x82, 0xac], "4": [0xac] } });

  test("join what is no whole character", () => {
    expect(pieces.spans([0, 2, 3, 1])).toEqual([
      { text: "a", from: 0, to: 1 }, { text: "€", from: 1, to: 3 }, { text: "b", from: 3, to: 4 },
    ]);
  });

  test("that never become one are shown as bytes", () => {
    expect(pieces.spans([2, 0, 4]).map((span) => span.text)).toEqual(["<E2>", "a", "<AC>"]);
    expect(pieces.name(99)).toBe("#99");
  });

  test("that stand for no text are not typed", () => {
    const named = new Pieces({ pieces: ["<|bos|>", "a", "b"], specials: [0] });
    expect(named.typed([0, 1, 2])).toBe("ab");
  });

  test("blanks are made visible", () => {
    expect(visible(" a\n\tb", true)).toBe("·a⏎⇥b");
    expect(visible(" a\n", false)).toBe(" a⏎");
  });
});
