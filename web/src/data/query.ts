// What is typed into a search box: words, comparisons, and/or/not, brackets. `corner density>0.01`, or
// `method=="topk(k=32)" and (l0<40 or not dead)`. Side by side means "and".

export type Node =
  | { kind: "and" | "or"; parts: Node[] }
  | { kind: "not"; part: Node }
  | { kind: "word"; word: string }
  | { kind: "compare"; name: string; op: Op; value: string | number };

export type Op = "<" | "<=" | ">" | ">=" | "==" | "!=" | "~";

/** What a row holds: a number, a text, or nothing (undefined or NaN: every comparison but != is false). */
export type Value = number | string | undefined;

/** How rows are read: a column's reader by its name, or undefined where there is none; and all that words look in. */
export interface Fields {
  column(name: string): ((row: number) => Value) | undefined;
  names: string[];
  text(row: number): string;
}

interface Token {
  text: string;
  kind: "word" | "string" | "op" | "bracket";
}

function tokens(query: string): Token[] {
  const found: Token[] = [];
  const pattern = /\s+|("(?:[^"\\]|\\.)*"?)|([()])|(<=|>=|==|!=|<|>|=|~|&&|\|\||!)|((?:[^\s()<>=!~"&|]|&(?!&)|\|(?!\|))+)/gy;
  for (let match = pattern.exec(query); match; match = pattern.exec(query)) {
    const [, string, bracket, op, word] = match;
    if (string) found.push({ kind: "string", text: string.replace(/^"|"$/g, "").replace(/\\(.)/g, "$1") });
    else if (bracket) found.push({ kind: "bracket", text: bracket });
    else if (op === "&&" || op === "||") found.push({ kind: "word", text: op === "&&" ? "and" : "or" });
    else if (op) found.push({ kind: "op", text: op === "=" ? "==" : op });
    else if (word) found.push({ kind: "word", text: word });
  }
  return found;
}

/** The tree of a query. Throws an Error whose message is one sentence. */
export function parse(query: string): Node {
  const list = tokens(query);
  let at = 0;
  const is = (word: string): boolean => list[at]?.kind === "word" && list[at].text.toLowerCase() === word;
  const any = (): Node => {
    const parts = [all()];
    while (is("or")) {
      at++;
      parts.push(all());
    }
    return parts.length === 1 ? parts[0] : { kind: "or", parts };
  };
  const all = (): Node => {
    const parts: Node[] = [];
    while (at < list.length && !is("or") && list[at].text !== ")") {
      if (is("and")) at++;
      else parts.push(one());
    }
    return parts.length === 1 ? parts[0] : { kind: "and", parts };
  };
  const one = (): Node => {
    const token = list[at++];
    if (token.kind === "bracket") {
      const inside = any();
      if (list[at++]?.text !== ")") throw new Error("A bracket is not closed.");
      return inside;
    }
    if ((token.kind === "op" && token.text === "!") || (token.kind === "word" && token.text.toLowerCase() === "not")) {
      if (at >= list.length) throw new Error("Nothing follows “not”.");
      return { kind: "not", part: one() };
    }
    if (token.kind === "op") throw new Error(`Before “${token.text}” a column’s name is missing.`);
    const op = list[at];
    if (op?.kind !== "op" || op.text === "!") {
      return { kind: "word", word: token.text.toLowerCase() };
    }
    const value = list[at + 1];
    if (!value || value.kind === "op" || value.kind === "bracket") {
      throw new Error(`After “${token.text} ${op.text}” a value is missing.`);
    }
    at += 2;
    let text = value.text;
    while (list[at]?.text === "(" && value.kind === "word") {
      // topk(k=32) need not be quoted.
      const from = at;
      while (at < list.length && list[at].text !== ")") at++;
      text += list.slice(from, ++at).map((each) => (each.text === "==" ? "=" : each.text)).join("");
    }
    const number = value.kind === "word" && text.trim() !== "" ? Number(text) : NaN;
    return { kind: "compare", name: token.text, op: op.text as Op, value: Number.isNaN(number) ? text : number };
  };
  const tree = any();
  if (at < list.length) throw new Error("A bracket closes that was not opened.");
  return tree;
}

/** The tree as text that parses to the same tree. */
export function write(node: Node): string {
  switch (node.kind) {
    case "and":
    case "or":
      return node.parts
        .map((part) => (part.kind === "and" || part.kind === "or" ? `(${write(part)})` : write(part)))
        .join(node.kind === "or" ? " or " : " ");
    case "not":
      return `not ${node.part.kind === "and" || node.part.kind === "or" ? `(${write(node.part)})` : write(node.part)}`;
    case "word":
      return quoted(node.word);
    case "compare":
      return `${node.name}${node.op}${typeof node.value === "number" ? node.value : quoted(node.value, true)}`;
  }
}

function quoted(text: string, value = false): string {
  const plain = /^[^\s()<>=!~"&|\\]+$/.test(text) && !/^(and|or|not)$/i.test(text);
  return plain && !(value && !Number.isNaN(Number(text))) ? text : `"${text.replace(/[\\"]/g, "\\$&")}"`;
}

/** What must all hold, as a list: the chips above a table. */
export function terms(node: Node): Node[] {
  return node.kind === "and" ? node.parts : [node];
}

/** The query with bounds on a column put in the place of its old ones; an open side is null. */
export function bounded(query: string, name: string, low: number | null, high: number | null): string {
  const kept = terms(parse(query)).filter(
    (term) => !(term.kind === "compare" && term.name === name && /[<>]/.test(term.op)),
  );
  if (low !== null) kept.push({ kind: "compare", name, op: ">=", value: low });
  if (high !== null) kept.push({ kind: "compare", name, op: "<", value: high });
  return write({ kind: "and", parts: kept });
}

/** The bounds a query sets on a column. */
export function bounds(query: string, name: string): [number, number] {
  const found: [number, number] = [-Infinity, Infinity];
  let list: Node[] = [];
  try {
    list = terms(parse(query));
  } catch {
    return found;
  }
  for (const term of list) {
    if (term.kind !== "compare" || term.name !== name || typeof term.value !== "number") continue;
    if (term.op[0] === ">") found[0] = term.value;
    if (term.op[0] === "<") found[1] = term.value;
  }
  return found;
}

/** A test of rows. Throws an Error, in one sentence, for a column that does not exist. */
export function compile(node: Node, fields: Fields): (row: number) => boolean {
  switch (node.kind) {
    case "and": {
      const parts = node.parts.map((part) => compile(part, fields));
      return (row) => parts.every((part) => part(row));
    }
    case "or": {
      const parts = node.parts.map((part) => compile(part, fields));
      return (row) => parts.some((part) => part(row));
    }
    case "not": {
      const part = compile(node.part, fields);
      return (row) => !part(row);
    }
    case "word": {
      const flag = fields.column(node.word);
      return flag ? (row) => Boolean(flag(row)) : (row) => fields.text(row).includes(node.word);
    }
    case "compare": {
      const column = fields.column(node.name);
      if (!column) throw new Error(`There is no column “${node.name}”${nearest(node.name, fields.names)}.`);
      const test = comparison(node.op, node.value);
      return (row) => test(column(row));
    }
  }
}

function comparison(op: Op, value: string | number): (found: Value) => boolean {
  const text = String(value).toLowerCase();
  const lower = (found: Value): string => String(found ?? "").toLowerCase();
  if (op === "~") return (found) => lower(found).includes(text);
  if (op === "==") return (found) => (typeof found === "number" ? found === value : lower(found) === text);
  if (op === "!=") return (found) => (typeof found === "number" ? found !== value : lower(found) !== text);
  if (typeof value !== "number") throw new Error(`“${op} ${value}” compares with what is not a number.`);
  if (op === "<") return (found) => typeof found === "number" && found < value;
  if (op === "<=") return (found) => typeof found === "number" && found <= value;
  if (op === ">") return (found) => typeof found === "number" && found > value;
  return (found) => typeof found === "number" && found >= value;
}

function nearest(name: string, names: string[]): string {
  const near = names.find((each) => each.startsWith(name.slice(0, 3))) ?? names.find((each) => each.includes(name));
  return near ? `; there is “${near}”` : "";
}
