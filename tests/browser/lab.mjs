// What the browser looks at: a real proxy on free ports, nodes that answer in this process, traffic; and the browser.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const BINARY =
  process.env.RINGWAY_BIN ?? fileURLToPath(new URL("../../target/release/ringway", import.meta.url));

/** What stops whatever runs. */
const running = new Set();

/** Stops what a test that failed has left running, which would keep this process from ending. */
export const stopAll = () => Promise.all([...running].map((stop) => stop()));

/** A port that was free a moment ago. */
async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A node that answers after `ms` milliseconds, more or less, and with 503 while it is `broken`. */
export async function node({ ms = 3 } = {}) {
  const is = { broken: false };
  const server = http.createServer((request, response) => {
    setTimeout(
      () => {
        response.statusCode = is.broken ? 503 : 200;
        response.end("ok\n");
      },
      ms * (0.5 + Math.random() + (Math.random() < 0.03 ? 4 : 0)),
    );
  });
  server.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const stop = () => {
    running.delete(stop);
    server.closeAllConnections();
    server.close();
  };
  running.add(stop);
  return { address: `127.0.0.1:${server.address().port}`, is, stop };
}

/** Starts a proxy with these pools in TOML; `tokens` are written into files of its own. */
export async function proxy(pools, tokens = {}) {
  const directory = mkdtempSync(path.join(tmpdir(), "ringway-browser-"));
  const [http_, admin] = [await freePort(), await freePort()];
  const files = Object.entries(tokens).map(([name, token]) => {
    writeFileSync(path.join(directory, name), token);
    return `${name} = "${path.join(directory, name)}"\n`;
  });
  const config = path.join(directory, "ringway.toml");
  writeFileSync(
    config,
    `listen = ["127.0.0.1:${http_}"]\nworkers = 1\n[admin]\nlisten = "127.0.0.1:${admin}"\n${files.join("")}` +
      `[store]\nkind = "memory"\n${pools}`,
  );
  const start = () => spawn(BINARY, ["serve", "-c", config], { stdio: ["ignore", "ignore", "pipe"] });
  const it = { url: `http://127.0.0.1:${admin}`, http: http_, child: start(), log: "" };
  it.child.stderr.on("data", (data) => {
    it.log += data;
  });
  it.call = async (method, target, body) => {
    const headers = {
      "content-type": "application/json",
      ...(tokens["token-file"] && { authorization: `Bearer ${tokens["token-file"]}` }),
      "x-ringway-actor": body?.actor ?? "test",
    };
    const response = await fetch(it.url + target, {
      method,
      headers,
      body: body && JSON.stringify({ ...body, actor: undefined }),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(`${method} ${target}: ${JSON.stringify(answer)}`);
    return answer;
  };
  it.end = async () => {
    if (it.child.exitCode !== null) return;
    const ended = new Promise((resolve) => it.child.once("exit", resolve));
    it.child.kill("SIGKILL");
    await ended;
  };
  it.again = async () => {
    it.child = start();
    await ready(it);
  };
  it.stop = async () => {
    running.delete(it.stop);
    await it.end();
    rmSync(directory, { recursive: true, force: true });
  };
  running.add(it.stop);
  await ready(it);
  return it;
}

async function ready(it) {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const answer = await fetch(`${it.url}/healthz`).catch(() => null);
    if (answer?.ok) return;
    if (it.child.exitCode !== null) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`the proxy does not serve: ${it.log}`);
}

/** Sends requests without pause over `connections` until stopped; few keys are popular, most are not. */
export function traffic(it, { connections = 6, path: target = "/", keys = 5000, pause = 12 } = {}) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: connections });
  let stopped = false;
  const once = () =>
    new Promise((resolve) => {
      const key = `room-${Math.floor(keys * Math.random() ** 1.6)}`;
      const url = Math.random() < 0.004 ? target : `${target}?room=${key}`;
      const request = http.get({ host: "127.0.0.1", port: it.http, path: url, agent }, (response) =>
        response.resume().once("end", resolve).once("error", resolve),
      );
      request.once("error", resolve);
    });
  const client = async () => {
    while (!stopped) {
      await once();
      await new Promise((resolve) => setTimeout(resolve, pause * 2 * Math.random()));
    }
  };
  const clients = Array.from({ length: connections }, client);
  const stop = async () => {
    running.delete(stop);
    stopped = true;
    await Promise.all(clients);
    agent.destroy();
  };
  running.add(stop);
  return stop;
}

/** Debian's Chromium. As root it has no sandbox; the page it opens is ours. */
export function browser() {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  return chromium.launch({ executablePath, args: process.getuid() === 0 ? ["--no-sandbox"] : [] });
}

/** One pool in TOML. */
export function pool(name, nodes, more = "") {
  const list = Object.entries(nodes).map(
    ([node, { address, weight = 1, zone }]) =>
      `{ name = "${node}", address = "${address}", weight = ${weight}${zone ? `, zone = "${zone}"` : ""} }`,
  );
  const key = 'key = ["query:room", "header:x-room"]';
  return `[[pool]]\nname = "${name}"\n${key}\n${more}\ninitial-nodes = [\n${list.join(",\n")}\n]\n`;
}

/** A lively proxy: two pools, one node ill, and a history with reasons. */
export async function lively() {
  const nodes = {};
  for (const [name, ms] of [
    ["chat-0", 4],
    ["chat-1", 5],
    ["chat-2", 9],
    ["chat-3", 4],
    ["gpu-0", 40],
    ["gpu-1", 55],
  ])
    nodes[name] = await node({ ms });
  const rooms = {
    "chat-0": { ...nodes["chat-0"], zone: "a" },
    "chat-1": { ...nodes["chat-1"], zone: "b" },
    "chat-2": { ...nodes["chat-2"], zone: "a" },
  };
  const checks = 'load-bound = { factor = 1.25, min-gap = 4 }\nhealth = { path = "/healthz", every = "1s" }';
  const it = await proxy(
    pool("rooms", rooms, checks) +
      pool("llm", { "gpu-0": nodes["gpu-0"], "gpu-1": nodes["gpu-1"] }, 'match = { path = "/v1/" }'),
  );
  const change = (actor, reason, ...changes) => it.call("POST", "/v1/pools/rooms/apply", { actor, reason, changes });
  await change("mara", "evening peak", { add: { name: "chat-3", address: nodes["chat-3"].address, zone: "b" } });
  await change("deploy", "new kernel on chat-1", { drain: { name: "chat-1" } });
  await change("deploy", "chat-1 is back", { undrain: { name: "chat-1" } });
  await change("mara", "chat-0 has twice the memory", { weight: { name: "chat-0", weight: 2 } });
  const stops = [traffic(it, { connections: 8 }), traffic(it, { connections: 4, path: "/v1/chat", keys: 300 })];
  const stop = async () => {
    await it.stop();
    await Promise.all(stops.map((stop) => stop()));
    Object.values(nodes).forEach((node) => node.stop());
  };
  return { it, nodes, stop };
}
