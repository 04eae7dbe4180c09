// Addresses: `#/` the runs, `#/d/<run>` a dictionary, `#/d/<run>/f/<id>` a feature, `#/d/<run>/lab|board|lists`,
// `#/compare?...`. A run in a folder of the folder is written a:b, so that its address stays readable.

export type Page = "runs" | "dictionary" | "feature" | "lab" | "board" | "lists" | "compare";

export interface Route {
  page: Page;
  run: string;
  feature: number;
  /** All that follows the question mark: sort, q, pin, and what a page adds. */
  query: Record<string, string>;
}

const ROOMS = ["lab", "board", "lists"];

export function read(hash: string): Route {
  const [path, query = ""] = hash.replace(/^#?\/?/, "").split("?", 2);
  const parts = path.split("/").filter(Boolean);
  const route: Route = { page: "runs", run: "", feature: -1, query: Object.fromEntries(new URLSearchParams(query)) };
  if (parts[0] === "compare") route.page = "compare";
  if (parts[0] !== "d" || parts.length < 2) return route;
  route.page = "dictionary";
  route.run = parts[1].split(":").map(decode).join("/");
  if (parts[2] === "f" && /^\d+$/.test(parts[3] ?? "")) {
    route.page = "feature";
    route.feature = Number(parts[3]);
  } else if (ROOMS.includes(parts[2])) {
    route.page = parts[2] as Page;
  }
  return route;
}

/** The address of a route; what is empty is left out. */
export function write(route: Route): string {
  return path(route) + search(route.query);
}

export function path({ page, run, feature }: Omit<Route, "query">): string {
  const place = `#/d/${run.split("/").map(encodeURIComponent).join(":")}`;
  if (page === "runs") return "#/";
  if (page === "compare") return "#/compare";
  if (page === "dictionary") return place;
  return page === "feature" ? `${place}/f/${feature}` : `${place}/${page}`;
}

/** What follows the path, with its question mark. */
export function search(query: Record<string, string>): string {
  const text = Object.entries(query).filter(([, value]) => value !== "").map(([name, value]) => `${name}=${plain(value)}`);
  return text.length > 0 ? `?${text.join("&")}` : "";
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a stray % that someone typed
  }
}

/** Encoded as little as a link allows, so that it can be read: commas, colons, comparisons stay. */
function plain(value: string): string {
  return encodeURIComponent(value).replace(/%2C/g, ",").replace(/%3A/g, ":").replace(/%2F/g, "/").replace(/%20/g, "+");
}
