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

   A live page has more, which changes several times a second:

     live            {step, steps, epoch, epochs, pass, rows, state, moment, source, label, predicted, learning_rate, silent, dead}
     passed          float32, computed by the neurons with `numbers`: sums, activities, errors of all neurons; NaN for none
     inputs          float32: the inputs of that pass    weights_change  float32: the gradients of the step, as in `numbers`
     record          a pass as `coordinator trace --json` writes it    motion   {playing, speed}

   A drawing is sent as {ask: "answer", id, row}; the custom message {id, predicted, passed, inputs} or {id, error} answers it.

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
  return network.shapes.reduce((sum, [rows, columns]) => sum + rows * columns, sizeOf(network));
}

/** Biases and weights of one snapshot, by layer. A row of weights leads from a neuron to all of the next layer. */
export function decodeSnapshot(network, view, index, peaks) {
  let at = index * countOf(network) * 2;
  let array = 0;
  return arraysOf(network, (count) => {
    const peak = peaks[array++] / LARGEST_SHARE;
    return Float64Array.from({ length: count }, () => view.getInt16((at += 2) - 2, true) * peak);
  });
}

function arraysOf(network, read) {
  const biases = [];
  const weights = [];
  network.layers.forEach((size, layer) => {
    biases.push(read(size));
    if (layer < network.shapes.length) weights.push(read(network.shapes[layer][0] * network.shapes[layer][1]));
  });
  return { biases, weights };
}

/** Reads arrays of float32, one after the other. Null if there are not `count` numbers in all. */
function floatsOf(value, count) {
  const view = value ? bytesOf(value) : null;
  if (view?.byteLength !== count * 4) return null;
  let at = 0;
  return (size) => Float64Array.from({ length: size }, () => view.getFloat32((at += 4) - 4, true));
}

/** The gradients of biases and weights, as arrays per layer, or null. */
export function gradientsOf(network, value) {
  const read = floatsOf(value, countOf(network));
  return read && arraysOf(network, read);
}

/** Sums, activities and errors that the neurons themselves computed, or null. */
export function passedOf(network, value) {
  const read = floatsOf(value, 3 * sizeOf(network));
  if (!read) return null;
  const [sums, activities, errors] = [0, 1, 2].map(() => network.layers.map(read));
  return { sums, activities, errors };
}

/** The number of neurons. */
function sizeOf(network) {
  return network.layers.reduce((sum, size) => sum + size, 0);
}

/** Biases, weights, inputs and results of a traced pass. */
export function tracedOf(network, record) {
  const layers = network.layers.map((_, layer) => record.neurons.filter((facts) => facts.layer === layer));
  const column = (name) => layers.map((some) => some.map((facts) => facts[name][0]));
  const passed = { sums: column("sum"), activities: column("activity"), errors: column("error") };
  const biases = layers.map((some) => some.map((facts) => facts.bias));
  const weights = layers.slice(0, -1).map((some) => Float64Array.from(some.flatMap((facts) => facts.axon.map((synapse) => synapse.weight))));
  return { parameters: { biases, weights }, passed, row: record.inputs[0] };
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

/** The class that output activities mean: the largest, or for one output whether it is above 0.5. */
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

/** An activity as a share of its range: 0 to 1 (logistic) or -1 to 1. `peak` is the largest of its layer. */
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

/** A number in a formula, as `trace` writes it: four decimals or four digits. */
export function exact(number, more = 0) {
  if (number === null || number === undefined || Number.isNaN(number)) return "–";
  const size = Math.abs(number);
  let text;
  if (size < 1e9 && Number.isInteger(size)) text = String(size);
  else if (size < 1e-4 || size >= 1e9) text = size.toExponential(3 + more).replace(/([+-])(\d)$/, (_, sign, digit) => `${sign}0${digit}`);
  else text = size.toFixed(4 + more + Math.max(0, -1 - Math.floor(Math.log10(size))));
  return (number < 0 ? MINUS : "") + text.replace("-", MINUS);
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
  const told = passed.errors ? exact : shown;
  const bias = parameters.biases[layer][index];
  const activity = passed.activities[layer][index];
  const sum = passed.sums[layer][index];
  const activation = network.activations[layer];
  if (layer === 0 && activation === "identity" && bias === 0) return `activity = input = ${told(activity)}`;
  const inside = `${told(sum)} + ${told(bias)}`;
  return activation === "identity"
    ? `activity = ${inside} = ${told(activity)}`
    : `activity = ${activation}(${inside}) = ${told(activity)}`;
}

/** What a neuron stands for: the name of an input, or the class of an output; empty for hidden neurons. */
export function meaningOf(network, layer, index) {
  if (layer === 0) return network.inputs[index] ?? "";
  if (layer < network.layers.length - 1) return "";
  if (network.classes && network.layers[layer] === 1) return `${network.classes[1]} (above 0.5), ${network.classes[0]}`;
  return (network.classes ?? network.outputs)[index] ?? "";
}

/** The lines that describe a neuron. `passed` is the pass of the chosen sample, or null. */
export function linesOf(network, parameters, passed, layer, index, live = null, gradients = null) {
  const name = nameOf(network, layer, index);
  const meaning = meaningOf(network, layer, index);
  const lines = [meaning && meaning !== name ? `${name} · ${meaning}` : name];
  if (live?.dead?.includes(name)) lines.push("dead: no program has this neuron now; the run waits for one");
  if (live?.silent?.includes(name)) lines.push("silent: its activity is constant, and it learns nothing");
  lines.push(passed ? formulaOf(network, parameters, passed, layer, index) : `bias ${shown(parameters.biases[layer][index])}`);
  const error = passed?.errors?.[layer][index] ?? NaN;
  if (!Number.isNaN(error)) lines.push(`error ${exact(error)}`);
  if (gradients && layer) lines.push(`gradient of the bias ${exact(gradients.biases[layer][index])}`);
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

/** The synapse between two neurons, {layer, from, to}, in whichever order they are given; null if there is none. */
export function synapseOf(one, other) {
  if (!one || !other || Math.abs(one.layer - other.layer) !== 1) return null;
  const [low, high] = one.layer < other.layer ? [one, other] : [other, one];
  return { layer: low.layer, from: low.index, to: high.index };
}

/** Why a weight, or with to = null the bias of `from`, changed in the step: sentences in the words of `coordinator explain`. */
export function whyOf(network, parameters, gradients, passed, live, { layer, from, to }) {
  const own = to === null;
  const sender = nameOf(network, layer, from);
  const receiver = own ? "" : nameOf(network, layer + 1, to);
  const at = (arrays) => (own ? arrays.biases[layer][from] : arrays.weights[layer][from * network.shapes[layer][1] + to]);
  const [before, gradient, rate] = [at(parameters), at(gradients), live.learning_rate];
  const change = rate * gradient;
  // Enough digits to tell them apart.
  const more = change && Math.min(3, Math.max(0, Math.ceil(-Math.log10(Math.abs(change))) - 4));
  const what = own ? "bias" : "weight";
  const name = own ? `the bias of ${sender}` : `the weight from ${sender} to ${receiver}`;
  const rows = `${counted(live.rows)} row${live.rows > 1 ? "s" : ""}`;
  const factors = own ? [passed.errors[layer][from]] : [passed.errors[layer + 1][to], passed.activities[layer][from]];
  const words = own ? "the neuron's own error" : `the error of ${receiver} × the activity of ${sender}`;
  const written = own ? "" : `${factors.map((one) => exact(one)).join(" × ")} = `;
  const subject = own ? "The gradient of a bias" : "The gradient";
  const [sign, larger, done] = gradient < 0 ? ["negative", "lower", "grew"] : ["positive", "raise", "fell"];
  return [
    `In step ${counted(live.step)} (pass ${counted(live.pass)}, ${rows}) ${name} changed from ${exact(before, more)} to ${exact(before - change, more)}.`,
    `Its change is −learning rate × gradient = −${exact(rate)} × ${bracketed(exact(gradient))} = ${exact(-change)}.`,
    live.rows > 1
      ? `${subject} is the mean of ${words} over all rows = ${exact(gradient)}; in the row shown: ${written}${exact(factors.reduce((a, b) => a * b))}.`
      : `${subject} is ${words} = ${written}${exact(gradient)}.`,
    gradient === 0
      ? `A gradient of 0 means that the ${what} did not matter for these rows, so it stays.`
      : `The gradient is ${sign}: a larger ${what} would ${larger} the loss, so the ${what} ${done}.`,
  ];
}

function bracketed(text) {
  return text.startsWith(MINUS) ? `(${text})` : text;
}

const SLOPES = {
  logistic: (a) => `${a} × (1 − ${a})`, tanh: (a) => `1 − ${a} × ${a}`, relu: (a) => `1 if ${a} > 0, else 0`, identity: () => "1",
};
const STEPS = ["wait for the signals", "activity", "signals", "send", "wait for the errors", "own error", "send the error back", "gradients", "update"];
const TERMS = 3;

/** One of the nine steps of a neuron, as lines in the words of `coordinator trace`. */
export function stepLines(facts, step) {
  const { axon, signals, kind } = facts;
  const of = (name) => exact(facts[name][0]);
  const few = (items) => (items.length <= TERMS + 1 ? items : items.slice(0, TERMS));
  const more = (items) => items.length - few(items).length;
  const rest = (items) => (more(items) ? ` and ${counted(more(items))} more` : "");
  const each = (line) => [...few(axon).map(line), ...(more(axon) ? [`… and ${counted(more(axon))} more synapses`] : [])];
  const plural = (word, items) => word + (items.length > 1 ? "s" : "");
  const output = kind === "output";
  const a = of("activity");
  const change = (name, before, gradient, after) => `${name} = ${exact(before)} − ${exact(facts.learning_rate)} × ${exact(gradient)} = ${exact(after)}`;
  const made = [
    () => [`${kind === "input" ? "input" : plural("signal", signals)}: ${few(signals).map((one) => `${exact(one.signal[0])} from ${one.from}`).join(", ")}${rest(signals)}; sum = ${of("sum")}`],
    () => {
      if (facts.silent) return [`activity = ${a}: the neuron is silent`];
      const total = `${of("sum")} + ${exact(facts.bias)}`;
      return [`activity = ${facts.activation === "identity" ? total : `${facts.activation}(${total})`} = ${a}`];
    },
    () => (output ? [`no synapses: the activity ${a} is an output of the network`] : each(({ to, weight, signal }) => {
      const product = `weight × activity = ${exact(weight)} × ${a}`;
      return signal === null ? `part of the signal to ${to} = ${product}` : `signal to ${to} = ${product} = ${exact(signal[0])}`;
    })),
    () => {
      if (output) return [`sends ${a} to the coordinator`];
      return [axon.length === 1 ? `sends the signal to ${axon[0].to}` : `sends ${counted(axon.length)} signals, to ${axon[0].to} … ${axon.at(-1).to}`];
    },
    () => (output
      ? [`target: ${of("target")} from the coordinator`]
      : [`${plural("error", axon)}: ${few(axon).map(({ to, error }) => `${exact(error[0])} from ${to}`).join(", ")}${rest(axon)}`]),
    () => {
      if (facts.silent) return [`own error = ${of("error")}: the activity of a silent neuron is constant`];
      const formula = SLOPES[facts.activation](a);
      const slope = `slope = ${formula}${formula === of("slope") ? "" : ` = ${of("slope")}`}`;
      if (output) {
        const difference = `${a} − ${bracketed(of("target"))}`;
        if (facts.loss === "cross_entropy") return [`own error = activity − target = ${difference} = ${of("error")}`];
        return [slope, `own error = (activity − target) × slope = (${difference}) × ${of("slope")} = ${of("error")}`];
      }
      const terms = few(axon).map(({ weight, error }) => `${exact(weight)} × ${exact(error[0])}`);
      if (more(axon)) terms.push(`${counted(more(axon))} more`);
      return [`sum of weight × error = ${terms.join(" + ")} = ${of("error_sum")}`, slope, `own error = ${of("error_sum")} × ${of("slope")} = ${of("error")}`];
    },
    () => {
      if (kind === "input") return [facts.bias_learned ? `sends ${of("error")} to the coordinator` : "has no neuron to send its error to; reports that it is done"];
      if (signals.length === 1) return [`sends ${of("error")} back to ${signals[0].from}`];
      return [`sends ${of("error")} back to all ${counted(signals.length)} senders, ${signals[0].from} … ${signals.at(-1).from}`];
    },
    () => {
      const lines = each(({ to, error, gradient }) => `gradient to ${to} = error × activity = ${exact(error[0])} × ${a} = ${exact(gradient)}`);
      if (facts.bias_learned) lines.push(`gradient of the bias = own error = ${exact(facts.bias_gradient)}`);
      return lines.length ? lines : ["nothing to learn"];
    },
    () => {
      const lines = each(({ to, weight, gradient, after }) => change(`weight to ${to}`, weight, gradient, after));
      if (facts.bias_learned) lines.push(change("bias", facts.bias, facts.bias_gradient, facts.bias_after));
      return lines.length ? lines : ["nothing changes"];
    },
  ];
  return made[step - 1]();
}

/* ---- Slow motion ---- */

const [TRAVEL, STEP, SPREAD] = [1, 1.6, 2.4];
/* Seconds of a message, of a step, and between the first and the last message of a layer. */

/** The moments of a traced pass in causal order, with `begin` and `end` in seconds: a message travels, or a neuron does one of its
    nine steps. The messages of a layer, or one step of its neurons, are a `beat`. */
export function momentsOf(network, record) {
  const placed = (name) => placeOf(network, name.split("…")[0]);
  const waves = new Map();
  for (const { number, kind, from, to, value } of record.messages) {
    const message = { what: kind, number, value, sender: from, receiver: to, from: placed(from), to: placed(to) };
    const key = kind + (message.to ?? message.from).layer;
    if (!waves.has(key)) waves.set(key, []);
    waves.get(key).push(message);
  }
  const moments = [];
  let [at, beat] = [0, 0];
  const travel = (key) => {
    const some = waves.get(key) ?? [];
    const gap = some.length > 1 ? Math.min(0.2, SPREAD / (some.length - 1)) : 0;
    some.forEach((message, i) => moments.push({ ...message, beat, begin: at + i * gap, end: at + i * gap + TRAVEL }));
    if (some.length) [at, beat] = [moments.at(-1).end, beat + 1];
  };
  const act = (layer, steps) => {
    for (const step of steps) {
      for (const facts of record.neurons) {
        if (facts.layer === layer) moments.push({ what: "step", step, facts, to: placed(facts.neuron), beat, begin: at, end: at + STEP });
      }
      [at, beat] = [at + STEP, beat + 1];
    }
  };
  const last = network.layers.length - 1;
  for (let layer = 0; layer <= last; layer++) {
    travel(layer ? `signal${layer}` : "input0");
    act(layer, [1, 2, 3, 4]);
  }
  travel(`output${last}`);
  for (let layer = last; layer >= 0; layer--) {
    travel(layer === last ? `target${last}` : `error${layer}`);
    act(layer, [5, 6, 7, 8, 9]);
  }
  travel("done0");
  return moments;
}

/** A title and lines for a beat, with the numbers of the selected neuron or, if it has no part, of the first. */
export function beatWords(network, moments, selected) {
  const has = (place) => place && selected && place.layer === selected.layer && place.index === selected.index;
  const ours = moments.filter(({ from, to }) => has(from) || has(to));
  const some = ours[0] ? ours : moments;
  let [one] = some;
  if (one.what === "step") {
    const others = moments.length - 1;
    const more = others ? ` (and ${counted(others)} other${others > 1 ? "s" : ""} with it)` : "";
    return { title: `Step ${one.step} of 9: ${STEPS[one.step - 1]} · ${one.facts.neuron}${more}`, lines: stepLines(one.facts, one.step) };
  }
  for (const other of some) if (Math.abs(other.value) > Math.abs(one.value)) one = other;
  const [from, to] = [one.from, one.to].map((place) => (place ? network.words[place.layer] : "coordinator"));
  const value = one.value === null ? "done" : exact(one.value);
  const many = moments.length > 1 ? `${counted(moments.length)} ${one.what === "done" ? "reports" : `${one.what}s`}` : one.what;
  return { title: `${many}: ${from} → ${to}`, lines: [`${one.sender} → ${one.receiver}: ${value}`] };
}

/* ---- The pad ---- */

const PEN = 0.065;
/* Half the width of a stroke, as a share of the picture's height. */
const FINE = 4;
/* An input has FINE × FINE points, of which the pen covers some. */

/** How the samples fill their square: shares of its height and width, whether all fill the width, and whether there is no grey. */
export function fillOf(network, view, count) {
  const [rows, columns] = network.image;
  const [talls, wides] = [[], []];
  let sharp = count > 0;
  for (let sample = 0; sample < count; sample++) {
    const ink = Array.from(rowOf(network, view, sample), (value, i) => pixelShare(network, value, i));
    sharp &&= ink.every((share) => Math.abs(share - 0.5) > 0.49);
    const dark = [...ink.keys()].filter((i) => ink[i] > 0.25);
    const range = (numbers) => Math.max(...numbers) - Math.min(...numbers) + 1;
    if (!dark.length) continue;
    talls.push(range(dark.map((i) => Math.floor(i / columns))) / rows);
    wides.push(range(dark.map((i) => i % columns)) / columns);
  }
  const of = (shares, part) => shares.sort((a, b) => a - b)[Math.floor(part * (shares.length - 1))] ?? 1;
  return { tall: of(talls, 0.5), wide: of(wides, 0.9), stretch: talls.length > 0 && of(wides, 0.1) >= 0.9, sharp };
}

/** The ink from 0 to 1 of each input under strokes, lists of points [x, y] from 0 to 1, when they fill the square as samples do. */
export function inkUnder(network, strokes, { tall, wide, stretch, sharp }) {
  const [rows, columns] = network.image;
  const points = strokes.flat();
  const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
  const span = (numbers) => [Math.min(...numbers), Math.max(...numbers)];
  const [[left, right], [top, bottom]] = [span(xs), span(ys)];
  const fits = [(wide - 2 * PEN) / Math.max(right - left, 1e-3), (tall - 2 * PEN) / Math.max(bottom - top, 1e-3)];
  const least = Math.min(4, ...fits);
  const [growX, growY] = stretch ? fits.map((fit) => Math.min(fit, 4 * least)) : [least, least];
  const [wideGrid, tallGrid] = [columns * FINE, rows * FINE];
  const grid = new Uint8Array(wideGrid * tallGrid);
  const placed = ([x, y]) => [(0.5 + (x - (left + right) / 2) * growX) * wideGrid, (0.5 + (y - (top + bottom) / 2) * growY) * tallGrid];
  const radius = PEN * tallGrid;
  for (const stroke of strokes) {
    stroke.forEach((point, i) => {
      const [x1, y1] = placed(stroke[Math.max(0, i - 1)]);
      const [x2, y2] = placed(point);
      const [dx, dy] = [x2 - x1, y2 - y1];
      const [first, end] = span([y1, y2]);
      const [near, far] = span([x1, x2]);
      for (let y = Math.max(0, Math.floor(first - radius)); y < Math.min(tallGrid, end + radius); y++) {
        for (let x = Math.max(0, Math.floor(near - radius)); x < Math.min(wideGrid, far + radius); x++) {
          const along = Math.min(1, Math.max(0, ((x + 0.5 - x1) * dx + (y + 0.5 - y1) * dy) / (dx * dx + dy * dy || 1)));
          if (Math.hypot(x + 0.5 - x1 - along * dx, y + 0.5 - y1 - along * dy) <= radius) grid[y * wideGrid + x] = 1;
        }
      }
    });
  }
  const ink = new Float64Array(rows * columns);
  grid.forEach((covered, i) => {
    ink[Math.floor(i / wideGrid / FINE) * columns + Math.floor((i % wideGrid) / FINE)] += covered / FINE ** 2;
  });
  return sharp ? ink.map((share) => (share >= 0.5 ? 1 : 0)) : ink;
}

/** The inputs that stand for some ink: the inverse of `pixelShare`, within the range of the samples' inputs. */
export function inputsOf(network, ink) {
  const { offset, scale, range: [low, high] } = network.pixels;
  const [least, most] = network.input_range;
  return ink.map((share, i) => Math.min(most, Math.max(least, (low + share * (high - low) - offset[i]) / scale[i])));
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

const SOURCES = { training: "first row of this step", sample: "the chosen sample", pad: "your drawing", trace: "the traced pass" };

/** What a live picture shows: the run, and the row of inputs. */
export function liveWords(network, live) {
  const of = (number, all) => counted(number) + (all ? ` of ${counted(all)}` : "");
  const run = [live.state, `step ${of(live.step, live.steps)}`];
  if (live.epoch) run.push(`epoch ${of(live.epoch, live.epochs)}`);
  const named = (label) => (typeof label === "number" ? network.classes?.[label] ?? shown(label) : label);
  const known = (label) => label !== null && label !== undefined;
  const row = [SOURCES[live.source] ?? live.source];
  const mark = network.classes && known(live.label) ? (live.label === live.predicted ? " ✓" : " ✗") : "";
  if (known(live.label)) row.push(`right answer ${named(live.label)}`);
  if (known(live.predicted)) row.push(`predicted ${named(live.predicted)}${mark}`);
  if (live.moment) row.push(live.moment);
  return [run, row].map((parts) => parts.filter(Boolean).join(" · "));
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

/* ---- Colours: blue for positive, orange for negative ---- */

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
.exm button, .exm select { font: inherit; color: var(--ink); background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  min-width: 34px; min-height: 32px; padding: 3px 10px; cursor: pointer; }
.exm button:hover { border-color: var(--accent); }
.exm :focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.exm-body { display: flex; flex-wrap: wrap; gap: 14px; align-items: flex-start; }
.exm-main { flex: 1 1 560px; min-width: 0; max-width: 100%; }
.exm-stage { position: relative; }
.exm-stage canvas { display: block; width: 100%; border-radius: 8px; touch-action: pan-y; cursor: pointer; }
.exm-stage .exm-over { position: absolute; inset: 0; pointer-events: none; }
.exm-tip { position: absolute; z-index: 2; max-width: 320px; padding: 7px 10px; border-radius: 6px; border: 1px solid var(--line);
  background: var(--card); pointer-events: none; font-size: 13px; box-shadow: 0 3px 12px rgb(0 0 0 / 22%); }
.exm-tip div:first-child, .exm-panel h2 { font-weight: 600; }
.exm-side { flex: 1 1 240px; max-width: 100%; min-width: 0; display: flex; flex-direction: column; gap: 14px; }
.exm-panel, .exm-pad, .exm-motion { padding: 12px 14px; background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.exm-panel h2 { margin: 0 0 6px; font-size: 15px; overflow-wrap: anywhere; }
.exm-panel h3 { margin: 8px 0 2px; font-size: 14px; }
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
.exm-live > .exm-bar { min-height: 44px; font-variant-numeric: tabular-nums; }
@media (max-width: 560px) { .exm-live > .exm-bar { min-height: 66px; } .exm-live .exm-samples { flex-wrap: nowrap; overflow-x: auto; padding: 2px; } .exm-live .exm-samples button { flex: none; } }
.exm-pad { display: flex; flex-wrap: wrap; gap: 6px 12px; align-items: flex-start; }
.exm-pad canvas { width: 160px; height: 160px; touch-action: none; cursor: crosshair; border: 1px solid var(--soft); }
.exm-pad div { flex: 1 1 90px; }
.exm-pad output { display: block; min-height: 30px; font-size: 20px; font-weight: 600; }
.exm-motion { margin-top: 8px; min-height: 184px; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.exm-note { margin: 6px 0 0; color: var(--soft); font-size: 13px; }
.exm-keys { display: inline-block; width: 22px; height: 4px; margin: 0 4px 3px 10px; border-radius: 2px; }
.exm-keys:first-child { margin-left: 0; }
.exm-hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
`;
const FONT = "system-ui, sans-serif";
const STILL = { playing: false, speed: 1 };
const ANSWER_MS = 1000;
const MOST_POINTS = 3000;
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

function button(text, name, onclick) {
  return element("button", { type: "button", "aria-label": name, title: name, onclick }, text);
}

function divs(lines) {
  return lines.map((line) => element("div", {}, line));
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
    this.samples = model.get("samples");
    this.mode = modeOf(this.network);
    this.read();
    this.rows = bytesOf(model.get("rows"));
    this.pointed = null;
    this.asked = this.questions = this.beat = 0;
    this.zoom = { scale: 1, x: 0, y: 0 };
    this.build();
    this.ends = [];
    const changed = () => this.update();
    const on = (name, listener) => {
      model.on(name, listener);
      this.ends.push(() => model.off(name, listener));
    };
    for (const name of ["snapshot", "sample", "selected"]) on(`change:${name}`, changed);
    // These change together: draw once, and only while the page is visible.
    const soon = () => {
      this.due ??= requestAnimationFrame(() => {
        this.due = null;
        this.read();
        if (!this.moments) this.update();
      });
    };
    for (const name of ["live", "snapshots", "numbers", "passed", "inputs", "weights_change"]) on(`change:${name}`, soon);
    on("change:record", () => this.trace());
    on("change:motion", () => this.drive());
    on("msg:custom", (message) => this.answered(message));
    const theme = matchMedia("(prefers-color-scheme: dark)");
    theme.addEventListener("change", changed);
    this.ends.push(() => theme.removeEventListener("change", changed));
    const sizes = new ResizeObserver(() => this.draw());
    sizes.observe(this.stage);
    this.ends.push(() => sizes.disconnect(), () => this.stop(), () => cancelAnimationFrame(this.due), () => this.pause(), () => clearTimeout(this.waiting));
    this.record = null;
    this.update();
    this.trace();
  }

  /* -- the model -- */

  /** Read what a live page replaces. */
  read() {
    this.live = this.model.get("live") ?? null;
    this.snapshots = this.model.get("snapshots");
    this.numbers = bytesOf(this.model.get("numbers"));
    this.decoded = new Map();
  }

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

  nameOf(layer, index) {
    return nameOf(this.network, layer, index);
  }

  rowAt(sample) {
    return rowOf(this.network, this.rows, sample);
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
    this.facts = element("div");
    this.clear = button("Show all synapses", "Show all synapses", () => this.set("selected", ""));
    const panel = element("div", { className: "exm-panel" }, this.facts, this.clear);
    this.side = element("div", { className: "exm-side" }, panel);
    this.voice = element("div", { className: "exm-hidden", "aria-live": "polite" });
    this.more = element("div", { className: "exm-more" });
    this.note = element("p", { className: "exm-note" });
    const main = element("div", { className: "exm-main" }, this.stage, this.buildMotion(), this.more, this.note);
    this.root = element("div", { className: "exm" }, bar, element("div", { className: "exm-body" }, main, this.side), this.voice);
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

  /** Add what only a live page has. */
  buildLive() {
    this.root.classList.add("exm-live");
    // A number that changes all the time is not read aloud.
    this.told.setAttribute("aria-live", "off");
    if (this.network.image && !this.network.pooled) this.side.prepend(this.buildPad());
  }

  /* -- the pad -- */

  buildPad() {
    const pad = element("canvas", {
      width: 320, height: 320, tabIndex: 0, role: "img",
      "aria-label": "Pad to draw on; arrow keys move the pen, Space lowers or lifts it, Delete clears",
    });
    this.pad = pad;
    this.strokes = [];
    this.pen = { x: 0.5, y: 0.5, down: false, keys: false };
    this.padded = element("output");
    this.fill = fillOf(this.network, this.rows, this.samples.length);
    const moved = (event) => {
      const { left, top, width, height } = pad.getBoundingClientRect();
      // Some browsers coalesce nothing into the first event.
      const all = event.getCoalescedEvents?.() ?? [];
      for (const one of all.length ? all : [event]) this.stroke((one.clientX - left) / width, (one.clientY - top) / height);
    };
    pad.addEventListener("pointerdown", (event) => {
      pad.setPointerCapture(event.pointerId);
      this.pen.keys = this.pen.down = false;
      this.lower();
      moved(event);
    });
    pad.addEventListener("pointermove", (event) => this.pen.down && !this.pen.keys && moved(event));
    for (const end of ["pointerup", "pointercancel"]) pad.addEventListener(end, () => { this.pen.down = false; });
    pad.addEventListener("blur", () => { this.pen.keys = this.pen.down = false; this.drawPad(); });
    pad.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      this.pen.keys = true;
      if (step) this.stroke(this.pen.x + step[0] / 16, this.pen.y + step[1] / 16);
      else if (event.key === " " && this.pen.down) this.pen.down = false;
      else if (event.key === " ") this.lower();
      else if (event.key === "Delete" || event.key === "Backspace") this.clearPad();
      else return;
      event.preventDefault();
      this.drawPad();
    });
    const words = element("div", {}, element("b", {}, "Draw here"), this.padded, button("Clear", "Clear the pad", () => this.clearPad()));
    return element("div", { className: "exm-pad" }, pad, words);
  }

  /** Begin a stroke. */
  lower() {
    this.pen.down = true;
    this.strokes.push([]);
    if (this.pen.keys) this.stroke(this.pen.x, this.pen.y);
  }

  stroke(x, y) {
    [this.pen.x, this.pen.y] = [x, y].map((place) => Math.min(1, Math.max(0, place)));
    const stroke = this.strokes.at(-1);
    const last = stroke?.at(-1);
    const near = last && Math.hypot(last[0] - this.pen.x, last[1] - this.pen.y) < 0.01;
    if (this.pen.down && !near && this.strokes.flat().length < MOST_POINTS) {
      stroke.push([this.pen.x, this.pen.y]);
      this.ask();
    }
    this.drawPad();
  }

  clearPad() {
    this.strokes = [];
    this.pen.down = false;
    this.answer = null;
    this.padded.textContent = "";
    this.drawPad();
    this.update();
  }

  drawPad() {
    if (!this.pad) return;
    const pen = this.pad.getContext("2d");
    const side = this.pad.width;
    fill(pen, css(this.colours.zero), 0, 0, side, side);
    line(pen, css(this.colours.ink), 2 * PEN * side);
    pen.lineCap = pen.lineJoin = "round";
    for (const stroke of this.strokes) {
      pen.beginPath();
      for (const point of [stroke[0] ?? [], ...stroke]) pen.lineTo(...point.map((place) => place * side));
      pen.stroke();
    }
    if (!this.pen.keys) return;
    line(pen, css(this.colours.glow), 4);
    pen.strokeRect(this.pen.x * side - 14, this.pen.y * side - 14, 28, 28);
  }

  /** Ask the network what is drawn, one question at a time. */
  ask() {
    this.behind = Boolean(this.asked);
    if (this.asked) return;
    this.asked = ++this.questions;
    const row = inputsOf(this.network, inkUnder(this.network, this.strokes, this.fill));
    this.model.send({ ask: "answer", id: this.asked, row: Array.from(row) });
    this.waiting = setTimeout(() => this.answered({ id: this.asked }), ANSWER_MS);
  }

  answered(message) {
    if (!this.asked || message?.id !== this.asked) return;
    clearTimeout(this.waiting);
    this.asked = 0;
    if (!this.strokes.length) return;
    const passed = passedOf(this.network, message.passed);
    if (passed) {
      const { predicted } = message;
      this.answer = { passed, row: rowOf(this.network, bytesOf(message.inputs), 0), predicted };
      this.padded.textContent = `The network reads ${this.network.classes?.[predicted] ?? predicted}`;
      if (!this.moments) this.update();
    } else if (message.error) this.padded.textContent = message.error;
    if (this.behind) this.ask();
  }

  /* -- slow motion -- */

  buildMotion() {
    this.go = button("▶", "Play", () => this.move({ playing: this.running === null }));
    this.speed = element("select", { "aria-label": "Speed", onchange: () => this.move({ speed: Number(this.speed.value) }) },
      ...[0.25, 0.5, 1, 2, 4].map((speed) => element("option", { value: speed, selected: speed === 1 }, `${speed} ×`)));
    this.slow = matchMedia("(prefers-reduced-motion: reduce)");
    const bar = element("div", { className: "exm-bar" }, element("b", {}, "Slow motion"),
      button("❘◀", "To the beginning", () => this.jump(-Infinity)), button("◀", "Back", () => this.jump(-1)), this.go,
      button("▶❘", "Next", () => this.jump(1)), this.speed, button("✕", "End slow motion", () => this.set("record", null)));
    this.over = element("canvas", { className: "exm-over" });
    this.happens = element("div", { className: "exm-happens" });
    this.motion = element("div", { className: "exm-motion", hidden: true }, bar, this.happens);
    return this.motion;
  }

  trace() {
    const record = this.model.get("record") ?? null;
    if (record === this.record) return;
    this.record = record;
    this.pause();
    this.motion.hidden = !record;
    this.over.remove();
    this.moments = record && this.mode === "synapses" ? momentsOf(this.network, record) : null;
    this.happens.textContent = record ? "The network is too large to draw every message." : "";
    if (this.moments) {
      this.traced = tracedOf(this.network, record);
      this.beats = Object.values(Object.groupBy(this.moments, ({ beat }) => beat));
      [this.beat, this.clock, this.frozen] = [0, 0, true];
      this.stage.append(this.over);
    }
    this.update();
    if (this.moments) this.drive();
    // On a low window its buttons and words are below the picture's edge.
    if (record) this.motion.scrollIntoView({ block: "nearest" });
  }

  move(wanted) {
    this.set("motion", { ...STILL, ...this.model.get("motion"), playing: this.running !== null, ...wanted });
  }

  /** Play or stand still, as the page or its reader wants. */
  drive() {
    const motion = { ...STILL, ...this.model.get("motion") };
    this.speed.value = motion.speed;
    this.pause();
    // A reader who wants less motion goes from beat to beat.
    this.go.hidden = this.speed.hidden = this.slow.matches;
    if (!this.moments || !motion.playing || this.slow.matches) return;
    if (this.beat === this.beats.length - 1) this.jump(-Infinity);
    this.frozen = false;
    this.nameGo("❚❚", "Pause");
    let before = null;
    const frame = (now) => {
      this.clock += before === null ? 0 : (Math.min(100, now - before) / 1000) * motion.speed;
      before = now;
      this.showBeat(this.beats.findLastIndex((beat) => beat[0].begin <= this.clock));
      if (this.clock < this.moments.at(-1).end) this.running = requestAnimationFrame(frame);
      else this.pause();
    };
    this.running = requestAnimationFrame(frame);
  }

  nameGo(sign, name) {
    this.go.textContent = sign;
    this.go.title = name;
    this.go.setAttribute("aria-label", name);
  }

  pause() {
    cancelAnimationFrame(this.running);
    this.running = null;
    this.nameGo("▶", "Play");
  }

  /** Go some beats on or back, and stand still. */
  jump(by) {
    this.pause();
    const beat = Math.min(this.beats.length - 1, Math.max(0, this.beat + by));
    this.clock = this.beats[beat][0].begin;
    this.frozen = true;
    this.showBeat(beat);
    this.voice.textContent = this.happens.textContent;
  }

  showBeat(beat) {
    if (beat === this.beat) this.paint();
    else {
      this.beat = beat;
      this.tellBeat();
      this.draw();
    }
  }

  tellBeat() {
    const { title, lines } = beatWords(this.network, this.beats[this.beat], this.selected);
    this.happens.replaceChildren(element("b", {}, title), ...divs(lines));
  }

  /** Whether the neurons of a layer have their activity at this beat. */
  isLit(layer) {
    return !this.moments || this.beats.findIndex(([one]) => one.step === 2 && one.to.layer === layer) < this.beat;
  }

  /** Draw what moves, on a canvas of its own above the network. */
  paint() {
    const pen = this.over.getContext("2d");
    const { width, height } = this.over;
    pen.clearRect(0, 0, width, height);
    const some = this.beats[this.beat];
    if (some[0].what === "step") {
      line(pen, css(this.colours.glow), 3);
      const { layer } = some[0].to;
      const shapes = this.places.kinds[layer] === "picture" ? [this.pictureBox()] : some.map(({ to }) => this.shapeOf(layer, to.index));
      for (const { x, y, w, h } of shapes) pen.strokeRect(x - 1, y - 1, w + 2, h + 2);
      return;
    }
    const chosen = this.selected;
    const has = (place) => place?.layer === chosen.layer && place.index === chosen.index;
    const peak = peakOf(some.map(({ value }) => value ?? 0));
    const dots = [new Path2D(), new Path2D()];
    for (const { from, to, value, begin, end } of some) {
      const share = this.frozen ? 0.5 : (this.clock - begin) / (end - begin);
      if (share < 0 || share > 1 || (chosen && !has(from) && !has(to))) continue;
      const [x, y] = this.between(from, to, share, width);
      const radius = 1.5 + 3.5 * Math.sqrt(Math.abs(value ?? 0) / peak);
      const dot = dots[value < 0 ? 1 : 0];
      dot.moveTo(x + radius, y);
      dot.arc(x, y, radius, 0, 7);
    }
    dots.forEach((dot, sign) => {
      pen.fillStyle = css(sign ? this.colours.negative : this.colours.positive);
      pen.fill(dot);
    });
  }

  /** The point of a message: on its synapse, or between a neuron and the edge. */
  between(from, to, share, width) {
    if (!from || !to) {
      const place = from ?? to;
      const { x, y, w, h } = this.shapeOf(place.layer, place.index);
      const edge = place.layer && place.layer === this.network.layers.length - 1 ? width : 0;
      const near = from ? 1 - share : share;
      return [edge + (x + w / 2 - edge) * near, y + h / 2];
    }
    const back = from.layer > to.layer;
    const [low, high] = back ? [to, from] : [from, to];
    const [x1, y1, x2, y2] = this.endsOf(low.layer, low.index, high.index);
    const t = back ? 1 - share : share;
    const bend = (x2 - x1) * 0.45;
    const weights = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t ** 3];
    return [[x1, x1 + bend, x2 - bend, x2], [y1, y1, y2, y2]].map((ends) => ends.reduce((sum, end, i) => sum + end * weights[i], 0));
  }

  buildZoom(bar) {
    const by = (factor) => () => this.zoomBy(factor, this.canvas.clientWidth / 2, this.canvas.clientHeight / 2);
    bar.append(element("span", {}, button("+", "Zoom in", by(1.6)), " ", button(MINUS, "Zoom out", by(1 / 1.6)), " ", button("1:1", "Show all", by(1e-9))));
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
      const step = (by) => () => this.set("sample", (Math.max(-1, this.sample + by) + this.samples.length) % this.samples.length);
      this.count = element("span");
      this.more.append(
        button("◀", "Previous sample", step(-1)), this.count, button("▶", "Next sample", step(1)),
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
      const onclick = () => this.set("sample", this.live && this.isChosen(index) ? -1 : index);
      const button = element("button", { type: "button", onclick }, canvas, label);
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
    const name = found ? this.nameOf(found.layer, found.index) : "";
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
      this.voice.textContent = this.linesAt(this.pointed).join(". ");
    } else if (event.key === "Enter" || event.key === " ") {
      const name = this.pointed ? this.nameOf(this.pointed.layer, this.pointed.index) : "";
      this.set("selected", name === this.model.get("selected") ? "" : name);
    } else if (event.key === "Escape") {
      this.set("selected", "");
      this.show(null);
    } else return;
    event.preventDefault();
  }

  linesAt(place) {
    const lines = linesOf(this.network, this.parameters, this.passed, place.layer, place.index, this.live, this.gradients);
    const synapse = this.network.pooled ? null : synapseOf(place, this.selected);
    if (!synapse) return lines;
    const [from, to] = [this.nameOf(synapse.layer, synapse.from), this.nameOf(synapse.layer + 1, synapse.to)];
    const weight = this.parameters.weights[synapse.layer][synapse.from * this.network.shapes[synapse.layer][1] + synapse.to];
    return [...lines.slice(0, 2), `${from} → ${to}: weight ${shown(weight)}`, ...(this.canExplain() ? this.why(synapse) : [])];
  }

  /** Show the numbers of a neuron beside it, or hide them. */
  show(place) {
    const before = this.pointed && this.nameOf(this.pointed.layer, this.pointed.index);
    const now = place && this.nameOf(place.layer, place.index);
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
    this.tip.replaceChildren(...divs(lines));
    const width = this.stage.clientWidth;
    const right = box.x + box.w / 2 > width / 2;
    this.tip.style.left = right ? "" : `${Math.min(box.x + box.w + 8, width - 180)}px`;
    this.tip.style.right = right ? `${Math.min(width - box.x + 8, width - 180)}px` : "";
    const top = Math.min(box.y, this.stage.clientHeight - this.tip.offsetHeight - 4);
    this.tip.style.top = `${Math.max(0, top)}px`;
  }

  /** Show the model's present values. */
  update() {
    if (this.live && !this.root.classList.contains("exm-live")) this.buildLive();
    const dark = isDark();
    this.colours = palette(dark);
    this.root.classList.toggle("exm-dark", dark);
    const network = this.network;
    this.parameters = this.moments ? this.traced.parameters : this.parametersOf(this.snapshot);
    this.readRow();
    this.slider.value = this.snapshot;
    this.tellSource();
    if (network.layers[0] === 2 && this.mode === "synapses") this.updateMaps();
    this.updateSamples();
    this.updatePanel();
    this.drawPad();
    if (this.moments) this.tellBeat();
    const of = `Network of ${counted(network.layers.reduce((a, b) => a + b, 0))} neurons in layers of ${network.layers.join(", ")}`;
    this.canvas.setAttribute("aria-label", `${of}; ${this.mode === "images" ? "plus and minus zoom, arrow keys move" : "arrow keys go from neuron to neuron, Enter selects, Escape clears"}`);
    this.draw();
    if (this.pointed) this.show(this.pointed);
  }

  /** The row of inputs shown and its pass: of the trace, the pad, the neurons of a live page, or computed here. */
  readRow() {
    const inputs = this.model.get("inputs");
    const real = this.live && inputs && passedOf(this.network, this.model.get("passed"));
    if (this.moments) ({ row: this.row, passed: this.passed } = this.traced);
    else if (this.answer) ({ row: this.row, passed: this.passed } = this.answer);
    else if (real) [this.row, this.passed] = [rowOf(this.network, bytesOf(inputs), 0), real];
    else {
      this.row = this.sample >= 0 && !this.network.pooled ? this.rowAt(this.sample) : null;
      this.passed = this.row && forward(this.network, this.parameters, this.row);
    }
    this.gradients = real && !this.moments && !this.answer ? gradientsOf(this.network, this.model.get("weights_change")) : null;
  }

  tellSource() {
    const snapshot = this.snapshots[this.snapshot];
    if (!this.live) {
      this.told.textContent = snapshotWords(snapshot);
      this.slider.setAttribute("aria-valuetext", this.told.textContent);
      return;
    }
    const given = this.moments ? { source: "trace", label: null, predicted: null, moment: this.record.moment }
      : this.answer ? { source: "pad", label: null, predicted: this.answer.predicted } : {};
    const lines = liveWords(this.network, { ...this.live, ...given });
    this.told.replaceChildren(...divs(lines));
    // Only what a reader must know is read aloud: not every step.
    const gone = (this.live.dead ?? []).join(", ");
    if (gone !== this.gone) this.voice.textContent = gone ? `dead: ${gone}` : this.gone ? "no neuron is dead" : "";
    this.gone = gone;
  }

  /** Compute the decision maps; on a live page at most an eighth of the time. */
  updateMaps() {
    const now = performance.now();
    if (this.live && this.maps && now < this.mapsAgain) return;
    this.domain ??= domainOf(!this.samples.length ? [[-1, -1], [1, 1]] : this.samples.map((_, index) => this.rowAt(index)));
    this.maps = decisionMaps(this.network, this.parameters, this.domain, MAP_SIDE);
    this.mapsAgain = 8 * performance.now() - 7 * now;
  }

  /** Whether a sample is shown: on a live page, it may be a row of the training instead. */
  isChosen(index) {
    return index >= 0 && index === this.sample && (!this.live || this.live.source === "sample");
  }

  updateSamples() {
    if (!this.thumbnails) return;
    for (const { button, canvas, label, sample, index } of this.thumbnails) {
      const row = this.rowAt(index);
      const answer = answerOf(this.network, sample, forward(this.network, this.parameters, row).activities.at(-1));
      // The pixels of a sample depend on the theme alone.
      if (this.inked !== this.colours) {
        drawCells(canvas, row, (value, i) => pixelShare(this.network, value, i), (share) => inkOf(share, this.colours));
      }
      label.textContent = answer.right === null ? "" : `${answer.text.split(",")[0].slice(0, 8)} ${answer.right ? "✓" : "✗"}`;
      label.style.color = answer.right === false ? css(this.colours.wrong) : "";
      button.setAttribute("aria-pressed", String(this.isChosen(index)));
      button.title = `sample ${index + 1}: ${answer.text}`;
      button.setAttribute("aria-label", button.title);
    }
    this.inked = this.colours;
    if (!this.count) return;
    if (!this.isChosen(this.sample)) this.count.textContent = `${counted(this.samples.length)} samples`;
    else if (this.passed) {
      const answer = answerOf(this.network, this.samples[this.sample], this.passed.activities.at(-1));
      const kind = this.samples[this.sample].held_out ? "held-out sample" : "training sample";
      this.count.textContent = `${kind} ${this.sample + 1} of ${this.samples.length}: ${answer.text}`;
    }
  }

  /** The panel beside the picture: the selected neuron, or how to read the picture. */
  updatePanel() {
    const place = this.selected;
    const network = this.network;
    this.clear.hidden = !place;
    this.note.textContent = this.live ? "" : network.pooled
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
      this.facts.replaceChildren(...parts);
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
    if (this.canExplain()) parts.push(...this.whyParts(place));
    this.facts.replaceChildren(...parts);
  }

  /** Whether the numbers of a step of the training are shown, which explain a change. */
  canExplain() {
    return this.gradients && this.live.rows && this.live.source === "training" && !this.network.pooled;
  }

  why(synapse) {
    return whyOf(this.network, this.parameters, this.gradients, this.passed, this.live, synapse);
  }

  /** Why the bias of a neuron changed, and that weight on its axon which changed most. */
  whyParts({ layer, index }) {
    const out = outgoing(this.network, this.gradients, layer, index);
    const asked = layer ? [["the bias", { layer, from: index, to: null }]] : [];
    if (out.length) asked.push([`the weight to ${this.nameOf(layer + 1, ranked(out)[0])}`, { layer, from: index, to: ranked(out)[0] }]);
    return asked.flatMap(([what, synapse]) => [element("h3", {}, `Why did ${what} change?`), element("p", {}, this.why(synapse).join(" "))]);
  }

  listOf(word, weights, layer) {
    if (!weights.length) return [];
    const rows = ranked(weights).slice(0, LISTED).map((index) => {
      const meaning = meaningOf(this.network, layer, index);
      const name = this.nameOf(layer, index);
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
    fill(pen, css(this.colours.back), 0, 0, width, height);
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
    this.drawStates(pen);
    this.drawFrames(pen);
    if (!this.moments) return;
    [this.over.width, this.over.height] = [width, height];
    this.paint();
  }

  /** Dead neurons are crossed out in a dashed frame, silent ones have a bar. */
  drawStates(pen) {
    for (const [names, dead] of [[this.live?.dead, true], [this.live?.silent, false]]) {
      for (const name of names ?? []) {
        const place = placeOf(this.network, name);
        if (!place) continue;
        const { x, y, w, h } = this.shapeOf(place.layer, place.index);
        fill(pen, css(this.colours.back, 0.6), x - 3, y - 3, w + 6, h + 6);
        line(pen, css(dead ? this.colours.wrong : this.colours.soft), Math.min(3, 0.5 + w / 16));
        pen.beginPath();
        const lines = dead ? [[x, y, x + w, y + h], [x, y + h, x + w, y]] : [[x, y + h / 2, x + w, y + h / 2]];
        for (const [x1, y1, x2, y2] of lines) {
          pen.moveTo(x1, y1);
          pen.lineTo(x2, y2);
        }
        pen.stroke();
        pen.setLineDash(dead ? [4, 3] : [1, 3]);
        pen.strokeRect(x, y, w, h);
        pen.setLineDash([]);
      }
    }
  }

  /** The drawn part of a neuron's box. */
  shapeOf(layer, index) {
    const box = this.places.boxes[layer][index];
    const radius = Math.min(11, box.h / 2);
    return this.places.kinds[layer] === "output" ? { x: box.x, y: box.y + box.h / 2 - radius, w: 2 * radius, h: 2 * radius } : box;
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
  endsOf(layer, from, to) {
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
      line(pen, css(level < 0 ? this.colours.negative : this.colours.positive, alpha), width);
      pen.beginPath();
      for (const { layer, from, to } of some) {
        const [x1, y1, x2, y2] = this.endsOf(layer, from, to);
        const bend = (x2 - x1) * 0.45;
        pen.moveTo(x1, y1);
        pen.bezierCurveTo(x1 + bend, y1, x2 - bend, y2, x2, y2);
      }
      pen.stroke();
    }
  }

  /** Draw the synapses from a copy: lines take most of the time. */
  copySynapses(pen, width, height, scale) {
    const key = [this.model.get("selected"), width, height, scale, this.colours.back].join();
    if (key !== this.copyKey || this.parameters !== this.copied) {
      [this.copyKey, this.copied] = [key, this.parameters];
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
    const activities = this.isLit(layer) ? this.passed?.activities[layer] : null;
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
      const { x, y, w, h } = this.pictureBox();
      line(pen, css(this.colours.line), 1);
      pen.strokeRect(x, y, w, h);
    }
  }

  /** The picture that the inputs are. */
  pictureBox() {
    const [first, last] = [this.places.boxes[0][0], this.places.boxes[0].at(-1)];
    return { x: first.x, y: first.y, w: last.x + last.w - first.x, h: last.y + last.h - first.y };
  }

  drawPixel(pen, box, index) {
    const share = this.row ? pixelShare(this.network, this.row[index], index) : 0;
    fill(pen, css(inkOf(share, this.colours)), box.x, box.y, box.w + 0.4, box.h + 0.4);
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
    fill(pen, css(this.colours.card), box.x + box.w - bar, top, bar, tall);
    const length = (Math.max(-1, Math.min(1, value / most)) * bar) / 2;
    fill(pen, css(length < 0 ? this.colours.negative : this.colours.positive), Math.min(middle, middle + length), top, Math.abs(length), tall);
    line(pen, css(this.colours.soft, 0.6), 1);
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
    line(pen, css(this.colours.soft), 1.2);
    pen.stroke();
    if (box.h < 9) return;
    const names = this.network.classes && this.network.layers.at(-1) > 1 ? this.network.classes : this.network.outputs;
    const left = x + radius + 7;
    const end = box.x + box.w;
    const name = names[index] ?? "";
    const number = share === null ? "" : shown(this.passed.activities.at(-1)[index]);
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
    fill(pen, css(this.colours.card), from, y - 3, room, 6);
    fill(pen, css(share < 0 ? this.colours.negative : this.colours.positive), from, y - 3, Math.abs(share) * room, 6);
  }

  /** A hidden neuron as its weights from the layer below: the receptive field, each neuron by its own strongest weight. */
  drawField(pen, box, layer, index) {
    const weights = incoming(this.network, this.parameters, layer, index);
    const peak = peakOf(weights);
    fill(pen, css(this.colours.card), box.x, box.y, box.w, box.h);
    if (layer === 1 && this.network.image) {
      const [rows, columns] = this.network.image;
      const w = box.w / columns;
      const h = box.h / rows;
      weights.forEach((weight, i) => {
        fill(pen, css(diverging(weight / peak, this.colours)), box.x + (i % columns) * w, box.y + Math.floor(i / columns) * h, w + 0.4, h + 0.4);
      });
      return;
    }
    const w = box.w / weights.length;
    const middle = box.y + box.h / 2;
    weights.forEach((weight, i) => {
      const length = (-weight / peak) * (box.h / 2 - 2);
      fill(pen, css(weight < 0 ? this.colours.negative : this.colours.positive), box.x + i * w + w * 0.12, Math.min(middle, middle + length), Math.max(0.6, w * 0.76), Math.abs(length));
    });
    fill(pen, css(this.colours.soft, 0.7), box.x, middle - 0.5, box.w, 1);
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
      const row = this.rowAt(index);
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
    line(pen, css(this.colours.back), 1);
    pen.stroke();
  }

  drawGlow(pen, box, share) {
    line(pen, css(this.colours.line), 1);
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
      line(pen, css(this.colours.ink), width);
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
      line(pen, css(this.colours.line), 1);
      pen.strokeRect(box.x, box.y, box.w, box.h);
      if (!chosen || this.network.pooled) return;
      line(pen, css(this.colours.ink), 2);
      const [w, h] = [box.w / columns, box.h / rows];
      if (chosen.layer === pair + 1) pen.strokeRect(box.x + chosen.index * w - 1, box.y - 1, w + 2, box.h + 2);
      if (chosen.layer === pair) pen.strokeRect(box.x - 1, box.y + chosen.index * h - 1, box.w + 2, h + 2);
    });
    fill(pen, css(this.colours.back), 0, 0, width, 40);
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

/** Set the pen for lines. */
function line(pen, colour, width) {
  pen.strokeStyle = colour;
  pen.lineWidth = width;
}

function fill(pen, colour, x, y, w, h) {
  pen.fillStyle = colour;
  pen.fillRect(x, y, w, h);
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
