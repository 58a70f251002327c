"""Methods by name. A method's module is imported when it is first asked for.

What such a module has:

* `defaults() -> ConfigDict`, `check(config)`, `make(config, input_spec) -> Method`.
* `PRESETS`: by name the fields that differ from the defaults, or a function of the config so far that
  returns them.
* `prepare(config, image, **side_inputs) -> inputs`, on the host: from what the user gave to what `make`
  and the method take.
* `example(config, photo, **side_inputs)`: what stands for the user's files where there are none, made
  from a photograph (H, W, C): the image, whose ground truth the photograph is; or a `types.Example`.
* `SIDE_INPUTS`: which config fields name further input files, a file each or a folder matched by the
  image's name, and of what kind. `prepare` and `example` take what was read by the field's name, and
  nothing for an empty field:

      'kernel'  (K, K) float32 that sums to 1; in a folder, also `<stem>_kernel.*`
      'image'   (H, W, 3) float32 in [0, 1], of the image's size
      'mask'    (H, W) float32 in [0, 1], white is 1, of the image's size; empty ones included
      'masks'   (T, H, W), one for each frame of a video, or (1, H, W), one in all, for its first
                frame; in the form of 'mask'

It may say how input files make a job; without these each image is a job of its own:

* `grouping(config) -> str` is one of:

      'single'    `prepare` takes `image` (H, W, C) float32 in [0, 1], C = 1 or 3
      'together'  all files of `config.input` are one job; `image` is a list of such arrays, in the
                  order given, of one size unless `any_size(config)`, all grey or all RGB
      'video'     each video file, or folder of frames, is a job; `image` is (T, H, W, C) uint8

* `counts(config) -> (least, most)`: how many files 'together' takes (without it: any number), or how
  many frames a video may have (without it: at least 2); `most` is None where there is no limit.

Its `Method.outputs` say what they are, see `types.Output`: of the kind 'frames' for a video; with
`Output.source` the number of the file that an output of several files belongs to. `result` must be an
image of any size, a mask or frames. A kernel `NAME` is drawn beside the kernel `reference_NAME`, if
there is one. A field `frame_rate` in the defaults, if there is one, is that of the videos written; 0
and no such field: that of the input, 25 for frames from a folder.

It may say what it makes of an image:

* `SCORED = False`: its result is not what a ground truth shows; one beside the input is ignored, and
  `config.ground_truth` is refused.
* `remarks(config, inputs, figures) -> Sequence[str]`: what it decided for this image and why, in plain
  sentences. `inputs` are the prepared ones; `figures` the scalar outputs by name, as Python numbers and
  lists, or None before training. They are told before training; those after it, too, as far as they
  are new, and these are kept in metrics.json and in the report.

It may have two functions more, so that images of different sizes share programs and batches: each lies
in the upper left of a canvas with the greatest height and width among them. Methods without these are
batched only where all shapes are equal.

* `canvas_group(config, input_spec) -> Hashable | None`, of one image's prepared inputs: images for
  which it is equal may share a canvas; None for an image that can share none.
* `pad(config, inputs, canvas) -> inputs` puts prepared inputs on a canvas (H, W). `make` for the padded
  shapes returns a method for all images of the group; its outputs and its baseline have the canvas's
  size, and `Output.size` says how much of an output counts.
"""

import importlib
import os
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import jax
import ml_collections
import numpy as np

from deepinternal.types import InputError, Method, PyTree, input_spec

_MODULES = {
    "zssr": "deepinternal.methods.zssr",
    "dip": "deepinternal.methods.dip",
    "segmentation": "deepinternal.methods.double_dip.segmentation",
    "video_segmentation": "deepinternal.methods.double_dip.video",
    "dehazing": "deepinternal.methods.double_dip.dehazing",
    "transparency": "deepinternal.methods.double_dip.transparency",
    "watermark": "deepinternal.methods.double_dip.watermark",
    "ingan": "deepinternal.methods.ingan",
    "kernelgan": "deepinternal.methods.kernelgan",
}
LAST = ("fast", "smoke")  # presets that look at what others have set


def names() -> tuple[str, ...]:
    """The names of all methods."""
    return tuple(_MODULES)


def get(name: str) -> ModuleType:
    """The module of a method.

    Raises:
        InputError: there is no method of that name.
    """
    if name not in _MODULES:
        raise InputError(f"no method {name!r}; there are: {', '.join(_MODULES)}")
    return importlib.import_module(_MODULES[name])


def defaults(name: str) -> ml_collections.ConfigDict:
    """A method's default config, a fresh copy."""
    return get(name).defaults()


def preset(name: str, presets: str, config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """Applies a method's named presets to a config.

    Args:
        name: the method's.
        presets: names joined by commas, the later one deciding; 'fast' and 'smoke' come last anyway.
        config: changed in place.

    Returns:
        `config`.

    Raises:
        InputError: an unknown preset.
    """
    known = get(name).PRESETS
    asked = [part.strip() for part in presets.split(",")]
    for part in asked:
        if part not in known:
            raise InputError(f"{name}: no preset {part!r}; there are: {', '.join(known)}")
    for part in sorted(asked, key=LAST.__contains__):
        fields = known[part]
        config.update(fields(config) if callable(fields) else fields)
    return config


def override(config: ml_collections.ConfigDict, fields: Mapping) -> None:
    """Sets fields; numbers, pairs and None are spelled out where a field is text, such as 'scale'.

    Raises:
        TypeError, ValueError: a value that does not fit its field.
    """
    texts = [name for name in fields if isinstance(config.get(name), str)]
    config.update({**fields, **{name: _text(fields[name]) for name in texts}})


def configured(name: str, presets: str, fields: Mapping) -> ml_collections.ConfigDict:
    """A method's defaults with presets and then fields set.

    Args:
        name: the method's.
        presets: names joined by commas; '' for none.
        fields: as of `override`.

    Returns:
        A new config.

    Raises:
        InputError: an unknown preset or field, or a value that does not fit its field.
    """
    config = defaults(name)
    if presets := presets.strip(","):
        preset(name, presets, config)
    if unknown := sorted(set(fields) - set(config)):
        known = ", ".join(sorted(config))
        raise InputError(f"{name}: no option {unknown[0]!r}; there are: {known}")
    try:
        override(config, fields)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: {' '.join(str(error).split())}") from None
    return config


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str | os.PathLike):
        return os.fspath(value)
    return ",".join(f"{v:.12g}" for v in np.ravel(value))


def make(name: str, config: Mapping | None = None, spec: PyTree = None) -> Method:
    """A method for inputs of given shapes.

    Args:
        name: 'zssr', ...
        config: the fields that differ from the method's defaults; a whole config will do, too.
        spec: the inputs' shapes, as `input_spec(inputs)` returns them; the inputs themselves, or the
            shape of the image alone, will do, too.

    Returns:
        Pure functions: see `deepinternal.types.Method`.

    Raises:
        InputError: unknown name, a field or a shape that the method cannot work with.
    """
    merged = defaults(name)
    with merged.unlocked():
        override(merged, config or {})
    if not isinstance(spec, Mapping):
        spec = {"image": spec}
    is_shape = lambda s: isinstance(s, tuple)
    as_struct = lambda s: jax.ShapeDtypeStruct(s, "float32") if is_shape(s) else s
    spec = input_spec(jax.tree.map(as_struct, dict(spec), is_leaf=is_shape))
    return get(name).make(merged, spec)
