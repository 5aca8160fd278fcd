/* The picture of a live page: receives values over a WebSocket, and gives them to `picture.js` as its model.

   Frames: the length of a header (4 bytes, little-endian), the header in JSON, {values, bytes: [[name, length], …]}, and the
   bytes. Messages to the server are JSON: {got: true} confirms a frame, {alive: true} is sent every two seconds, {set: {…}} has
   values that the visitor has changed, {send: {…}} a message of the picture. */

import { render } from "/files/picture.js";

const ALIVE_MS = 2000;
const AGAIN_MS = 1000;

class Model {
  constructor(send) {
    this.values = { selected: "", sample: -1, snapshot: 0, motion: { playing: false, speed: 1 }, record: null, live: null };
    this.listeners = new Map();
    this.unsaved = new Map();
    this.write = send;
  }

  get(name) {
    return this.values[name];
  }

  set(name, value) {
    this.values[name] = value;
    this.unsaved.set(name, value);
    this.tell(`change:${name}`);
  }

  save_changes() {
    if (this.unsaved.size) this.write({ set: Object.fromEntries(this.unsaved) });
    this.unsaved.clear();
  }

  on(event, listener) {
    this.listeners.set(event, [...(this.listeners.get(event) ?? []), listener]);
  }

  off(event, listener) {
    this.listeners.set(event, (this.listeners.get(event) ?? []).filter((other) => other !== listener));
  }

  send(message) {
    this.write({ send: message });
  }

  /** Take values from the server, then tell of all of them. */
  receive(values) {
    Object.assign(this.values, values);
    for (const name of Object.keys(values)) this.tell(`change:${name}`);
  }

  tell(event, ...more) {
    for (const listener of this.listeners.get(event) ?? []) listener(...more);
  }
}

/** The values of a frame. */
export function valuesOf(frame) {
  const length = new DataView(frame).getUint32(0, true);
  const { values, bytes } = JSON.parse(new TextDecoder().decode(new Uint8Array(frame, 4, length)));
  let at = 4 + length;
  for (const [name, size] of bytes) {
    values[name] = new DataView(frame, at, size);
    at += size;
  }
  return values;
}

/** The element of the page, when NiceGUI has made it. */
function elementOf(id) {
  return new Promise((resolve) => {
    const look = () => {
      const found = document.getElementById(id);
      if (found) resolve(found);
      else requestAnimationFrame(look);
    };
    look();
  });
}

const place = await elementOf("picture");
const address = `${location.origin.replace(/^http/, "ws")}/live?session=${encodeURIComponent(place.dataset.session)}`;
const theme = matchMedia("(prefers-color-scheme: dark)");
let socket = null;
let end = null;
const write = (message) => socket?.readyState === WebSocket.OPEN && socket.send(JSON.stringify(message));
const model = new Model(write);
window.exmachina = model;

/** End the picture before its model gets the values of another network. */
function clear() {
  end?.();
  end = null;
  place.replaceChildren();
}

/** Draw into a child: NiceGUI owns the place itself. */
function draw() {
  place.replaceChildren(document.createElement("div"));
  end = render({ model, el: place.firstChild });
}

function receive({ link, answer, ...values }) {
  if (link !== undefined) history.replaceState(null, "", link || location.pathname);
  if ("network" in values || "samples" in values || "rows" in values) clear();
  model.receive(values);
  if (!end && model.get("network") && model.get("numbers")) draw();
  if (answer) model.tell("msg:custom", answer);
}

function connect() {
  socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => write({ alive: true, set: { dark: theme.matches } });
  socket.onmessage = ({ data }) => {
    receive(valuesOf(data));
    // When the browser has drawn it: a hidden page does not draw, and confirms later.
    setTimeout(() => write({ got: true }));
  };
  socket.onclose = () => setTimeout(connect, AGAIN_MS);
}

theme.addEventListener("change", () => write({ set: { dark: theme.matches } }));
setInterval(() => write({ alive: true }), ALIVE_MS);
connect();
