"use strict";
{% include "crc.js" %}

{% include "scribble_paint.js" %}

{% include "scribble_view.js" %}

const within = (value, low, high) => Math.min(Math.max(value, low), high);
const find = (selector) => document.querySelector(selector);
const data = JSON.parse(find("#data").textContent);
const { width, height } = data;
{% include "scribble_tasks.js" %}

/** The painting of each task, made when the task is first shown. */
const paintings = {};
let task = data.task, tool = "", shape = "brush", size = 0, hidden = false, opacity = 0.6;
let drag = null, hover = null, cursor = null, penDown = false, last = null, chosen = null, layout = null;
const painting = () => paintings[task];
const picture = find("#picture");

function startTask(name) {
  endKeys();
  task = name;
  if (!paintings[task]) {
    const runs = (field) => data.painted[field] && fromRuns(data.painted[field], width * height);
    let labels = runs(task);
    if (task === "segment") {
      labels = runs("foreground") ?? new Uint8Array(width * height);
      runs("background")?.forEach((value, index) => { if (value) labels[index] = 2; });
    }
    paintings[task] = new Painting(width, height, labels);
    const colours = [null, ...TASKS[task].tools.map((t) => TOOLS[t].colour).filter(Boolean)];
    paintings[task].layer = new Layer(width, height, colours);
    paintings[task].layer.update(paintings[task].labels);
  }
  if (task === "edit" && data.layout && !layout) {
    layout = makeCanvas(width, height);
    Object.assign(layout, { edited: false, version: 0 });
    layout.getContext("2d", { willReadFrequently: true }).drawImage(picture, 0, 0);
  }
  [chosen, last] = [null, null];
  const names = [...TASKS[task].tools, "erase", "pan"];
  find("#tools").replaceChildren(...names.map((name, index) => {
    const button = document.createElement("button"), key = document.createElement("kbd");
    Object.assign(button, { type: "button", title: `${TOOLS[name].title}: key ${index + 1}` });
    button.dataset.tool = name;
    if (TOOLS[name].colour) {
      const swatch = Object.assign(document.createElement("span"), { className: "swatch" });
      swatch.style.background = `rgb(${TOOLS[name].colour})`;
      button.append(swatch);
    }
    key.textContent = index + 1;
    button.append(`${TOOLS[name].title} `, key);
    button.addEventListener("click", () => choose(name));
    return button;
  }));
  for (const button of document.querySelectorAll("[data-task]")) {
    button.ariaPressed = String(button.dataset.task === task);
  }
  find("#hint").textContent = TASKS[task].hint;
  find("#result").hidden = task !== "segment" || !data.result;
  choose(names[0]);
  changed();
}

function choose(name) {
  endKeys();
  tool = name;
  if (name !== "part") chosen = null;
  view.panning = name === "pan";
  for (const button of document.querySelectorAll("#tools button")) {
    button.ariaPressed = String(button.dataset.tool === tool);
  }
  find("#shapes").hidden = ["box", "part", "pan"].includes(tool);
  find("#easel").dataset.tool = tool;
  say(TOOLS[tool].title);
  view.draw();
}

function chooseShape(name) {
  shape = name;
  for (const button of document.querySelectorAll("[data-shape]")) {
    button.ariaPressed = String(button.dataset.shape === shape);
  }
  find("#sizes").hidden = shape !== "brush";
  view.draw();
}

/** The slider has a hundred steps, which grow with the size. */
const LARGEST = Math.max(Math.round(Math.max(width, height) / 4), 40);
const toSlider = (value) => 100 * Math.log(value) / Math.log(LARGEST);
const fromSlider = (value) => Math.round(LARGEST ** (value / 100));

function resize(value) {
  size = within(Math.round(value), 1, LARGEST);
  const slider = find("#size");
  if (fromSlider(slider.value) !== size) slider.value = toSlider(size);
  slider.ariaValueText = `${size} pixels`;
  find("#pixels").textContent = `${size} px`;
  view.draw();
}

function say(text) {
  find("#said").textContent = text;
}

const usesBrush = () => shape === "brush" && TOOLS[tool].label !== undefined;
const pixel = ([x, y]) => [Math.floor(x), Math.floor(y)];
/** The pixels of a rectangle between two points, ends excluded, within the image. */
function between(a, b) {
  const low = (i, n) => within(Math.floor(Math.min(a[i], b[i])), 0, n - 1);
  const high = (i, n) => within(Math.floor(Math.max(a[i], b[i])) + 1, 1, n);
  return [low(0, width), low(1, height), high(0, width), high(1, height)];
}

function updateLayer(rect) {
  if (rect) painting().layer.update(painting().labels, rect);
  view.draw();
}

/** What pointers and keys do to the image, in points of the image. */
const hand = {
  start(point, event) {
    const erases = event.pointerType === "pen" && event.buttons & 32; // the other end of the pen
    endKeys();
    drag = { from: point, to: point, label: erases ? 0 : TOOLS[tool].label, last };
    if (tool === "part") {
      const [x, y] = pixel(point);
      drag.moves = chosen && x >= chosen[0] && x < chosen[2] && y >= chosen[1] && y < chosen[3];
    }
    if (tool === "part" || tool === "box" || shape !== "brush") return view.draw();
    painting().begin();
    const from = event.shiftKey && last ? last : pixel(point);
    updateLayer(painting().stroke(from, pixel(point), size, drag.label));
    last = pixel(point);
    return undefined;
  },
  move(points) {
    if (!drag) return;
    drag.to = points.at(-1);
    if (!painting().before) return view.draw();
    let rect = null;
    for (const next of points.map(pixel)) {
      rect = around(rect, painting().stroke(last, next, size, drag.label));
      last = next;
    }
    return updateLayer(rect);
  },
  end() {
    if (!drag) return;
    const { from, to, label } = drag, moves = drag.moves && offset(), rect = between(from, to);
    drag = null;
    if (painting().before) painting().end();
    else if (tool === "box") setBox([rect[1], rect[0], rect[3], rect[2]]);
    else if (moves) copyPart(moves);
    else if (tool === "part") chosen = rect;
    else {
      painting().begin();
      updateLayer(painting().rectangle(rect, label));
      painting().end();
    }
    changed();
  },
  cancel() {
    last = drag?.last ?? null;
    drag = null;
    updateLayer(painting().before ? painting().cancel() : null);
  },
  hover(point) {
    hover = point;
    const inside = point && point[0] >= 0 && point[1] >= 0 && point[0] < width && point[1] < height;
    find("#where").textContent = inside ? `row ${Math.floor(point[1])}, column ${Math.floor(point[0])}` : "";
    view.draw();
  },
};
/** How far the chosen part has been dragged, in whole pixels. */
function offset() {
  const [a, b] = [pixel(drag.from), pixel(drag.to)];
  return [b[0] - a[0], b[1] - a[1]];
}

function setBox(next) {
  const its = painting(), old = its.box;
  its.box = next;
  let other = old;
  its.record({ bytes: 0, run: () => {
    [its.box, other] = [other, its.box];
    return null;
  } });
}

/** Changes the pixels of a rectangle of the layout; `edited`: whether it then differs from the image. */
function changeLayout([x0, y0, x1, y1], edited, change) {
  const c = layout.getContext("2d"), take = () => c.getImageData(x0, y0, x1 - x0, y1 - y0);
  let [pixels, other] = [take(), layout.edited];
  change(c);
  layout.edited = edited;
  layout.version++;
  painting().record({ bytes: pixels.data.length, run: () => {
    const now = take();
    c.putImageData(pixels, x0, y0);
    [pixels, other, layout.edited] = [now, layout.edited, other];
    layout.version++;
    chosen = null;
    return null;
  } });
}

/** Copies the chosen part of the layout to a place that is [dx, dy] away. */
function copyPart([dx, dy]) {
  const [x0, y0, x1, y1] = chosen;
  const low = [Math.max(x0 + dx, 0), Math.max(y0 + dy, 0)];
  const high = [Math.min(x1 + dx, width), Math.min(y1 + dy, height)];
  if (!(dx || dy) || low[0] >= high[0] || low[1] >= high[1]) return;
  chosen = [...low, ...high];
  changeLayout(chosen, true, (c) => c.putImageData(c.getImageData(x0, y0, x1 - x0, y1 - y0), x0 + dx, y0 + dy));
}

function travel(direction) {
  endKeys();
  const rect = painting().travel(direction);
  if (rect === undefined) return say(direction < 0 ? "Nothing to undo" : "Nothing to redo");
  updateLayer(rect);
  return changed();
}

function clear() {
  endKeys();
  if (painting().has(1) || painting().has(2)) {
    painting().begin();
    updateLayer(painting().rectangle([0, 0, width, height], 0));
    painting().end();
  }
  if (painting().box) setBox(null);
  if (task === "edit" && layout?.edited) {
    changeLayout([0, 0, width, height], false, (c) => c.drawImage(picture, 0, 0));
  }
  chosen = null;
  changed();
}

function drawShapes(c, unit) {
  const dashed = ([x0, y0, x1, y1]) => {
    for (const [style, dash] of [["#000", []], ["#fff", [6 * unit, 6 * unit]]]) {
      c.setLineDash(dash);
      Object.assign(c, { strokeStyle: style, lineWidth: 2 * unit });
      c.strokeRect(x0, y0, x1 - x0, y1 - y0);
    }
    c.setLineDash([]);
  };
  if (painting().box && !hidden) {
    const [y0, x0, y1, x1] = painting().box;
    dashed([x0, y0, x1, y1]);
  }
  if (chosen) {
    const [dx, dy] = drag?.moves ? offset() : [0, 0], [x0, y0, x1, y1] = chosen;
    if (dx || dy) c.drawImage(layout, x0, y0, x1 - x0, y1 - y0, x0 + dx, y0 + dy, x1 - x0, y1 - y0);
    dashed([x0 + dx, y0 + dy, x1 + dx, y1 + dy]);
  }
  if (drag && !painting().before && !drag.moves) dashed(between(drag.from, drag.to));
  const at = cursor ? [cursor[0] + 0.5, cursor[1] + 0.5] : hover;
  if (!at || tool === "pan") return;
  c.beginPath();
  if (usesBrush()) c.arc(at[0], at[1], Math.max(size / 2, 2 * unit), 0, 2 * Math.PI);
  if (cursor || !usesBrush()) {
    for (const [x, y] of [[9 * unit, 0], [0, 9 * unit]]) {
      c.moveTo(at[0] - x, at[1] - y);
      c.lineTo(at[0] + x, at[1] + y);
    }
  }
  for (const [style, lineWidth] of [["#000", 3 * unit], ["#fff", 1.5 * unit]]) {
    Object.assign(c, { strokeStyle: style, lineWidth });
    c.stroke();
  }
}

const cover = data.result && new Layer(width, height, [COVER, null]);
if (cover) cover.update(fromRuns(data.result, width * height));
const view = new View(find("#easel"), [width, height], () => ({
  base: task === "edit" && layout ? layout : picture,
  step: task === "edit" && layout ? 1 : data.step,
  edits: layout?.version,
  cover: task === "segment" ? cover : null,
  opacity,
  paint: hidden ? null : painting().layer,
  shapes: drawShapes,
}), hand);

{% include "scribble_page.js" %}
