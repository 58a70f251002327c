/** The picture on the screen: zoom, layers, and what pointers, the wheel and keys ask for. */

const COVER = [16, 20, 40], OUTLINE = "#ffe600";

function makeCanvas(width, height) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

/** Labels as a canvas, of every step-th pixel where the image is too large for one. */
class Layer {
  constructor(width, height, colours) {
    this.step = Math.ceil(Math.sqrt(width * height / 16e6));
    [this.width, this.height] = [width, height];
    this.colours = colours; // [red, green, blue] by label
    this.canvas = makeCanvas(Math.ceil(width / this.step), Math.ceil(height / this.step));
    this.context = this.canvas.getContext("2d");
  }

  update(labels, rect = [0, 0, this.width, this.height]) {
    const s = this.step;
    const [x0, y0] = [Math.floor(rect[0] / s), Math.floor(rect[1] / s)];
    const [x1, y1] = [Math.ceil(rect[2] / s), Math.ceil(rect[3] / s)];
    const image = this.context.createImageData(x1 - x0, y1 - y0);
    const words = new Uint32Array(image.data.buffer);
    const packed = this.colours.map((c) => c ? (0xff000000 | c[2] << 16 | c[1] << 8 | c[0]) >>> 0 : 0);
    for (let y = y0, at = 0; y < y1; y++) {
      for (let x = x0; x < x1; x++) words[at++] = packed[labels[y * s * this.width + x * s]];
    }
    this.context.putImageData(image, x0, y0);
  }
}

/** Shows a picture with layers over it, and passes on what is drawn, in pixels of the image. */
class View {
  /**
   * @param canvas The element.
   * @param size [width, height] of the image.
   * @param layers Returns what is drawn: { base, step, cover, opacity, paint, shapes }.
   * @param hand What acts on the image: start(point, event), move(points), end(), cancel(), hover(point).
   */
  constructor(canvas, size, layers, hand) {
    Object.assign(this, { canvas, layers, hand });
    [this.width, this.height] = size;
    this.context = canvas.getContext("2d");
    [this.x, this.y, this.scale, this.fitted] = [0, 0, 1, true];
    this.pointers = new Map();
    this.mode = ""; // "", "paint", "pan" or "pinch"
    this.panning = this.penSeen = this.ready = false;
    this.back = makeCanvas(1, 1);
    new ResizeObserver(() => this.resize()).observe(canvas);
    for (const kind of ["down", "move", "up", "cancel"]) {
      canvas.addEventListener(`pointer${kind}`, (event) => this[kind](event));
    }
    canvas.addEventListener("pointerleave", () => this.pointers.size || this.hand.hover(null));
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  get fitScale() {
    const scale = Math.min(this.canvas.clientWidth / this.width, this.canvas.clientHeight / this.height);
    return Math.min(scale, 8);
  }

  resize() {
    const ratio = devicePixelRatio, { clientWidth, clientHeight } = this.canvas;
    this.canvas.width = Math.max(Math.round(clientWidth * ratio), 1);
    this.canvas.height = Math.max(Math.round(clientHeight * ratio), 1);
    if (this.fitted) this.fit();
    else this.bound();
  }

  fit() {
    this.fitted = true;
    this.scale = this.fitScale;
    this.bound();
  }

  /** Changes the zoom; what is at (left, top) of the canvas stays there. */
  zoom(scale, left = this.canvas.clientWidth / 2, top = this.canvas.clientHeight / 2) {
    const next = within(scale, Math.min(this.fitScale, 1 / devicePixelRatio), 40);
    this.x += left / this.scale - left / next;
    this.y += top / this.scale - top / next;
    this.scale = next;
    this.fitted = next === this.fitScale;
    this.bound();
  }

  pan(dx, dy) {
    this.x -= dx / this.scale;
    this.y -= dy / this.scale;
    this.fitted = false;
    this.bound();
  }

  /** Keeps a picture that fits in the middle, and the edge of a larger one within the canvas. */
  bound() {
    const axis = (at, room, length) => room >= length ? (length - room) / 2 : within(at, 0, length - room);
    this.x = axis(this.x, this.canvas.clientWidth / this.scale, this.width);
    this.y = axis(this.y, this.canvas.clientHeight / this.scale, this.height);
    this.draw();
  }

  /** Moves the picture as far as needed for a pixel to be seen. */
  reveal([x, y]) {
    const margin = 20 / this.scale, { clientWidth, clientHeight } = this.canvas;
    this.x = within(this.x, x + margin - clientWidth / this.scale, x - margin);
    this.y = within(this.y, y + margin - clientHeight / this.scale, y - margin);
    this.bound();
  }

  draw() {
    if (!this.ready) return;
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      this.drawNow();
    });
  }

  drawNow() {
    const c = this.context, { paint, shapes, ...back } = this.layers();
    const k = this.scale * this.canvas.width / Math.max(this.canvas.clientWidth, 1);
    const { width, height } = this.canvas, { x, y } = this;
    const state = [width, height, k, x, y, ...Object.values(back)]; // strokes leave it as it is
    if (state.some((value, index) => value !== this.state?.[index])) this.drawBack(k, back);
    this.state = state;
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.clearRect(0, 0, width, height);
    c.drawImage(this.back, 0, 0);
    if (paint) {
      c.globalAlpha = 0.65;
      this.put(c, k, paint.canvas, paint.step);
      c.globalAlpha = 1;
    }
    c.setTransform(k, 0, 0, k, -x * k, -y * k);
    shapes(c, 1 / k * devicePixelRatio);
  }

  /** Draws a picture, of which each pixel covers step pixels of the image, without what is not seen. */
  put(context, k, picture, step, dx = 0, dy = 0) {
    const all = [picture.naturalWidth ?? picture.width, picture.naturalHeight ?? picture.height];
    const seen = [this.canvas.width / k, this.canvas.height / k];
    const low = [this.x, this.y].map((at, i) => within(Math.floor(at / step) - 2, 0, all[i] - 1));
    const high = [this.x, this.y].map((at, i) => within(Math.ceil((at + seen[i]) / step) + 2, low[i] + 1, all[i]));
    const [w, h] = [high[0] - low[0], high[1] - low[1]];
    context.setTransform(k, 0, 0, k, dx - this.x * k, dy - this.y * k);
    context.imageSmoothingEnabled = k * step < 1;
    context.drawImage(picture, ...low, w, h, low[0] * step, low[1] * step, w * step, h * step);
  }

  /** Draws what strokes do not change: the image, with a cover over what the mask of a run leaves out. */
  drawBack(k, { base, step, cover, opacity }) {
    const { width, height } = this.canvas, c = this.back.getContext("2d");
    Object.assign(this.back, { width, height });
    c.setTransform(k, 0, 0, k, -this.x * k, -this.y * k);
    c.beginPath();
    c.rect(0, 0, this.width, this.height); // reduced pictures may reach beyond the image
    c.clip();
    this.put(c, k, base, step);
    if (!cover || !opacity) return;
    c.globalAlpha = opacity;
    this.put(c, k, cover.canvas, cover.step);
    c.globalAlpha = 1;
    c.setTransform(1, 0, 0, 1, 0, 0);
    // Within the image, without the pixels at its edge, which it shares with what is around it.
    const [left, top] = [this.x, this.y].map((at) => Math.max(Math.ceil(-at * k) + 1, 0));
    const right = Math.min(Math.floor((this.width - this.x) * k) - 1, width);
    const bottom = Math.min(Math.floor((this.height - this.y) * k) - 1, height);
    const part = [left, top, Math.max(right - left, 1), Math.max(bottom - top, 1)];
    c.drawImage(this.outline(k, cover), ...part, ...part);
  }

  /** Returns a canvas with a line along the edge of a layer: what surrounds it, without itself. */
  outline(k, layer) {
    const { width, height } = this.canvas, ring = makeCanvas(width, height), c = ring.getContext("2d");
    const wide = 1.5 * devicePixelRatio;
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      this.put(c, k, layer.canvas, layer.step, dx * wide, dy * wide);
    }
    c.globalCompositeOperation = "source-in";
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.fillStyle = OUTLINE;
    c.fillRect(0, 0, width, height);
    c.globalCompositeOperation = "destination-out";
    this.put(c, k, layer.canvas, layer.step);
    return ring;
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  /** The point of the image under a pointer; pixel (x, y) covers x to x + 1 and y to y + 1. */
  point(event) {
    const [left, top] = this.place(event);
    return [this.x + left / this.scale, this.y + top / this.scale];
  }

  down(event) {
    event.preventDefault();
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.place(event));
    this.penSeen ||= event.pointerType === "pen";
    if (this.pointers.size === 2) {
      if (this.mode === "paint") this.hand.cancel(); // what the first of two fingers began
      this.mode = "pinch";
    } else if (this.pointers.size === 1) {
      const moves = this.panning || event.button === 1 || (this.penSeen && event.pointerType === "touch");
      this.mode = moves ? "pan" : event.button === 2 ? "" : "paint";
      if (this.mode === "paint") this.hand.start(this.point(event), event);
    }
  }

  move(event) {
    const old = this.pointers.get(event.pointerId), now = this.place(event);
    if (event.pointerType !== "touch") this.hand.hover(this.point(event));
    if (!old) return;
    if (this.mode === "paint") {
      const events = event.getCoalescedEvents?.() ?? [];
      this.hand.move((events.length ? events : [event]).map((e) => this.point(e)));
    } else if (this.mode === "pan") {
      this.pan(now[0] - old[0], now[1] - old[1]);
    } else if (this.mode === "pinch" && this.pointers.size === 2) {
      const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      const apart = (a) => Math.max(Math.hypot(a[0] - other[0], a[1] - other[1]), 1);
      this.pan((now[0] - old[0]) / 2, (now[1] - old[1]) / 2);
      const middle = [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2];
      this.zoom(this.scale * apart(now) / apart(old), ...middle);
    }
    this.pointers.set(event.pointerId, now);
  }

  up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    if (this.mode === "paint") this.hand.end();
    if (!this.pointers.size || this.mode !== "pinch") this.mode = "";
  }

  cancel(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    if (this.mode === "paint") this.hand.cancel();
    if (!this.pointers.size) this.mode = "";
  }

  wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    if (event.shiftKey) return this.pan(-lines * (event.deltaX || event.deltaY), 0);
    const speed = event.ctrlKey ? 0.01 : 0.002; // pinch gestures of touchpads give small deltas
    return this.zoom(this.scale * Math.exp(-speed * lines * event.deltaY), ...this.place(event));
  }
}
