// Writes the pictures of the page for the documentation, from a lively proxy with one node ill and a change staged.

import { writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { browser, lively, node } from "./lab.mjs";
import { smallPng } from "./small-png.mjs";

const DOCS = process.env.PICTURES ?? fileURLToPath(new URL("../../docs", import.meta.url));

const lab = await lively();
const spare = await node({ ms: 4 });
const chromium = await browser();

async function open({ width, height, colorScheme }) {
  const page = await chromium.newPage({ viewport: { width, height }, colorScheme, reducedMotion: "reduce" });
  page.on("console", (message) => console.error(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => console.error(error));
  await page.goto(lab.it.url);
  await page.locator("#ring .node").first().waitFor();
  return page;
}

async function find(page, key) {
  await page.fill("#explain-text", key);
  await page.click("#explain button");
  await page.locator(".verdict").waitFor();
}

async function stage(page) {
  await page.fill("#stage-name", "chat-4");
  await page.fill("#stage-address", spare.address);
  await page.fill("#stage-zone", "a");
  await page.click("#stage button");
  await page.locator("#apply").waitFor();
}

// A page that was open before the node fell ill has heard of it.
const pages = {
  light: await open({ width: 1280, height: 860, colorScheme: "light" }),
  dark: await open({ width: 1280, height: 860, colorScheme: "dark" }),
  narrow: await open({ width: 360, height: 1200, colorScheme: "light" }),
  plan: await open({ width: 1280, height: 940, colorScheme: "light" }),
};
await new Promise((resolve) => setTimeout(resolve, 10_000));
lab.nodes["chat-2"].is.broken = true;
await pages.light.locator(".state.ill").waitFor();
await new Promise((resolve) => setTimeout(resolve, 12_000));
for (const [name, page] of Object.entries(pages)) {
  await find(page, "room-42");
  if (name === "plan") {
    await stage(page);
    await page.fill("#reason", "one more node for the weekend");
    await page.locator("#change").evaluate((section) => section.scrollIntoView());
  }
  await page.mouse.move(0, 0);
  await page.waitForTimeout(1500);
  writeFileSync(path.join(DOCS, `page-${name}.png`), smallPng(await page.screenshot()));
}
await chromium.close();
await lab.stop();
spare.stop();
