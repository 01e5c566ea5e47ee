// Where a key or a request goes, and why: the proxy's own explanation, with a needle at the key's place on the ring.

function startExplain() {
  byId("explain").hidden = false;
  byId("explain-kind").addEventListener("change", () => {
    const isKey = byId("explain-kind").value === "key";
    write(byId("explain-label"), isKey ? "Key" : "Path and query");
    byId("explain-text").placeholder = isKey ? "room-42" : "/ws?room=42";
    byId("explain-more").hidden = isKey;
  });
  byId("explain").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = byId("explain-text").value;
    const headers = byId("explain-headers")
      .value.split("\n")
      .map((line) => line.trim())
      .filter(Boolean);
    state.question = byId("explain-kind").value === "key" ? { key: text } : { path: text, headers };
    explain();
  });
}

/** Asks the question again, as it is to be done after a change too. */
async function explain() {
  if (!state.question) return;
  try {
    state.found = await call("POST", poolPath("explain"), state.question);
    showAnswer(state.found);
  } catch (problem) {
    state.found = null;
    byId("answer").replaceChildren(make("p", { class: "hurt" }, problem.message));
  }
  showNeedle();
}

const VERDICTS = {
  owner: "to its owner",
  failover: "its owner is ill: to the next",
  held: "waits for its owner",
  down: "503: nobody else is asked",
  "no-key": "no key: to any node, by weight",
  rejected: "refused",
  "no-node": "503: no node takes keys",
  "no-pool": "404: no pool matches",
  "other-pool": "another pool takes it",
};

function showAnswer(found) {
  const goes = found.served_by ?? found.owner;
  const link = (name) =>
    make(
      "button",
      {
        type: "button",
        class: "name",
        onfocus: () => light(name),
        onblur: () => light(null),
        onpointerenter: () => light(name),
        onpointerleave: () => light(null),
        onclick: () => pin(name),
      },
      swatch(name),
      name,
    );
  const order = found.candidates
    .slice(0, 5)
    .map((candidate) =>
      make(
        "li",
        { class: candidate.ill ? "ill" : null },
        link(candidate.name),
        candidate.ill ? make("small", {}, ` ${candidate.ill}`) : null,
      ),
    );
  const facts = [
    ["Decision", VERDICTS[found.decision] ?? found.decision],
    ["Key", found.key === undefined ? "none" : `${found.key}${found.key_source ? `, from ${found.key_source}` : ""}`],
    ["Rule", found.key_rule],
    ["Hash", found.hash ?? NONE],
  ];
  const next = found.candidates.find(({ name, ill }) => name !== goes && !ill);
  byId("answer").replaceChildren(
    make("p", { class: "verdict" }, goes ? swatch(goes) : null, `${found.why[0].toUpperCase()}${found.why.slice(1)}.`),
    goes && next ? make("p", { class: "quiet" }, `Were ${goes} ill, ${next.name} would serve it.`) : "",
    make(
      "dl",
      { class: "facts" },
      ...facts.flatMap(([name, value]) => [
        make("dt", {}, name),
        make("dd", { class: name === "Hash" ? "code" : null }, value),
      ]),
    ),
    order.length > 0 ? make("p", { class: "quiet" }, "Tried in this order") : "",
    make("ol", { class: "order" }, ...order),
    found.candidates.length > 5 ? make("p", { class: "quiet" }, `and ${found.candidates.length - 5} more`) : "",
  );
}
