// What people wrote: a log of events, folded into what is true now.

import type { Note } from "./types";

export interface Said {
  label: string;
  starred: boolean;
  tags: string[];
  notes: Note[];
}

/** The events of a file of lines; damaged lines are passed over. */
export function parse(text: string): Note[] {
  const found: Note[] = [];
  for (const line of text.split("\n")) {
    if (!line.trim()) continue;
    try {
      const event = JSON.parse(line) as Note;
      if (Number.isInteger(event.feature) && typeof event.kind === "string") found.push({ ...event, text: String(event.text ?? "") });
    } catch {
      // another server was cut off while it wrote
    }
  }
  return found;
}

/** By feature, what the events come to. Their order in the list does not matter: they have times. */
export function fold(events: Note[]): Map<number, Said> {
  const said = new Map<number, Said>();
  const removed = new Set(events.filter((event) => event.kind === "remove").map((event) => event.text));
  const sorted = [...new Map(events.map((event) => [event.id, event])).values()];
  sorted.sort((a, b) => a.time - b.time || (a.id < b.id ? -1 : 1));
  for (const event of sorted) {
    const now = said.get(event.feature) ?? { label: "", starred: false, tags: [], notes: [] };
    said.set(event.feature, now);
    if (event.kind === "label") now.label = event.text;
    if (event.kind === "star" || event.kind === "unstar") now.starred = event.kind === "star";
    if (event.kind === "tag" || event.kind === "untag") now.tags = now.tags.filter((tag) => tag !== event.text);
    if (event.kind === "tag") now.tags.push(event.text);
    if (event.kind === "note" && !removed.has(event.id)) now.notes.push(event);
  }
  return said;
}
