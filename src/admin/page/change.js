// The change panel: what is staged, what it would move, and the one button that makes it, bound to the epoch that it
// was planned at. A return to an earlier epoch goes the same way.

/** What is staged: changes, or a return to the epoch `rollback`. */
const nothing = () => ({ changes: [], rollback: undefined });

/** Placements to switch to, with settings that suit most pools. Others are for the command line. */
const PLACEMENTS = [
  ["ring of 512 points", { kind: "ring", vnodes: 512 }],
  ["ring of 128 points", { kind: "ring", vnodes: 128 }],
  ["table of equal slots", { kind: "table" }],
  ["ketama", { kind: "ketama" }],
  ["nginx, consistent", { kind: "nginx" }],
  ["HAProxy, consistent", { kind: "haproxy" }],
  ["Envoy RING_HASH", { kind: "envoy-ring-hash" }],
  ["Envoy MAGLEV", { kind: "envoy-maglev" }],
];

function startChange() {
  byId("stage-placement").append(...PLACEMENTS.map(([name], index) => make("option", { value: index }, name)));
  byId("stage-verb").addEventListener("change", showFields);
  byId("stage-node").addEventListener("change", showFields);
  byId("stage").addEventListener("submit", (event) => {
    event.preventDefault();
    stage(changeOfForm());
    for (const id of ["name", "address", "zone"]) byId(`stage-${id}`).value = "";
  });
  showFields();
}

/** Shows the fields that the chosen verb needs. */
function showFields() {
  const verb = byId("stage-verb").value;
  for (const label of byId("stage").querySelectorAll("[data-for]")) {
    label.hidden = !label.dataset.for.split(" ").includes(verb);
    for (const field of label.querySelectorAll("input")) field.required = !label.hidden && !field.id.endsWith("zone");
  }
  const node = state.of?.nodes.find(({ name }) => name === byId("stage-node").value);
  if (verb === "weight" && node) byId("stage-weight").value = node.weight;
}

function changeOfForm() {
  const value = (id) => byId(`stage-${id}`).value.trim();
  const [verb, name, weight] = [value("verb"), value("node"), Number(value("weight"))];
  switch (verb) {
    case "add":
      return {
        add: { name: value("name"), address: value("address"), weight, ...(value("zone") && { zone: value("zone") }) },
      };
    case "weight":
      return { weight: { name, weight } };
    case "placement":
      return { placement: PLACEMENTS[Number(value("placement"))][1] };
    default:
      return { [verb]: { name } };
  }
}

/** Opens the panel for a node of the table. */
function stageFor(name) {
  const node = state.of.nodes.find((node) => node.name === name);
  byId("stage-verb").value = node?.state === "draining" ? "undrain" : "drain";
  byId("stage-node").value = name;
  showFields();
  byId("change").scrollIntoView({ block: "start" });
  byId("stage-verb").focus({ preventScroll: true });
}

function stage(change) {
  state.staged = { changes: [...state.staged.changes, change], rollback: undefined };
  plan();
}

/** Stages a return to an earlier epoch in the place of everything else. */
function stageRollback(epoch) {
  state.staged = { changes: [], rollback: epoch };
  plan();
  byId("change").scrollIntoView({ block: "start" });
}

const isStaged = () => state.staged.changes.length > 0 || state.staged.rollback !== undefined;

function showStaged() {
  const drop = (index) => {
    state.staged = { changes: state.staged.changes.filter((_, other) => other !== index), rollback: undefined };
    plan();
  };
  const texts =
    state.staged.rollback === undefined
      ? state.staged.changes.map((change) => wordsOf(change).join(" "))
      : [`return to epoch ${state.staged.rollback}`];
  byId("staged").replaceChildren(
    ...texts.map((text, index) =>
      make(
        "li",
        {},
        make("code", {}, text),
        make(
          "button",
          { type: "button", class: "plain", "aria-label": `Take back: ${text}`, onclick: () => drop(index) },
          "×",
        ),
      ),
    ),
  );
}

/** Asks what the staged changes would move, and shows it. `why` says why it is asked again. */
async function plan(why = "") {
  showStaged();
  if (!isStaged()) return byId("plan").replaceChildren();
  const staged = state.staged;
  try {
    // Only a dry run knows what a return would move.
    const asked =
      staged.rollback === undefined
        ? await call("POST", poolPath("plan"), { changes: staged.changes })
        : await call("POST", poolPath("rollback?dry-run"), { to_epoch: staged.rollback });
    if (staged !== state.staged) return undefined;
    state.plan = asked;
    place(state.of.nodes.map((node) => node.name));
    showPlan(asked, why);
    announce(`${why} The plan moves ${part(asked.moved_ratio)} of the keys.`);
  } catch (problem) {
    state.plan = null;
    byId("plan").replaceChildren(
      make("p", { class: "hurt", role: "alert" }, `${problem.message} Take the change back, or stage another one.`),
    );
  }
  return undefined;
}

/** What to look at before the plan is made, in words. */
function warnings(plan) {
  const all = state.of.nodes.reduce((sum, node) => sum + node.requests_per_second, 0);
  const known = new Map(state.of.nodes.map((node) => [node.name, node]));
  const found = [];
  for (const { name, before, after } of plan.nodes) {
    const node = known.get(name);
    if (node?.health.is === "ill") {
      const owns = after > before ? `would own ${part(after)}` : `owns ${part(before)}`;
      found.push([Infinity, `${name} is ill and ${owns} of the keys: others serve them for as long as it is.`]);
    }
    if (after <= before) continue;
    if (before === 0) {
      if (all > 0)
        found.push([
          after * all,
          `${name} begins with no key it has seen before, and about ${rate(after * all)} requests a second.`,
        ]);
      continue;
    }
    const load = (node?.requests_per_second ?? 0) * (after / before);
    const peak = state.peaks.get(name) ?? 0;
    if (peak > 0 && load > peak * 1.1)
      found.push([
        load,
        `${name} would carry ${part(load / peak, 0)} of its present peak: about ${rate(load)} requests a second, ` +
          `at most ${rate(peak)} since this page is open.`,
      ]);
  }
  const sorted = found.sort(([a], [b]) => b - a).map(([, text]) => text);
  const more = sorted.length > 4 ? [`${sorted.length - 4} more nodes get markedly more.`] : [];
  const collateral =
    plan.collateral_ratio > 0.0005
      ? [`${part(plan.collateral_ratio)} of the keys move between nodes that are not changed.`]
      : [];
  return [...sorted.slice(0, 4), ...more, ...collateral];
}

function showPlan(plan, why) {
  const figure = (name, value, title) =>
    make("div", { title }, make("dt", {}, name), make("dd", { class: "figure" }, value));
  const cautions = warnings(plan).map((text) => make("li", {}, text));
  const flows = plan.flows.slice(0, 40).map((flow) => make("li", {}, `${flow.from} → ${flow.to}  ${part(flow.ratio)}`));
  const isSame = plan.fingerprint_before === plan.fingerprint_after;
  // A plan that is made again may come in the middle of a word.
  const goOn = goOnTyping(byId("reason"));
  byId("plan").replaceChildren(
    make("p", { class: "hurt", id: "plan-why" }, why),
    make(
      "dl",
      { class: "figures small" },
      figure("Moves", part(plan.moved_ratio), "Keys that change their owner"),
      figure("Optimum", part(plan.optimal_ratio), "What the weights alone would move"),
      figure(
        "Between unchanged nodes",
        part(plan.collateral_ratio),
        "Keys that move though nothing about either node changes",
      ),
    ),
    isSame ? make("p", { class: "quiet" }, "No key changes its owner.") : drawFlows(plan, byId("plan").clientWidth),
    make("ul", { class: "cautions" }, ...cautions),
    make(
      "details",
      {},
      make("summary", {}, "The flows in numbers"),
      make("ul", { class: "quiet numbers" }, ...flows),
      plan.flows.length > 40 ? `and ${plan.flows.length - 40} smaller ones` : "",
    ),
    state.role === "operate" && state.of.owner === "store" ? applyForm(plan) : "",
  );
  goOn();
}

/** What makes a field that moves in the document have the focus and the cursor that it has now. */
function goOnTyping(field) {
  if (field === null || field !== document.activeElement) return () => {};
  const { selectionStart, selectionEnd } = field;
  return () => {
    field.focus();
    field.setSelectionRange(selectionStart, selectionEnd);
  };
}

/** The reason, the tick for what is unsafe, the button, and the command that does the same. */
function applyForm(plan) {
  // A plan that is made again keeps the field, with what was written.
  const reason =
    byId("reason") ??
    make("input", { id: "reason", autocomplete: "off", maxlength: 500, placeholder: "for the timeline" });
  const tick = plan.unsafe_reason ? make("input", { type: "checkbox", id: "force", required: true }) : null;
  const copied = make("code", { id: "command", class: "command", tabindex: 0 });
  const words = `Apply (epoch ${plan.epoch} → ${plan.epoch + 1})`;
  const button = make("button", { type: "submit", class: "main", id: "apply" }, words);
  const copy = make(
    "button",
    {
      type: "button",
      onclick: async () => {
        // Where the page may not write to the clipboard, the command is at least selected.
        getSelection().selectAllChildren(copied);
        const done = await navigator.clipboard?.writeText(copied.textContent).then(
          () => "copied",
          () => null,
        );
        announce(`The command is ${done ?? "selected"}.`);
      },
    },
    "Copy as command",
  );
  const show = () => write(copied, command(state.staged, plan.epoch, reason.value.trim(), tick?.checked));
  const form = make(
    "form",
    {
      class: "apply",
      oninput: show,
      onsubmit: (event) => {
        event.preventDefault();
        button.disabled = true;
        apply(plan, reason.value.trim(), Boolean(tick?.checked));
      },
    },
    tick ? make("label", { class: "tick" }, tick, ` Do it all the same: ${plan.unsafe_reason}`) : "",
    make("div", { class: "fields" }, make("label", { class: "wide" }, "Why ", reason), button, copy),
    make(
      "p",
      { class: "quiet" },
      `If somebody else changes the pool before, so that it is no longer at epoch ${plan.epoch}, nothing happens.`,
    ),
    copied,
  );
  show();
  return form;
}

/** Makes the staged changes, unless the pool has moved on. */
async function apply(planned, reason, force) {
  const guard = { if_epoch: planned.epoch, force, ...(reason && { reason }) };
  const { changes, rollback } = state.staged;
  state.applying = true;
  try {
    const done =
      rollback === undefined
        ? await call("POST", poolPath("apply"), { ...guard, changes })
        : await call("POST", poolPath("rollback"), { ...guard, to_epoch: rollback });
    state.staged = nothing();
    showStaged();
    byId("plan").replaceChildren(
      make(
        "p",
        { class: "done" },
        done.changed
          ? `Done: the pool is at epoch ${done.epoch}, and ${part(done.moved_ratio)} of the keys moved.`
          : `There was nothing to change; the pool is still at epoch ${done.epoch}.`,
      ),
    );
    announce(`The pool is at epoch ${done.epoch}.`);
  } catch (problem) {
    const epoch = problem.epoch ?? "another one";
    if (problem.status === 412)
      return plan(
        `The pool has moved on to epoch ${epoch}, and nothing was changed. This is the plan from there: look again.`,
      );
    byId("apply").disabled = false;
    const why = byId("plan-why");
    write(why, `Nothing was changed. ${problem.message}`);
    why.scrollIntoView({ block: "nearest" });
  } finally {
    state.applying = false;
  }
  return undefined;
}

/** Brings the panel up to date with the pool: the nodes to choose from, and what may be done. */
function showPanel() {
  const names = state.of.nodes.map((node) => node.name);
  const select = byId("stage-node");
  if ([...select.options].map((option) => option.value).join() !== names.join()) {
    const chosen = select.value;
    select.replaceChildren(...names.map((name) => make("option", { value: name }, name)));
    if (names.includes(chosen)) select.value = chosen;
  }
  const why =
    state.of.owner === "file"
      ? "The config file owns the nodes of this pool: look here, then edit `nodes` in the file and reload it."
      : state.role === "read"
        ? "This token may look and plan. To apply a plan, use a token that may operate."
        : "Stage changes, look at what they would move, and apply them as one step.";
  write(byId("change-why"), why);
}
