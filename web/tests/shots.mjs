// Pictures of every page: `npm run shots -- http://127.0.0.1:8765/ ../docs/screenshots`, of a folder that is being viewed. It takes
// the first run of games that was scored, another one to compare it with, and the first run of text. It needs pngquant; the pictures in
// docs/ were made with the fonts Inter and P052 installed.

import { execFileSync } from "node:child_process";
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [base, out] = process.argv.slice(2);
if (!out) throw new Error("Say what is being viewed and where the pictures go: npm run shots -- http://127.0.0.1:8765/ FOLDER");
mkdirSync(out, { recursive: true });
const { runs } = await (await fetch(new URL("runs.json", base))).json();
const viewed = runs.filter((run) => run.view && !run.error);
const games = viewed.find((run) => run.view.kind === "games" && run.scores) ?? viewed.find((run) => run.view.kind === "games");
const other = viewed.find((run) => run.view.kind === "games" && run !== games);
const text = viewed.find((run) => run.view.kind === "text");

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--font-render-hinting=none"] });

/** One picture: `after` does what a person would before looking; `tall` is the window's height. */
async function shot(name, hash, { dark = false, width = 1280, tall = 900, after = null } = {}) {
  if (process.env.ONLY && !new RegExp(process.env.ONLY).test(name)) return;
  const context = await browser.newContext({ viewport: { width, height: tall }, colorScheme: dark ? "dark" : "light" });
  const page = await context.newPage();
  page.setDefaultTimeout(60000);
  await page.goto(base + hash);
  await page.waitForSelector("main .page > *");
  await page.waitForLoadState("networkidle");
  await page.waitForTimeout(500);
  if (after) await after(page);
  await page.waitForTimeout(400);
  const path = join(out, `${name}.png`);
  await page.screenshot({ path });
  // A palette of 256 colours is enough for a page of two hues, and a third of the size.
  execFileSync("pngquant", ["--force", "--ext", ".png", "--speed", "1", path]);
  console.log(`${path}: ${Math.round(statSync(path).size / 1000)} kB`);
  await context.close();
}

const down = (heading) => async (page) => {
  await page.locator(`h2:has-text("${heading}")`).first().evaluate((each) => each.closest("section").scrollIntoView());
};
const tested = async (page) => {
  await page.click("button:has-text('Run the model')");
  await page.waitForSelector("svg[aria-label^='KL by the strength']");
  await down("What it does to the model")(page);
};
const steered = (row) => async (page) => {
  await page.waitForSelector(row);
  await page.click("button.main:has-text('Run')");
  await page.waitForSelector(".kl");
};

/** The features of a run of which a column is largest. */
async function largest(run, column, n) {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${base}#/d/${run.path.replaceAll("/", ":")}?sort=-${column}`);
  await page.waitForSelector(".line .id");
  const found = await page.locator(".line .id").allInnerTexts();
  await context.close();
  return found.slice(0, n).map((each) => each.trim());
}

await shot("runs", "#/?q=not+control", { tall: 620 });
if (games) {
  const at = `#/d/${games.path.replaceAll("/", ":")}`;
  const [best, second, third] = await largest(games, "auroc", 3);
  const feature = `${at}/f/${best}?sort=-auroc`;
  const play = `${at}/lab?play=f5d6c3d3c4f4f6&edit=${best}:clamp:8`;
  await shot("dictionary", `${at}?q=density%3E0.02&sort=-auroc`, { tall: 1240 });
  await shot("dictionary-dark", `${at}?q=density%3E0.02&sort=-auroc`, { dark: true });
  await shot("feature", feature);
  await shot("feature-boards", feature, { after: down("The board when") });
  await shot("feature-dark", `${feature}&pin=${best},${second}`, { dark: true });
  await shot("feature-390", feature, { width: 390, tall: 844 });
  await shot("board", `${at}/board?square=c4&state=empty`);
  await shot("board-390", `${at}/board?square=c4&state=empty`, { width: 390, tall: 844, dark: true });
  await shot("lab", play, { tall: 1440, after: steered(".matrix .line") });
  await shot("lab-390", play, { width: 390, tall: 844 });
  await shot("lists", `${at}/lists?pin=${best},${second},${third}`);
  await shot("keys", at, { after: (page) => page.keyboard.press("?") });
  if (other) {
    await shot("compare", `#/compare?a=${games.path}&b=${other.path}&pin=${best},${second}`, {
      tall: 1240,
      after: async (page) => {
        await page.click("button:has-text('Match all')");
        await page.waitForSelector("text=have a match");
      },
    });
  }
}
if (text) {
  const at = `#/d/${text.path.replaceAll("/", ":")}`;
  const [first] = await largest(text, "top_token_share", 1);
  await shot("text", `${at}/f/${first}?sort=-top_token_share`, { tall: 1100 });
  await shot("text-effects", `${at}/f/${first}?sort=-top_token_share`, { tall: 860, after: down("Makes likelier") });
  await shot("text-model", `${at}/f/${first}?sort=-top_token_share`, { tall: 620, after: tested });
  await shot("text-dark", `${at}/f/${first}?sort=-top_token_share`, { dark: true });
  await shot("text-390", `${at}/f/${first}`, { width: 390, tall: 844 });
  await shot("lab-text", `${at}/lab?text=${encodeURIComponent("def area(width, height):\n    return width")}&edit=${first}:clamp:40`, { tall: 1250, after: steered(".token") });
}
await browser.close();
