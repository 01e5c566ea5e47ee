// What the page knows, and what happens when something does.

/** What the page knows of one pool, as it begins. */
const fresh = () => ({
  of: null,
  ring: null,
  detail: null,
  history: null,
  turns: [],
  wanted: PAGE_EVENTS,
  lit: null,
  pinned: null,
  heirs: new Map(),
  pieces: new Map(),
  places: new Map(),
  peaks: new Map(),
  question: null,
  found: null,
  staged: nothing(),
  plan: null,
  applying: false,
});

/** The one state of the page: the pool, its status (`of`), its ring, and what is staged, lit or asked. */
const state = { pool: null, pools: [], role: null, stop: null, ...fresh() };

function showProblem(problem) {
  if (problem.status !== 401)
    notice(
      problem.message,
      " ",
      make(
        "button",
        {
          type: "button",
          onclick: () => {
            notice("");
            refresh();
          },
        },
        "Try again",
      ),
    );
}

/** Says how the page is connected. */
function connection(is, text) {
  const link = byId("link");
  if (link.className !== is && is === "lost") announce(text);
  link.className = is;
  write(link, text);
  document.documentElement.classList.toggle("stale", is === "lost");
}

function askForToken(why) {
  state.stop?.();
  token = null;
  byId("token").hidden = false;
  byId("view").hidden = true;
  notice(why);
  connection("", "");
  byId("token-text").focus();
}

/** Shows a pool from its beginning and follows it; without a name, the first one. */
async function open(name) {
  state.stop?.();
  Object.assign(state, { pool: name }, fresh());
  table.rows.clear();
  notice("");
  for (const id of ["answer", "plan", "staged", "events", "ring", "rows", "trouble", "explain-text"])
    byId(id).replaceChildren();
  connection("", "connecting…");
  if (!name) {
    const { pools } = await call("GET", "/v1/pools");
    if (pools.length === 0) return notice("This proxy has no pool. Give it one in its config file.");
    return open(pools[0].pool);
  }
  write(byId("pool"), name);
  document.title = `${name} · Ringway`;
  state.stop = follow(name, hear);
  return undefined;
}

/** Takes in what the stream of events tells. */
function hear(name, data) {
  if (name === "status") return takeStatus(data);
  if (name === "missed") return refresh();
  if (name !== "membership") return noteTurn(name, data);
  announce(`${data.actor} changed the pool; it is at epoch ${data.epoch}.`);
  return undefined;
}

function takeStatus(status) {
  const pool = status.pools.find((pool) => pool.pool === state.pool);
  Object.assign(state, { pools: status.pools, role: status.role });
  byId("token").hidden = true;
  byId("view").hidden = false;
  byId("role").hidden = status.role === "operate";
  connection("live", status.phase === "running" ? "live" : status.phase);
  if (!pool) return notice(`The pool ${state.pool} is gone from the config. Choose another one above.`);
  const isFirst = state.of === null;
  const isNew = isFirst || state.of.epoch !== pool.epoch || state.of.fingerprint !== pool.fingerprint;
  state.of = pool;
  place(pool.nodes.map((node) => node.name));
  showStatus();
  showPanel();
  if (isFirst) for (const id of ["change", "timeline"]) byId(id).hidden = false;
  if (isNew) refresh();
  else if (state.lit ?? state.pinned) showLit();
  return undefined;
}

/** Reads again what only a change of the pool changes. */
async function refresh() {
  const { pool } = state;
  try {
    const [ring, detail] = await Promise.all([
      call("GET", poolPath("ring")),
      call("GET", `/v1/pools/${encodeURIComponent(pool)}`),
    ]);
    if (pool !== state.pool) return;
    const before = state.ring?.epoch;
    Object.assign(state, { ring, detail, heirs: new Map() });
    const owner = detail.owner === "file" ? "nodes from the config file" : "nodes from the store";
    write(byId("rule"), `key ${detail.key} · ${placementWords(detail.placement)} · ${owner}`);
    drawRing(ring);
    await Promise.all([readTimeline(), explain()]);
    if (isStaged() && !state.applying && state.plan?.epoch !== ring.epoch && before !== undefined)
      await plan(`The pool is at epoch ${ring.epoch} now. This is the plan from there.`);
  } catch (problem) {
    showProblem(problem);
  }
}

/** The list of pools, each with how it does. */
function showPools() {
  const list = byId("pools");
  if (
    list.children.length !== state.pools.length ||
    [...list.children].some((item, index) => item.dataset.name !== state.pools[index].pool)
  ) {
    list.replaceChildren(
      ...state.pools.map(({ pool }) =>
        make(
          "li",
          { "data-name": pool },
          make("a", { href: `/?pool=${encodeURIComponent(pool)}` }, `${pool} `, make("small")),
        ),
      ),
    );
  }
  state.pools.forEach((pool, index) => {
    const [link] = list.children[index].children;
    write(link.lastChild, `${pool.nodes_up}/${pool.nodes_active} up · ${rate(pool.requests_per_second)} req/s`);
    link.lastChild.className = pool.nodes_up < pool.nodes_active ? "hurt" : "";
    if (pool.pool === state.pool) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  });
}

/** Follows links to pools within the page: a new one would have forgotten the token. */
function followLinks() {
  byId("pools").addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    history.pushState(null, "", link.href);
    openFromAddress();
  });
  addEventListener("popstate", openFromAddress);
}

function openFromAddress() {
  open(new URL(location.href).searchParams.get("pool") ?? document.documentElement.dataset.pool).catch(showProblem);
}

/** A page that nobody sees follows nothing. */
function restWhenHidden() {
  document.addEventListener("visibilitychange", () => {
    if (token === null && document.documentElement.dataset.access === "token") return;
    state.stop?.();
    if (!document.hidden && state.pool) state.stop = follow(state.pool, hear);
  });
}

byId("token").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token-text").value.trim();
  byId("token-text").value = "";
  openFromAddress();
});
setInterval(
  () => document.querySelectorAll("time[data-at]").forEach((time) => write(time, ago(Number(time.dataset.at)))),
  10_000,
);
makeSortable();
startExplain();
startChange();
followLinks();
restWhenHidden();
if (document.documentElement.dataset.access === "token") askForToken("");
else openFromAddress();
