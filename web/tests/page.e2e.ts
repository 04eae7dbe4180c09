// The built page in Debian's Chromium, on small views and a stub of the server: what a person does, from opening it to a
// link in a new tab.

import { spawn, type ChildProcess } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { context, feature, freePort, ids, launch, open, page, rows, text, waitFor, watched } from "./browser";
import { demo, runs } from "./fixture";
import { PAGE, serve, type Running } from "./server";

const folder = mkdtempSync(join(tmpdir(), "unweave-"));
let server: Running;
const opened = (hash: string): Promise<void> => open(server.url, hash);

launch();
beforeAll(async () => {
  demo(folder, true);
  server = await serve(folder, true);
}, 60000);
afterAll(() => server?.close());

describe("runs", () => {
  test("are listed, filtered and opened; a damaged one hides no other", async () => {
    await opened("#/");
    expect(await page.locator("tbody tr").count()).toBe(4);
    expect(await text("main")).toContain("broken/config.json is damaged");
    await page.fill("#search", 'method=="topk(k=16)" and l0<40');
    await page.waitForFunction(() => document.querySelectorAll("tbody tr").length === 1);
    await page.fill("#search", "l0>");
    expect(await text("[role=alert]")).toContain("a value is missing");
    await page.fill("#search", "");
    await page.click("text=sweep/topk-64-b");
    await page.waitForSelector("h1:has-text('sweep/topk-64-b')");
    expect(page.url()).toContain("#/d/sweep:topk-64-b");
  });
});

test("a single run says what it is", async () => {
  const alone = mkdtempSync(join(tmpdir(), "unweave-"));
  runs(alone, true, [{ path: "words", kind: "text", d_sae: 32 }], false);
  const other = await serve(alone, true);
  await open(other.url, "#/");
  const cells = (selector: string): Promise<string[]> => page.locator(`table ${selector}`).allInnerTexts().then((all) => all.map((each) => each.trim()));
  expect(await cells("th")).toEqual(["run", "state", "subject", "site", "method", "features", "L0", "FVU", "CE score"]);
  expect(await cells("td")).toEqual(["words", "trained", "huggingface('tiny')", "resid_post.1", "topk(k=16)", "32", "16", "0.0700", "0.965"]);
  expect(await text("article")).toContain("1 run\n");
  await other.close();
});

describe("the table", () => {
  test("sorts, by several keys with shift", async () => {
    await opened("#/d/topk-64");
    await page.click("[role=columnheader] button:has-text('Density')");
    const density = await page.locator(".line [role=gridcell]:nth-child(3)").allInnerTexts();
    const numbers = density.slice(0, 10).map(Number);
    expect(numbers).toEqual([...numbers].sort((a, b) => b - a));
    expect(await page.locator("[aria-sort=descending]").count()).toBe(1);
    await page.click("[role=columnheader] button:has-text('Name')", { modifiers: ["Shift"] });
    expect(page.url()).toContain("sort=-density,-name");
  });

  test("filters and searches; a brush writes the filter", async () => {
    await opened("#/d/topk-64");
    await page.keyboard.press("/");
    await page.keyboard.type("corner");
    await page.waitForFunction(() => document.querySelector("[role=grid]")?.getAttribute("aria-rowcount") === "2");
    expect(await ids()).toEqual(["9"]);
    await page.fill("#search", "auroc>0.95");
    await page.waitForFunction(() => Number(document.querySelector("[role=grid]")?.getAttribute("aria-rowcount")) > 2);
    expect(await rows()).toBeLessThan(64);
    await page.fill("#search", "densty>1");
    expect(await text(".search [role=alert]")).toBe("There is no column “densty”; there is “density”.");
    await page.fill("#search", "");
    const chart = page.locator("svg[aria-label='Histogram of AUROC']");
    await chart.scrollIntoViewIfNeeded();
    const box = (await chart.boundingBox())!;
    await page.mouse.move(box.x + box.width * 0.6, box.y + 30);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.8, box.y + 30, { steps: 4 });
    await page.mouse.up();
    await page.waitForFunction(() => location.hash.includes("auroc"));
    expect(await page.locator(".chips button").count()).toBe(2);
    expect(await rows()).toBeLessThan(64);
    await page.click(".chips button >> nth=0");
    expect(await page.locator(".chips button").count()).toBe(1);
  });

  test("has a map whose points say what they are", async () => {
    await opened("#/d/topk-64");
    const map = page.locator("canvas[aria-label='Map of the features']");
    await map.scrollIntoViewIfNeeded();
    const box = (await map.boundingBox())!;
    for (let i = 0; i < 400 && (await page.locator("figure .tip").count()) === 0; i++) {
      await page.mouse.move(box.x + box.width * (0.3 + 0.02 * (i % 20)), box.y + box.height * (0.3 + 0.02 * Math.floor(i / 20)));
    }
    expect(await text("figure .tip")).toMatch(/^\d+ .*Density/);
  });
});

describe("a feature of games", () => {
  test("goes on with j and k in the table's order, [ and ] by number, Esc back", async () => {
    await opened("#/d/topk-64/f/19?sort=-density");
    await feature(19);
    const order = await ids();
    const at = order.indexOf("19");
    await page.keyboard.press("j");
    await feature(Number(order[at + 1]));
    await page.keyboard.press("k");
    await feature(19);
    await page.keyboard.press("]");
    await feature(20);
    await page.keyboard.press("g");
    await page.keyboard.type("13");
    await page.keyboard.press("Enter");
    await feature(13);
    expect(await text("main")).toContain("never active");
    await page.keyboard.press("r");
    await page.waitForFunction(() => document.querySelector("article[data-feature]")?.getAttribute("data-feature") !== "13");
    await page.keyboard.press("Escape");
    await page.waitForSelector("h1:has-text('topk-64')");
    await page.goBack();
    await page.waitForSelector("article[data-feature]");
  });

  test("scrubs a game, and the address says where", async () => {
    await opened("#/d/topk-64/f/19");
    await feature(19);
    const ply = Number(/ply (\d+)/.exec(await text(".scrubber output"))![1]);
    await page.keyboard.press("ArrowLeft");
    expect(await text(".scrubber output")).toContain(`ply ${ply - 1} `);
    await page.waitForFunction(() => location.hash.includes("game="));
    expect(page.url()).toContain(`.${ply - 2}`);
    await page.click("button:has-text('Mine and theirs')");
    expect(await page.locator(".big .disc.mine").count()).toBe(1);
    await page.click("button:has-text('By quantile')");
    expect(await text(".examples h3")).toContain("of its activations");
    await page.click(".examples .small >> nth=3");
    expect(await page.locator(".small.here").count()).toBe(1);
  });

  test("leads from a square to all features that classify it", async () => {
    await opened("#/d/topk-64/f/19");
    await feature(19);
    await page.locator("svg[aria-label='AUROC of each square being mine'] [data-square='42']").click();
    await page.waitForSelector("h2:has-text('c6 is mine')");
    expect(await text("ol li a")).toBe("42");
    await page.locator("svg [data-square='19']").click();
    await page.waitForSelector("h2:has-text('d3 is mine')");
    await page.click("button:has-text('legal')");
    await page.waitForSelector("h2:has-text('d3 is legal')");
    await page.click("ol li a");
    await page.waitForSelector("article[data-feature]");
  });

  test("is pinned and compared with another dictionary", async () => {
    await opened("#/d/topk-64/f/19");
    await feature(19);
    await page.keyboard.press("p");
    await page.waitForSelector(".tray article");
    await page.keyboard.press("c");
    await page.waitForSelector("h1:has-text('Compare')");
    await page.waitForSelector(".cards article");
    await page.selectOption("select[aria-label='The other dictionary']", "sweep/topk-64-b");
    await page.waitForFunction(() => document.querySelectorAll(".cards article").length === 2);
    await page.click("button:has-text('Match all features')");
    await page.waitForSelector("text=have a match of cosine");
    expect(await text("main")).toContain("difference");
  });

  test("of text is called by its strongest token until it has a name", async () => {
    await opened("#/d/words/f/4?pin=4");
    await feature(4);
    expect(await text("h1")).toContain("“·on”");
    expect(await text("header .tags")).toContain("its strongest token; no name yet");
    expect(await text(".line:has(.id:text-is('4')) .name")).toContain("“·on”");
    expect(await text(".tray h3")).toBe("4 “·on”");
  });

  test("says what other hands wrote as text", async () => {
    await opened("#/d/topk-64/f/20");
    await feature(20);
    expect(await text("h1")).toContain("e3 is mine");
    await opened("#/d/words/f/12");
    await feature(12);
    await page.click("button:has-text('At random')");
    expect(await page.evaluate(() => document.querySelectorAll("main script").length)).toBe(0);
    expect(await text("main")).toContain("<script>alert(1)</script>");
  });
});

describe("notes", () => {
  test("are saved, seen by another tab, and still there after the server's restart", async () => {
    await opened("#/d/topk-64/f/30");
    await feature(30);
    await page.fill("textarea", "Holds the edge. <i>really</i>");
    await page.click("button:has-text('Save note')");
    await page.waitForSelector(".note:has-text('<i>really</i>')");
    await page.keyboard.press("s");
    await page.waitForSelector("button[aria-pressed=true]:has-text('Star')");
    await page.keyboard.press("e");
    await page.fill("input.edit", "the edge");
    await page.keyboard.press("Enter");
    await page.waitForSelector("h1:has-text('the edge')");
    await server.close();
    server = await serve(folder, true);
    await opened("#/d/topk-64/lists");
    expect(await text("main table")).toContain("the edge");
    expect(await text("main table")).toContain("<i>really</i>");
    const download = page.waitForEvent("download");
    await page.click("button:has-text('Save as CSV')");
    expect(readFileSync((await (await download).path())!, "utf8")).toContain('"the edge"');
  });
});

describe("the lab", () => {
  test("plays a game by clicking and shows what changes", async () => {
    await opened("#/d/topk-64/lab");
    for (const square of [19, 18, 17]) {
      await page.locator(`svg.board [data-square='${square}']`).first().click();
      await page.waitForFunction(() => location.hash.includes("play="));
      await page.waitForTimeout(100);
    }
    expect(page.url()).toContain("play=d3c3b3");
    await page.waitForSelector(".matrix .line");
    await page.fill("input[aria-label='Feature to change']", "19");
    await page.click("form button:has-text('Add')");
    await page.selectOption("li select", "clamp");
    await page.click("button.main:has-text('Run')");
    await page.waitForSelector("svg[aria-label=\"Change of each next move's probability\"]");
    expect(await page.locator("svg[aria-label='KL by strength']").count()).toBe(1);
    expect(page.url()).toContain("edit=19:clamp:");
  });

  test("reads a text and goes on with it", async () => {
    await opened("#/d/words/lab");
    await page.fill("textarea", "The cat sat <b>here</b>");
    await page.click("button:has-text('Read')");
    await page.waitForSelector(".tokens .token");
    await page.fill("input[aria-label='Feature to change']", "2");
    await page.click("form button:has-text('Add')");
    await page.click("button.main:has-text('Run')");
    await page.waitForSelector(".sides section");
    expect(await text(".sides")).toContain("went home");
  });
});

test.each([["games", "#/d/topk-64/f/19"], ["text", "#/d/words/f/2"]])("of %s: what ablating a feature does to each loss", async (kind, hash) => {
  await opened(hash);
  await page.click("button:has-text('Run the model')");
  await page.waitForSelector("svg[aria-label='KL by the strength it is clamped to']");
  const said = await page.locator(".tokens span[title$=' nats']").evaluateAll((all) => all.map((each) => [each.className, (each as HTMLElement).title]));
  expect(said.length).toBeGreaterThan(8);
  expect(said[0][1]).toMatch(kind === "games" ? /^[a-h][1-8]: 0 nats$/ : /: [+−0-9.]+ nats$/);
  for (const sign of ["plus", "minus"]) expect(said.some(([look]) => look.includes(sign))).toBe(true);
});

describe("a link", () => {
  test("shows the same in a new tab", async () => {
    await opened("#/d/topk-64/f/19?sort=-max");
    await feature(19);
    await page.keyboard.press("p");
    await page.fill("#search", "auroc>0.93");
    await page.waitForFunction(() => location.hash.includes("auroc"));
    await page.keyboard.press("Escape");
    await page.keyboard.press("ArrowLeft");
    await page.waitForFunction(() => location.hash.includes("game="));
    await page.waitForTimeout(300);
    const [url, table, ply] = [page.url(), await ids(), await text(".scrubber output")];
    const other = await watched(context);
    await other.goto(url);
    await other.waitForSelector("article[data-feature='19']");
    await other.waitForSelector(".tray article");
    expect(await ids(other)).toEqual(table);
    expect((await other.locator(".scrubber output").innerText()).trim()).toBe(ply);
  });

  test("to what is not there says so", async () => {
    await opened("#/d/topk-64/f/999");
    expect(await text("[role=alert]")).toBe("There is no feature 999: they run from 0 to 63.");
    await opened("#/d/nothing");
    expect(await text("[role=alert]")).toContain("There is no data/nothing/manifest.json");
  });
});

describe("a static export", () => {
  let python: ChildProcess;
  afterAll(() => void python?.kill());

  test("works under python's http.server on a path of its own", async () => {
    const top = mkdtempSync(join(tmpdir(), "export-"));
    mkdirSync(join(top, "some", "where"), { recursive: true });
    cpSync(PAGE, join(top, "some", "where"), { recursive: true });
    demo(join(top, "some", "where"), false);
    const port = await freePort();
    python = spawn("python3", ["-m", "http.server", String(port), "--bind", "127.0.0.1"], { cwd: top, stdio: "ignore" });
    await waitFor(`http://127.0.0.1:${port}/`);
    const base = `http://127.0.0.1:${port}/some/where/`;
    await open(base, "#/");
    await page.click("text=topk-64 >> nth=0");
    await page.waitForSelector("[role=grid]");
    await page.click(".line >> nth=5");
    await feature(5);
    await page.keyboard.press("j");
    await feature(6);
    await page.keyboard.press("s");
    expect(await text(".message")).toContain("cannot be saved");
    await page.click("nav >> text=Lab");
    expect(await text("main")).toContain("unweave view");
    await page.click("nav >> text=Board");
    await page.locator("svg [data-square='19']").click();
    await page.waitForSelector("ol li");
  });
});

const PAGES: Record<string, string> = {
  runs: "#/", dictionary: "#/d/topk-64?q=auroc%3E0.94&sort=-auroc", feature: "#/d/topk-64/f/19?sort=-auroc&pin=19,42", text: "#/d/words/f/2",
  board: "#/d/topk-64/board?square=d3&state=mine", lists: "#/d/topk-64/lists", lab: "#/d/topk-64/lab?play=d3c3b3&edit=19:clamp:5",
  "lab-text": "#/d/words/lab?text=The+cat+sat+on+the+mat&edit=2:ablate", compare: "#/compare?a=topk-64&b=sweep/topk-64-b&pin=19,3",
};

describe.each([1280, 390])("at %i pixels", (width) => {
  test.each(Object.entries(PAGES))("%s has no sideways scroll", async (name, hash) => {
    runs(folder, true, [{ path: "topk-64", kind: "games", d_sae: 64 }, { path: "sweep/topk-64-b", kind: "games", d_sae: 64 }, { path: "words", kind: "text", d_sae: 32 }]);
    await page.setViewportSize({ width, height: width > 800 ? 900 : 844 });
    await opened(hash);
    await page.waitForTimeout(400);
    if (name.startsWith("lab")) {
      await page.waitForSelector(name === "lab" ? ".matrix .line" : ".token");
      await page.click("button.main:has-text('Run')");
      await page.waitForSelector(".kl");
    }
    if (name === "compare") await page.click("button:has-text('Match all')");
    await page.waitForTimeout(300);
    const over = await page.evaluate(() => [document.documentElement.scrollWidth - innerWidth, ...[...document.querySelectorAll("main")].map((each) => each.scrollWidth - each.clientWidth)]);
    expect(Math.max(...over)).toBeLessThanOrEqual(0);
  });
});
