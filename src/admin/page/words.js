// Changes in the words of the command line, and the commands that make them.

/** One word for a POSIX shell: in single quotes unless it is made of harmless characters. */
const quoted = (word) => (/^[A-Za-z0-9\-_=+.,:/@%]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** Placement settings as `ringway plan placement` takes them, such as `ring vnodes=512`. */
function placementWords({ kind, ...settings }) {
  return [kind, ...Object.entries(settings).map(([name, value]) => `${name.replaceAll("_", "-")}=${value}`)].join(" ");
}

/** A change as words, not quoted yet. */
function wordsOf(change) {
  const [[verb, about]] = Object.entries(change);
  switch (verb) {
    case "add": {
      const more = [
        ["weight", about.weight ?? 1, 1],
        ["zone", about.zone ?? "", ""],
        ["placement-id", about.placement_id ?? "", ""],
      ];
      const settings = more.filter(([, value, usual]) => value !== usual).map(([name, value]) => `,${name}=${value}`);
      return [verb, `${about.name}=${about.address}${settings.join("")}`];
    }
    case "address":
    case "weight":
    case "zone":
      return [verb, `${about.name}=${about[verb] ?? ""}`];
    case "placement":
      return [verb, placementWords(about)];
    default:
      return [verb, about.name];
  }
}

/** The command that does what is staged, bound to the epoch that it was planned at. */
function command(staged, epoch, reason, force) {
  const does = staged.rollback === undefined ? "apply" : "rollback";
  const flags = ["ringway", does, "--admin", location.origin, "--pool", state.pool, "--if-epoch", String(epoch)];
  if (reason) flags.push("--reason", reason);
  if (force) flags.push("--force");
  if (staged.rollback === undefined) flags.push(...staged.changes.flatMap(wordsOf));
  else flags.push("--to-epoch", String(staged.rollback));
  return flags.map(quoted).join(" ");
}
