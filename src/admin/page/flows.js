// What a plan would move, as a picture: the shares before on the left, after on the right, and bands for what goes from
// node to node. What stays is pale.

const [HIGH, BAR, GAP] = [300, 12, 5];

/** The nodes of a plan in the order of the pool; of many, those that change most, and the others as one. */
function columns(plan, most = 14) {
  const at = (name) => state.places.get(name) ?? Infinity;
  let nodes = plan.nodes.filter((node) => node.before > 0 || node.after > 0);
  const groups = new Map(nodes.map((node) => [node.name, node.name]));
  if (nodes.length > most) {
    const changed = [...nodes].sort((a, b) => Math.abs(b.after - b.before) - Math.abs(a.after - a.before));
    const others = changed.slice(most - 1);
    const name = `${others.length} others`;
    for (const other of others) groups.set(other.name, name);
    const sum = (key) => others.reduce((total, node) => total + node[key], 0);
    nodes = [...changed.slice(0, most - 1), { name, before: sum("before"), after: sum("after"), isGroup: true }];
  }
  nodes.sort(
    (a, b) => Boolean(a.isGroup) - Boolean(b.isGroup) || at(a.name) - at(b.name) || a.name.localeCompare(b.name),
  );
  return { nodes, groups };
}

/** Where each node begins in a column, how high it is, and how high all keys would be there. */
function stack(nodes, key) {
  const shown = nodes.filter((node) => node[key] > 0);
  const room = HIGH - GAP * Math.max(0, shown.length - 1);
  // Beside a bar for hundreds of others, the few that change would be too thin to be seen.
  const least = shown.some((node) => node.isGroup) ? 11 : 0;
  const high = (node) => Math.max(least, node[key] * room);
  const taken = shown.reduce((sum, node) => sum + (node.isGroup ? 0 : high(node)), 0);
  let top = 0;
  return new Map(
    shown.map((node) => {
      const place = { top, high: node.isGroup ? Math.max(least, room - taken) : high(node), used: 0 };
      place.scale = place.high / node[key];
      top += place.high + GAP;
      return [node.name, place];
    }),
  );
}

/** The picture of a plan, so wide. */
function drawFlows(plan, room) {
  const wide = Math.min(860, Math.max(280, room));
  const side = wide < 520 ? 98 : 165;
  const { nodes, groups } = columns(plan);
  const [left, right] = [stack(nodes, "before"), stack(nodes, "after")];
  const moved = new Map();
  for (const { from, to, ratio } of plan.flows) {
    const key = `${groups.get(from)}\n${groups.get(to)}`;
    moved.set(key, (moved.get(key) ?? 0) + ratio);
  }
  const leaves = (name) =>
    [...moved].filter(([key]) => key.split("\n")[0] === name).reduce((sum, [, ratio]) => sum + ratio, 0);
  const bands = nodes.flatMap(({ name, before }) => {
    const inside = moved.get(`${name}\n${name}`) ?? 0;
    const stays = Math.max(0, before - leaves(name)) + inside;
    const own = nodes.map((to) => [name, to.name, to.name === name ? stays : (moved.get(`${name}\n${to.name}`) ?? 0)]);
    return own.filter(([, , ratio]) => ratio > 1e-6);
  });
  const shapes = bands
    .map(([from, to, ratio]) =>
      band([left.get(from), right.get(to)], [side + BAR, wide - side - BAR], ratio, [from, to]),
    )
    .filter(Boolean);
  const picture = make("svg:svg", {
    class: "flows",
    viewBox: `0 0 ${wide} ${HIGH + 26}`,
    role: "img",
    "aria-label": `Shares before and after: ${nodes
      .slice(0, 16)
      .map((node) => `${node.name} ${part(node.before)} to ${part(node.after)}`)
      .join(", ")}`,
  });
  picture.append(
    ...shapes.filter(([stays]) => stays).map(([, shape]) => shape),
    ...shapes.filter(([stays]) => !stays).map(([, shape]) => shape),
  );
  for (const node of nodes) {
    bar(picture, node, left.get(node.name), side);
    bar(picture, node, right.get(node.name), wide - side - BAR, true);
  }
  picture.append(
    make("svg:text", { x: side + BAR, y: HIGH + 22, "text-anchor": "end", class: "faint" }, "before"),
    make("svg:text", { x: wide - side - BAR, y: HIGH + 22, class: "faint" }, "after"),
  );
  return picture;
}

/** One band, which takes the next free part of both its bars. */
function band([from, to], [x1, x2], ratio, [name, target]) {
  if (!from || !to) return null;
  const [y1, y2] = [from.top + from.used, to.top + to.used];
  const [high1, high2] = [ratio * from.scale, ratio * to.scale];
  from.used += high1;
  to.used += high2;
  const half = (x1 + x2) / 2;
  const top = `M${x1} ${y1}C${half} ${y1} ${half} ${y2} ${x2} ${y2}`;
  const d = `${top}V${y2 + high2}C${half} ${y2 + high2} ${half} ${y1 + high1} ${x1} ${y1 + high1}Z`;
  const stays = name === target;
  const shape = make(
    "svg:path",
    { d, class: stays ? "stays" : "moves", fill: stays ? null : paint(name).colour },
    make("svg:title", {}, stays ? `${name} keeps ${part(ratio)}` : `${name} → ${target}: ${part(ratio)}`),
  );
  return [stays, shape];
}

function bar(picture, node, place, x, isAfter = false) {
  if (!place) return;
  const { colour, texture } = node.isGroup ? { colour: "var(--faint)", texture: "" } : paint(node.name);
  const shape = { x, y: place.top, width: BAR, height: Math.max(1, place.high), rx: 2 };
  picture.append(make("svg:rect", { ...shape, fill: colour }));
  if (texture) picture.append(make("svg:rect", { ...shape, fill: texture }));
  if (place.high < 9) return;
  const isNarrow = picture.viewBox.baseVal.width < 520;
  const change = Math.round((node.after - node.before) * 1000) / 10;
  const more = !isAfter || isNarrow || change === 0 ? "" : ` ${change > 0 ? "+" : "−"}${Math.abs(change).toFixed(1)}`;
  const most = isNarrow ? 6 : 12;
  const name = node.name.length > most ? `…${node.name.slice(1 - most)}` : node.name;
  const at = {
    x: isAfter ? x + BAR + 8 : x - 8,
    y: place.top + place.high / 2,
    "text-anchor": isAfter ? "start" : "end",
  };
  const share = part(isAfter ? node.after : node.before, isNarrow ? 0 : 1);
  picture.append(
    make(
      "svg:text",
      { ...at, "dominant-baseline": "central" },
      make("svg:tspan", { class: "strong" }, name),
      ` ${share}`,
      make("svg:tspan", { class: "faint" }, more),
    ),
  );
}
