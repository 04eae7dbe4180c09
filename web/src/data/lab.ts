// What the lab's server is asked, and what it answers (docs/view-format.md, "The server").

import { post } from "./files";

/** A game as a list of squares, or a text, or a text's tokens. */
export type Input = { moves: number[] } | { text: string } | { tokens: number[] };

export interface Edit {
  feature: number;
  by: "ablate" | "clamp" | "add" | "scale";
  value?: number;
}

/** At each position: of a text token, piece, probability, likeliest first; of a game 64 probabilities by square. */
export type Next = [number, string, number][] | (number | null)[];

export interface Activations {
  kind: "games" | "text";
  tokens: number[];
  pieces: string[];
  measured: boolean[];
  l0: number[];
  top: [number, number][][];
  features: { id: number; values: number[]; pre: (number | null)[] }[];
}

/** What is predicted at each position, the loss of what comes there (in nats; null after the last), how a text goes on. */
export interface Side {
  next: Next[];
  loss: (number | null)[];
  text?: string;
}

export interface Steered {
  kind: "games" | "text";
  tokens: number[];
  pieces: string[];
  legal?: number[][];
  before: Side;
  after: Side;
  kl: number[];
  edited: { feature: number; before: number[]; after: number[] }[];
  sweep?: { value: number; kl: number; next: Next }[];
}

export interface Steering {
  edits: Edit[];
  at: "all" | "last" | number[];
  top?: number;
  generate?: number;
  seed?: number;
  temperature?: number;
  sweep?: number[];
}

function ask<T>(run: string, what: string, body: object): Promise<T> {
  return post<T>(`api/lab/${run.split("/").map(encodeURIComponent).join("/")}/${what}`, body);
}

export function activations(run: string, input: Input, features: number[], top = 10): Promise<Activations> {
  return ask(run, "activations", { ...input, features, top });
}

export function steer(run: string, input: Input, steering: Steering): Promise<Steered> {
  return ask(run, "steer", { ...input, ...steering });
}

/** About n round strengths from 0 to half as much again as the largest activation. */
export function strengths(max: number, n = 9): number[] {
  const top = 1.5 * (max || 1);
  return Array.from({ length: n }, (_, i) => Number(((top * i) / (n - 1)).toPrecision(3)));
}
