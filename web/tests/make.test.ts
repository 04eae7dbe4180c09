import { test } from "vitest";
import { demo } from "./fixture";
test("make", () => { if (process.env.OUT) demo(process.env.OUT, process.env.LIVE === "1"); });
