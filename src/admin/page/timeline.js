// What happened, newest first: each change with who made it and why, and the health of nodes as it turns; and the way
// back to any state before.

/** Changes that are read at first, and with each press of the button. */
const PAGE_EVENTS = 40;

/** Reads the newest part of the history. */
async function readTimeline(more = 0) {
  const pool = state.pool;
  state.wanted = more === 0 ? PAGE_EVENTS : state.wanted + more;
  const newest = state.of.epoch;
  const page = await call("GET", poolPath(`events?limit=1000&after=${Math.max(0, newest - state.wanted)}`));
  if (pool !== state.pool) return;
  state.history = page;
  showTimeline();
}

function showTimeline() {
  const { events, oldest_epoch: oldest } = state.history;
  const changes = events.map((event) => ({ at: event.at_ms, element: () => changeEntry(event, oldest) }));
  const all = [...changes, ...state.turns].sort((a, b) => b.at - a.at);
  byId("events").replaceChildren(...all.map((entry) => entry.element()));
  const first = events[0]?.epoch ?? 0;
  const button = make(
    "button",
    { type: "button", onclick: () => readTimeline(PAGE_EVENTS * 5).catch(showProblem) },
    "Show older changes",
  );
  byId("older").replaceChildren(first > oldest + 1 ? button : "");
}

function changeEntry(event, oldest) {
  const texts = event.changes
    ? event.changes.map((change) => wordsOf(change).join(" "))
    : [`return to epoch ${event.rollback.to_epoch}`];
  const shown = texts.slice(0, 4).map((text) => make("code", {}, text));
  const isNow = event.epoch === state.of.epoch;
  const mayReturn = !isNow && event.epoch >= oldest && state.role === "operate" && state.of.owner === "store";
  return make(
    "li",
    { class: "change" },
    make("span", { class: "epoch" }, `${event.epoch}`),
    make(
      "div",
      {},
      make(
        "p",
        {},
        ...shown,
        texts.length > 4 ? make("span", { class: "quiet" }, `and ${texts.length - 4} more`) : null,
      ),
      event.reason ? make("p", { class: "reason" }, `“${event.reason}”`) : null,
      make("p", { class: "quiet" }, event.actor, " · ", moment(event.at_ms), isNow ? " · in force" : ""),
    ),
    mayReturn
      ? make(
          "button",
          {
            type: "button",
            class: "plain",
            "aria-label": `roll back to epoch ${event.epoch}`,
            onclick: () => stageRollback(event.epoch),
          },
          "roll back",
        )
      : null,
  );
}

/** Takes note of a node that turned ill or well, or a pool that uses all its nodes in its need. */
function noteTurn(name, data) {
  const words = {
    "node-down": `${data.node} is ill: ${data.cause}`,
    "node-up": `${data.node} is well again: ${data.cause}`,
    panic: data.on ? "too few nodes are well: all are used" : "enough nodes are well again",
  }[name];
  const element = () =>
    make(
      "li",
      { class: `turn ${name}` },
      make("span", { class: "epoch", "aria-hidden": "true" }, name === "node-up" ? "▲" : "▼"),
      make("div", {}, make("p", {}, words), make("p", { class: "quiet" }, moment(data.at_ms))),
    );
  state.turns = [{ at: data.at_ms, element }, ...state.turns].slice(0, 100);
  announce(words);
  if (state.history) showTimeline();
}
