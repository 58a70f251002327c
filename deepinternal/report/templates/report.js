"use strict";

const within = (value, low, high) => Math.min(Math.max(value, low), high);

/** Lets two pictures be compared, and one be looked at, pixel by pixel. */
function startViewer(viewer) {
  const find = (selector) => viewer.querySelector(selector);
  const [screen, pane, stage, divider] = [".screen", ".pane", ".stage", ".divider"].map(find);
  const [under, over, compare, name] = [".under", ".over", ".compare", ".name"].map(find);
  const chips = [find(".chip.left"), find(".chip.right")];
  const images = [...document.querySelectorAll(".pictures img")];
  const role = (wanted) => images.find((i) => i.closest("figure").dataset.role === wanted);
  const pair = [role("before"), role("result")];
  const levels = ["fit", 1, 2, 4, 8];
  let comparing = false, zoom = "fit", share = 0.5, size = [1, 1];

  // A picture smaller than the screen is enlarged by a whole number, to keep pixels square.
  function fit() {
    const room = Math.min(screen.clientWidth / size[0], 0.75 * innerHeight / size[1]);
    return room < 1 ? room : Math.min(Math.floor(room), 8);
  }
  const scale = (level = zoom) => level === "fit" ? fit() : level;
  const enlarged = () => stage.offsetWidth > pane.clientWidth || stage.offsetHeight > pane.clientHeight;

  function layout() {
    stage.style.width = `${Math.floor(size[0] * scale())}px`;
    stage.style.height = `${Math.floor(size[1] * scale())}px`;
    stage.classList.toggle("pixels", scale() >= 1);
    pane.classList.toggle("wide", enlarged());
    for (const button of viewer.querySelectorAll("[data-zoom]")) {
      button.ariaPressed = String(button.dataset.zoom === String(zoom));
    }
    place();
  }

  /** Left and right end of what is seen of the picture, in pixels of the pane. */
  function ends() {
    const start = stage.offsetLeft - pane.scrollLeft;
    return [Math.max(start, 0), Math.min(start + stage.offsetWidth, pane.clientWidth)];
  }

  /** Puts the divider at its share of what is seen, and cuts the upper picture off there. */
  function place() {
    const [left, right] = ends();
    const x = left + share * (right - left);
    const cut = stage.offsetWidth - (x + pane.scrollLeft - stage.offsetLeft);
    over.style.clipPath = `inset(0 ${Math.max(cut, 0)}px 0 0)`;
    divider.style.left = `${x}px`;
    divider.style.height = `${pane.clientHeight}px`;
    divider.ariaValueNow = String(Math.round(100 * share));
    divider.ariaValueText = `${Math.round(100 * share)} % before`;
    chips[0].style.left = `${left + 8}px`;
    chips[1].style.right = `${screen.clientWidth - right + 8}px`;
    chips[0].style.opacity = x - left < 70 ? 0 : 1;
    chips[1].style.opacity = right - x < 70 ? 0 : 1;
  }

  function divide(value) {
    share = within(value, 0, 1);
    place();
  }

  function divideAt(clientX) {
    const [left, right] = ends();
    divide((clientX - screen.getBoundingClientRect().left - left) / (right - left));
  }

  /** Changes the zoom; what is at (x, y) of the pane stays there. */
  function zoomTo(level, x = pane.clientWidth / 2, y = pane.clientHeight / 2) {
    const old = scale();
    const across = (pane.scrollLeft + x - stage.offsetLeft) / old;
    const down = (pane.scrollTop + y - stage.offsetTop) / old;
    zoom = level;
    layout();
    pane.scrollLeft = across * scale() + stage.offsetLeft - x;
    pane.scrollTop = down * scale() + stage.offsetTop - y;
    place();
  }

  /** The next zoom level up (1) or down (-1), undefined at the end. */
  function next(direction) {
    const further = levels.filter((l) => direction * (scale(l) - scale()) > 0);
    return further.sort((a, b) => direction * (scale(a) - scale(b)))[0];
  }

  /** Shows one picture, or the pair where none is given. */
  function show(image) {
    comparing = !image;
    const shown = image ?? pair[1];
    under.src = shown.src;
    under.alt = shown.alt;
    if (comparing) over.src = pair[0].src;
    // Two pictures of different sizes are both shown at the larger size.
    const sizes = (comparing ? pair : [shown]).map((i) => [Number(i.dataset.width), Number(i.dataset.height)]);
    size = sizes.sort((a, b) => b[0] * b[1] - a[0] * a[1])[0];
    name.textContent = image ? shown.dataset.title : "";
    for (const part of [over, divider, ...chips]) part.hidden = !comparing;
    compare.ariaPressed = String(comparing);
    for (const i of images) i.closest("button").ariaPressed = String(i === image);
    layout();
  }

  for (const button of viewer.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => zoomTo(levels.find((l) => String(l) === button.dataset.zoom)));
  }
  compare.addEventListener("click", () => show());
  for (const image of images) {
    image.closest("button").addEventListener("click", () => {
      show(image);
      viewer.scrollIntoView({ block: "nearest" });
    });
  }

  viewer.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const level = { "+": next(1), "=": next(1), "-": next(-1), "0": "fit" }[event.key];
    if (level !== undefined) zoomTo(level);
  });
  divider.addEventListener("keydown", (event) => {
    const move = event.shiftKey ? 0.1 : 0.02;
    const to = {
      ArrowLeft: share - move, ArrowDown: share - move, ArrowRight: share + move,
      ArrowUp: share + move, PageDown: share - 0.1, PageUp: share + 0.1, Home: 0, End: 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    divide(to);
  });

  let turned = 0;
  pane.parentElement.addEventListener("wheel", (event) => {
    const focused = viewer.contains(document.activeElement);
    if (event.shiftKey || !(event.ctrlKey || focused)) return;
    const direction = -Math.sign(event.deltaY);
    if (!direction || (!event.ctrlKey && direction < 0 && next(-1) === undefined)) return;
    event.preventDefault();
    turned = Math.sign(turned) === direction ? turned : 0;
    turned -= event.ctrlKey ? 5 * event.deltaY : event.deltaY; // pinch gestures give small deltas
    if (Math.abs(turned) < 60 || next(direction) === undefined) return;
    turned = 0;
    const box = pane.getBoundingClientRect();
    zoomTo(next(direction), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });

  let held = 0; // offset at which the handle was grabbed
  divider.addEventListener("pointerdown", (event) => {
    divider.setPointerCapture(event.pointerId);
    const box = divider.getBoundingClientRect();
    held = event.clientX - (box.left + box.right) / 2;
  });
  divider.addEventListener("pointermove", (event) => {
    if (divider.hasPointerCapture(event.pointerId)) divideAt(event.clientX - held);
  });

  let grip = null;
  pane.addEventListener("pointerdown", (event) => {
    // On touch, the browser itself scrolls an enlarged picture.
    if (event.button || event.target === pane || (event.pointerType === "touch" && enlarged())) return;
    grip = [event.clientX + pane.scrollLeft, event.clientY + pane.scrollTop];
    pane.setPointerCapture(event.pointerId);
    pane.classList.add("held");
  });
  for (const kind of ["pointermove", "pointerup"]) {
    pane.addEventListener(kind, (event) => {
      if (!pane.hasPointerCapture(event.pointerId)) return;
      if (enlarged()) pane.scrollTo(grip[0] - event.clientX, grip[1] - event.clientY);
      else if (comparing) divideAt(event.clientX);
    });
  }
  pane.addEventListener("lostpointercapture", () => pane.classList.remove("held"));
  pane.addEventListener("scroll", place);
  addEventListener("resize", layout);

  viewer.hidden = false;
  compare.hidden = pair.includes(undefined);
  show(compare.hidden ? images[0] : undefined);
}

/** Reads values off a curve under the pointer or by arrow keys. */
function startChart(chart, points, [left, right]) {
  const svg = chart.querySelector("svg");
  const [cross, output] = [svg.querySelector(".cross"), chart.querySelector("output")];
  const [line, dot] = cross.children;
  let current = points.length - 1;

  function read(index) {
    current = within(index, 0, points.length - 1);
    const [step, value, x, y] = points[current];
    output.textContent = `step ${step}: ${value === null ? "none" : Number(value.toPrecision(4))}`;
    line.setAttribute("transform", `translate(${x} 0)`);
    dot.setAttribute("visibility", y === null ? "hidden" : "inherit");
    dot.setAttribute("transform", `translate(${x} ${y ?? 0})`);
    cross.setAttribute("visibility", "visible");
  }
  function point(event) {
    const box = svg.getBoundingClientRect();
    const x = within((event.clientX - box.left) / box.width * svg.viewBox.baseVal.width, left, right);
    const away = points.map((p) => Math.abs(p[2] - x));
    read(away.indexOf(Math.min(...away)));
  }
  function leave() {
    cross.setAttribute("visibility", "hidden");
    output.textContent = "";
  }
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("focus", () => svg.matches(":focus-visible") && read(current));
  svg.addEventListener("blur", leave);
  svg.addEventListener("keydown", (event) => {
    const by = event.shiftKey ? 10 : 1;
    const to = { ArrowLeft: current - by, ArrowRight: current + by, Home: 0, End: points.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    read(to);
  });
}

const viewer = document.querySelector(".viewer");
if (document.querySelector(".pictures img")) startViewer(viewer);
const curves = JSON.parse(document.getElementById("curves").textContent);
document.querySelectorAll(".chart").forEach((c, i) => startChart(c, curves.points[i], curves.frame));
