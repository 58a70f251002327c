/** Packs the outputs contained in this page into a ZIP file without compression. */
{% include "crc.js" %}

/** Concatenates little-endian numbers, each given as [value, bytes]. */
function record(...fields) {
  const data = new DataView(new ArrayBuffer(fields.reduce((sum, [, size]) => sum + size, 0)));
  let at = 0;
  for (const [value, size] of fields) {
    if (size === 2) data.setUint16(at, value, true);
    else data.setUint32(at, value, true);
    at += size;
  }
  return new Uint8Array(data.buffer);
}

/** Returns a ZIP file of entries [name, bytes]. */
function zip(files) {
  const parts = [], directory = [];
  const size = (arrays) => arrays.reduce((sum, array) => sum + array.length, 0);
  for (const [name, bytes] of files) {
    const title = new TextEncoder().encode(name), start = size(parts);
    // Version, names in UTF-8, stored, midnight of 1 January 1980.
    const common = [[20, 2], [0x800, 2], [0, 2], [0, 2], [33, 2], [crc32(bytes), 4]];
    common.push([bytes.length, 4], [bytes.length, 4], [title.length, 2], [0, 2]);
    parts.push(record([0x04034b50, 4], ...common), title, bytes);
    const rest = [[0, 2], [0, 2], [0, 2], [0, 4], [start, 4]];
    directory.push(record([0x02014b50, 4], [20, 2], ...common, ...rest), title);
  }
  const count = [[files.length, 2], [files.length, 2]];
  const end = record([0x06054b50, 4], [0, 4], ...count, [size(directory), 4], [size(parts), 4], [0, 2]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

function startDownload(button, files) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const shown = Object.fromEntries(
      [...document.querySelectorAll("[data-file]")].map((e) => [e.dataset.file, e.src.split(",")[1]]),
    );
    const bytes = (data) => Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    const entries = Object.entries(files).map(([name, data]) => [name, bytes(data ?? shown[name])]);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(zip(entries));
    link.download = button.dataset.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  });
}

const packed = document.getElementById("files");
startDownload(document.querySelector(".download button"), JSON.parse(packed.textContent));
