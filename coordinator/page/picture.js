/* The picture of a network, on canvas: inputs, neurons, synapses. One ES module without imports; it loads nothing.

   `render({model, el})` draws into `el`, and returns a function that ends the picture. `model` has get, set, on, off,
   save_changes and send, as in anywidget. Its values:

     network     what does not change: see coordinator/page/picture_state.py
     snapshots   [{step, epoch, loss, held_out_loss, held_out_accuracy, best, peaks}]
     numbers     biases and weights of all snapshots (base64 or DataView): int16, as shares of the peak of their array
     samples     [{label, held_out}]
     rows        inputs of the samples (base64 or DataView): float32
     snapshot    the index of the snapshot shown      sample    the index of the sample, or -1
     selected    the name of the selected neuron, or ""

   The first half is arithmetic without a page: numbers, layout, colours, words. */

export const MOST_LINES = 30_000;
/* A network with more synapses is drawn as one image per layer pair. */
const LARGEST_SHARE = 32767;
const MINUS = "\u2212";

/* ---- Numbers ---- */

/** The bytes of a value: base64 text in a report, a DataView in a notebook. */
export function bytesOf(value) {
  if (typeof value === "string") {
    const text = atob(value);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return new DataView(bytes.buffer);
  }
  if (value instanceof ArrayBuffer) return new DataView(value);
  return new DataView(value.buffer, value.byteOffset, value.byteLength);
}

/** The number of biases and weights of one snapshot. */
export function countOf(network) {
  const biases = network.layers.reduce((sum, size) => sum + size, 0);
  return network.shapes.reduce((sum, [rows, columns]) => sum + rows * columns, biases);
}

/** Biases and weights of one snapshot, as arrays per layer. Weights lie row by row: from a neuron to all of the next layer. */
export function decodeSnapshot(network, view, index, peaks) {
  let at = index * countOf(network) * 2;
  let array = 0;
  const read = (count) => {
    const peak = peaks[array++] / LARGEST_SHARE;
    const numbers = new Float64Array(count);
    for (let i = 0; i < count; i++, at += 2) numbers[i] = view.getInt16(at, true) * peak;
    return numbers;
  };
  const biases = [];
  const weights = [];
  network.layers.forEach((size, layer) => {
    biases.push(read(size));
    if (layer < network.shapes.length) weights.push(read(network.shapes[layer][0] * network.shapes[layer][1]));
  });
  return { biases, weights };
}

/** The inputs of a sample. */
export function rowOf(network, view, index) {
  const count = network.layers[0];
  const row = new Float64Array(count);
  for (let i = 0; i < count; i++) row[i] = view.getFloat32((index * count + i) * 4, true);
  return row;
}

const ACTIVATIONS = {
  logistic: (sum) => (sum >= 0 ? 1 / (1 + Math.exp(-sum)) : Math.exp(sum) / (1 + Math.exp(sum))),
  tanh: Math.tanh,
  relu: (sum) => Math.max(0, sum),
  identity: (sum) => sum,
};

/** Sums and activities of every layer for one row of inputs: steps 2 and 3 of a neuron, for all neurons. */
export function forward(network, parameters, row) {
  const first = Float64Array.from(row, (value, i) => value + parameters.biases[0][i]);
  const sums = [Float64Array.from(row)];
  const activities = [first.map(ACTIVATIONS[network.activations[0]])];
  for (let layer = 1; layer < network.layers.length; layer++) {
    const size = network.layers[layer];
    const weights = parameters.weights[layer - 1];
    const sum = new Float64Array(size);
    activities[layer - 1].forEach((activity, i) => {
      for (let j = 0; j < size; j++) sum[j] += activity * weights[i * size + j];
    });
    sums.push(sum);
    const bias = parameters.biases[layer];
    activities.push(sum.map((value, j) => ACTIVATIONS[network.activations[layer]](value + bias[j])));
  }
  return { sums, activities };
}

/** The index of the class that output activities mean: the largest, or for one output whether it is above the threshold. */
export function classOf(activities) {
  if (activities.length === 1) return activities[0] > 0.5 ? 1 : 0;
  return activities.indexOf(Math.max(...activities));
}

/** The weights from the layer below to a neuron. */
export function incoming(network, parameters, layer, index) {
  if (layer === 0) return new Float64Array(0);
  const [rows, columns] = network.shapes[layer - 1];
  return Float64Array.from({ length: rows }, (_, i) => parameters.weights[layer - 1][i * columns + index]);
}

/** The weights from a neuron to the layer above. */
export function outgoing(network, parameters, layer, index) {
  if (layer === network.layers.length - 1) return new Float64Array(0);
  const columns = network.shapes[layer][1];
  return parameters.weights[layer].slice(index * columns, (index + 1) * columns);
}

/** The largest magnitude of some numbers; 1 if all are zero, so that one can divide by it. */
export function peakOf(numbers) {
  let peak = 0;
  for (const number of numbers) peak = Math.max(peak, Math.abs(number));
  return peak || 1;
}

/** An activity as a share of its range: 0 to 1 for a logistic neuron, -1 to 1 for the others. `peak` is the largest of its layer. */
export function shareOf(activity, activation, peak) {
  if (activation === "logistic") return activity;
  if (activation === "tanh") return activity;
  return activity / peak;
}

/* ---- Words ---- */

/** A number in four digits, such as −0.4410, 12.35 or 1.2e+6. */
export function shown(number) {
  if (number === null || number === undefined || Number.isNaN(number)) return "–";
  const size = Math.abs(number);
  const places = size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : size >= 1 ? 3 : 4;
  const text = size >= 1e6 ? size.toExponential(1) : size.toFixed(places);
  return number < 0 && Number(text) !== 0 ? MINUS + text : text;
}

/** A whole number with commas, such as 1,080. */
export function counted(number) {
  return number.toLocaleString("en-US");
}

/** A share as percent, such as 96.4 %. */
export function percent(share) {
  return share === null || share === undefined ? "–" : `${(100 * share).toFixed(1)} %`;
}

/** The name of a neuron, such as hidden.3. */
export function nameOf(network, layer, index) {
  return `${network.words[layer]}.${index}`;
}

/** Layer and index of a name, or null. */
export function placeOf(network, name) {
  const dot = (name || "").lastIndexOf(".");
  const layer = network.words.indexOf(name.slice(0, dot));
  const index = Number(name.slice(dot + 1));
  if (layer < 0 || !Number.isInteger(index) || index < 0 || index >= network.layers[layer]) return null;
  return { layer, index };
}

/** The formula of a neuron's activity with its numbers, in the words of step 2. */
export function formulaOf(network, parameters, passed, layer, index) {
  const bias = parameters.biases[layer][index];
  const activity = passed.activities[layer][index];
  const sum = passed.sums[layer][index];
  const activation = network.activations[layer];
  if (layer === 0 && activation === "identity" && bias === 0) return `activity = input = ${shown(activity)}`;
  const inside = `${shown(sum)} + ${shown(bias)}`;
  return activation === "identity"
    ? `activity = ${inside} = ${shown(activity)}`
    : `activity = ${activation}(${inside}) = ${shown(activity)}`;
}

/** What a neuron stands for: the name of an input, or the class of an output; empty for hidden neurons. */
export function meaningOf(network, layer, index) {
  if (layer === 0) return network.inputs[index] ?? "";
  if (layer < network.layers.length - 1) return "";
  if (network.classes && network.layers[layer] === 1) return `${network.classes[1]} (above 0.5), ${network.classes[0]}`;
  return (network.classes ?? network.outputs)[index] ?? "";
}

/** The lines that describe a neuron. `passed` is the pass of the chosen sample, or null. */
export function linesOf(network, parameters, passed, layer, index) {
  const name = nameOf(network, layer, index);
  const meaning = meaningOf(network, layer, index);
  const lines = [meaning && meaning !== name ? `${name} · ${meaning}` : name];
  lines.push(passed ? formulaOf(network, parameters, passed, layer, index) : `bias ${shown(parameters.biases[layer][index])}`);
  if (network.pooled) return lines;
  const into = incoming(network, parameters, layer, index);
  const out = outgoing(network, parameters, layer, index);
  if (into.length) lines.push(synapseWords(network, into, layer - 1, "in"));
  if (out.length) lines.push(synapseWords(network, out, layer + 1, "out"));
  return lines;
}

function synapseWords(network, weights, layer, way) {
  const index = ranked(weights)[0];
  const one = `${shown(weights[index])} (${nameOf(network, layer, index)})`;
  return weights.length === 1 ? `one synapse ${way}: ${one}` : `${counted(weights.length)} synapses ${way}, the strongest ${one}`;
}

/** The indices of some weights, the strongest first. */
export function ranked(weights) {
  return Array.from(weights.keys()).sort((a, b) => Math.abs(weights[b]) - Math.abs(weights[a]) || a - b);
}

/** One line about a snapshot. */
export function snapshotWords(snapshot) {
  const parts = [snapshot.step ? `step ${counted(snapshot.step)}` : "before the first step"];
  if (snapshot.epoch) parts.push(`epoch ${snapshot.epoch}`);
  if (snapshot.held_out_accuracy !== null) parts.push(`held out ${percent(snapshot.held_out_accuracy)}`);
  else if (snapshot.held_out_loss !== null) parts.push(`held-out loss ${shown(snapshot.held_out_loss)}`);
  if (snapshot.best) parts.push("best");
  return parts.join(" · ");
}

/** The share of white to black, 0 to 1, of an input that is a pixel. */
export function pixelShare(network, value, index) {
  const { offset, scale, range: [low, high] } = network.pixels;
  return (value * scale[index] + offset[index] - low) / (high - low || 1);
}

/** What the network says of a sample, and whether that is right. */
export function answerOf(network, sample, activities) {
  if (!network.classes) {
    const [[offset], [scale]] = network.target_units;
    const found = shown(activities[0] * scale + offset);
    return { text: `${network.outputs[0]} ${found}, the right value is ${shown(sample.label)}`, right: null };
  }
  const found = classOf(activities);
  const right = found === sample.label;
  const told = network.classes[found];
  return { text: right ? `${told}, right` : `${told}, but it is ${network.classes[sample.label]}`, right };
}

/** How to read the picture, one paragraph each. */
export function explained(network, mode) {
  if (mode === "images") {
    const lines = ["Each image has one pixel per synapse: a row per sending neuron, a column per receiving neuron."];
    if (!network.pooled) lines.push("Click a column to see its neuron.");
    return [...lines, "Zoom with the buttons, with Ctrl and the wheel, or with the keys + and −; drag to move."];
  }
  const lines = [];
  if (network.layers[0] === 2) {
    lines.push("Each square is the plane of the two inputs, coloured by the activity of this neuron there.");
    if (network.classes?.length === 2) lines.push(`The dots are samples: blue “${network.classes[1]}”, orange “${network.classes[0]}”.`);
  } else if (network.image) {
    lines.push("Each hidden neuron is drawn as its weights from the pixels: blue where ink raises its activity, orange where ink lowers it.");
  } else lines.push("Each hidden neuron is drawn as bars: its weights from the layer below.");
  lines.push("A thick line is a strong synapse. A yellow frame is an active neuron.");
  lines.push("Click a neuron, or use the arrow keys and Enter, to see its synapses alone.");
  return lines;
}

/* ---- Colours: blue for positive, orange for negative, which all common kinds of colour blindness tell apart ---- */

const LIGHT = {
  back: [255, 255, 255], card: [246, 248, 250], ink: [27, 36, 48], soft: [91, 103, 117], line: [214, 221, 229],
  positive: [0, 92, 175], negative: [201, 84, 0], zero: [255, 255, 255], glow: [240, 170, 0], wrong: [176, 0, 80],
};
const DARK = {
  back: [16, 20, 27], card: [25, 31, 41], ink: [231, 236, 243], soft: [158, 170, 186], line: [52, 62, 77],
  positive: [95, 178, 255], negative: [255, 158, 74], zero: [16, 20, 27], glow: [255, 214, 92], wrong: [255, 120, 170],
};

export function palette(dark) {
  return dark ? DARK : LIGHT;
}

export function css([red, green, blue], alpha = 1) {
  return alpha >= 1 ? `rgb(${red},${green},${blue})` : `rgba(${red},${green},${blue},${Math.max(0, alpha).toFixed(3)})`;
}

function mixed(from, to, share) {
  return from.map((value, i) => Math.round(value + (to[i] - value) * share));
}

/** The colour of a share from -1 to 1: the sign's colour, mixed with the background towards 0. */
export function diverging(share, colours) {
  const size = Math.min(1, Math.abs(share));
  return mixed(colours.zero, share < 0 ? colours.negative : colours.positive, size);
}

/** The grey of an input from 0 to 1: ink on paper. */
export function inkOf(share, colours) {
  return mixed(colours.zero, colours.ink, Math.min(1, Math.max(0, share)));
}

/** Width in pixels and alpha of a synapse: both rise steeply with its share of the strongest weight. */
export function strokeOf(share, alone = false) {
  const size = Math.min(1, Math.abs(share));
  return alone
    ? { width: 0.5 + 3 * size ** 1.3, alpha: 0.12 + 0.88 * size }
    : { width: 0.35 + 2.6 * size ** 2, alpha: 0.03 + 0.8 * size ** 2.2 };
}

const LEVELS = 24;

/** Lines with a share from -1 to 1, in groups of nearly the same share, the strongest last: [[share, lines]]. */
export function levelsOf(lines) {
  const groups = new Map();
  for (const line of lines) {
    const level = Math.sign(line.share) * Math.ceil(Math.abs(line.share) * LEVELS);
    if (!groups.has(level)) groups.set(level, []);
    groups.get(level).push(line);
  }
  const order = [...groups.keys()].sort((a, b) => Math.abs(a) - Math.abs(b) || a - b);
  return order.map((level) => [level / LEVELS, groups.get(level)]);
}

/* ---- Layout ---- */

/** The number of synapses of a network. */
export function synapsesOf(layers) {
  return layers.slice(1).reduce((sum, size, i) => sum + size * layers[i], 0);
}

/** How a network is drawn: "synapses", or "images" if it has too many of them. */
export function modeOf(network) {
  return network.pooled || synapsesOf(network.layers) > MOST_LINES ? "images" : "synapses";
}

/** The side of `count` squares in a column `width` × `height`, in as few columns as keep them legible. */
export function tiles(count, width, height, largest, gap, least) {
  let best = null;
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const side = Math.min(largest, (height + gap) / rows - gap, (width + gap) / columns - gap);
    if (!best || side > best.side * 1.001) best = { side, columns, rows };
    if (side >= least) break;
  }
  return { ...best, side: Math.max(1, best.side) };
}

/** The place of every neuron: {kinds, boxes, columns}; boxes[layer][index] is {x, y, w, h}. The kind of a layer is picture, bars,
    map, tile or output. */
export function layout(network, width, height) {
  const layers = network.layers;
  const last = layers.length - 1;
  const plane = layers[0] === 2;
  const narrow = width < 560;
  const top = 34;
  const bottom = 10;
  const side = narrow ? 8 : 16;
  const inner = height - top - bottom;
  const kinds = layers.map((_, layer) => {
    if (layer === 0) return network.image ? "picture" : plane ? "map" : "bars";
    if (plane) return "map";
    return layer === last ? "output" : "tile";
  });
  const label = plane ? 0 : narrow ? 80 : 150;
  const firstWidth = network.image
    ? Math.min(inner, width * (narrow ? 0.28 : 0.27))
    : plane ? (narrow ? 44 : 64) : Math.min(width * 0.3, narrow ? 104 : 190);
  const lastWidth = plane ? Math.min(inner, width * 0.26, 230) : (narrow ? 16 : 24) + label;
  const middle = width - 2 * side - firstWidth - lastWidth;
  const share = last > 1 ? middle / (last - 1) : middle;
  const boxes = [];
  const columns = [];
  layers.forEach((count, layer) => {
    let x;
    let w;
    if (layer === 0) [x, w] = [side, firstWidth];
    else if (layer === last) [x, w] = [width - side - lastWidth, lastWidth];
    else {
      w = Math.min(share * (narrow ? 0.75 : 0.5), 260);
      x = side + firstWidth + share * (layer - 0.5) - w / 2;
    }
    columns.push({ x, y: top, w, h: inner });
    boxes.push(place(kinds[layer], network, layer, { x, y: top, w, h: inner }, count, narrow));
  });
  return { kinds, boxes, columns, narrow };
}

function place(kind, network, layer, box, count, narrow) {
  if (kind === "picture") {
    const [rows, columns] = network.image;
    const cell = Math.min(box.w / columns, box.h / rows);
    const y = box.y + (box.h - cell * rows) / 2;
    return Array.from({ length: count }, (_, i) => ({
      x: box.x + (i % columns) * cell, y: y + Math.floor(i / columns) * cell, w: cell, h: cell,
    }));
  }
  if (kind === "bars" || kind === "output") {
    const h = Math.min(kind === "bars" ? 34 : 40, box.h / count);
    const y = box.y + (box.h - h * count) / 2;
    const inset = h > 8 ? 2 : 0;
    return Array.from({ length: count }, (_, i) => ({ x: box.x, y: y + i * h + inset, w: box.w, h: Math.max(1, h - 2 * inset) }));
  }
  const names = kind === "map" && layer === 0;
  const gap = names ? 26 : count > 40 ? 3 : narrow ? 5 : 8;
  const ends = layer === 0 || layer === network.layers.length - 1;
  const largest = kind === "map" && ends && layer > 0 ? 230 : narrow ? 48 : 72;
  const { side, columns, rows } = tiles(count, box.w, box.h, largest, gap, names ? 1 : narrow ? 26 : kind === "tile" && network.image ? 56 : 40);
  const x = box.x + (box.w - (columns * (side + gap) - gap)) / 2;
  const y = box.y + (box.h - (rows * (side + gap) - gap)) / 2;
  return Array.from({ length: count }, (_, i) => ({
    x: x + (i % columns) * (side + gap), y: y + Math.floor(i / columns) * (side + gap), w: side, h: side,
  }));
}

/** The place of the image of every layer pair, side by side. The pixel of a weight is square, unless the image were too narrow. */
export function imageLayout(network, width, height) {
  const gap = 24;
  const top = 44;
  const room = (width - gap * (network.shapes.length + 1)) / network.shapes.length;
  const boxes = network.shapes.map(([rows, columns], pair) => {
    const tall = height - top - 16;
    const cell = Math.min(room / columns, tall / rows);
    const w = Math.max(cell * columns, Math.min(room, tall * 0.6));
    const h = Math.max(cell * rows, Math.min(tall, room * 0.6));
    return { x: gap + pair * (room + gap) + (room - w) / 2, y: top + (tall - h) / 2, w, h };
  });
  return { boxes };
}

/** The synapse of an image at a point: {pair, row, column}, or null. */
export function cellAt(network, places, x, y) {
  for (let pair = 0; pair < places.boxes.length; pair++) {
    const box = places.boxes[pair];
    const [rows, columns] = network.shapes[pair];
    const row = Math.floor(((y - box.y) / box.h) * rows);
    const column = Math.floor(((x - box.x) / box.w) * columns);
    if (row >= 0 && row < rows && column >= 0 && column < columns) return { pair, row, column };
  }
  return null;
}

/** The first and last neuron of a layer that one row or column of an image stands for. */
export function blockOf(index, parts, size) {
  return [Math.floor((index * size) / parts), Math.floor(((index + 1) * size) / parts) - 1];
}

/** The lines that describe a synapse of an image, or the block of synapses that its pixel stands for. */
export function linesOfCell(network, parameters, { pair, row, column }) {
  const [rows, columns] = network.shapes[pair];
  const [from, to] = [[row, rows, pair], [column, columns, pair + 1]].map(([index, parts, layer]) => {
    const [first, last] = blockOf(index, parts, network.layers[layer]);
    return first === last ? nameOf(network, layer, first) : `${nameOf(network, layer, first)} to ${last}`;
  });
  const weight = shown(parameters.weights[pair][row * columns + column]);
  return [`${from} → ${to}`, network.pooled ? `strongest weight ${weight}` : `weight ${weight}`];
}

/** The neuron at a point, or null. */
export function neuronAt(places, x, y) {
  for (let layer = 0; layer < places.boxes.length; layer++) {
    const index = places.boxes[layer].findIndex((box) => x >= box.x && x < box.x + box.w && y >= box.y && y < box.y + box.h);
    if (index >= 0) return { layer, index };
  }
  return null;
}

/** A zoom by a factor around a point, at most 40 times; the picture always covers the canvas. */
export function zoomed(zoom, factor, x, y, width, height) {
  const scale = Math.min(40, Math.max(1, zoom.scale * factor));
  const real = scale / zoom.scale;
  return covering({ scale, x: x - (x - zoom.x) * real, y: y - (y - zoom.y) * real }, width, height);
}

/** A zoom whose picture covers the canvas. */
export function covering({ scale, x, y }, width, height) {
  return { scale, x: Math.min(0, Math.max(width * (1 - scale), x)), y: Math.min(0, Math.max(height * (1 - scale), y)) };
}

/** The neuron to which an arrow key leads. Up and down stay in the layer, left and right go to the nearest of the next one. */
export function moved(places, from, key) {
  const boxes = places.boxes;
  if (!from) return { layer: Math.min(1, boxes.length - 1), index: 0 };
  const { layer, index } = from;
  const step = { ArrowUp: -1, ArrowDown: 1 }[key];
  if (step) return { layer, index: Math.min(boxes[layer].length - 1, Math.max(0, index + step)) };
  const next = layer + { ArrowLeft: -1, ArrowRight: 1 }[key];
  if (!boxes[next]) return from;
  const here = boxes[layer][index].y + boxes[layer][index].h / 2;
  const gaps = boxes[next].map((box) => Math.abs(box.y + box.h / 2 - here));
  return { layer: next, index: gaps.indexOf(Math.min(...gaps)) };
}

/** The square of the plane that the samples of two inputs lie in, with a margin: [low, high] of each input. */
export function domainOf(rows) {
  return [0, 1].map((axis) => {
    const values = rows.map((row) => row[axis]);
    const low = Math.min(...values);
    const high = Math.max(...values);
    const margin = 0.12 * (high - low || 1);
    return [low - margin, high + margin];
  });
}

/** The activities of all neurons on a grid of the plane: maps[layer][index] has side × side numbers, the top row first. */
export function decisionMaps(network, parameters, domain, side) {
  const maps = network.layers.map((size) => Array.from({ length: size }, () => new Float64Array(side * side)));
  const [[left, right], [low, high]] = domain;
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      const x = left + ((column + 0.5) / side) * (right - left);
      const y = high - ((row + 0.5) / side) * (high - low);
      forward(network, parameters, [x, y]).activities.forEach((activities, layer) => {
        for (let i = 0; i < activities.length; i++) maps[layer][i][row * side + column] = activities[i];
      });
    }
  }
  return maps;
}

/** A decision map as shares from -1 to 1: the middle of the activation's range is 0. */
export function mapShares(map, activation) {
  if (activation === "logistic") return map.map((activity) => 2 * activity - 1);
  const peak = activation === "tanh" ? 1 : peakOf(map);
  return map.map((activity) => activity / peak);
}

/* ---- Drawing ---- */

const STYLE = `
.exm { --back: #fff; --card: #f6f8fa; --ink: #1b2430; --soft: #5b6775; --line: #d6dde5; --accent: #005caf; color: var(--ink);
  background: var(--back); font: 14px/1.45 system-ui, sans-serif; text-align: left; }
.exm.exm-dark { --back: #10141b; --card: #191f29; --ink: #e7ecf3; --soft: #9eaaba; --line: #343e4d; --accent: #5fb2ff; }
.exm *, .exm *::before { box-sizing: border-box; }
.exm-bar { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 12px; margin-bottom: 8px; }
.exm-bar input { flex: 1 1 180px; min-width: 120px; accent-color: var(--accent); height: 24px; }
.exm-bar output { flex: 0 1 auto; font-variant-numeric: tabular-nums; }
.exm button { font: inherit; color: var(--ink); background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  min-width: 34px; min-height: 32px; padding: 3px 10px; cursor: pointer; }
.exm button:hover { border-color: var(--accent); }
.exm button:focus-visible, .exm canvas:focus-visible, .exm input:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.exm-body { display: flex; flex-wrap: wrap; gap: 14px; align-items: flex-start; }
.exm-main { flex: 1 1 560px; min-width: 0; max-width: 100%; }
.exm-stage { position: relative; }
.exm-stage canvas { display: block; width: 100%; border-radius: 8px; touch-action: pan-y; cursor: pointer; }
.exm-tip { position: absolute; z-index: 2; max-width: 320px; padding: 7px 10px; border-radius: 6px; border: 1px solid var(--line);
  background: var(--card); pointer-events: none; font-size: 13px; box-shadow: 0 3px 12px rgb(0 0 0 / 22%); }
.exm-tip div:first-child, .exm-panel h2 { font-weight: 600; }
.exm-panel { flex: 1 1 240px; max-width: 100%; min-width: 0; padding: 12px 14px; background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; }
.exm-panel h2 { margin: 0 0 6px; font-size: 15px; overflow-wrap: anywhere; }
.exm-panel p { margin: 0 0 8px; overflow-wrap: anywhere; }
.exm-panel canvas { display: block; width: 132px; height: 132px; margin: 0 0 8px; border: 1px solid var(--line); }
.exm-panel table { border-collapse: collapse; width: 100%; font-size: 13px; font-variant-numeric: tabular-nums; }
.exm-panel th { text-align: left; font-weight: 600; color: var(--soft); }
.exm-panel td, .exm-panel th { padding: 1px 6px 1px 0; }
.exm-panel table + table { margin-top: 6px; }
.exm-panel button { margin-top: 10px; }
.exm-panel td:last-child, .exm-panel th:last-child { text-align: right; padding-right: 0; white-space: nowrap; }
.exm-more { display: flex; flex-wrap: wrap; gap: 6px; margin-top: 8px; }
.exm-samples button { padding: 3px; min-width: 0; min-height: 0; line-height: 1.1; font-size: 12px; text-align: center; }
.exm-samples button[aria-pressed=true] { border-color: var(--accent); box-shadow: 0 0 0 1px var(--accent); }
.exm-samples canvas { display: block; margin: 0 auto 2px; image-rendering: pixelated; }
.exm-note { margin: 6px 0 0; color: var(--soft); font-size: 13px; }
.exm-keys { display: inline-block; width: 22px; height: 4px; margin: 0 4px 3px 10px; border-radius: 2px; }
.exm-keys:first-child { margin-left: 0; }
.exm-hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
`;
const FONT = "system-ui, sans-serif";
const THUMBNAILS = 26;
const LISTED = 5;
const FAINTEST = 0.05;
const MAP_SIDE = 56;

function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** Whether the page around an element is dark: a notebook says so, else the browser does. */
function isDark() {
  const notebook = document.body.dataset.jpThemeLight;
  return notebook === undefined ? matchMedia("(prefers-color-scheme: dark)").matches : notebook === "false";
}

class Picture {
  constructor(model, el) {
    this.model = model;
    this.el = el;
    this.network = model.get("network");
    this.snapshots = model.get("snapshots");
    this.samples = model.get("samples");
    this.mode = modeOf(this.network);
    this.numbers = bytesOf(model.get("numbers"));
    this.rows = bytesOf(model.get("rows"));
    this.pointed = null;
    this.zoom = { scale: 1, x: 0, y: 0 };
    this.decoded = new Map();
    this.build();
    this.ends = [];
    const changed = () => this.update();
    for (const name of ["snapshot", "sample", "selected"]) {
      model.on(`change:${name}`, changed);
      this.ends.push(() => model.off(`change:${name}`, changed));
    }
    const theme = matchMedia("(prefers-color-scheme: dark)");
    theme.addEventListener("change", changed);
    this.ends.push(() => theme.removeEventListener("change", changed));
    const sizes = new ResizeObserver(() => this.draw());
    sizes.observe(this.stage);
    this.ends.push(() => sizes.disconnect(), () => this.stop());
    this.update();
  }

  /* -- the model -- */

  set(name, value) {
    this.model.set(name, value);
    this.model.save_changes();
  }

  get snapshot() {
    return Math.min(this.snapshots.length - 1, Math.max(0, this.model.get("snapshot")));
  }

  get sample() {
    return Math.min(this.samples.length - 1, this.model.get("sample"));
  }

  get selected() {
    return placeOf(this.network, this.model.get("selected"));
  }

  parametersOf(index) {
    if (!this.decoded.has(index)) {
      this.decoded.set(index, decodeSnapshot(this.network, this.numbers, index, this.snapshots[index].peaks));
    }
    return this.decoded.get(index);
  }

  /* -- the page -- */

  build() {
    this.slider = element("input", {
      type: "range", min: 0, max: this.snapshots.length - 1, step: 1, "aria-label": "Snapshot of the training",
      oninput: () => { this.stop(); this.set("snapshot", Number(this.slider.value)); },
    });
    this.told = element("output");
    this.play = element("button", { type: "button", onclick: () => (this.timer ? this.stop() : this.start()) }, "▶ Play");
    const bar = element("div", { className: "exm-bar" });
    if (this.snapshots.length > 1) bar.append(this.play, this.slider);
    bar.append(this.told);
    this.canvas = element("canvas", { tabIndex: 0, role: "img" });
    this.tip = element("div", { className: "exm-tip", hidden: true });
    this.stage = element("div", { className: "exm-stage" }, this.canvas, this.tip);
    if (this.mode === "images") this.buildZoom(bar);
    this.panel = element("div", { className: "exm-panel" });
    this.live = element("div", { className: "exm-hidden", "aria-live": "polite" });
    this.more = element("div", { className: "exm-more" });
    this.note = element("p", { className: "exm-note" });
    const main = element("div", { className: "exm-main" }, this.stage, this.more, this.note);
    this.root = element("div", { className: "exm" }, bar, element("div", { className: "exm-body" }, main, this.panel), this.live);
    this.el.replaceChildren(this.root);
    const place = this.el.getRootNode();
    const home = place.adoptedStyleSheets ? place : document;
    if (!Array.from(home.adoptedStyleSheets).includes(sheet())) home.adoptedStyleSheets = [...home.adoptedStyleSheets, sheet()];
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => this.hide());
    this.canvas.addEventListener("click", (event) => this.click(event));
    this.canvas.addEventListener("keydown", (event) => this.press(event));
    this.canvas.addEventListener("blur", () => this.hide());
    this.buildSamples();
  }

  buildZoom(bar) {
    const button = (text, name, factor) => element("button", {
      type: "button", "aria-label": name, onclick: () => this.zoomBy(factor, this.canvas.clientWidth / 2, this.canvas.clientHeight / 2),
    }, text);
    bar.append(element("span", {}, button("+", "Zoom in", 1.6), " ", button(MINUS, "Zoom out", 1 / 1.6), " ", button("1:1", "Show all", 1e-9)));
    this.canvas.addEventListener("wheel", (event) => {
      // Without the key, the wheel scrolls the page; a pinch has it.
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      this.zoomBy(1.002 ** -event.deltaY, event.offsetX, event.offsetY);
    }, { passive: false });
  }

  zoomBy(factor, x, y) {
    this.zoom = zoomed(this.zoom, factor, x, y, this.canvas.clientWidth, this.canvas.clientHeight);
    this.hide();
    this.draw();
  }

  moveBy(x, y) {
    const moved = { ...this.zoom, x: this.zoom.x + x, y: this.zoom.y + y };
    this.zoom = covering(moved, this.canvas.clientWidth, this.canvas.clientHeight);
    this.draw();
  }

  buildSamples() {
    if (this.network.pooled || !this.samples.length) return;
    this.thumbnails = [];
    if (!this.network.image) {
      const step = (by) => () => this.set("sample", (this.sample + by + this.samples.length) % this.samples.length);
      this.count = element("span");
      this.more.append(
        element("button", { type: "button", onclick: step(-1), "aria-label": "Previous sample" }, "◀"), this.count,
        element("button", { type: "button", onclick: step(1), "aria-label": "Next sample" }, "▶"),
      );
      this.more.classList.add("exm-bar");
      return;
    }
    this.more.classList.add("exm-samples");
    const [rows, columns] = this.network.image;
    this.samples.slice(0, THUMBNAILS).forEach((sample, index) => {
      const scale = Math.max(1, Math.round(36 / columns));
      const canvas = element("canvas", { width: columns, height: rows });
      canvas.style.width = `${columns * scale}px`;
      canvas.style.height = `${rows * scale}px`;
      const label = element("span");
      const button = element("button", { type: "button", onclick: () => this.set("sample", index) }, canvas, label);
      this.more.append(button);
      this.thumbnails.push({ button, canvas, label, sample, index });
    });
  }

  start() {
    if (this.snapshot === this.snapshots.length - 1) this.set("snapshot", 0);
    this.play.textContent = "■ Stop";
    this.timer = setInterval(() => {
      if (this.snapshot >= this.snapshots.length - 1) this.stop();
      else this.set("snapshot", this.snapshot + 1);
    }, 160);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.play.textContent = "▶ Play";
  }

  /** The neuron at the pointer. */
  at(event) {
    const frame = this.canvas.getBoundingClientRect();
    return neuronAt(this.places, event.clientX - frame.left, event.clientY - frame.top);
  }

  /** The synapse at the pointer, in a picture of images. */
  cellAt(event) {
    return cellAt(this.network, this.places, event.offsetX, event.offsetY);
  }

  point(event) {
    if (this.mode !== "images") this.show(this.at(event));
    else if (event.buttons && this.zoom.scale > 1) {
      this.dragged = true;
      this.hide();
      this.moveBy(event.movementX, event.movementY);
    } else this.showCell(this.cellAt(event), event.offsetX, event.offsetY);
  }

  click(event) {
    if (this.dragged) {
      this.dragged = false;
      return;
    }
    const cell = this.mode === "images" && !this.network.pooled ? this.cellAt(event) : null;
    const found = this.mode === "images" ? cell && { layer: cell.pair + 1, index: cell.column } : this.at(event);
    const name = found ? nameOf(this.network, found.layer, found.index) : "";
    this.set("selected", name === this.model.get("selected") ? "" : name);
  }

  press(event) {
    if (this.mode === "images") {
      const step = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
      const factor = { "+": 1.6, "=": 1.6, "-": 1 / 1.6, 0: 1e-9 }[event.key];
      if (step) this.moveBy(...step);
      else if (factor) this.zoomBy(factor, this.canvas.clientWidth / 2, this.canvas.clientHeight / 2);
      else if (event.key === "Escape") this.set("selected", "");
      else return;
      event.preventDefault();
      return;
    }
    if (event.key.startsWith("Arrow")) {
      this.show(moved(this.places, this.pointed ?? this.selected, event.key));
      this.live.textContent = this.linesAt(this.pointed).join(". ");
    } else if (event.key === "Enter" || event.key === " ") {
      const name = this.pointed ? nameOf(this.network, this.pointed.layer, this.pointed.index) : "";
      this.set("selected", name === this.model.get("selected") ? "" : name);
    } else if (event.key === "Escape") {
      this.set("selected", "");
      this.show(null);
    } else return;
    event.preventDefault();
  }

  linesAt(place) {
    return linesOf(this.network, this.parameters, this.passed, place.layer, place.index);
  }

  /** Show the numbers of a neuron beside it, or hide them. */
  show(place) {
    const before = this.pointed && nameOf(this.network, this.pointed.layer, this.pointed.index);
    const now = place && nameOf(this.network, place.layer, place.index);
    this.pointed = place;
    this.tip.hidden = !place;
    if (place) this.tell(this.linesAt(place), this.places.boxes[place.layer][place.index]);
    if (before !== now) this.draw();
  }

  showCell(cell, x, y) {
    this.tip.hidden = !cell;
    if (cell) this.tell(linesOfCell(this.network, this.parameters, cell), { x, y, w: 0, h: 0 });
  }

  hide() {
    if (this.mode === "images") this.tip.hidden = true;
    else this.show(null);
  }

  /** Write lines beside a box of the canvas. */
  tell(lines, box) {
    this.tip.replaceChildren(...lines.map((line) => element("div", {}, line)));
    const width = this.stage.clientWidth;
    const right = box.x + box.w / 2 > width / 2;
    this.tip.style.left = right ? "" : `${Math.min(box.x + box.w + 8, width - 180)}px`;
    this.tip.style.right = right ? `${Math.min(width - box.x + 8, width - 180)}px` : "";
    const top = Math.min(box.y, this.stage.clientHeight - this.tip.offsetHeight - 4);
    this.tip.style.top = `${Math.max(0, top)}px`;
  }

  /** Show the model's present values. */
  update() {
    const dark = isDark();
    this.colours = palette(dark);
    this.root.classList.toggle("exm-dark", dark);
    const network = this.network;
    this.parameters = this.parametersOf(this.snapshot);
    this.row = this.sample >= 0 && !network.pooled ? rowOf(network, this.rows, this.sample) : null;
    this.passed = this.row && forward(network, this.parameters, this.row);
    this.slider.value = this.snapshot;
    const words = snapshotWords(this.snapshots[this.snapshot]);
    this.told.textContent = words;
    this.slider.setAttribute("aria-valuetext", words);
    this.maps = null;
    if (network.layers[0] === 2 && this.mode === "synapses") {
      this.domain ??= domainOf(!this.samples.length ? [[-1, -1], [1, 1]] : this.samples.map((_, index) => rowOf(network, this.rows, index)));
      this.maps = decisionMaps(network, this.parameters, this.domain, MAP_SIDE);
    }
    this.updateSamples();
    this.updatePanel();
    const of = `Network of ${counted(network.layers.reduce((a, b) => a + b, 0))} neurons in layers of ${network.layers.join(", ")}`;
    this.canvas.setAttribute("aria-label", `${of}; ${this.mode === "images" ? "plus and minus zoom, arrow keys move" : "arrow keys go from neuron to neuron, Enter selects, Escape clears"}`);
    this.draw();
    if (this.pointed) this.show(this.pointed);
  }

  updateSamples() {
    if (!this.thumbnails) return;
    for (const { button, canvas, label, sample, index } of this.thumbnails) {
      const row = rowOf(this.network, this.rows, index);
      const answer = answerOf(this.network, sample, forward(this.network, this.parameters, row).activities.at(-1));
      // The pixels of a sample depend on the theme alone.
      if (this.inked !== this.colours) {
        drawCells(canvas, row, (value, i) => pixelShare(this.network, value, i), (share) => inkOf(share, this.colours));
      }
      label.textContent = answer.right === null ? "" : `${answer.text.split(",")[0].slice(0, 8)} ${answer.right ? "✓" : "✗"}`;
      label.style.color = answer.right === false ? css(this.colours.wrong) : "";
      button.setAttribute("aria-pressed", String(index === this.sample));
      button.title = `sample ${index + 1}: ${answer.text}`;
      button.setAttribute("aria-label", button.title);
    }
    this.inked = this.colours;
    if (this.count && this.passed) {
      const answer = answerOf(this.network, this.samples[this.sample], this.passed.activities.at(-1));
      const kind = this.samples[this.sample].held_out ? "held-out sample" : "training sample";
      this.count.textContent = `${kind} ${this.sample + 1} of ${this.samples.length}: ${answer.text}`;
    }
  }

  /** The panel beside the picture: the selected neuron, or how to read the picture. */
  updatePanel() {
    const place = this.selected;
    const network = this.network;
    this.note.textContent = network.pooled
      ? "The network is too large for this file: each pixel is the strongest of several synapses."
      : "The numbers are computed here from the weights of the snapshot, which are rounded to 16 bits.";
    if (!place) {
      const key = (colour) => {
        const mark = element("span", { className: "exm-keys" });
        mark.style.background = css(colour);
        return mark;
      };
      const parts = [element("h2", {}, "How to read it"),
        element("p", {}, key(this.colours.positive), "positive weight", key(this.colours.negative), "negative weight")];
      parts.push(...explained(network, this.mode).map((text) => element("p", {}, text)));
      this.panel.replaceChildren(...parts);
      return;
    }
    const { layer, index } = place;
    const [title, ...lines] = this.linesAt(place);
    const parts = [element("h2", {}, title)];
    const into = network.pooled ? [] : incoming(network, this.parameters, layer, index);
    if (layer === 1 && network.image && into.length) {
      const canvas = element("canvas", { width: network.image[1], height: network.image[0] });
      canvas.style.imageRendering = "pixelated";
      const peak = peakOf(into);
      drawCells(canvas, into, (weight) => weight / peak, (share) => diverging(share, this.colours));
      parts.push(canvas);
    } else if (this.maps) {
      const side = 88;
      const canvas = element("canvas", { width: side, height: side });
      const map = decisionMaps(network, this.parameters, this.domain, side)[layer][index];
      drawCells(canvas, mapShares(map, network.activations[layer]), (share) => share, (share) => diverging(share, this.colours));
      parts.push(canvas);
    }
    parts.push(...lines.map((line) => element("p", {}, line)));
    if (!network.pooled) {
      parts.push(...this.listOf("From", into, layer - 1));
      parts.push(...this.listOf("To", outgoing(network, this.parameters, layer, index), layer + 1));
    }
    parts.push(element("button", { type: "button", onclick: () => this.set("selected", "") }, "Show all synapses"));
    this.panel.replaceChildren(...parts);
  }

  listOf(word, weights, layer) {
    if (!weights.length) return [];
    const rows = ranked(weights).slice(0, LISTED).map((index) => {
      const meaning = meaningOf(this.network, layer, index);
      const name = nameOf(this.network, layer, index);
      return element("tr", {}, element("td", {}, meaning ? `${name} · ${meaning}` : name), element("td", {}, shown(weights[index])));
    });
    const head = element("tr", {}, element("th", { scope: "col" }, word), element("th", { scope: "col" }, "weight"));
    return [element("table", {}, head, ...rows)];
  }

  /* -- the canvas -- */

  draw() {
    if (!this.parameters) return;
    const width = Math.max(240, this.stage.clientWidth);
    const height = Math.round(Math.min(600, Math.max(360, width * 0.58)));
    const scale = devicePixelRatio || 1;
    const canvas = this.canvas;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
      canvas.style.height = `${height}px`;
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.fillStyle = css(this.colours.back);
    pen.fillRect(0, 0, width, height);
    pen.textBaseline = "middle";
    if (this.mode === "images") {
      const { scale, x, y } = this.zoom;
      const boxes = imageLayout(this.network, width, height).boxes;
      this.places = { boxes: boxes.map((box) => ({ x: box.x * scale + x, y: box.y * scale + y, w: box.w * scale, h: box.h * scale })) };
      this.drawImages(pen, width);
      return;
    }
    this.places = layout(this.network, width, height);
    this.drawTitles(pen);
    if (this.places.kinds[0] === "picture") this.drawLayer(pen, 0);
    this.copySynapses(pen, width, height, scale);
    this.network.layers.forEach((_, layer) => {
      if (layer || this.places.kinds[0] !== "picture") this.drawLayer(pen, layer);
    });
    this.drawFrames(pen);
  }

  drawTitles(pen) {
    pen.font = `600 13px ${FONT}`;
    pen.fillStyle = css(this.colours.soft);
    const columns = this.places.columns;
    const texts = columns.map((_, layer) => `${this.network.words[layer]} · ${counted(this.network.layers[layer])}`);
    const room = columns.at(-1).x + columns.at(-1).w - columns[0].x;
    const all = texts.reduce((sum, text) => sum + pen.measureText(text).width + 12, 0);
    columns.forEach((column, layer) => {
      const text = all <= room * 0.9 ? texts[layer] : counted(this.network.layers[layer]);
      const last = layer === columns.length - 1;
      pen.textAlign = layer === 0 ? "left" : last ? "right" : "center";
      pen.fillText(text, layer === 0 ? column.x : last ? column.x + column.w : column.x + column.w / 2, 16);
    });
    pen.textAlign = "left";
  }

  /** The two ends of a synapse. */
  ends_of(layer, from, to) {
    const a = this.places.boxes[layer][from];
    const b = this.places.boxes[layer + 1][to];
    const picture = this.places.kinds[layer] === "picture";
    const x1 = picture ? a.x + a.w / 2 : a.x + a.w;
    return [x1, a.y + a.h / 2, b.x, b.y + b.h / 2];
  }

  drawSynapses(pen) {
    const chosen = this.selected;
    const lines = [];
    this.network.shapes.forEach(([rows, columns], layer) => {
      const weights = this.parameters.weights[layer];
      const peak = chosen ? 0 : peakOf(weights);
      const add = (from, to, most, alone) => {
        const share = weights[from * columns + to] / most;
        if (strokeOf(share, alone).alpha > FAINTEST) lines.push({ layer, from, to, share });
      };
      if (!chosen) {
        for (let from = 0; from < rows; from++) for (let to = 0; to < columns; to++) add(from, to, peak, false);
      } else if (chosen.layer === layer + 1) {
        const most = peakOf(incoming(this.network, this.parameters, chosen.layer, chosen.index));
        for (let from = 0; from < rows; from++) add(from, chosen.index, most, true);
      } else if (chosen.layer === layer) {
        const most = peakOf(outgoing(this.network, this.parameters, layer, chosen.index));
        for (let to = 0; to < columns; to++) add(chosen.index, to, most, true);
      }
    });
    for (const [level, some] of levelsOf(lines)) {
      const { width, alpha } = strokeOf(level, Boolean(chosen));
      pen.strokeStyle = css(level < 0 ? this.colours.negative : this.colours.positive, alpha);
      pen.lineWidth = width;
      pen.beginPath();
      for (const { layer, from, to } of some) {
        const [x1, y1, x2, y2] = this.ends_of(layer, from, to);
        const bend = (x2 - x1) * 0.45;
        pen.moveTo(x1, y1);
        pen.bezierCurveTo(x1 + bend, y1, x2 - bend, y2, x2, y2);
      }
      pen.stroke();
    }
  }

  /** Draw the synapses from a copy, which is drawn again only if they have changed: lines take most of the time. */
  copySynapses(pen, width, height, scale) {
    const key = [this.snapshot, this.model.get("selected"), width, height, scale, this.colours.back].join();
    if (key !== this.copyKey) {
      this.copyKey = key;
      this.copy ??= document.createElement("canvas");
      this.copy.width = Math.round(width * scale);
      this.copy.height = Math.round(height * scale);
      const other = this.copy.getContext("2d");
      other.setTransform(scale, 0, 0, scale, 0, 0);
      this.drawSynapses(other);
    }
    pen.drawImage(this.copy, 0, 0, width, height);
  }

  drawLayer(pen, layer) {
    const kind = this.places.kinds[layer];
    const activities = this.passed?.activities[layer];
    const peak = activities ? peakOf(activities) : 1;
    const best = activities && this.network.classes && layer === this.network.layers.length - 1 ? classOf(activities) : -1;
    this.places.boxes[layer].forEach((box, index) => {
      const share = activities ? shareOf(activities[index], this.network.activations[layer], peak) : 0;
      if (kind === "picture") this.drawPixel(pen, box, index);
      else if (kind === "bars") this.drawInput(pen, box, index);
      else if (kind === "output") this.drawOutput(pen, box, index, activities ? share : null, index === best);
      else {
        if (kind === "map") this.drawMap(pen, box, layer, index);
        else this.drawField(pen, box, layer, index);
        this.drawGlow(pen, box, activities && layer > 0 ? Math.abs(share) : 0);
      }
    });
    if (kind === "picture") {
      const boxes = this.places.boxes[layer];
      const end = boxes.at(-1);
      pen.strokeStyle = css(this.colours.line);
      pen.lineWidth = 1;
      pen.strokeRect(boxes[0].x, boxes[0].y, end.x + end.w - boxes[0].x, end.y + end.h - boxes[0].y);
    }
  }

  drawPixel(pen, box, index) {
    const share = this.row ? pixelShare(this.network, this.row[index], index) : 0;
    pen.fillStyle = css(inkOf(share, this.colours));
    pen.fillRect(box.x, box.y, box.w + 0.4, box.h + 0.4);
  }

  /** An input of a table: its name, and a bar to the left or right of the middle. */
  drawInput(pen, box, index) {
    const [low, high] = this.network.input_range;
    const most = Math.max(Math.abs(low), Math.abs(high)) || 1;
    const value = this.row ? this.row[index] : 0;
    const above = this.places.narrow && box.h >= 24;
    const bar = above ? box.w : Math.min(56, box.w * 0.4);
    const [top, tall] = above ? [box.y + 15, box.h - 15] : [box.y, box.h];
    const middle = box.x + box.w - bar / 2;
    pen.fillStyle = css(this.colours.card);
    pen.fillRect(box.x + box.w - bar, top, bar, tall);
    const length = (Math.max(-1, Math.min(1, value / most)) * bar) / 2;
    pen.fillStyle = css(length < 0 ? this.colours.negative : this.colours.positive);
    pen.fillRect(Math.min(middle, middle + length), top, Math.abs(length), tall);
    pen.strokeStyle = css(this.colours.soft, 0.6);
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(middle, top);
    pen.lineTo(middle, top + tall);
    pen.stroke();
    if (above) this.write(pen, this.network.inputs[index] ?? "", box.x, box.y + 7, box.w, "left", 12);
    else if (box.h >= 11) this.write(pen, this.network.inputs[index] ?? "", box.x + box.w - bar - 6, box.y + box.h / 2, box.w - bar - 8, "right", 13);
  }

  drawOutput(pen, box, index, share, best) {
    const radius = Math.min(11, box.h / 2);
    const x = box.x + radius;
    const y = box.y + box.h / 2;
    pen.beginPath();
    pen.arc(x, y, radius, 0, 2 * Math.PI);
    pen.fillStyle = css(share === null ? this.colours.card : diverging(share, this.colours));
    pen.fill();
    pen.lineWidth = 1.2;
    pen.strokeStyle = css(this.colours.soft);
    pen.stroke();
    if (box.h < 9) return;
    const names = this.network.classes && this.network.layers.at(-1) > 1 ? this.network.classes : this.network.outputs;
    const left = x + radius + 7;
    const end = box.x + box.w;
    const name = names[index] ?? "";
    const number = this.passed ? shown(this.passed.activities.at(-1)[index]) : "";
    const colour = best ? this.colours.ink : this.colours.soft;
    const size = best ? 14 : 13;
    pen.font = `${best ? 700 : 400} ${size}px ${FONT}`;
    const wide = Math.max(...names.map((other) => pen.measureText(other).width));
    if (left + wide + 56 > end && box.h >= 27) {
      this.write(pen, name, left, y - 7, end - left, "left", size, colour, best);
      this.write(pen, number, left, y + 8, end - left, "left", 12, colour, best);
      return;
    }
    this.write(pen, name, left, y, end - left - 54, "left", size, colour, best);
    this.write(pen, number, end, y, 60, "right", 12, colour, best);
    const from = left + wide + 8;
    const room = end - 56 - from;
    if (room < 20 || share === null) return;
    pen.fillStyle = css(this.colours.card);
    pen.fillRect(from, y - 3, room, 6);
    pen.fillStyle = css(share < 0 ? this.colours.negative : this.colours.positive);
    pen.fillRect(from, y - 3, Math.abs(share) * room, 6);
  }

  /** A hidden neuron as its weights from the layer below: the receptive field, each neuron by its own strongest weight. */
  drawField(pen, box, layer, index) {
    const weights = incoming(this.network, this.parameters, layer, index);
    const peak = peakOf(weights);
    pen.fillStyle = css(this.colours.card);
    pen.fillRect(box.x, box.y, box.w, box.h);
    if (layer === 1 && this.network.image) {
      const [rows, columns] = this.network.image;
      const w = box.w / columns;
      const h = box.h / rows;
      weights.forEach((weight, i) => {
        pen.fillStyle = css(diverging(weight / peak, this.colours));
        pen.fillRect(box.x + (i % columns) * w, box.y + Math.floor(i / columns) * h, w + 0.4, h + 0.4);
      });
      return;
    }
    const w = box.w / weights.length;
    const middle = box.y + box.h / 2;
    weights.forEach((weight, i) => {
      const length = (-weight / peak) * (box.h / 2 - 2);
      pen.fillStyle = css(weight < 0 ? this.colours.negative : this.colours.positive);
      pen.fillRect(box.x + i * w + w * 0.12, Math.min(middle, middle + length), Math.max(0.6, w * 0.76), Math.abs(length));
    });
    pen.fillStyle = css(this.colours.soft, 0.7);
    pen.fillRect(box.x, middle - 0.5, box.w, 1);
  }

  drawMap(pen, box, layer, index) {
    const shares = mapShares(this.maps[layer][index], this.network.activations[layer]);
    this.small ??= document.createElement("canvas");
    this.small.width = this.small.height = MAP_SIDE;
    drawCells(this.small, shares, (share) => share, (share) => diverging(share * 0.85, this.colours));
    pen.imageSmoothingEnabled = true;
    pen.drawImage(this.small, box.x, box.y, box.w, box.h);
    if (layer === 0) {
      pen.font = `600 13px ${FONT}`;
      const name = this.network.inputs[index] ?? "";
      this.write(pen, name, box.x + box.w / 2, box.y + box.h + 10, box.w, "center", 13, this.colours.ink);
    }
    if (layer === this.network.layers.length - 1 && box.w > 70) this.drawPoints(pen, box);
    else if (this.row) this.drawPoint(pen, box, this.row, this.colours.ink, 2.5);
  }

  /** The samples on the plane of the two inputs, in the colour of their class. */
  drawPoints(pen, box) {
    const several = this.network.layers.at(-1) > 1;
    this.samples.forEach((sample, index) => {
      const row = rowOf(this.network, this.rows, index);
      const colour = this.network.classes && (!several || this.network.classes.length === 2)
        ? (sample.label ? this.colours.positive : this.colours.negative) : this.colours.ink;
      this.drawPoint(pen, box, row, colour, index === this.sample ? 5 : box.w > 150 ? 2.6 : 1.8);
    });
  }

  drawPoint(pen, box, row, colour, radius) {
    const [[left, right], [low, high]] = this.domain;
    const x = box.x + ((row[0] - left) / (right - left)) * box.w;
    const y = box.y + ((high - row[1]) / (high - low)) * box.h;
    pen.beginPath();
    pen.arc(x, y, radius, 0, 2 * Math.PI);
    pen.fillStyle = css(colour);
    pen.fill();
    pen.lineWidth = 1;
    pen.strokeStyle = css(this.colours.back);
    pen.stroke();
  }

  drawGlow(pen, box, share) {
    pen.strokeStyle = css(this.colours.line);
    pen.lineWidth = 1;
    pen.strokeRect(box.x, box.y, box.w, box.h);
    if (share < 0.04) return;
    pen.save();
    pen.strokeStyle = css(this.colours.glow, Math.min(1, 0.15 + share));
    pen.shadowColor = css(this.colours.glow, Math.min(1, share));
    pen.shadowBlur = 14 * share;
    pen.lineWidth = 1 + 2 * share;
    pen.strokeRect(box.x - 1.5, box.y - 1.5, box.w + 3, box.h + 3);
    pen.restore();
  }

  /** Frames around the selected neuron and the one under pointer or keys. */
  drawFrames(pen) {
    for (const [place, width] of [[this.pointed, 2], [this.selected, 3]]) {
      if (!place) continue;
      const box = this.places.boxes[place.layer][place.index];
      pen.strokeStyle = css(this.colours.ink);
      pen.lineWidth = width;
      pen.strokeRect(box.x - 2.5, box.y - 2.5, box.w + 5, box.h + 5);
    }
  }

  write(pen, text, x, y, room, align, size, colour = this.colours.ink, bold = false) {
    pen.font = `${bold ? 700 : 400} ${size}px ${FONT}`;
    pen.fillStyle = css(colour);
    pen.textAlign = align;
    let cut = text;
    while (cut.length > 1 && pen.measureText(cut === text ? cut : `${cut}…`).width > room) cut = cut.slice(0, -1);
    pen.fillText(cut === text ? cut : `${cut}…`, x, y);
    pen.textAlign = "left";
  }

  drawImages(pen, width) {
    const { boxes } = this.places;
    const chosen = this.selected;
    this.network.shapes.forEach(([rows, columns], pair) => {
      const weights = this.parameters.weights[pair];
      const peak = peakOf(weights);
      const image = document.createElement("canvas");
      image.width = columns;
      image.height = rows;
      drawCells(image, weights, (weight) => weight / peak, (share) => diverging(share, this.colours));
      const box = boxes[pair];
      pen.imageSmoothingEnabled = columns > box.w;
      pen.drawImage(image, box.x, box.y, box.w, box.h);
      pen.strokeStyle = css(this.colours.line);
      pen.lineWidth = 1;
      pen.strokeRect(box.x, box.y, box.w, box.h);
      if (!chosen || this.network.pooled) return;
      pen.strokeStyle = css(this.colours.ink);
      pen.lineWidth = 2;
      const [w, h] = [box.w / columns, box.h / rows];
      if (chosen.layer === pair + 1) pen.strokeRect(box.x + chosen.index * w - 1, box.y - 1, w + 2, box.h + 2);
      if (chosen.layer === pair) pen.strokeRect(box.x - 1, box.y + chosen.index * h - 1, box.w + 2, h + 2);
    });
    pen.fillStyle = css(this.colours.back);
    pen.fillRect(0, 0, width, 40);
    this.network.shapes.forEach((_, pair) => {
      const box = boxes[pair];
      const [from, to] = [this.network.words[pair], this.network.words[pair + 1]];
      const sizes = `${counted(this.network.layers[pair])} × ${counted(this.network.layers[pair + 1])}`;
      this.write(pen, `${from} → ${to}`, box.x + box.w / 2, 14, width / boxes.length, "center", 13, this.colours.ink, true);
      this.write(pen, sizes, box.x + box.w / 2, 31, width / boxes.length, "center", 12, this.colours.soft);
    });
  }

  end() {
    this.ends.forEach((end) => end());
    this.el.replaceChildren();
  }
}

/** Draw one pixel per number. */
function drawCells(canvas, numbers, shareOf, colourOf) {
  const pen = canvas.getContext("2d");
  const image = pen.createImageData(canvas.width, canvas.height);
  const { data } = image;
  numbers.forEach((number, i) => {
    const colour = colourOf(shareOf(number, i));
    for (let part = 0; part < 3; part++) data[i * 4 + part] = colour[part];
    data[i * 4 + 3] = 255;
  });
  pen.putImageData(image, 0, 0);
}

let made = null;
function sheet() {
  if (!made) {
    made = new CSSStyleSheet();
    made.replaceSync(STYLE);
  }
  return made;
}

export function render({ model, el }) {
  const picture = new Picture(model, el);
  return () => picture.end();
}

export default { render };
