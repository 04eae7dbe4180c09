// A stub of the server: the built page, a folder of views, notes that are kept, a lab that makes its answers up. With
// `live` false it is a static host that knows nothing but files, and no ranges.

import { appendFileSync, existsSync, readFileSync, statSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join, normalize } from "node:path";
import type { Edit } from "../src/data/lab";
import * as rules from "../src/othello/rules";

export const PAGE = join(import.meta.dirname, "../../src/unweave/view/static");
const KINDS: Record<string, string> = { html: "text/html", js: "text/javascript", css: "text/css", json: "application/json" };

export interface Running {
  url: string;
  asked: string[];
  close(): Promise<void>;
}

export async function serve(folder: string, live: boolean): Promise<Running> {
  const asked: string[] = [];
  const server: Server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    if (request.method === "POST") void answer(folder, request, response);
    else file(folder, live, request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  return { url, asked, close: () => new Promise((resolve) => { server.closeAllConnections(); server.close(() => resolve()); }) };
}

function file(folder: string, live: boolean, request: IncomingMessage, response: ServerResponse): void {
  const path = normalize(decodeURIComponent(new URL(request.url!, "http://x").pathname)).replace(/^\/$/, "/index.html");
  const found = [join(folder, path), join(PAGE, path)].find((each) => existsSync(each) && statSync(each).isFile());
  if (!found || path.includes("..")) {
    response.writeHead(404).end();
    return;
  }
  const data = readFileSync(found);
  const kind = KINDS[path.split(".").at(-1)!] ?? "application/octet-stream";
  const range = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "");
  if (range && live) {
    const [from, to] = [Number(range[1]), Math.min(Number(range[2]), data.length - 1)];
    response.writeHead(206, { "Content-Type": kind, "Content-Range": `bytes ${from}-${to}/${data.length}` }).end(data.subarray(from, to + 1));
  } else response.writeHead(200, { "Content-Type": kind }).end(data);
}

async function answer(folder: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  let text = "";
  for await (const part of request) text += part;
  const say = (status: number, body: object): void => void response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
  if (request.headers["x-unweave"] !== "1") return say(403, { error: "The header X-Unweave is missing." });
  const body = JSON.parse(text);
  const [, , what, ...rest] = new URL(request.url!, "http://x").pathname.split("/");
  if (what === "notes") {
    const event = { id: Math.random().toString(16).slice(2), time: Date.now(), ...body };
    appendFileSync(join(folder, "data", ...rest, "notes.jsonl"), JSON.stringify(event) + "\n");
    return say(201, event);
  }
  if (body.moves?.length > 60) return say(400, { error: "A game has at most 60 moves." });
  const run = rest.at(-1) === "steer" ? steer : activations;
  return say(200, run(body));
}

interface Asked {
  moves?: number[];
  text?: string;
  tokens?: number[];
  features?: number[];
  edits?: Edit[];
  sweep?: number[];
}

/** A feature of games fires where its square is mine, one of text where its number divides the token's length. */
function read({ moves, text, tokens: ids }: Asked): { tokens: number[]; pieces: string[]; fires: (id: number, at: number) => number; legal: number[][] } {
  if (moves) {
    const boards = rules.replay(moves).slice(1);
    const own = (at: rules.Position): number => (at.black ? rules.BLACK : rules.WHITE);
    return {
      tokens: moves, pieces: moves.map(rules.name), legal: boards.map((at) => at.legal),
      fires: (id, at) => (boards[at].discs[id] === own(boards[at]) ? 1 + (id % 5) + at / 20 : 0),
    };
  }
  const pieces = ids?.map(String) ?? (text ?? "").match(/\s*\S+|\s+/g) ?? [];
  return { tokens: ids ?? pieces.map((piece) => piece.length), pieces, legal: [], fires: (id, at) => (id < 32 && pieces[at].length % (id + 1) === 0 ? 1 + id / 8 : 0) };
}

function activations(body: Asked): object {
  const { tokens, pieces, fires } = read(body);
  const all = Array.from({ length: 64 }, (_, id) => id);
  const top = tokens.map((_, at) => all.map((id) => [id, fires(id, at)]).filter(([, value]) => value > 0).sort((a, b) => b[1] - a[1]).slice(0, 10));
  return {
    kind: body.moves ? "games" : "text", tokens, pieces, measured: tokens.map((_, i) => Boolean(body.moves) || i > 0), l0: top.map((list) => list.length), top,
    features: (body.features ?? []).map((id) => ({ id, values: tokens.map((_, at) => fires(id, at)), pre: tokens.map(() => null) })),
  };
}

function steer(body: Asked): object {
  const { tokens, pieces, fires, legal } = read(body);
  const moved = Math.min(0.5, 0.2 * (body.edits?.length ?? 0));
  const next = (shift: number): unknown[] =>
    tokens.map((_, at) => {
      if (!body.moves) return [[1, " cat", 0.5 - shift], [2, " mat", 0.2 + shift], [3, "\n", 0.1]];
      const squares: (number | null)[] = Array.from({ length: 64 }, (_, s) => (rules.CENTRE.includes(s) ? null : 0));
      legal[at].forEach((s, i) => (squares[s] = i === 0 ? 1 / legal[at].length + shift / 2 : (1 - 1 / legal[at].length - shift / 2) / (legal[at].length - 1 || 1)));
      return squares;
    });
  const loss = (more: number): (number | null)[] => tokens.map((_, i) => (i === tokens.length - 1 ? null : 2 + more * Math.sin(i)));
  return {
    kind: body.moves ? "games" : "text", tokens, pieces, ...(body.moves ? { legal } : {}),
    before: { next: next(0), loss: loss(0), ...(body.moves ? {} : { text: " sat on the mat" }) },
    after: { next: next(moved), loss: loss(1), ...(body.moves ? {} : { text: " went home" }) },
    kl: tokens.map((_, i) => moved * (0.2 + (i % 7) / 7)),
    edited: (body.edits ?? []).map((edit) => ({ feature: edit.feature, before: tokens.map((_, at) => fires(edit.feature, at)), after: tokens.map(() => edit.value ?? 0) })),
    ...(body.sweep ? { sweep: body.sweep.map((value) => ({ value, kl: 0.05 * (value - 2) ** 2, next: [] })) } : {}),
  };
}
