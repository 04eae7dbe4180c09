// Files of a run, wherever the page lies: a server that knows ranges, one that does not, a static host. All addresses are
// relative to the page.

/** What went wrong, in one sentence for a reader. */
export class Problem extends Error {}

export function address(run: string, file: string): string {
  return `data/${run.split("/").map(encodeURIComponent).join("/")}/${file}`;
}

async function ask(url: string, init?: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init);
  } catch {
    throw new Problem(`The server does not answer for ${url}: is it still running?`);
  }
}

/** A whole file; null where there is none and it may be missing. */
export async function whole(url: string, missing: "is a problem" | "is fine" = "is a problem"): Promise<Response | null> {
  const response = await ask(url, { cache: "no-cache" });
  if (response.ok) return response;
  if (response.status === 404 && missing === "is fine") return null;
  throw new Problem(await refusal(response, url));
}

async function refusal(response: Response, url: string): Promise<string> {
  try {
    const said = ((await response.json()) as { error?: unknown }).error;
    if (typeof said === "string") return said;
  } catch {
    // not a sentence of ours
  }
  return response.status === 404 ? `There is no ${url}.` : `${url} cannot be read (status ${response.status}).`;
}

export async function json<T>(url: string): Promise<T> {
  const response = await whole(url);
  try {
    return (await response!.json()) as T;
  } catch {
    throw new Problem(`${url} is damaged: it is no JSON.`);
  }
}

/** A file read in parts. Where the server sends the whole instead, the whole is kept and cut here. */
export class Ranged {
  #all: Promise<Blob> | null = null;
  #first: Promise<unknown> | null = null;

  constructor(readonly url: string) {}

  async read(from: number, to: number): Promise<Blob> {
    if (to <= from) throw new Problem(`${this.url} is damaged: it has an empty part.`);
    // Until the first answer it is unknown whether the server knows ranges: nothing else is asked of it so long.
    if (this.#first) await this.#first.catch(() => undefined);
    if (this.#all) return (await this.#all).slice(from, to);
    const asked = this.#ask(from, to);
    this.#first ??= asked;
    return asked;
  }

  async #ask(from: number, to: number): Promise<Blob> {
    const response = await ask(this.url, { headers: { Range: `bytes=${from}-${to - 1}` } });
    if (response.status === 206) return this.#checked(await response.blob(), to - from);
    if (!response.ok) throw new Problem(await refusal(response, this.url));
    this.#all = response.blob();
    return this.#checked((await this.#all).slice(from, to), to - from);
  }

  #checked(part: Blob, length: number): Blob {
    if (part.size !== length) throw new Problem(`${this.url} is cut short: make the view again.`);
    return part;
  }
}

/** A gzipped JSON block. */
export async function inflated<T>(block: Blob, url: string): Promise<T> {
  try {
    return (await new Response(block.stream().pipeThrough(new DecompressionStream("gzip"))).json()) as T;
  } catch {
    throw new Problem(`${url} is damaged: a block of it cannot be read; make the view again.`);
  }
}

/** A request that changes or computes something. */
export async function post<T>(url: string, body: unknown): Promise<T> {
  const response = await ask(url, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Unweave": "1" },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Problem(await refusal(response, url));
  return (await response.json()) as T;
}
