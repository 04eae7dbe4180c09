// The page on a real run, served by the real server: UNWEAVE is the command, RUN a trained run of Othello. Left out where RUN
// is not said, since it needs Python, PyTorch and a run; .ci/run says it.

import { spawn, type ChildProcess } from "node:child_process";
import { dirname } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { feature, freePort, launch, open, page, text, waitFor } from "./browser";

const { RUN, UNWEAVE = "unweave" } = process.env;

describe.skipIf(!RUN)("a real run", () => {
  let server: ChildProcess;
  let base = "";
  const stop = (): Promise<void> => new Promise((resolve) => {
    server.once("exit", () => resolve());
    server.kill("SIGINT");
  });
  async function start(): Promise<void> {
    const port = await freePort();
    base = `http://127.0.0.1:${port}/`;
    server = spawn(UNWEAVE, ["view", RUN!, "--no-open", "--port", String(port)], { stdio: ["ignore", "ignore", "inherit"] });
    await waitFor(base);
  }

  launch();
  let at = "";
  beforeAll(async () => {
    await start();
    const { runs } = (await (await fetch(`${base}runs.json`)).json()) as { runs: { path: string; view: object | null }[] };
    at = `#/d/${runs.find((run) => run.view)!.path.replaceAll("/", ":")}`;
  }, 600000);
  afterAll(async () => {
    if (server?.exitCode === null) await stop();
  });

  /** The strongest feature of its column of density, so that it surely fires. */
  async function busiest(): Promise<number> {
    await open(base, `${at}?sort=-density`);
    return Number(await text(".line .id"));
  }

  test("shows its first board within a second", async () => {
    const id = await busiest();
    const all: number[] = [];
    for (let i = 0; i < 3; i++) {
      await page.goto("about:blank");
      await page.goto(`${base}${at}/f/${id}`, { waitUntil: "commit" });
      all.push(await page.evaluate(async () => {
        while (!document.querySelector(".big .disc")) await new Promise(requestAnimationFrame);
        return performance.now();
      }));
    }
    console.info(`${dirname(RUN!)}: first board ${Math.min(...all).toFixed(0)} ms`);
    expect(Math.min(...all)).toBeLessThan(1000);
  });

  test("keeps a note over the server's restart", async () => {
    const id = await busiest();
    await open(base, `${at}/f/${id}`);
    await feature(id);
    const note = `seen at ${Date.now()} <b>as text</b>`;
    await page.fill("textarea", note);
    await page.click("button:has-text('Save note')");
    await page.waitForSelector(".note");
    await stop();
    await start();
    await open(base, `${at}/lists`);
    expect(await text("main table")).toContain(note);
  }, 120000);

  test("plays a game in the lab, changes a feature, and shows what the model then expects", async () => {
    const id = await busiest();
    await open(base, `${at}/lab?edit=${id}:clamp:20`);
    for (const square of ["f5", "d6", "c3"]) {
      await page.locator(`svg.board [aria-label^="${square}"]`).first().click();
      await page.waitForFunction((played) => location.hash.includes(played), square);
    }
    await page.waitForSelector(".matrix .line", { timeout: 120000 });
    await page.click("button.main:has-text('Run')");
    await page.waitForSelector(".kl", { timeout: 120000 });
    expect(await text(".kl h3 small")).not.toContain("on average 0)");
    expect(await page.locator("svg[aria-label='KL by strength']").count()).toBe(1);
    expect(await page.locator("svg[aria-label=\"Change of each next move's probability\"] .heat.plus").count()).toBeGreaterThan(0);
  }, 300000);
});
