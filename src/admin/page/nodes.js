// The figures of a pool, and its nodes as a table that is brought up to date each second; of many nodes, a piece.

/** Colours that people with any kind of colour vision can tell apart (Okabe and Ito, 2008), without their black. */
const PALETTE = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"];

/** What a node is painted with: a colour by its place in the pool, and a texture once the colours come again. */
function paint(name) {
  const place = state.places.get(name) ?? 0;
  const texture = ["", "hatch", "dots", "cross"][Math.floor(place / PALETTE.length) % 4];
  return { colour: PALETTE[place % PALETTE.length], texture: texture && `url(#${texture})` };
}

/** The small square that stands for a node beside its name. */
function swatch(name) {
  const { colour, texture } = paint(name);
  const square = (fill) => make("svg:rect", { width: 12, height: 12, rx: 3, fill });
  return make(
    "svg:svg",
    { class: "swatch", viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" },
    square(colour),
    texture ? square(texture) : null,
  );
}

/** Takes over the places of the nodes, which their colours go by. A node keeps its place while the pool is shown. */
function place(names) {
  const free = () => {
    for (let place = 0, taken = new Set(state.places.values()); ; place += 1) if (!taken.has(place)) return place;
  };
  const staged = state.plan?.nodes.map((node) => node.name) ?? [];
  const known = new Set([...names, ...staged]);
  for (const name of state.places.keys()) if (!known.has(name)) state.places.delete(name);
  let next = state.places.size === 0 ? 0 : null;
  for (const name of known) {
    if (!state.places.has(name)) state.places.set(name, next === null ? free() : next++);
  }
}

const STATES = { ill: "ill", trial: "on trial", draining: "draining", well: "well" };

/** How a node is (a key of STATES), and why. */
function stateOf(node) {
  if (node.health.is === "ill" || node.health.is === "trial") {
    const time = node.health.since_ms && ago(node.health.since_ms).replace(/^(.*) ago$/, "for $1");
    return [node.health.is, [node.health.cause, time].filter(Boolean).join(", ")];
  }
  if (node.state !== "draining") return ["well", ""];
  if (!node.drain) return ["draining", node.weight === 0 ? "weight 0" : "takes no keys"];
  const left = Math.max(0, Math.round((node.drain.deadline_ms - Date.now()) / 1000));
  return ["draining", node.drain.inflight === 0 ? "finished" : `${node.drain.inflight} in flight, closed in ${left} s`];
}

/** How long requests take; of a node that answers none, what was is no figure of now. */
const quantile = (node, which) => (node.requests_per_second > 0 ? node[`${which}_seconds`] : null);

/** The columns: what a node has there as text, and as a number to sort by. */
const COLUMNS = [
  { by: (node) => node.name },
  { by: (node) => `${Object.keys(STATES).indexOf(stateOf(node)[0])}` },
  { by: (node) => node.share, text: (node) => part(node.share) },
  { by: (node) => node.served ?? 0, text: (node) => part(node.served) },
  { by: (node) => node.requests_per_second, text: (node) => rate(node.requests_per_second) },
  {
    by: (node) => node.inflight,
    text: (node) => (node.bound === null ? `${node.inflight}` : `${node.inflight} / ${node.bound}`),
  },
  { by: (node) => quantile(node, "p50") ?? 0, text: (node) => seconds(quantile(node, "p50")) },
  { by: (node) => quantile(node, "p99") ?? 0, text: (node) => seconds(quantile(node, "p99")) },
  { by: (node) => node.failure_ratio ?? 0, text: (node) => part(node.failure_ratio) },
];

const table = { rows: new Map(), sort: null, descending: true, limit: 200, filter: "" };

/** The row of a node, made once. */
function rowOf(name) {
  if (table.rows.has(name)) return table.rows.get(name);
  const about = make("small");
  const button = make(
    "button",
    { type: "button", class: "name", onfocus: () => light(name), onblur: () => light(null), onclick: () => pin(name) },
    name,
  );
  const bar = make(
    "span",
    { class: "bar", title: "Bar: what it owns. Mark: what it serves.", "aria-hidden": "true" },
    make("i"),
    make("b"),
  );
  const [word, why, heirs] = [make("span"), make("small"), make("small", { class: "quiet" })];
  const numbers = COLUMNS.slice(2).map(({ text }) => ({ text, cell: make("td", { class: "number" }) }));
  const stateCell = make("td", {}, word, why, heirs);
  const more = make(
    "button",
    {
      type: "button",
      class: "plain act",
      title: `Stage a change of ${name}`,
      "aria-label": `Stage a change of ${name}`,
      onclick: () => stageFor(name),
    },
    "change",
  );
  const element = make(
    "tr",
    { onpointerenter: () => light(name), onpointerleave: () => light(null) },
    make("th", { scope: "row" }, swatch(name), button, about, bar),
    stateCell,
    ...numbers.map(({ cell }) => cell),
    make("td", { class: "acts" }, more),
  );
  const row = { element, about, bar, stateCell, word, why, heirs, numbers };
  table.rows.set(name, row);
  return row;
}

function fillRow(node, most) {
  const row = rowOf(node.name);
  const [is, cause] = stateOf(node);
  write(
    row.about,
    [node.address, node.weight === 1 ? "" : `weight ${node.weight}`, node.zone ? `zone ${node.zone}` : ""]
      .filter(Boolean)
      .join(" · "),
  );
  state.pieces.get(node.name)?.classList.toggle("ill", is === "ill");
  row.stateCell.className = `state ${is}`;
  write(row.word, STATES[is]);
  write(row.why, cause);
  write(row.heirs, is === "ill" && node.share > 0 ? standIns(node) : "");
  for (const { text, cell } of row.numbers) write(cell, text(node));
  row.numbers[1].cell.classList.toggle(
    "off",
    node.share > 0 && node.served !== null && Math.abs(node.served / node.share - 1) > 0.5,
  );
  row.numbers[6].cell.classList.toggle("off", node.failure_ratio > 0.01);
  row.bar.style.setProperty("--owns", node.share / most);
  row.bar.style.setProperty("--serves", (node.served ?? 0) / most);
  return row.element;
}

/** Who serves the keys of a node that is ill. Of many at once nobody is asked: each takes a plan. */
function standIns(node) {
  const isIll = ({ health }) => health.is === "ill";
  const heirs = state.heirs.get(node.name);
  if (heirs === undefined && state.ring && state.of.nodes.filter(isIll).length <= 3) {
    state.heirs.set(node.name, []);
    askHeirs(node.name);
  }
  const ill = new Set(state.of.nodes.filter(isIll).map(({ name }) => name));
  const well = (heirs ?? []).map(({ name }) => name).filter((name) => !ill.has(name));
  if (well.length === 0) return "";
  return `its keys are at ${well.slice(0, 3).join(", ")}${well.length > 3 ? ` and ${well.length - 3} more` : ""}`;
}

/** Brings the figures and the table up to date. */
function showStatus() {
  const pool = state.of;
  const all = pool.nodes.reduce((sum, node) => sum + node.requests_per_second, 0);
  for (const node of pool.nodes) {
    node.served = all > 0 ? node.requests_per_second / all : null;
    state.peaks.set(node.name, Math.max(state.peaks.get(node.name) ?? 0, node.requests_per_second));
  }
  byId("filter-label").hidden = pool.nodes.length < 9;
  showPools();
  showFigures(pool);
  showRows(pool);
}

function showFigures(pool) {
  const values = {
    epoch: `${pool.epoch}`,
    fingerprint: pool.fingerprint,
    up: `${pool.nodes_up}/${pool.nodes_active}`,
    rate: rate(pool.requests_per_second),
    imbalance: `${pool.imbalance_ratio.toFixed(2)}×`,
    spill: part(pool.spill_ratio),
    "no-key": part(pool.no_key_ratio),
  };
  if (!byId("figure-epoch")) {
    const names = {
      epoch: ["Epoch", "How many changes the pool has seen; a plan is bound to it"],
      fingerprint: ["Fingerprint", "Proxies with the same one place every key alike"],
      up: ["Nodes up", "Nodes that are well, of those that own keys"],
      rate: ["Requests/s", "Answered in the last seconds"],
      imbalance: ["Imbalance", "What the node that owns most has, over its fair share by weight"],
      spill: ["Spilled", "Requests that went on to another node because the owner was at its bound"],
      "no-key": ["Without key", "Requests without a key, which go to any node"],
    };
    byId("figures").replaceChildren(
      ...Object.entries(names).map(([id, [name, title]]) =>
        make(
          "div",
          { title },
          make("dt", {}, name),
          make("dd", { id: `figure-${id}`, class: id === "fingerprint" ? "figure code" : "figure" }),
        ),
      ),
    );
  }
  for (const [id, value] of Object.entries(values)) write(byId(`figure-${id}`), value);
  byId("figure-up").classList.toggle("hurt", pool.nodes_up < pool.nodes_active);
  const trouble = [pool.is_panicking && "So few nodes are well that requests are sent to all of them.", pool.drift]
    .filter(Boolean)
    .join(" ");
  write(byId("trouble"), trouble);
}

/** The nodes that are to be seen, in their order. */
function shownNodes(pool) {
  const wanted = table.filter.toLowerCase();
  const nodes = pool.nodes.filter(
    (node) =>
      wanted === "" ||
      [node.name, node.address, node.zone ?? "", STATES[stateOf(node)[0]]].some((text) =>
        text.toLowerCase().includes(wanted),
      ),
  );
  if (table.sort === null) return nodes;
  const { by } = COLUMNS[table.sort];
  const compare = (a, b) =>
    typeof by(a) === "string" ? by(a).localeCompare(by(b), "en", { numeric: true }) : by(b) - by(a);
  return nodes.sort((a, b) => (table.descending ? compare(a, b) : compare(b, a)));
}

function showRows(pool) {
  const most = Math.max(1e-9, ...pool.nodes.map((node) => Math.max(node.share, node.served ?? 0)));
  const nodes = shownNodes(pool);
  const elements = nodes.slice(0, table.limit).map((node) => fillRow(node, most));
  const body = byId("rows");
  const isSame =
    elements.length === body.children.length && elements.every((element, index) => body.children[index] === element);
  if (!isSame) {
    // A row that moves would lose the focus that is in it.
    const focused = body.contains(document.activeElement) ? document.activeElement : null;
    body.replaceChildren(...elements);
    focused?.focus({ preventScroll: true });
    if (nodes.length === 0)
      body.append(
        make(
          "tr",
          {},
          make(
            "td",
            { colspan: 10, class: "quiet" },
            pool.nodes.length === 0 ? "This pool has no node yet. Stage one below." : "No node is like that.",
          ),
        ),
      );
  }
  const left = nodes.length - elements.length;
  if (left <= 0) return byId("rest").replaceChildren();
  if (byId("rest").dataset.left === `${left}` && byId("rest").hasChildNodes()) return undefined;
  byId("rest").dataset.left = `${left}`;
  const more = make(
    "button",
    {
      type: "button",
      onclick: () => {
        table.limit += 200;
        showRows(state.of);
      },
    },
    `Show ${Math.min(200, left)} more`,
  );
  return byId("rest").replaceChildren(`${elements.length} of ${count(nodes.length, "node")} shown. `, more);
}

/** The names of the columns, which become buttons that sort. */
const HEADINGS = [...byId("table").tHead.rows[0].cells].map((cell) => cell.textContent);

function makeSortable() {
  HEADINGS.forEach((heading, index) => {
    const cell = byId("table").tHead.rows[0].cells[index];
    if (!COLUMNS[index]) return;
    const sort = () => {
      // The third time brings back the order of the pool.
      if (table.sort !== index) [table.sort, table.descending] = [index, true];
      else if (table.descending) table.descending = false;
      else table.sort = null;
      [...byId("table").tHead.rows[0].cells].forEach((other) => other.removeAttribute("aria-sort"));
      if (table.sort !== null)
        cell.setAttribute("aria-sort", table.descending === index > 1 ? "descending" : "ascending");
      showRows(state.of);
    };
    cell.replaceChildren(make("button", { type: "button", onclick: sort }, heading));
  });
  byId("filter").addEventListener("input", () => {
    [table.filter, table.limit] = [byId("filter").value.trim(), 200];
    showRows(state.of);
  });
}
