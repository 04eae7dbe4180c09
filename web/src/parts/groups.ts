// The groups of a block's examples, as a page shows them: one tab a name, its parts one after another.

import type { Block, Manifest } from "../data/types";
import { integer, number, percent } from "./format";

export interface Part {
  title: string;
  examples: number[];
}

export interface Tab {
  name: string;
  title: string;
  help: string;
  parts: Part[];
}

export function tabs(block: Block, manifest: Manifest): Tab[] {
  const titles = new Map(manifest.groups.map((group) => [group.name, group]));
  const found: Tab[] = [];
  for (const group of block.groups) {
    let tab = found.find((each) => each.name === group.name);
    if (!tab) {
      const { title = group.name, help = "" } = titles.get(group.name) ?? {};
      found.push((tab = { name: group.name, title, help, parts: [] }));
    }
    let title = "";
    if (group.share !== undefined) title = `About ${percent(group.share, 0)} of the maximum, ${number(group.share * block.max)}`;
    if (group.from !== undefined && group.to !== undefined) {
      title = `${Math.round(100 * group.from)} to ${percent(group.to, 0)} of its activations: ${number(group.low)} to ${number(group.high)}, ${integer(group.count ?? 0)} positions`;
    }
    tab.parts.push({ title, examples: group.examples });
  }
  const place = (tab: Tab): number => manifest.groups.findIndex((group) => group.name === tab.name);
  return found.sort((a, b) => place(a) - place(b));
}
