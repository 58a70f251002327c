/** What is painted, without any drawing: labels of pixels, strokes, rectangles, undo, and PNG files. */

/** Returns labels of 0 and 1, given the lengths of their runs in turn. */
function fromRuns(runs, length) {
  const labels = new Uint8Array(length);
  let at = 0;
  runs.forEach((count, index) => {
    if (index % 2) labels.fill(1, at, at + count);
    at += count;
  });
  return labels;
}

/** Returns the smallest rectangle [x0, y0, x1, y1], ends excluded, around two of them. */
function around(a, b) {
  if (!a || !b) return a ?? b;
  return [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3])];
}

/** Labels of all pixels of an image, which strokes and rectangles change and `undo` restores. */
class Painting {
  constructor(width, height, labels) {
    [this.width, this.height] = [width, height];
    this.labels = labels ?? new Uint8Array(width * height);
    this.box = null; // [y0, x0, y1, x1] of a watermark, ends excluded
    this.version = this.saved = this.versions = 0;
    this.past = [];
    this.future = [];
    this.before = null; // the labels at the start of an unfinished change
    this.changed = null;
  }

  has(label) {
    return this.labels.includes(label);
  }

  /** Starts a change, which `end` completes or `cancel` takes back. */
  begin() {
    this.before = this.labels.slice();
    this.changed = null;
  }

  /** Labels a rectangle; returns it, cut off at the edges of the image. */
  rectangle([x0, y0, x1, y1], label) {
    const rect = [Math.max(x0, 0), Math.max(y0, 0), Math.min(x1, this.width), Math.min(y1, this.height)];
    if (rect[0] >= rect[2] || rect[1] >= rect[3]) return null;
    for (let y = rect[1]; y < rect[3]; y++) {
      this.labels.fill(label, y * this.width + rect[0], y * this.width + rect[2]);
    }
    this.changed = around(this.changed, rect);
    return rect;
  }

  /**
   * Labels the pixels whose centres lie within half a diameter of the line between two pixels.
   * Returns the rectangle that contains them, or null if they all lie outside of the image.
   */
  stroke([ax, ay], [bx, by], diameter, label) {
    const radius = diameter / 2, limit = radius * radius;
    const [dx, dy] = [bx - ax, by - ay], square = dx * dx + dy * dy;
    const x0 = Math.max(Math.ceil(Math.min(ax, bx) - radius), 0);
    const y0 = Math.max(Math.ceil(Math.min(ay, by) - radius), 0);
    const x1 = Math.min(Math.floor(Math.max(ax, bx) + radius) + 1, this.width);
    const y1 = Math.min(Math.floor(Math.max(ay, by) + radius) + 1, this.height);
    if (x0 >= x1 || y0 >= y1) return null;
    for (let y = y0; y < y1; y++) {
      for (let x = x0; x < x1; x++) {
        const along = square ? Math.min(Math.max(((x - ax) * dx + (y - ay) * dy) / square, 0), 1) : 0;
        const [u, v] = [x - ax - along * dx, y - ay - along * dy];
        if (u * u + v * v <= limit) this.labels[y * this.width + x] = label;
      }
    }
    const rect = [x0, y0, x1, y1];
    this.changed = around(this.changed, rect);
    return rect;
  }

  part([x0, y0, x1, y1], labels = this.labels) {
    const rows = [];
    for (let y = y0; y < y1; y++) rows.push(labels.slice(y * this.width + x0, y * this.width + x1));
    return rows;
  }

  place([x0, y0], rows) {
    rows.forEach((row, index) => this.labels.set(row, (y0 + index) * this.width + x0));
  }

  /** Completes the change that `begin` started; returns its rectangle, null if there is none. */
  end() {
    const rect = this.changed, rows = rect && this.part(rect, this.before);
    this.before = this.changed = null;
    if (rect) this.record(this.swap(rect, rows));
    return rect;
  }

  cancel() {
    const rect = this.changed;
    if (rect) this.place(rect, this.part(rect, this.before));
    this.before = this.changed = null;
    return rect;
  }

  /** Returns a step that exchanges a part of the labels, there and back. */
  swap(rect, rows) {
    const bytes = (rect[2] - rect[0]) * (rect[3] - rect[1]);
    return { bytes, run: () => {
      const now = this.part(rect);
      this.place(rect, rows);
      rows = now;
      return rect;
    } };
  }

  /** Adds a step to the history, whose `run` undoes it and then redoes it; returns what it changes. */
  record(step) {
    this.past.push({ ...step, from: this.version });
    this.future = [];
    this.version = ++this.versions;
    const total = () => this.past.reduce((sum, { bytes }) => sum + bytes, 0);
    while (this.past.length > 200 || (this.past.length > 1 && total() > 3e8)) this.past.shift();
  }

  /** Undoes (-1) or redoes (1) a step; returns the changed rectangle, undefined if there is no step. */
  travel(direction) {
    const [source, target] = direction < 0 ? [this.past, this.future] : [this.future, this.past];
    const step = source.pop();
    if (!step) return undefined;
    const { from } = step;
    target.push({ ...step, from: this.version });
    this.version = from;
    return step.run();
  }
}

/** Returns samples as a PNG file of 8 bits: 1 channel is grey, 3 are red, green and blue. */
async function toPng(samples, width, height, channels = 1) {
  const line = width * channels, lines = new Uint8Array((line + 1) * height);
  for (let y = 0; y < height; y++) lines.set(samples.subarray(y * line, (y + 1) * line), y * (line + 1) + 1);
  const packed = new Blob([lines]).stream().pipeThrough(new CompressionStream("deflate"));
  const data = new Uint8Array(await new Response(packed).arrayBuffer());
  const head = new DataView(new ArrayBuffer(13));
  head.setUint32(0, width);
  head.setUint32(4, height);
  head.setUint8(8, 8);
  head.setUint8(9, channels === 1 ? 0 : 2);
  const chunk = (name, body) => {
    const bytes = new Uint8Array(12 + body.length), view = new DataView(bytes.buffer);
    view.setUint32(0, body.length);
    bytes.set(new TextEncoder().encode(name), 4);
    bytes.set(body, 8);
    view.setUint32(8 + body.length, crc32(bytes.subarray(4, 8 + body.length)));
    return bytes;
  };
  const signature = Uint8Array.of(137, 80, 78, 71, 13, 10, 26, 10);
  const chunks = [["IHDR", new Uint8Array(head.buffer)], ["IDAT", data], ["IEND", new Uint8Array(0)]];
  return new Blob([signature, ...chunks.map(([name, body]) => chunk(name, body))], { type: "image/png" });
}

/** Returns a word for a shell, quoted if needed. */
function quoted(word) {
  return /^[\w@%+=:,./~-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
