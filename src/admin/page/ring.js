// The ring: inside, a band with one piece for each node by its share; around it, thin, who owns which part of the key
// space. A node that is pointed at or has the focus is lit everywhere, and so are those who would take over from it.

const [INNER, OUTER, SPACE, SPACE_END, NEEDLE] = [98, 148, 155, 168, 190];

/** A point at a share of a turn, clockwise from the top. */
function point(turn, distance) {
  const angle = turn * 2 * Math.PI;
  return `${(distance * Math.sin(angle)).toFixed(2)} ${(-distance * Math.cos(angle)).toFixed(2)}`;
}

/** A piece of a band from one share of a turn to another, as the data of a path. */
function sector(from, to, inner, outer) {
  // An arc of SVG cannot end where it begins: a whole turn is two halves.
  if (to - from > 0.9999)
    return sector(from, from + 0.5, inner, outer) + sector(from + 0.5, from + 0.9999, inner, outer);
  const large = to - from > 0.5 ? 1 : 0;
  const there = `M${point(from, inner)}L${point(from, outer)}A${outer} ${outer} 0 ${large} 1 ${point(to, outer)}`;
  return `${there}L${point(to, inner)}A${inner} ${inner} 0 ${large} 0 ${point(from, inner)}Z`;
}

/** A position in the key space, 16 hex digits, as a share of a turn. */
const turnOf = (position) => Number(BigInt(`0x${position}`) >> 12n) / 2 ** 52;

/** The textures that tell apart nodes of one colour. */
function textures() {
  const pattern = (id, ...shapes) =>
    make("svg:pattern", { id, width: 6, height: 6, patternUnits: "userSpaceOnUse" }, ...shapes);
  const line = (d) => make("svg:path", { d, stroke: "#fff", "stroke-width": 1.6, "stroke-opacity": 0.75 });
  const slash = "M-1 1L1 -1M0 6L6 0M5 7L7 5";
  const defs = make(
    "svg:defs",
    {},
    pattern("hatch", line(slash)),
    pattern("dots", make("svg:circle", { cx: 3, cy: 3, r: 1.4, fill: "#fff", "fill-opacity": 0.85 })),
    pattern("cross", line(slash), line("M-1 5L1 7M0 0L6 6M5 -1L7 1")),
  );
  return make("svg:svg", { width: 0, height: 0, class: "unseen", "aria-hidden": "true" }, defs);
}

/** Draws a ring, as `GET /v1/pools/{pool}/ring` answers it. */
function drawRing(ring) {
  const pieces = new Map();
  const picture = make(
    "svg:svg",
    { viewBox: "-200 -200 400 400", role: "img", "aria-labelledby": "ring-name ring-words" },
    make("svg:title", { id: "ring-name" }, `Ownership of pool ${ring.pool} at epoch ${ring.epoch}`),
    make("svg:desc", { id: "ring-words" }, ringWords(ring)),
  );
  const space = spaceOf(ring.arcs);
  let turn = 0;
  for (const { name, share } of ring.nodes.filter((node) => node.share > 0)) {
    const { colour, texture } = paint(name);
    const events = { onpointerenter: () => light(name), onpointerleave: () => light(null), onclick: () => pin(name) };
    const d = sector(turn, turn + share, INNER, OUTER);
    const group = make(
      "svg:g",
      { class: "node", ...events },
      make("svg:path", { class: "piece", d, fill: colour }),
      texture && share > 0.002 ? make("svg:path", { d, fill: texture, class: "texture" }) : null,
      space.has(name) ? make("svg:path", { class: "space", d: space.get(name), fill: colour }) : null,
      share > 0.045 ? label(name, turn + share / 2, colour) : null,
    );
    pieces.set(name, group);
    turn += share;
  }
  if (pieces.size === 0) picture.append(make("svg:path", { class: "empty", d: sector(0, 1, INNER, OUTER) }));
  picture.append(...pieces.values(), make("svg:g", { id: "needle" }));
  for (const [id, y] of [
    ["centre-1", -16],
    ["centre-2", 14],
    ["centre-3", 38],
  ]) {
    picture.append(make("svg:text", { id, y, "text-anchor": "middle" }));
  }
  state.pieces = pieces;
  byId("ring").replaceChildren(textures(), picture);
  showNeedle();
}

/** The pieces of the key space of each node, as the data of one path. */
function spaceOf(arcs) {
  const space = new Map();
  arcs.forEach(({ start, node }, index) => {
    const from = turnOf(start);
    let to = turnOf(arcs[(index + 1) % arcs.length].start);
    if (to <= from) to += 1;
    space.set(node, (space.get(node) ?? "") + sector(from, to, SPACE, SPACE_END));
  });
  return space;
}

function label(name, turn, colour) {
  const [x, y] = point(turn, (INNER + OUTER) / 2).split(" ");
  const dark = ["#0072b2", "#d55e00", "#009e73"].includes(colour);
  return make(
    "svg:text",
    { x, y, "text-anchor": "middle", "dominant-baseline": "central", class: dark ? "on-dark" : "on-light" },
    name.length > 9 ? `…${name.slice(-7)}` : name,
    make("svg:tspan", { x, dy: "1.25em" }, "▲ ill"),
  );
}

function ringWords(ring) {
  const owners = ring.nodes.filter((node) => node.share > 0).sort((a, b) => b.share - a.share);
  const words = owners.slice(0, 12).map((node) => `${node.name} ${part(node.share)}`);
  return words.length === 0
    ? "No node owns keys."
    : words.join(", ") + (owners.length > 12 ? ` and ${owners.length - 12} more` : "");
}

/** Lights a node for as long as it is pointed at; then the one that is pinned is lit again. */
function light(name) {
  state.lit = name;
  showLit();
}

/** Keeps a node lit, or no longer. */
function pin(name) {
  state.pinned = state.pinned === name ? null : name;
  showLit();
}

function showLit() {
  const lit = state.lit ?? state.pinned;
  byId("ring").classList.toggle("dim", lit !== null && state.pieces.has(lit));
  for (const [name, group] of state.pieces) group.classList.toggle("lit", name === lit);
  for (const [name, row] of table.rows) row.element.classList.toggle("lit", name === lit);
  for (const [name, row] of table.rows) row.element.classList.toggle("pinned", name === state.pinned);
  const node = state.of?.nodes.find(({ name }) => name === lit);
  const lines = centre(node);
  lines.forEach(
    (line, index) =>
      byId(`centre-${index + 1}`) &&
      write(byId(`centre-${index + 1}`), line.length > 18 ? `${line.slice(0, 17)}…` : line),
  );
  clearTimeout(state.asking);
  showHeirs(node, state.heirs.get(lit));
  if (node && node.state === "active" && state.ring && !state.heirs.has(lit))
    state.asking = setTimeout(() => askHeirs(lit), 250);
}

/** What stands in the ring: the node that is lit, else the key that was looked for, else what the ring is. */
function centre(node) {
  const { ring, found } = state;
  if (node) return [node.name, part(node.share), `${rate(node.requests_per_second)} req/s`];
  if (found?.hash)
    return [found.key, `→ ${found.served_by ?? found.owner ?? "nobody"}`, `at ${found.hash.slice(0, 4)}…`];
  return ring
    ? [ring.pool, `${count(ring.nodes.filter(({ share }) => share > 0).length, "node")}`, ring.placement.kind]
    : ["", "", ""];
}

/** Asks which nodes would take over the keys of a node, and remembers it for this epoch. */
async function askHeirs(name) {
  const { ring } = state;
  const plan = await call("POST", poolPath("plan"), { changes: [{ drain: { name } }] }).catch(() => ({ flows: [] }));
  if (state.ring !== ring) return;
  state.heirs.set(
    name,
    plan.flows.filter((flow) => flow.from === name).map((flow) => ({ name: flow.to, ratio: flow.ratio })),
  );
  showLit();
}

/** Says and shows who would take over from a node. */
function showHeirs(node, heirs) {
  for (const [name, group] of state.pieces)
    group.classList.toggle("heir", Boolean(heirs?.some((heir) => heir.name === name)));
  const line = byId("lit");
  if (!node)
    return write(
      line,
      "Point at a node, or move to its name in the table, to see what it owns and who would take over.",
    );
  const share = node.state === "active" ? `owns ${part(node.share)} of the keys` : "owns no keys";
  if (!heirs?.length) return write(line, `${node.name} ${share}.`);
  const more = heirs.length > 4 ? ` and ${heirs.length - 4} more` : "";
  const shown = heirs.slice(0, 4).map((heir) => `${heir.name} ${part(heir.ratio / node.share, 0)}`);
  return write(line, `${node.name} ${share}. Without it they go to ${shown.join(", ")}${more}.`);
}

/** Points at where the key that was looked for lies in the key space. */
function showNeedle() {
  showLit();
  const needle = byId("needle");
  if (!needle) return;
  needle.replaceChildren();
  if (!state.found?.hash) return;
  const turn = turnOf(state.found.hash);
  const [x, y] = point(turn, NEEDLE).split(" ");
  needle.append(
    make("svg:path", { d: `M${point(turn, SPACE - 5)}L${point(turn, NEEDLE)}` }),
    make("svg:circle", { cx: x, cy: y, r: 5 }),
  );
}
