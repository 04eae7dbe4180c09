// What a reader likes, kept in this browser: colours, columns, glyphs. Nothing that a link should say.

export function kept<T>(name: string, otherwise: T): T {
  try {
    const found = localStorage.getItem(`unweave.${name}`);
    return found === null ? otherwise : (JSON.parse(found) as T);
  } catch {
    return otherwise; // no storage here, or another version's value
  }
}

export function keep(name: string, value: unknown): void {
  try {
    localStorage.setItem(`unweave.${name}`, JSON.stringify(value));
  } catch {
    // private windows refuse; the choice then lasts as long as the page
  }
}
