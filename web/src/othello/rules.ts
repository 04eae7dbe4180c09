// The rules of Othello. Squares are indexed 8 * row + column, a1 (0) at the top left; 0 empty, 1 black, 2 white.

export const EMPTY = 0;
export const BLACK = 1;
export const WHITE = 2;

/** Occupied from the start, so never played: d4, e4, d5, e5. */
export const CENTRE = [27, 28, 35, 36];

export interface Position {
  discs: Uint8Array;
  /** Who moves next: after a forced pass, the side that has just moved. */
  black: boolean;
  /** Where it may play; empty once the game is over. */
  legal: number[];
  /** The square just played, -1 at the start. */
  played: number;
  /** The discs that move turned. */
  flipped: number[];
  /** Whether the other side has just been forced to pass. */
  passed: boolean;
}

const DIRECTIONS = [-1, 0, 1].flatMap((dy) => [-1, 0, 1].map((dx) => [dx, dy])).filter(([dx, dy]) => dx || dy);

/** For each square, the lines of squares that leave it, nearest first; lines too short to enclose a disc left out. */
const RAYS: number[][][] = Array.from({ length: 64 }, (_, square) =>
  DIRECTIONS.map(([dx, dy]) => {
    const ray: number[] = [];
    for (let x = (square % 8) + dx, y = (square >> 3) + dy; x >= 0 && x < 8 && y >= 0 && y < 8; x += dx, y += dy) {
      ray.push(8 * y + x);
    }
    return ray;
  }).filter((ray) => ray.length > 1),
);

/** The discs that `own` would turn by playing an empty square. */
function turns(discs: Uint8Array, square: number, own: number): number[] {
  const turned: number[] = [];
  const other = 3 - own;
  for (const ray of RAYS[square]) {
    let n = 0;
    while (n < ray.length && discs[ray[n]] === other) n++;
    if (n > 0 && n < ray.length && discs[ray[n]] === own) turned.push(...ray.slice(0, n));
  }
  return turned;
}

function moves(discs: Uint8Array, own: number): number[] {
  const found: number[] = [];
  for (let square = 0; square < 64; square++) {
    if (discs[square] === EMPTY && turns(discs, square, own).length > 0) found.push(square);
  }
  return found;
}

export function start(): Position {
  const discs = new Uint8Array(64);
  discs[27] = discs[36] = WHITE;
  discs[28] = discs[35] = BLACK;
  return { discs, black: true, legal: moves(discs, BLACK), played: -1, flipped: [], passed: false };
}

/** The position after a legal move. Throws an Error that names the square for any other. */
export function play(at: Position, square: number): Position {
  if (!at.legal.includes(square)) throw new Error(`${name(square)} cannot be played here`);
  const own = at.black ? BLACK : WHITE;
  const flipped = turns(at.discs, square, own);
  const discs = at.discs.slice();
  discs[square] = own;
  for (const each of flipped) discs[each] = own;
  const next = moves(discs, 3 - own);
  const passed = next.length === 0;
  const legal = passed ? moves(discs, own) : next;
  // Once neither side can move, the last to move counts as "they", as in the labels that features are scored against.
  const black = passed && legal.length > 0 ? at.black : !at.black;
  return { discs, black, legal, played: square, flipped, passed: passed && legal.length > 0 };
}

/** The positions after each move, after the opening at index 0; it stops before the first move that is not legal. */
export function replay(squares: Iterable<number>): Position[] {
  const positions = [start()];
  for (const square of squares) {
    const at = positions[positions.length - 1];
    if (!at.legal.includes(square)) break;
    positions.push(play(at, square));
  }
  return positions;
}

/** "f5" for 37. */
export function name(square: number): string {
  return square >= 0 && square < 64 ? "abcdefgh"[square % 8] + ((square >> 3) + 1) : "–";
}

/** 37 for "f5", -1 for what is no square. */
export function square(name: string): number {
  const match = /^([a-h])([1-8])$/i.exec(name.trim());
  return match ? "abcdefgh".indexOf(match[1].toLowerCase()) + 8 * (Number(match[2]) - 1) : -1;
}

const PLAYABLE = Array.from({ length: 64 }, (_, s) => s).filter((s) => !CENTRE.includes(s));

/** The square of a token id: ids 1..60 are the playable squares in board order, 0 is padding (-1). */
export function squareOf(token: number): number {
  return token >= 1 && token <= 60 ? PLAYABLE[token - 1] : -1;
}

/** The token id of a playable square. */
export function tokenOf(square: number): number {
  return PLAYABLE.indexOf(square) + 1;
}

/** The eight symmetries of the board, each a map from square to square, the identity first. */
export const SYMMETRIES: { title: string; map: (square: number) => number }[] = [
  { title: "same place", map: (s) => s },
  { title: "mirrored left–right", map: (s) => 8 * (s >> 3) + 7 - (s % 8) },
  { title: "mirrored top–bottom", map: (s) => 8 * (7 - (s >> 3)) + (s % 8) },
  { title: "turned by 180°", map: (s) => 63 - s },
  { title: "mirrored along a1–h8", map: (s) => 8 * (s % 8) + (s >> 3) },
  { title: "mirrored along h1–a8", map: (s) => 8 * (7 - (s % 8)) + 7 - (s >> 3) },
  { title: "turned by 90°", map: (s) => 8 * (s % 8) + 7 - (s >> 3) },
  { title: "turned by 270°", map: (s) => 8 * (7 - (s % 8)) + (s >> 3) },
];
