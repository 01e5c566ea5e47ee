// The page in Debian's Chromium, before a real proxy: what an operator does with it, who is kept out, what it weighs.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { BINARY, browser, lively, pool, proxy, stopAll } from "./lab.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let chromium;
before(async () => {
  chromium = await browser();
});
after(async () => {
  await chromium.close();
  await stopAll();
});

/** A page that must not complain, nor ask anybody but the proxy. `forgives` takes complaints that are expected. */
async function open(url, { forgives = () => false, ...options } = {}) {
  const context = await chromium.newContext({
    viewport: { width: 1440, height: 1000 },
    reducedMotion: "reduce",
    ...options,
  });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !forgives(message.text())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.stack));
  page.requests = [];
  page.on("request", (request) => page.requests.push(request.url()));
  page.finish = async () => {
    const strangers = page.requests.filter((request) => !request.startsWith(url) && !request.startsWith("data:"));
    await context.close();
    assert.deepEqual(complaints, []);
    assert.deepEqual(strangers, []);
  };
  await page.goto(url);
  return page;
}

const shown = (page) => page.locator("#ring .node").first().waitFor();
const names = (page) => page.locator("#rows .name").allTextContents();
const figure = (page, id) => page.locator(`#figure-${id}`).textContent();
const percent = (ratio) => `${(ratio * 100).toFixed(1)} %`;

/** Waits until what `look` finds is `wanted`. */
async function until(look, wanted) {
  let found;
  for (let attempt = 0; attempt < 150; attempt += 1) {
    found = await look();
    if (JSON.stringify(found) === JSON.stringify(wanted)) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert.deepEqual(found, wanted);
}

async function stageAddition(page, name, address) {
  await page.selectOption("#stage-verb", "add");
  await page.fill("#stage-name", name);
  await page.fill("#stage-address", address);
  await page.click("#stage button");
  await page.locator("#apply").waitFor();
}

/** A node that nobody asks. */
const quiet = (number, weight = 1) => ({ address: `10.0.0.${number}:80`, weight });
const THREE = () => pool("rooms", { a: quiet(1), b: quiet(2), c: { ...quiet(3), weight: 2 } });

describe("an operator", () => {
  let lab;
  before(async () => {
    lab = await lively();
  });
  after(() => lab.stop());

  test("reads the ring and finds a key", async () => {
    const page = await open(lab.it.url);
    await shown(page);
    const ring = await lab.it.call("GET", "/v1/pools/rooms/ring");
    assert.equal(await page.locator("#ring .node").count(), ring.nodes.length);
    assert.equal(await figure(page, "fingerprint"), ring.fingerprint);
    const explained = await lab.it.call("POST", "/v1/pools/rooms/explain", { key: "room-42" });
    await page.fill("#explain-text", "room-42");
    await page.keyboard.press("Enter");
    await page.locator(".verdict").waitFor();
    const answer = await page.locator("#answer").innerText();
    for (const part of [explained.why, explained.hash, explained.key_rule])
      assert.ok(answer.toLowerCase().includes(part), `${part} is not in ${answer}`);
    assert.deepEqual(
      await page.locator(".order .name").allTextContents(),
      explained.candidates.slice(0, 5).map(({ name }) => name),
    );
    const at = await page
      .locator("#needle circle")
      .evaluate((circle) => (Math.atan2(circle.cx.baseVal.value, -circle.cy.baseVal.value) / (2 * Math.PI) + 1) % 1);
    const turn = Number.parseInt(explained.hash.slice(0, 8), 16) / 2 ** 32;
    assert.ok(Math.abs(at - turn) < 0.001, `the needle is at ${at} and the key at ${turn} of the turn`);
    const next = explained.candidates.find(({ name }) => name !== explained.owner).name;
    await page.locator("#answer", { hasText: `${next} would serve it` }).waitFor();
    await page.selectOption("#explain-kind", "request");
    await page.fill("#explain-text", "/ws");
    await page.fill("#explain-headers", "x-room: room-7");
    await page.click("#explain button");
    await page.locator("#answer", { hasText: "header:x-room" }).waitFor();
    await page.finish();
  });

  test("moves to a node by keyboard and sees who would take over", async () => {
    const page = await open(lab.it.url);
    await shown(page);
    await page.locator("#rows .name").first().focus();
    await page.locator("#ring.dim .node.lit").waitFor();
    await page.locator("#lit", { hasText: "Without it they go to" }).waitFor();
    assert.ok((await page.locator("#ring .node.heir").count()) > 0);
    await page.finish();
  });

  test("sees a node fall ill, why, and well again", async () => {
    const page = await open(lab.it.url);
    await shown(page);
    lab.nodes["chat-2"].is.broken = true;
    await page
      .locator("#rows .state.ill", { hasText: /status 503, (just now|for \d+ s).*its keys are at chat-/ })
      .waitFor();
    assert.equal(await figure(page, "up"), "3/4");
    await page.locator("#events .node-down", { hasText: "chat-2 is ill" }).waitFor();
    lab.nodes["chat-2"].is.broken = false;
    await until(() => figure(page, "up"), "4/4");
    await page.finish();
  });

  test("sees live figures of the pool that is chosen", async () => {
    const page = await open(lab.it.url);
    await shown(page);
    await until(async () => Number(await figure(page, "rate")) > 5, true);
    await page.locator("#pools a", { hasText: "llm" }).click();
    await until(() => names(page), ["gpu-0", "gpu-1"]);
    assert.match(page.url(), /\?pool=llm$/);
    await page.goBack();
    await until(async () => (await names(page)).length, 4);
    await page.finish();
  });

  for (const [name, options] of [
    ["light", {}],
    ["dark", { colorScheme: "dark" }],
    ["narrow", { viewport: { width: 360, height: 800 } }],
  ]) {
    test(`has no barrier of weight (${name})`, async () => {
      const page = await open(lab.it.url, options);
      await shown(page);
      await page.fill("#explain-text", "room-42");
      await page.click("#explain button");
      await page.locator(".verdict").waitFor();
      await stageAddition(page, "x", "10.0.0.9:80");
      // By the tools' protocol: the page's own policy lets no script in.
      const cdp = await page.context().newCDPSession(page);
      await cdp.send("Runtime.evaluate", { expression: AXE });
      const { violations, passes } = await page.evaluate(() => globalThis.axe.run());
      const grave = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
      console.log(
        `axe, ${name}: ${passes.length} rules pass, ${grave.length} findings of weight,`,
        `others: ${
          violations
            .filter((found) => !grave.includes(found))
            .map(({ id }) => id)
            .join(", ") || "none"
        }`,
      );
      assert.deepEqual(
        grave.map(({ id, nodes }) => [id, nodes.slice(0, 3).map((node) => node.html)]),
        [],
      );
      const width = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(width[0] <= width[1], `the page is ${width[0]} pixels wide in a window of ${width[1]}`);
      await page.finish();
    });
  }

  test("is not kept waiting", async () => {
    const began = performance.now();
    const page = await open(lab.it.url);
    await page.locator("#link.live").waitFor();
    const live = performance.now() - began;
    await shown(page);
    const entries = await page.evaluate(() =>
      [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].map(
        ({ name, transferSize }) => ({ name, transferSize }),
      ),
    );
    const parts = entries.filter(({ name }) => !name.includes("/v1/"));
    const bytes = parts.reduce((sum, { transferSize }) => sum + transferSize, 0);
    const order = page.requests.filter((request) => !request.startsWith("data:"));
    const first = order.findIndex((request) => request.includes("/v1/events"));
    const painted = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
    console.log(
      `the page: ${bytes} bytes in ${parts.length} requests; painted with data after ${Math.round(painted)} ms,`,
      `live with request ${first + 1} after ${Math.round(live)} ms`,
    );
    assert.ok(bytes <= 60_000, `${bytes} bytes`);
    assert.ok(first + 1 <= 4, order.join("\n"));
    await page.finish();
  });
});

describe("a change", () => {
  test("is staged, planned as the API plans it, applied, seen, and rolled back", async () => {
    const it = await proxy(THREE());
    const page = await open(it.url);
    await shown(page);
    await stageAddition(page, "d", "10.0.0.4:80");
    const plan = await it.call("POST", "/v1/pools/rooms/plan", {
      changes: [{ add: { name: "d", address: "10.0.0.4:80" } }],
    });
    assert.deepEqual(
      await page.locator("#plan .figure").allTextContents(),
      [plan.moved_ratio, plan.optimal_ratio, plan.collateral_ratio].map(percent),
    );
    await page.click("#plan summary");
    const flows = plan.flows.map(({ from, to, ratio }) => `${from} → ${to}  ${percent(ratio)}`);
    assert.deepEqual(await page.locator("#plan .numbers li").allTextContents(), flows);
    assert.equal(await page.locator("#plan .moves").count(), plan.flows.length);
    await page.fill("#reason", "one more <b>");
    await page.click("#apply");
    await until(() => names(page), ["a", "b", "c", "d"]);
    assert.equal(await figure(page, "epoch"), "2");
    await page.locator("#events .change", { hasText: "“one more <b>”" }).waitFor();
    assert.equal((await it.call("GET", "/v1/pools/rooms")).fingerprint, plan.fingerprint_after);
    await page.getByRole("button", { name: "roll back to epoch 1" }).click();
    await page.locator("#apply", { hasText: "epoch 2" }).click();
    await until(() => names(page), ["a", "b", "c"]);
    assert.equal(await figure(page, "epoch"), "3");
    assert.equal(await figure(page, "fingerprint"), plan.fingerprint_before);
    await page.finish();
    await it.stop();
  });

  test("can be made by the command that the page shows", async () => {
    const it = await proxy(THREE());
    const page = await open(it.url, { forgives: (text) => text.includes("422") });
    await shown(page);
    await stageAddition(page, "d", "10.0.0.4:80");
    await page.selectOption("#stage-verb", "weight");
    await page.selectOption("#stage-node", "a");
    await page.fill("#stage-weight", "3");
    await page.click("#stage button");
    await page.fill("#reason", "it's time");
    const command = await page.locator("#command", { hasText: "weight a=3" }).textContent();
    assert.equal(
      command,
      `ringway apply --admin ${it.url} --pool rooms --if-epoch 1 --reason 'it'\\''s time' add d=10.0.0.4:80 weight a=3`,
    );
    execFileSync("sh", ["-c", `ringway() { "$RINGWAY" "$@"; }; ${command}`], {
      env: { ...process.env, RINGWAY: BINARY },
    });
    await until(() => names(page), ["a", "b", "c", "d"]);
    await page.locator("#rows tr", { hasText: "weight 3" }).waitFor();
    await page.locator("#plan [role=alert]", { hasText: "Take the change back" }).waitFor();
    await page.finish();
    await it.stop();
  });

  test("keeps what is being written while it is planned again", async () => {
    const it = await proxy(THREE());
    const page = await open(it.url);
    await shown(page);
    await stageAddition(page, "d", "10.0.0.4:80");
    await page.selectOption("#stage-verb", "weight");
    await page.selectOption("#stage-node", "a");
    await page.fill("#stage-weight", "3");
    let goOn;
    const written = new Promise((resolve) => {
      goOn = resolve;
    });
    await page.route("**/plan", (route) => written.then(() => route.continue()), { times: 1 });
    await page.click("#stage button");
    await page.focus("#reason");
    await page.keyboard.type("isk wap");
    await page.keyboard.press("Home");
    await page.keyboard.type("d");
    const changes = [{ add: { name: "d", address: "10.0.0.4:80" } }, { weight: { name: "a", weight: 3 } }];
    const plan = await it.call("POST", "/v1/pools/rooms/plan", { changes });
    goOn();
    await until(() => page.locator("#plan .figure").first().textContent(), percent(plan.moved_ratio));
    for (let at = 0; at < "isk ".length; at += 1) await page.keyboard.press("ArrowRight");
    await page.keyboard.type("s");
    assert.equal(await page.inputValue("#reason"), "disk swap");
    assert.match(await page.locator("#command").textContent(), / --reason 'disk swap' add d=10.0.0.4:80 weight a=3$/);
    await page.finish();
    await it.stop();
  });

  test("that comes too late is planned again and not made", async () => {
    const it = await proxy(THREE());
    const page = await open(it.url, { forgives: (text) => text.includes("412") });
    await shown(page);
    await stageAddition(page, "d", "10.0.0.4:80");
    await page.route(
      "**/apply",
      async (route) => {
        await it.call("POST", "/v1/pools/rooms/apply", { changes: [{ weight: { name: "a", weight: 5 } }] });
        await route.continue();
      },
      { times: 1 },
    );
    await page.click("#apply");
    await page.locator("#plan-why", { hasText: "epoch 2" }).waitFor();
    await page.locator("#apply", { hasText: "epoch 2" }).waitFor();
    assert.deepEqual(await names(page), ["a", "b", "c"]);
    await page.click("#apply");
    await until(() => names(page), ["a", "b", "c", "d"]);
    await page.finish();
    await it.stop();
  });

  test("that is unsafe needs a tick that says what it does", async () => {
    const it = await proxy(pool("rooms", { a: quiet(1), b: quiet(2, 9) }));
    const page = await open(it.url);
    await shown(page);
    await page.selectOption("#stage-verb", "remove");
    await page.selectOption("#stage-node", "b");
    await page.click("#stage button");
    const { unsafe_reason: why } = await it.call("POST", "/v1/pools/rooms/plan", {
      changes: [{ remove: { name: "b" } }],
    });
    await page.locator(".tick", { hasText: why }).waitFor();
    await page.click("#apply");
    assert.equal((await it.call("GET", "/v1/pools/rooms")).epoch, 1, "the browser asks for the tick first");
    await page.check("#force");
    assert.match(await page.locator("#command").textContent(), / --force remove b$/);
    await page.click("#apply");
    await until(() => names(page), ["a"]);
    await page.finish();
    await it.stop();
  });

  test("that is refused says why and what to do", async () => {
    const it = await proxy(THREE());
    const page = await open(it.url, { forgives: (text) => text.includes("422") });
    await shown(page);
    await page.fill("#stage-name", "a");
    await page.fill("#stage-address", "10.0.0.4:80");
    await page.click("#stage button");
    await page.locator("#plan [role=alert]", { hasText: "Take the change back" }).waitFor();
    await page.getByRole("button", { name: "Take back: add a" }).click();
    await until(() => page.locator("#plan").innerText(), "");
    await page.finish();
    await it.stop();
  });
});

describe("where a token is asked for", () => {
  test("the page asks for it, keeps it to itself, and shows readers what readers may do", async () => {
    const it = await proxy(THREE() + pool("other", { x: quiet(9) }, 'match = { path = "/other/" }'), {
      "token-file": "operate-secret",
      "read-token-file": "read-secret",
    });
    await it.call("POST", "/v1/pools/rooms/apply", { changes: [{ weight: { name: "a", weight: 2 } }] });
    const page = await open(it.url, { forgives: (text) => text.includes("401") });
    await page.fill("#token-text", "wrong");
    await page.keyboard.press("Enter");
    await page.locator("#notice", { hasText: "not known" }).waitFor();
    await page.fill("#token-text", "read-secret");
    await page.keyboard.press("Enter");
    await shown(page);
    await page.locator("#role", { hasText: "read only" }).waitFor();
    await page.locator("#events .change").first().waitFor();
    assert.equal(await page.getByRole("button", { name: /roll back/ }).count(), 0);
    await page.fill("#stage-name", "d");
    await page.fill("#stage-address", "10.0.0.4:80");
    await page.click("#stage button");
    await page.locator("#plan .flows").waitFor();
    assert.equal(await page.locator("#apply").count(), 0);
    await page.locator("#pools a", { hasText: "other" }).click();
    await until(() => names(page), ["x"]);
    const kept = await page.evaluate(() => [
      location.href,
      document.cookie,
      localStorage.length,
      sessionStorage.length,
      document.documentElement.outerHTML,
    ]);
    assert.deepEqual(kept.slice(1, 4), ["", 0, 0]);
    assert.ok(!kept.join().includes("read-secret") && !page.requests.join().includes("secret"));
    await page.reload();
    await page.locator("#token-text").waitFor();
    assert.equal(await page.locator("#view").isVisible(), false, "a page that is loaded again knows nothing");
    await page.finish();
    await it.stop();
  });
});

describe("a proxy that goes away", () => {
  test("is missed, and found again by itself", async () => {
    const it = await proxy(THREE());
    const page = await open(it.url, { forgives: (text) => /ERR_|Failed to load/.test(text) });
    await shown(page);
    await it.end();
    await page.locator("#link.lost", { hasText: "Next attempt in" }).waitFor();
    await it.again();
    await page.locator("#link.live").waitFor();
    assert.deepEqual(await names(page), ["a", "b", "c"]);
    await page.finish();
    await it.stop();
  });
});

describe("without a script", () => {
  test("the figures and the nodes can be read, and the ring seen", async () => {
    const it = await proxy(THREE());
    const page = await open(it.url, { javaScriptEnabled: false });
    assert.deepEqual(await names(page), ["a", "b", "c"]);
    assert.equal(await figure(page, "up"), "3/3");
    const image = page.locator("#ring img");
    await image.waitFor();
    assert.equal(await page.locator("#change").isVisible(), false);
    await page.finish();
    await it.stop();
  });
});

describe("a page that is open", () => {
  test("costs the requests nothing that can be measured", async () => {
    const lab = await lively();
    await new Promise((resolve) => setTimeout(resolve, 2000));
    /** Microseconds of the data plane for each request, over some seconds. */
    const cost = async () => {
      const before = [workerTicks(lab.it.child.pid), await requests(lab.it)];
      await new Promise((resolve) => setTimeout(resolve, 6000));
      const after = [workerTicks(lab.it.child.pid), await requests(lab.it)];
      return ((after[0] - before[0]) * 10_000) / (after[1] - before[1]);
    };
    const alone = await cost();
    const page = await open(lab.it.url);
    await shown(page);
    const watched = await cost();
    console.log(
      `a request costs the data plane ${alone.toFixed(0)} us, and ${watched.toFixed(0)} us while a page is open:`,
      `ratio ${(watched / alone).toFixed(2)}`,
    );
    await page.finish();
    await lab.stop();
  });
});

/** The time that the data plane's threads have run, in ticks of 10 ms (proc(5)). */
function workerTicks(pid) {
  const tasks = `/proc/${pid}/task`;
  const workers = readdirSync(tasks).filter((task) =>
    readFileSync(`${tasks}/${task}/comm`, "utf8").startsWith("worker-"),
  );
  const fields = (task) => readFileSync(`${tasks}/${task}/stat`, "utf8").split(") ")[1].split(" ");
  return workers.reduce((sum, task) => sum + Number(fields(task)[11]) + Number(fields(task)[12]), 0);
}

async function requests(it) {
  const { pools } = await it.call("GET", "/v1/status");
  return pools.flatMap(({ nodes }) => nodes).reduce((sum, node) => sum + node.requests, 0);
}

describe("a thousand nodes in ten pools", () => {
  test("stay usable", async () => {
    const nodes = (count) =>
      Object.fromEntries(Array.from({ length: count }, (_, index) => [`node-${index}`, quiet(1 + (index % 250))]));
    // One pool has most of them, as the worst that the page has to bear.
    const pools = Array.from({ length: 10 }, (_, index) =>
      pool(`pool-${index}`, nodes(index === 0 ? 550 : 50), `match = { path = "/${index}/" }`),
    );
    const it = await proxy(pools.join(""));
    const began = performance.now();
    const page = await open(it.url);
    await page.locator("#rows .name").first().waitFor();
    const rows = performance.now() - began;
    await shown(page);
    const ring = performance.now() - began;
    assert.equal(await page.locator("#ring .node").count(), 550);
    assert.equal(await page.locator("#rows tr").count(), 200);
    const time = async (act, done) => {
      const from = performance.now();
      await act();
      await done();
      return Math.round(performance.now() - from);
    };
    const more = await time(
      () => page.click("#rest button"),
      () => until(() => page.locator("#rows tr").count(), 400),
    );
    const filtered = await time(
      () => page.fill("#filter", "node-54"),
      () => until(() => page.locator("#rows tr").count(), 11),
    );
    const switched = await time(
      () => page.locator("#pools a", { hasText: "pool-9" }).click(),
      () => until(() => page.locator("#ring .node").count(), 50),
    );
    await page.locator("#pools a", { hasText: "pool-0" }).click();
    await until(() => page.locator("#ring .node").count(), 550);
    const tick = await page.evaluate(async () => {
      const observer = [];
      new PerformanceObserver((list) => observer.push(...list.getEntries().map(({ duration }) => duration))).observe({
        entryTypes: ["longtask"],
      });
      await new Promise((resolve) => setTimeout(resolve, 5000));
      return observer;
    });
    console.log(
      `550 of 1,000 nodes: rows after ${Math.round(rows)} ms, ring after ${Math.round(ring)} ms,`,
      `200 rows more ${more} ms, filter ${filtered} ms, another pool ${switched} ms;`,
      `tasks over 50 ms in 5 s of watching: ${tick.map(Math.round).join(", ") || "none"}`,
    );
    await page.finish();
    await it.stop();
  });
});
