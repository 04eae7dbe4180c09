// What the page shows: the address, the run's view, the rows in their order, what people wrote. One object.

import { address, json, post, Problem, whole } from "../data/files";
import * as notes from "../data/notes";
import { order } from "../data/order";
import type { Fields } from "../data/query";
import type { Note, Runs } from "../data/types";
import { View } from "../data/view";
import { keep, kept } from "./keep";
import * as route from "./route";
import type { Page, Route } from "./route";

interface To {
  page?: Page;
  run?: string;
  feature?: number;
  query?: Record<string, string>;
}

/** What addresses say on every page, and what on one. */
const ALWAYS = ["q", "sort", "pin", "embed"];
const OWN: Record<Page, string[]> = {
  runs: ["group"], dictionary: ["colour"], feature: ["game"], lab: ["play", "text", "edit", "at"], board: ["square", "state", "by"],
  lists: ["tag"], compare: ["a", "b"],
};

class App {
  route = $state.raw<Route>(route.read(location.hash));
  runs = $state.raw<Runs | null>(null);
  runsProblem = $state("");
  view = $state.raw<View | null>(null);
  problem = $state("");
  /** The map: two coordinates a feature. It comes after the table. */
  xy = $state.raw<ArrayLike<number> | null>(null);
  events = $state.raw<Note[]>([]);
  /** A short message, for as long as it matters. */
  message = $state("");
  /** The feature last shown. */
  last = $state(-1);

  relative = $state(kept("relative", false));
  blanks = $state(kept("blanks", false));
  theme = $state(kept("theme", ""));
  columns = $state.raw<string[] | null>(kept("columns", null));

  said = $derived(notes.fold(this.events));
  /** By feature what it is called: a person's word before a rule's, a rule's before a model's. */
  names = $derived.by(() => {
    const names = new Map<number, { text: string; by: string; score: number | null; metric: string }>();
    const labels = [...(this.view?.labels ?? [])].sort((a, b) => Number(a.by === "rule") - Number(b.by === "rule"));
    for (const label of labels) names.set(label.feature, label);
    for (const [feature, { label }] of this.said) {
      if (label) names.set(feature, { text: label, by: "a person", score: null, metric: "" });
    }
    return names;
  });
  // Of the address, the parts that much hangs on, each by itself: a string that stays the same makes nothing anew, and so
  // another feature neither sorts the table again nor renders its rows.
  #q = $derived(this.route.query.q ?? "");
  sort = $derived(this.route.query.sort ?? "");
  #pin = $derived(this.route.query.pin ?? "");
  /** The feature that is shown, -1 on other pages. */
  shown = $derived(this.route.page === "feature" ? this.route.feature : -1);
  #run = $derived(this.route.run);
  #search = $derived(route.search(this.#next({ page: "feature", feature: -1 }).query));
  #fields = $derived(this.view ? fieldsOf(this.view, this.said, this.names, this.xy) : null);
  #found = $derived.by(() => this.#order());
  /** The features of the table, in its order. */
  rows = $derived(this.#found.rows);
  queryProblem = $derived(this.#found.problem);
  place = $derived(this.rows.indexOf(this.route.feature));
  pins = $derived(pinned(this.#pin));
  live = $derived(this.runs?.live ?? false);
  lab = $derived(this.runs?.lab ?? false);

  constructor() {
    addEventListener("hashchange", () => {
      this.#read();
    });
    addEventListener("focus", () => void this.refreshNotes());
    this.#read();
    this.#applyTheme();
  }

  #order(): { rows: Uint32Array; problem: string } {
    if (!this.view || !this.#fields) return { rows: new Uint32Array(), problem: "" };
    try {
      return { rows: order(this.view.n, this.#fields, this.#q, this.sort), problem: "" };
    } catch (error) {
      return { rows: order(this.view.n, this.#fields, "", this.sort), problem: (error as Error).message };
    }
  }

  /** Another place; what is not said stays as it is, as far as it means something there. */
  #next(to: To): Route {
    const next: Route = { ...this.route, ...to };
    const away = next.run !== this.route.run || (next.page === "runs") !== (this.route.page === "runs");
    const query = away ? { ...to.query } : { ...this.route.query, ...to.query };
    if (next.feature !== this.route.feature && !to.query?.game) delete query.game;
    const known = [...ALWAYS, ...OWN[next.page]];
    return { ...next, query: Object.fromEntries(Object.entries(query).filter(([name]) => known.includes(name))) };
  }

  go(to: To, replace = false): void {
    this.#at(route.write(this.#next(to)), replace);
  }

  link(to: To): string {
    return route.write(this.#next(to));
  }

  /** A feature's address: `link` for the many rows of a table. */
  row(feature: number): string {
    return route.path({ page: "feature", run: this.#run, feature }) + this.#search;
  }

  #at(hash: string, replace: boolean): void {
    if (hash === location.hash) return;
    if (replace) history.replaceState(null, "", hash);
    else history.pushState(null, "", hash);
    this.#read();
  }

  #read(): void {
    this.route = route.read(location.hash);
    if (this.route.page === "feature") this.last = this.route.feature;
  }

  set(query: Record<string, string>, replace = true): void {
    this.go({ query }, replace);
  }

  feature(id: number, replace = false): void {
    if (this.view && id >= 0 && id < this.view.n) this.go({ page: "feature", feature: id }, replace);
  }

  /** The next row of the table, or the first where the feature is not in it. */
  step(by: number): void {
    if (this.rows.length === 0) return;
    const at = this.place < 0 ? (by > 0 ? 0 : this.rows.length - 1) : this.place + by;
    if (at >= 0 && at < this.rows.length) this.feature(this.rows[at]);
  }

  pin(id: number): void {
    const next = this.pins.includes(id) ? this.pins.filter((each) => each !== id) : [...this.pins, id];
    this.set({ pin: next.join(",") });
  }

  name(id: number): string {
    return this.names.get(id)?.text ?? "";
  }

  /** A feature's name; of one that has none and is of text, its strongest token. */
  title(id: number): string {
    return this.name(id) || (this.view?.token(id) ?? "");
  }

  async loadRuns(): Promise<void> {
    try {
      this.runs = await json<Runs>("runs.json");
      this.runsProblem = "";
    } catch (error) {
      this.runsProblem = (error as Error).message;
    }
  }

  async open(run: string): Promise<void> {
    if (this.view?.run === run) return;
    this.view = null;
    this.problem = "";
    try {
      const view = await View.open(run);
      if (this.route.run !== run) return; // another was asked for meanwhile
      this.events = view.events;
      this.xy = null;
      this.view = view;
      const xy = await view.map().catch(() => null);
      if (this.view === view) this.xy = xy;
    } catch (error) {
      this.problem = error instanceof Problem ? error.message : `The view of ${run} cannot be shown: ${String(error)}`;
    }
  }

  async refreshNotes(): Promise<void> {
    const view = this.view;
    if (!view || !this.live) return;
    const response = await whole(address(view.run, "notes.jsonl"), "is fine").catch(() => null);
    const text = await response?.text();
    if (text !== undefined && this.view === view) this.events = notes.parse(text);
  }

  /** Writes down what a person said, at once on the page and then in the run's folder. */
  async write(feature: number, kind: Note["kind"], text = ""): Promise<boolean> {
    if (!this.view) return false;
    if (!this.live) {
      this.tell("This is a copy without a server: what you write here cannot be saved.");
      return false;
    }
    try {
      const run = this.view.run.split("/").map(encodeURIComponent).join("/");
      const event = await post<Note>(`api/notes/${run}`, { feature, kind, text, author: "" });
      this.events = [...this.events, event];
      return true;
    } catch (error) {
      this.tell((error as Error).message);
      return false;
    }
  }

  star(feature: number): void {
    void this.write(feature, this.said.get(feature)?.starred ? "unstar" : "star");
  }

  tell(message: string): void {
    this.message = message;
    setTimeout(() => {
      if (this.message === message) this.message = "";
    }, 5000);
  }

  prefer(what: "relative" | "blanks", value: boolean): void {
    this[what] = value;
    keep(what, value);
  }

  showColumns(columns: string[] | null): void {
    this.columns = columns;
    keep("columns", columns);
  }

  nextTheme(): void {
    this.theme = { "": "light", light: "dark", dark: "" }[this.theme] ?? "";
    keep("theme", this.theme);
    this.#applyTheme();
  }

  #applyTheme(): void {
    if (this.theme) document.documentElement.dataset.theme = this.theme;
    else delete document.documentElement.dataset.theme;
  }
}

function pinned(text: string): number[] {
  return [...new Set(text.split(",").filter((part) => /^\d+$/.test(part)).map(Number))];
}

function fieldsOf(view: View, said: Map<number, notes.Said>, names: App["names"], xy: App["xy"]): Fields {
  // Made when a word is first looked for; until then no text is put together.
  let texts: string[] | undefined;
  const categories = view.manifest.columns.filter((column) => column.kind !== "number");
  const text = (row: number): string => {
    const about = said.get(row);
    const parts = [names.get(row)?.text, ...categories.map((column) => view.shown(column.name, row))];
    if (about) parts.push(...about.tags, ...about.notes.map((note) => note.text));
    return parts.join("\n").toLowerCase();
  };
  return {
    names: ["id", "name", "star", "tag", "notes", "x", "y", ...view.columns.keys()],
    column: (name) => {
      if (name === "id") return (row) => row;
      if (name === "name") return (row) => names.get(row)?.text ?? "";
      if (name === "star") return (row) => (said.get(row)?.starred ? 1 : 0);
      if (name === "tag") return (row) => said.get(row)?.tags.join(" ") ?? "";
      if (name === "notes") return (row) => said.get(row)?.notes.length ?? 0;
      if (name === "x" || name === "y") return xy ? (row) => xy[2 * row + (name === "y" ? 1 : 0)] : () => undefined;
      const kind = view.columns.get(name)?.kind;
      const values = view.values(name);
      if (!values) return undefined;
      return kind === "number" ? (row) => values[row] : (row) => view.shown(name, row);
    },
    text: (row) => (texts ??= Array.from({ length: view.n }, (_, each) => text(each)))[row],
  };
}

export const app = new App();
