/** Keys, buttons, saved files, and the commands that take them. */

// A stroke or a rectangle drawn by keys ends here; Enter begins it.
function endKeys() {
  if (penDown) hand.end();
  penDown = false;
}

function pressEnter() {
  cursor ??= [Math.floor(width / 2), Math.floor(height / 2)];
  const point = [cursor[0] + 0.5, cursor[1] + 0.5];
  if (tool === "pan") return;
  if (penDown) {
    endKeys();
    return tell("lifted");
  }
  hand.start(point, { pointerType: "keys", buttons: 0, shiftKey: false });
  penDown = true;
  return tell("down");
}

function tell(state = penDown ? "down" : "lifted") {
  const [x, y] = cursor;
  say(`${TOOLS[tool].title}, row ${y}, column ${x}, ${usesBrush() ? `brush of ${size} pixels ` : ""}${state}`);
}

function moveCursor([dx, dy], fine) {
  if (tool === "pan") return view.pan(-40 * dx, -40 * dy);
  const step = fine ? 1 : Math.max(Math.round(usesBrush() ? size / 4 : Math.max(width, height) / 100), 1);
  const [x, y] = cursor ?? pixel(hover ?? [width / 2, height / 2]);
  cursor = [within(x + dx * step, 0, width - 1), within(y + dy * step, 0, height - 1)];
  if (penDown) hand.move([[cursor[0] + 0.5, cursor[1] + 0.5]]);
  view.reveal(cursor);
  return tell();
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const KEYS = {
  "[": () => resize(Math.min(size / 1.25, size - 1)),
  "]": () => resize(Math.max(size * 1.25, size + 1)),
  "+": () => view.zoom(view.scale * 1.25),
  "=": () => view.zoom(view.scale * 1.25),
  "-": () => view.zoom(view.scale / 1.25),
  "0": () => view.fit(),
  r: () => chooseShape(shape === "brush" ? "rectangle" : "brush"),
  h: () => hide(!hidden),
  e: () => choose("erase"),
  s: () => save(download),
};

easelKeys: {
  const easel = find("#easel");
  easel.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (ARROWS[event.key]) moveCursor(ARROWS[event.key], event.shiftKey);
    else if (event.key === "Enter") pressEnter();
    else if (event.key === " ") view.panning = true;
    else if (event.key === "Escape") {
      if (drag) hand.cancel();
      penDown = false;
      cursor = chosen = null;
      view.draw();
    } else return;
    event.preventDefault();
  });
  easel.addEventListener("keyup", (event) => {
    if (event.key === " ") view.panning = tool === "pan";
  });
  easel.addEventListener("blur", () => {
    endKeys();
    view.panning = tool === "pan";
  });
  easel.addEventListener("pointermove", () => { if (!penDown) cursor = null; });
}

addEventListener("keydown", (event) => {
  if (event.target.matches("input[type=text]")) return;
  const key = event.key.toLowerCase();
  if ((event.ctrlKey || event.metaKey) && !event.altKey) {
    const direction = key === "z" ? (event.shiftKey ? 1 : -1) : key === "y" ? 1 : 0;
    if (direction) {
      event.preventDefault();
      travel(direction);
    }
    return;
  }
  if (event.altKey) return;
  const tools = [...document.querySelectorAll("#tools button")];
  if (/^[1-9]$/.test(key) && tools[key - 1]) choose(tools[key - 1].dataset.tool);
  else KEYS[key]?.();
});

function hide(value) {
  hidden = value;
  find("#hide").ariaPressed = String(hidden);
  view.draw();
}

/** The files of the task that are not empty: [field, function that returns the PNG]. */
function files() {
  const its = painting(), found = [];
  const mask = (white) => toPng(its.labels.map(white), width, height);
  if (task === "segment") {
    if (its.has(1)) found.push(["foreground", () => mask((v) => v === 1 ? 255 : 0)]);
    if (its.has(2)) found.push(["background", () => mask((v) => v === 2 ? 255 : 0)]);
    return found;
  }
  if (task === "edit" && layout?.edited) found.push(["layout", layoutPng]);
  if (its.has(1)) found.push(["mask", () => withBox((labels) => {
    const white = task === "inpaint" ? 0 : 1; // a mask of inpaint is white where the image is known
    return toPng(labels.map((v) => v === white ? 255 : 0), width, height);
  })]);
  return found;
}

/** Passes on the labels with the box, if there is one, because a method takes a mask or a box. */
function withBox(make) {
  const its = painting();
  if (!its.box) return make(its.labels);
  const [y0, x0, y1, x1] = its.box, both = new Painting(width, height, its.labels.slice());
  both.rectangle([x0, y0, x1, y1], 1);
  return make(both.labels);
}

function layoutPng() {
  const { data: rgba } = layout.getContext("2d").getImageData(0, 0, width, height);
  const rgb = new Uint8Array(3 * width * height);
  for (let i = 0, j = 0; i < rgba.length; i += 4) for (let c = 0; c < 3; c++) rgb[j++] = rgba[i + c];
  return toPng(rgb, width, height, 3);
}

/** Updates what depends on what is painted: buttons, names of files, commands. */
function changed() {
  const its = painting(), listed = files().map(([field]) => field), { names } = data;
  find("#undo").disabled = !its.past.length;
  find("#redo").disabled = !its.future.length;
  const folder = find("#folder").value.trim().replace(/\/+$/, "");
  const path = (name) => quoted(folder ? `${folder}/${name}` : name);
  const parts = {
    source: quoted(data.source),
    out: (ending, suffix = ".png") => quoted(`${data.stem}-${ending}${suffix}`),
    file: (field) => path(names[field]),
    workdir: data.workdir && `--workdir=${quoted(data.workdir)}`,
    region: its.box && !listed.length ? `--box=${its.box}` : `--mask=${path(names.mask)}`,
    stays: listed.includes("mask") ? `--config.mask=${path(names.mask)}` : "",
  };
  find("#commands").replaceChildren(...TASKS[task].commands(parts).map(([title, words]) => {
    const item = document.createElement("div"), code = document.createElement("code");
    const copy = Object.assign(document.createElement("button"), { type: "button", textContent: "Copy" });
    if (title) item.append(Object.assign(document.createElement("p"), { textContent: title }));
    for (const part of words.filter(Boolean)) { // lines break between the flags, if they can
      code.append(Object.assign(document.createElement("span"), { textContent: part }), " ");
    }
    copy.addEventListener("click", () => copyText(code));
    item.append(code, copy);
    return item;
  }));
  find("#box").hidden = !its.box;
  find("#box").textContent = !its.box ? "" : its.has(1) ? "The saved mask contains the box." : `--box=${its.box}`;
  find("#todo").textContent = lacking(listed);
  find("#names").textContent = listed.map((field) => names[field]).join(", ") || "no file yet";
  for (const button of document.querySelectorAll(".save")) button.disabled = !listed.length;
  view.draw();
}

/** Says what the command needs that is not painted yet, given the fields of the files. */
function lacking(listed) {
  if (task === "edit") {
    const copied = !data.layout || listed.includes("layout");
    return copied ? "" : "No part is copied yet; the command needs an edited image.";
  }
  const needed = task === "segment" ? TASKS.segment.tools.filter((field) => !listed.includes(field))
    : listed.length || painting().box ? [] : TASKS[task].tools.slice(0, 1);
  const words = needed.map((name) => TOOLS[name].title.toLowerCase()).join(" and ");
  return words && `Nothing is painted as ${words} yet; the command needs it.`;
}

async function copyText(code) {
  try {
    await navigator.clipboard.writeText(code.textContent.trim());
    say("Copied");
  } catch {
    getSelection().selectAllChildren(code);
    say("Selected; copy it with Ctrl and C");
  }
}

async function download(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

let directory = null;
async function writeInto(name, blob) {
  const file = await directory.getFileHandle(name, { create: true });
  const stream = await file.createWritable();
  await stream.write(blob);
  await stream.close();
}

/** Saves the files of the task, each by `write(name, blob)`. */
async function save(write) {
  endKeys();
  const its = painting(), { version } = its, done = [];
  try {
    for (const [field, make] of files()) {
      await write(data.names[field], await make());
      done.push(data.names[field]);
    }
    if (done.length) its.saved = version;
    say(done.length ? `Saved ${done.join(" and ")}` : "Nothing is painted yet");
  } catch (error) {
    say(`Not saved: ${error.message}`);
  }
}

for (const button of document.querySelectorAll("[data-task]")) {
  button.addEventListener("click", () => startTask(button.dataset.task));
}
for (const button of document.querySelectorAll("[data-shape]")) {
  button.addEventListener("click", () => chooseShape(button.dataset.shape));
}
const CLICKS = {
  undo: () => travel(-1),
  redo: () => travel(1),
  clear,
  hide: () => hide(!hidden),
  fit: () => view.fit(),
  actual: () => view.zoom(1 / devicePixelRatio),
  closer: () => view.zoom(view.scale * 1.25),
  farther: () => view.zoom(view.scale / 1.25),
  save: () => save(download),
  into: async () => {
    try {
      directory ??= await showDirectoryPicker({ mode: "readwrite" });
    } catch (error) {
      return say(`No folder: ${error.message}`);
    }
    return save(writeInto);
  },
};
for (const [id, act] of Object.entries(CLICKS)) find(`#${id}`).addEventListener("click", act);
find("#into").hidden = !("showDirectoryPicker" in window);
find("#size").addEventListener("input", (event) => resize(fromSlider(event.target.value)));
find("#opacity").addEventListener("input", (event) => {
  opacity = event.target.value / 100;
  view.draw();
});
find("#folder").addEventListener("input", changed);
addEventListener("beforeunload", (event) => {
  if (Object.values(paintings).some((one) => one.version !== one.saved)) event.preventDefault();
});

find("#folder").value = data.folder;
picture.decode().catch(() => undefined).then(() => {
  startTask(data.task);
  chooseShape("brush");
  resize(Math.max(Math.max(width, height) / 40, 3));
  view.ready = true;
  view.resize();
  document.body.dataset.ready = "";
});
