// Debian's Chromium for the browser tests: one for a file, a fresh page for each test, whose errors are failures.

import { createServer } from "node:net";
import { chromium, type Browser, type BrowserContext, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";

let browser: Browser;
let wrong: string[] = [];
export let context: BrowserContext;
export let page: Page;

/** To be called once at the top of a file of tests. */
export function launch(): void {
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
  }, 60000);
  afterAll(() => browser?.close());
  beforeEach(async () => {
    wrong = [];
    context = await browser.newContext({ viewport: { width: 1280, height: 860 }, acceptDownloads: true });
    page = await watched(context);
  });
  afterEach(async () => {
    await context.close();
    expect(wrong).toEqual([]);
  });
}

/** A page whose errors, and requests to any other host, are failures. */
export async function watched(from: BrowserContext): Promise<Page> {
  const opened = await from.newPage();
  opened.setDefaultTimeout(20000);
  opened.on("pageerror", (error) => wrong.push(error.message));
  opened.on("console", (message) => message.type() === "error" && !message.text().includes("404") && wrong.push(message.text()));
  opened.on("request", (request) => {
    if (!/^(http:\/\/127\.0\.0\.1:|data:|blob:)/.test(request.url())) wrong.push(`asked ${request.url()}`);
  });
  return opened;
}

export async function open(base: string, hash: string): Promise<void> {
  await page.goto("about:blank");
  await page.goto(base + hash);
  await page.waitForSelector("main .page > *");
}

export const text = async (selector: string): Promise<string> => (await page.locator(selector).first().innerText()).trim();
/** The numbers of the features in the table, as far as they are on the screen, from the top. */
export const ids = (on = page): Promise<string[]> =>
  on.locator("[role=grid] .line").evaluateAll((lines) =>
    lines.toSorted((a, b) => Number(a.ariaRowIndex) - Number(b.ariaRowIndex)).map((line) => line.querySelector(".id")?.textContent?.trim() ?? ""),
  );
export const feature = (id: number): Promise<unknown> => page.waitForSelector(`article[data-feature="${id}"]`);
export const rows = (): Promise<number> => page.locator("[role=grid]").getAttribute("aria-rowcount").then((n) => Number(n) - 1);

export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => resolve(port));
    });
  });
}

/** Until somebody answers there. Throws an Error after a minute. */
export async function waitFor(url: string): Promise<void> {
  for (let i = 0; i < 600; i++) {
    if (await fetch(url).then(() => true, () => false)) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`Nobody answers at ${url}`);
}
