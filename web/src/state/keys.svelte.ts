// The keyboard. One place, so that the help page and the keys cannot differ.

import { flushSync } from "svelte";
import { app } from "./app.svelte";
import type { Page } from "./route";

export const ui = $state({ help: false, palette: "" as "" | "id" | "search", table: false, editing: false });

/** The scrubber on the page, if there is one: what ← and → move. */
export const plies: { step: ((by: number) => void) | null } = { step: null };

const PAGES: [Page, string][] = [
  ["runs", "Runs"], ["dictionary", "Dictionary"], ["feature", "Feature"], ["lab", "Lab"], ["compare", "Compare"],
  ["board", "Board"], ["lists", "Lists"],
];

export function visit(page: Page): void {
  const { view, pins } = app;
  if (page === "runs") return app.go({ page, query: {} });
  if (page === "compare") return compare();
  if (!view) return app.tell("Open a run first: its features are shown on these pages.");
  if (page === "feature") return app.feature(app.last >= 0 ? app.last : (pins[0] ?? app.rows[0] ?? 0));
  if (page === "board" && view.manifest.kind !== "games") return app.tell("This dictionary is of text: it has no board.");
  app.go({ page });
}

/** The pinned features beside one another. */
export function compare(): void {
  const { route, view, pins } = app;
  const query: Record<string, string> = { pin: pins.join(",") };
  if (!route.query.a && view) query.a = view.run;
  app.go({ page: "compare", query });
}

function random(): void {
  const { rows, view } = app;
  if (!view || rows.length === 0) return;
  for (let tries = 0; tries < 1000; tries++) {
    const id = rows[Math.floor(Math.random() * rows.length)];
    if (view.value("active", id) > 0) return app.feature(id);
  }
}

function back(): void {
  if (ui.help) ui.help = false;
  else if (ui.palette) ui.palette = "";
  else if (ui.table) ui.table = false;
  else if (app.route.page === "feature") app.go({ page: "dictionary" });
  else if (app.route.page !== "runs") app.go({ page: app.route.page === "dictionary" || !app.route.run ? "runs" : "dictionary" });
}

interface Key {
  keys: string[];
  what: string;
  does: (key: string) => void;
  /** Only where a feature is shown. */
  feature?: boolean;
}

export const KEYS: Key[] = [
  { keys: ["j", "k"], what: "next and previous feature in the table’s order", does: (key) => app.step(key === "j" ? 1 : -1) },
  { keys: ["]", "["], what: "next and previous feature by number", does: (key) => app.feature(app.route.feature + (key === "]" ? 1 : -1)), feature: true },
  { keys: ["/"], what: "search and filter", does: () => search() },
  { keys: ["g"], what: "go to a feature by its number", does: () => (ui.palette = "id") },
  { keys: ["r"], what: "a random feature that is alive, of those in the table", does: random },
  { keys: ["p"], what: "pin the feature, or let it go", does: () => app.pin(app.route.feature), feature: true },
  { keys: ["c"], what: "compare the pinned features", does: compare },
  { keys: ["s"], what: "star it", does: () => app.star(app.route.feature), feature: true },
  { keys: ["e"], what: "edit its name", does: () => (ui.editing = true), feature: true },
  { keys: ["ArrowLeft", "ArrowRight"], what: "one ply back or on", does: (key) => plies.step?.(key === "ArrowLeft" ? -1 : 1) },
  { keys: PAGES.map((_, i) => String(i + 1)), what: PAGES.map(([, title]) => title).join(", "), does: (key) => visit(PAGES[Number(key) - 1][0]) },
  { keys: ["?"], what: "this list", does: () => (ui.help = !ui.help) },
  { keys: ["Escape"], what: "back", does: back },
];

function search(): void {
  ui.table = true; // on a narrow screen the table, and the box in it, is a page of its own
  flushSync();
  document.getElementById("search")?.focus();
}

export function pressed(event: KeyboardEvent): void {
  const target = event.target instanceof HTMLElement || event.target instanceof SVGElement ? event.target : document.body;
  if ((event.ctrlKey || event.metaKey) && event.key === "k") {
    event.preventDefault();
    ui.palette = ui.palette ? "" : "search";
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = target.matches("input:not([type=range], [type=checkbox]), textarea, select, [contenteditable]");
  if (typing) {
    if (event.key === "Escape") target.blur();
    return;
  }
  if (target.matches("input[type=range]") && event.key.startsWith("Arrow")) return;
  const found = KEYS.find((each) => each.keys.includes(event.key));
  if (!found || (found.feature && app.route.page !== "feature") || (event.key.startsWith("Arrow") && !plies.step)) return;
  event.preventDefault();
  found.does(event.key);
}
