/** The tools, and for each task its tools, advice, and the commands that take the files. */

const COLOURS = { foreground: [0, 200, 255], background: [255, 123, 0], mask: [255, 79, 195] };
const TOOLS = {
  foreground: { label: 1, colour: COLOURS.foreground, title: "Foreground" },
  background: { label: 2, colour: COLOURS.background, title: "Background" },
  mark: { label: 1, colour: COLOURS.mask, title: "Watermark" },
  missing: { label: 1, colour: COLOURS.mask, title: "Missing" },
  stays: { label: 1, colour: COLOURS.mask, title: "Stays" },
  box: { title: "Box" },
  part: { title: "Copy a part" },
  erase: { label: 0, title: "Eraser" },
  pan: { title: "Pan" },
};

/** Each command is [title, words]; `c` gives the words, quoted for a shell. */
const TASKS = {
  segment: {
    tools: ["foreground", "background"],
    hint: "Paint what surely belongs to the foreground, and what surely belongs to the background. "
      + "Strokes across every part of the object and all around it help most.",
    commands: (c) => [["", [
      "deepinternal segment", c.source, `--out=${c.out("mask")}`, `--foreground=${c.file("foreground")}`,
      `--background=${c.file("background")}`, c.workdir,
    ]]],
  },
  unwatermark: {
    tools: ["mark", "box"],
    hint: "Paint over the watermark, roughly, or draw a box around it. Leave clean pixels around it.",
    commands: (c) => [["", ["deepinternal unwatermark", c.source, `--out=${c.out("clean")}`, c.region]]],
  },
  inpaint: {
    tools: ["missing"],
    hint: "Paint what is missing or should be replaced. The saved mask is black there and white where the "
      + "image is known.",
    commands: (c) => [
      ["By a network: slower, and better for scratches and smooth regions", ""],
      ["By patches of the image: quicker, and better for large holes", "--method=patches"],
    ].map(([title, method]) => [title, [
      "deepinternal inpaint", c.source, `--out=${c.out("filled")}`, `--mask=${c.file("mask")}`, method,
    ]]),
  },
  edit: {
    tools: ["part", "stays"],
    hint: "Copy parts to other places: draw a box around a part, then drag it. Cover what should disappear with "
      + "a part of its surroundings. Paint what must stay exactly as it is; seams elsewhere are made plausible.",
    commands: (c) => [["", [
      "deepinternal train --config=patches:edit,fast", `--workdir=${c.out("edit", "")}`,
      `--config.input=${c.source}`, `--config.layout=${c.file("layout")}`, c.stays,
    ]]],
  },
};
if (!data.layout) {
  TASKS.edit.tools.shift();
  TASKS.edit.hint = "Edit the image roughly in another program, save it as the layout, and paint here what "
    + "must stay exactly as it is in it.";
}
