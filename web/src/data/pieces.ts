// Tokens as text. A token that is no whole characters is joined with its neighbours; blanks can be made visible.

export interface Span {
  text: string;
  /** The positions it is made of: from, and up to without. */
  from: number;
  to: number;
}

export class Pieces {
  #pieces: string[];
  #bytes: Map<number, number[]>;
  #specials: Set<number>;

  constructor(file: { pieces: string[]; bytes?: Record<string, number[]>; specials?: number[] } = { pieces: [] }) {
    this.#pieces = file.pieces;
    this.#specials = new Set(file.specials);
    this.#bytes = new Map(Object.entries(file.bytes ?? {}).map(([id, bytes]) => [Number(id), bytes]));
  }

  /** A token alone; bytes that are no character as <E2 82>. */
  name(id: number): string {
    const bytes = this.#bytes.get(id);
    return bytes ? hex(bytes) : (this.#pieces[id] ?? `#${id}`);
  }

  /** What one would type: the text of tokens, without those that stand for none. */
  typed(ids: ArrayLike<number>): string {
    return this.spans(Array.from(ids).filter((id) => !this.#specials.has(id))).map((span) => span.text).join("");
  }

  /** What is read where tokens follow one another: neighbours joined until they are whole characters. */
  spans(ids: ArrayLike<number>): Span[] {
    const found: Span[] = [];
    for (let at = 0; at < ids.length; ) {
      if (!this.#bytes.has(ids[at])) {
        found.push({ text: this.name(ids[at]), from: at, to: ++at });
        continue;
      }
      const bytes: number[] = [];
      let to = at;
      let text: string | null = null;
      // A character has at most four bytes; a token's bytes may begin the next one, so a few tokens more are tried.
      while (text === null && to < ids.length && to - at < 8 && this.#bytes.has(ids[to])) {
        bytes.push(...this.#bytes.get(ids[to++])!);
        text = decoded(bytes);
      }
      if (text === null) {
        text = hex(this.#bytes.get(ids[at])!);
        to = at + 1;
      }
      found.push({ text, from: at, to });
      at = to;
    }
    return found;
  }
}

function decoded(bytes: number[]): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(new Uint8Array(bytes));
  } catch {
    return null;
  }
}

function hex(bytes: number[]): string {
  return `<${bytes.map((byte) => byte.toString(16).toUpperCase().padStart(2, "0")).join(" ")}>`;
}

/** A text on one line: line ends and tabs as signs; with `blanks`, spaces too. */
export function visible(text: string, blanks: boolean): string {
  const line = text.replace(/\r/g, "␍").replace(/\n/g, "⏎").replace(/\t/g, "⇥").replace(/[\u0000-\u001f]/g, "␀");
  return blanks ? line.replace(/ /g, "·").replace(/\u00a0/g, "⍽") : line;
}
