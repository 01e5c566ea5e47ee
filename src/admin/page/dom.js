// Elements, and how values are written. The files beside this one are one module: they share their names, in the order
// in which `mod.rs` puts them together. Text from the proxy only ever becomes text, never markup.

const byId = (id) => document.getElementById(id);

/** An element; `svg:` in front of the tag makes it one of a picture. Attributes that are null are left out. */
function make(tag, attributes = {}, ...children) {
  const [space, name] = tag.startsWith("svg:") ? ["http://www.w3.org/2000/svg", tag.slice(4)] : [null, tag];
  const element = space ? document.createElementNS(space, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets a text where it is another one, so that nothing is drawn again for nothing. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Says something to those who listen to the page. */
function announce(text) {
  write(byId("live"), text);
}

/** Shows what is wrong, and the way out, above everything; an empty text takes it away. */
function notice(text, ...more) {
  byId("notice").replaceChildren(text, ...more);
}

const NONE = "–";
const part = (ratio, digits = 1) =>
  ratio === null || ratio === undefined ? NONE : `${(ratio * 100).toFixed(digits)} %`;
const rate = (number) => (number < 10 ? number.toFixed(1) : Math.round(number).toLocaleString("en"));
const count = (number, thing) => `${number.toLocaleString("en")} ${thing}${number === 1 ? "" : "s"}`;

function seconds(time) {
  if (time === null || time === undefined) return NONE;
  return time < 1 ? `${(time * 1000).toFixed(1)} ms` : `${time.toFixed(2)} s`;
}

/** How long ago a moment was, given in milliseconds since 1970, in one unit. */
function ago(at) {
  const past = Math.max(0, (Date.now() - at) / 1000);
  for (const [size, unit] of [
    [86400, "d"],
    [3600, "h"],
    [60, "min"],
  ]) {
    if (past >= size) return `${Math.floor(past / size)} ${unit} ago`;
  }
  return past < 5 ? "just now" : `${Math.floor(past)} s ago`;
}

/** A moment as an element that says the exact time to those who ask. */
function moment(at) {
  const time = new Date(at);
  return make("time", { datetime: time.toISOString(), title: time.toLocaleString(), "data-at": at }, ago(at));
}
