
/* The page of a report. It stands after picture.js in the same module, and uses its functions. */

const SVG = "http://www.w3.org/2000/svg";

/** A model of plain values, with the interface that `render` needs. */
export class PlainModel {
  constructor(values) {
    this.values = values;
    this.listeners = new Map();
    this.sent = [];
  }

  get(name) {
    return this.values[name];
  }

  set(name, value) {
    if (this.values[name] === value) return;
    this.values[name] = value;
    for (const listener of [...(this.listeners.get(`change:${name}`) ?? [])]) listener();
  }

  on(name, listener) {
    this.listeners.set(name, [...(this.listeners.get(name) ?? []), listener]);
  }

  off(name, listener) {
    this.listeners.set(name, (this.listeners.get(name) ?? []).filter((other) => other !== listener));
  }

  save_changes() {}

  send() {}
}

/** About `count` round numbers from low to high. */
export function ticks(low, high, count) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((times) => times * power).find((size) => size >= raw * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

/** The snapshot that is nearest to a step. */
export function nearest(snapshots, step) {
  const gaps = snapshots.map((snapshot) => Math.abs(snapshot.step - step));
  return gaps.indexOf(Math.min(...gaps));
}

function drawn(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** A chart of one measure over the steps. Its cursor is the snapshot shown; a click goes to the nearest snapshot. */
class Chart {
  constructor(el, model, given) {
    this.model = model;
    this.snapshots = model.get("snapshots");
    this.value = (snapshot) => (given.column === 1 ? snapshot.held_out_loss : snapshot.held_out_accuracy);
    model.on("change:snapshot", () => this.update());
    let drawnWidth = 0;
    new ResizeObserver(() => {
      if (el.clientWidth !== drawnWidth) this.draw(el, (drawnWidth = el.clientWidth), given);
    }).observe(el);
  }

  draw(el, width, { name, column, training, heldOut, recoveries, steps, low, high, told }) {
    const { model } = this;
    const [height, left, bottom] = [width < 480 ? 210 : 250, 46, 26];
    this.x = (step) => left + (step / (steps || 1)) * (width - left - 12);
    this.y = (value) => 10 + (1 - (Math.min(high, Math.max(low, value)) - low) / (high - low)) * (height - bottom - 10);
    this.told = told;
    const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
    this.svg = svg;
    for (const value of ticks(low, high, 5)) {
      svg.append(drawn("line", { class: "grid", x1: left, x2: width - 12, y1: this.y(value), y2: this.y(value) }));
      svg.append(drawn("text", { x: left - 7, y: this.y(value) + 4, "text-anchor": "end" }, told(value)));
    }
    for (const step of ticks(0, steps, width < 480 ? 4 : 6)) {
      const text = step === 0 ? "step 0" : counted(step);
      const anchor = step === 0 ? "start" : this.x(step) > width - 30 ? "end" : "middle";
      svg.append(drawn("text", { x: anchor === "end" ? width - 2 : this.x(step), y: height - 7, "text-anchor": anchor }, text));
    }
    for (const { step, reason } of recoveries) {
      const group = drawn("g", {});
      group.append(drawn("title", {}, `step ${counted(step)}: ${reason}`));
      group.append(drawn("line", { class: "mark-line", x1: this.x(step), x2: this.x(step), y1: 10, y2: height - bottom }));
      const [x, y] = [this.x(step), height - bottom];
      group.append(drawn("path", { class: "mark", d: `M${x - 5} ${y}h10l-5 -9z` }));
      svg.append(group);
    }
    this.line(training, column, "train");
    this.line(heldOut, column, "held");
    this.cursor = drawn("line", { class: "now", y1: 10, y2: height - bottom });
    this.dot = drawn("circle", { class: "now-dot", r: 5 });
    svg.append(this.cursor, this.dot);
    svg.addEventListener("click", (event) => {
      const frame = svg.getBoundingClientRect();
      const place = ((event.clientX - frame.left) / frame.width) * width;
      model.set("snapshot", nearest(this.snapshots, ((place - left) / (width - left - 12)) * steps));
    });
    const last = heldOut.at(-1)?.[column];
    svg.setAttribute("aria-label", `${name} over ${counted(steps)} steps; held out at the end: ${told(last)}`);
    el.replaceChildren(svg);
    this.update();
  }

  line(points, column, kind) {
    const known = points.filter((point) => point[column] !== null);
    if (known.length < 2) {
      for (const point of known) this.svg.append(drawn("circle", { class: "dot", r: 3, cx: this.x(point[0]), cy: this.y(point[column]) }));
      return;
    }
    const path = known.map((point, i) => `${i ? "L" : "M"}${this.x(point[0]).toFixed(1)} ${this.y(point[column]).toFixed(1)}`);
    this.svg.append(drawn("path", { class: kind, d: path.join("") }));
  }

  update() {
    const snapshot = this.snapshots[this.model.get("snapshot")];
    const value = this.value(snapshot);
    for (const end of ["x1", "x2"]) this.cursor.setAttribute(end, this.x(snapshot.step));
    this.dot.setAttribute("cx", this.x(snapshot.step));
    this.dot.setAttribute("visibility", value === null ? "hidden" : "visible");
    if (value !== null) this.dot.setAttribute("cy", this.y(value));
  }
}

function charts(model, curves) {
  const { training, held_out: heldOut, recoveries, steps } = curves;
  const common = { training, heldOut, recoveries, steps };
  const losses = [...training, ...heldOut].map((point) => point[1]).filter((loss) => loss !== null);
  new Chart(document.getElementById("loss"), model, {
    ...common, name: "Loss", column: 1, low: 0, high: 1.04 * Math.max(...losses, 1e-9), told: (value) => String(Number(value.toPrecision(3))),
  });
  const known = [...training, ...heldOut].map((point) => point[2]).filter((accuracy) => accuracy !== null);
  if (known.length) {
    const low = Math.floor(Math.min(...known) * 10) / 10;
    new Chart(document.getElementById("accuracy"), model, {
      ...common, name: "Accuracy", column: 2, low: Math.min(low, 0.9), high: 1, told: (value) => `${Math.round(1000 * value) / 10} %`,
    });
  } else document.getElementById("accuracy-figure").remove();
  const sign = (kind, shape) => {
    const svg = drawn("svg", { viewBox: "0 0 28 12", "aria-hidden": "true" });
    svg.append(shape ?? drawn("line", { class: kind, x1: 1, x2: 27, y1: 6, y2: 6 }));
    return svg;
  };
  const legend = [["train", "training"], ["held", "held out"], ["now", "the snapshot shown"]].map(([kind, text]) => element("span", {}, sign(kind), text));
  if (recoveries.length) legend.push(element("span", {}, sign("", drawn("path", { class: "mark", d: "M9 11h10l-5 -9z" })), "recovery"));
  legend.push(element("span", {}, "Click a curve to go to the nearest snapshot."));
  document.getElementById("legend").replaceChildren(...legend);
}

/** The colours of a cell: more samples, more colour. Right ones are blue, wrong ones orange. */
export function cellColours(count, most, right, dark) {
  if (!count) return null;
  const colours = palette(dark);
  const share = 0.12 + 0.88 * Math.sqrt(count / most);
  const back = diverging(right ? share : -share, colours);
  const [red, green, blue] = back.map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
  // Above this luminance, black has more contrast than white.
  return { back: css(back), ink: 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000" : "#fff" };
}

function confusions(model, matrices) {
  const el = document.getElementById("matrix");
  const title = document.getElementById("matrix-title");
  if (matrices.kind === "numbers") {
    title.textContent = `${matrices.target}: right and predicted, held out`;
    el.replaceChildren(scatter(matrices));
    return;
  }
  const classes = model.get("network").classes;
  if (matrices.kind === "pairs") {
    title.textContent = "The most frequent confusions, held out";
    const head = element("tr", {}, ...["right", "predicted", "samples"].map((text) => element("th", { scope: "col" }, text)));
    const rows = matrices.pairs.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, String(cell)))));
    el.replaceChildren(element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
    return;
  }
  const theme = matchMedia("(prefers-color-scheme: dark)");
  const update = () => {
    const index = model.get("snapshot");
    const matrix = matrices.matrices[index];
    const all = matrix.flat().reduce((a, b) => a + b, 0);
    const right = matrix.reduce((sum, row, i) => sum + row[i], 0);
    title.textContent = `Right and predicted: ${counted(right)} of ${counted(all)} held-out samples are right`;
    const most = Math.max(1, ...matrix.flat());
    const above = element("tr", {}, element("td", {}), element("th", { colSpan: classes.length, scope: "colgroup", className: "axis" }, "predicted →"));
    const head = element("tr", {}, element("th", { className: "axis", scope: "col" }, "right ↓"), ...classes.map((name) => element("th", { scope: "col" }, name)));
    const rows = matrix.map((row, i) => element("tr", {}, element("th", { scope: "row" }, classes[i]), ...row.map((count, j) => {
      const cell = element("td", { title: `${classes[i]} predicted as ${classes[j]}: ${count}` }, count ? String(count) : "·");
      const colours = cellColours(count, most, i === j, theme.matches);
      if (colours) [cell.style.backgroundColor, cell.style.color] = [colours.back, colours.ink];
      return cell;
    })));
    el.replaceChildren(element("table", { className: "matrix" }, element("thead", {}, above, head), element("tbody", {}, ...rows)));
  };
  model.on("change:snapshot", update);
  theme.addEventListener("change", update);
  update();
}

/** Predictions over right values, with the line on which they agree. */
function scatter({ right, found }) {
  const [width, height, left, bottom] = [480, 340, 60, 30];
  const low = Math.min(...right, ...found);
  const high = Math.max(...right, ...found, low + 1e-9);
  const x = (value) => left + ((value - low) / (high - low)) * (width - left - 14);
  const y = (value) => 10 + (1 - (value - low) / (high - low)) * (height - bottom - 10);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${right.length} predictions over right values` });
  svg.setAttribute("class", "scatter");
  for (const value of ticks(low, high, 5)) {
    svg.append(drawn("line", { class: "grid", x1: left, x2: width - 14, y1: y(value), y2: y(value) }));
    svg.append(drawn("text", { x: left - 7, y: y(value) + 4, "text-anchor": "end" }, shown(value)));
    svg.append(drawn("text", { x: x(value), y: height - 9, "text-anchor": "middle" }, shown(value)));
  }
  svg.append(drawn("line", { class: "diagonal", x1: x(low), y1: y(low), x2: x(high), y2: y(high) }));
  right.forEach((value, i) => svg.append(drawn("circle", { class: "dot", r: 3, "fill-opacity": 0.6, cx: x(value), cy: y(found[i]) })));
  return svg;
}

/** The values of a link such as #step=540&sample=3&neuron=hidden.2; those that do not fit are left out. */
export function linkedValues(hash, network, snapshots, samples) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const values = {};
  if (/^\d{1,15}$/.test(given.get("step") ?? "")) values.snapshot = nearest(snapshots, Number(given.get("step")));
  const sample = Number(given.get("sample")) - 1;
  if (given.has("sample") && Number.isInteger(sample) && sample >= 0 && sample < samples.length) values.sample = sample;
  if (given.has("neuron") && placeOf(network, given.get("neuron"))) values.selected = given.get("neuron");
  return values;
}

/** The link to what is shown. */
export function linkOf(snapshot, sample, selected) {
  const parts = [`step=${snapshot.step}`];
  if (sample > 0) parts.push(`sample=${sample + 1}`);
  if (selected) parts.push(`neuron=${selected}`);
  return `#${parts.join("&")}`;
}

/** Keep the address up to date, so that it can be given to others. */
function followLink(model) {
  const names = ["snapshot", "sample", "selected"];
  const shownNow = () => linkOf(model.get("snapshots")[model.get("snapshot")], model.get("sample"), model.get("selected"));
  let waiting = 0;
  for (const name of names) {
    model.on(`change:${name}`, () => {
      // Browsers refuse more than a hundred changes in half a minute, as while the slider moves.
      clearTimeout(waiting);
      waiting = setTimeout(() => history.replaceState(null, "", shownNow()), 400);
    });
  }
  addEventListener("hashchange", () => {
    const linked = linkedValues(location.hash, model.get("network"), model.get("snapshots"), model.get("samples"));
    for (const [name, value] of Object.entries(linked)) model.set(name, value);
  });
}

/** Fill the page from its JSON. */
function start() {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const state = read("state");
  Object.assign(state, linkedValues(location.hash, state.network, state.snapshots, state.samples));
  const model = new PlainModel(state);
  followLink(model);
  render({ model, el: document.getElementById("picture") });
  charts(model, read("curves"));
  confusions(model, read("matrices"));
}

if (document.getElementById("state")) start();
