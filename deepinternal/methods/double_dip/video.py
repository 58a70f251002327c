"""Double-DIP segmentation of a video (Gandelsman, Shocher, Irani, CVPR 2019, section 4).

The nets of `segmentation`, with one set of weights for all frames; the input of a frame is that of
the frame before it and a little noise, so that neighbouring frames get similar layers and masks. A step
takes some of the frames.

Deliberate deviations: the authors published no code for videos. The drifting inputs are reflected at
the ends of their range; hints are of the first frame, of each, or automatic: what differs from the
median over time, and is salient, is foreground.

Presets: configs/video_segmentation.py.
"""

import functools

import jax
import ml_collections
import numpy as np
import scipy.ndimage

from deepinternal.estimators import saliency
from deepinternal.methods import checks, fit
from deepinternal.methods.double_dip import segmentation
from deepinternal.ops import fitting
from deepinternal.types import Example, InputError, Inputs, Method, Output

SIDE_INPUTS = {"foreground": "masks", "background": "masks"}
RANGE, DRIFT = 0.05, 0.01  # of the nets' inputs, and of their change from frame to frame


def defaults() -> ml_collections.ConfigDict:
    """The settings for images, with batches of frames."""
    config = segmentation.defaults()
    config.update({"batch": 4, "frame_rate": 0.0, "hint_share": 0.02})
    return config


PRESETS = {
    "default": {},
    "fast": {**segmentation.PRESETS["fast"], "fit_side": 192},
    "smoke": {**segmentation.PRESETS["smoke"], "batch": 2},
}


def grouping(config: ml_collections.ConfigDict) -> str:
    """A video, or a folder of frames, is a job."""
    del config
    return "video"


def example(config: ml_collections.ConfigDict, photo: np.ndarray, **sides) -> Example:
    """A round part of the sample photograph moving over another part, in six frames."""
    del config
    background, thing = photo[320:416, 40:168], photo[60:100, 200:240]
    y, x = np.mgrid[:40, :40]
    inside = (np.hypot(y - 19.5, x - 19.5) < 18)[..., None]
    frames = []
    for left in range(8, 80, 12):
        frame = background.copy()
        frame[30:70, left : left + 40] = np.where(inside, thing, frame[30:70, left : left + 40])
        frames.append(frame)
    return Example(np.round(255 * np.stack(frames)).astype(np.uint8), None, sides)


def prepare(
    config: ml_collections.ConfigDict, image: np.ndarray, foreground=None, background=None
) -> Inputs:
    """The inputs of the method from what the user gave; on the host.

    Args:
        config: as `defaults()`.
        image: (T, H, W, C) uint8.
        foreground: (T, H, W), above 0.5 surely foreground; (1, H, W) is of the first frame.
        background: likewise.

    Returns:
        `full` (T, H, W, C), `image` (T, h, w, C) to be fitted, and at its size `foreground` and
        `background` (T, h, w, 1) of zeros and ones, none in frames without hints, and `prior`
        (T, h, w, 1), the mask that they suggest.

    Raises:
        InputError: as of `segmentation.prepare`; fewer than two frames.
    """
    if len(image) < 2:
        raise InputError(f"the video has {len(image)} frame: give at least 2")
    checks.smallest(image[0], 16)
    full = np.asarray(image, np.float32) / 255
    small = np.stack([fitting.reduced(frame, config.fit_side) for frame in full])
    if foreground is None and background is None:
        hints = _automatic(small, config.hint_share)
    else:
        hints = _given(config, small, image, foreground, background)
    return {"full": full, **segmentation.hint_inputs(config, small, hints)}


def _given(config, small, image, foreground, background):
    """Hints from files at the size of the fit, (T, h, w) bool."""
    pair = [None if x is None else np.asarray(x) for x in (foreground, background)]
    first = [None if x is None else x[0] for x in pair]
    segmentation.check_hints(config, image[0], *first)
    if len(pair[0]) != len(pair[1]):
        raise InputError(
            f"config.foreground has {len(pair[0])} masks, config.background {len(pair[1])}: give as "
            "many"
        )
    found = np.zeros((2, *small.shape[:3]), bool)
    for number, frames in enumerate(zip(*pair)):
        hints = [np.asarray(frame) > 0.5 for frame in frames]
        if (hints[0] & hints[1]).any():
            raise InputError(
                f"config.foreground and config.background overlap in frame {number}: a pixel is one or "
                "the other"
            )
        for hint, into in zip(hints, found[:, number]):
            into[:] = segmentation.shrunk_hint(hint, small.shape[1:3])
    return found


def _automatic(frames: np.ndarray, share: float):
    """What moves and is salient, and what does neither; (T, h, w) bool."""
    moving = np.abs(frames - np.median(frames, axis=0)).mean(axis=-1)
    moving = scipy.ndimage.gaussian_filter(moving, (0, 2, 2))
    peak = max(np.quantile(moving, 0.99), 1e-6)
    # Where nothing moves by more than noise does, saliency decides alone.
    motion = np.clip(moving / peak, 0, 1) * min(peak / 0.02, 1)
    found = []
    for frame, change in zip(frames, motion):
        score = change * (0.7 + 0.3 * saliency.saliency(frame)) + 0.02 * saliency.saliency(frame)
        top, _ = saliency.hints(score, share=share)
        # Most of a frame is background.
        _, bottom = saliency.hints(score, share=0.3)
        found.append((top, bottom & ~top))
    return [np.stack(x) for x in zip(*found)]


def _outputs(config, layers, inputs) -> dict[str, Output]:
    """As of an image, frame by frame."""
    full = inputs["full"]
    shape = full.shape[1:3]
    mask = jax.lax.map(lambda pair: segmentation.cut(config, *pair), (layers["mask"], full))
    enlarge = jax.vmap(lambda x: fitting.enlarged(x, shape))
    return {
        "result": Output(full * mask[..., None], "frames"),
        "mask": Output(mask, "frames"),
        "foreground": Output(enlarge(layers["foreground"]), "frames"),
        "background": Output(enlarge(layers["background"]), "frames"),
    }


def make(config: ml_collections.ConfigDict, input_spec: Inputs) -> Method:
    """Segmentation of videos of one shape.

    Args:
        config: as `defaults()`.
        input_spec: shapes of `prepare`'s inputs.

    Returns:
        The method. Outputs, of the kind 'frames': `mask` (T, H, W) of zeros and ones, `foreground` and
        `background` (T, H, W, C), the layers; `result`, the video where the mask is one.

    Raises:
        InputError: a field out of range.
    """
    check(config)
    frames, *shape, channels = input_spec["image"].shape
    return fit.build(
        "video_segmentation",
        segmentation.generators(config, channels, drift=DRIFT, low=-RANGE, high=RANGE),
        segmentation.phases(config),
        functools.partial(_outputs, config),
        shape=shape,
        frames=frames,
        batch=min(config.batch, frames),
        per_frame=("image", "foreground", "background", "prior"),
        baseline=lambda inputs: inputs["full"][0],
    )


def check(config: ml_collections.ConfigDict) -> None:
    """Refuses settings that work with no video, in one line each."""
    segmentation.check(config)
    checks.least(config, {"batch": 1, "frame_rate": 0})
