"""Double-DIP segmentation of a video (Gandelsman, Shocher, Irani, CVPR 2019, section 4).

The nets are those of `segmentation`, with one set of weights for all frames. The input of a frame is
that of the previous frame plus a little noise, so that neighbouring frames get similar layers and
masks. A step takes a batch of the frames.

The authors published no code for videos. Here, the drifting inputs are reflected at the ends of their
range. Hints are given for the first frame or for each frame, or they are estimated: the foreground is
salient and differs from the median over time. Beyond the paper, by `spread` (preset `fast`): the masks
of frames without hints come from similar pixels of finished frames (`estimators.mask_propagation`). The
layers are then fitted to both sides of these masks in every frame, and the masks, cut along the frames'
edges, are the result.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.config import Preset, field
from deepinternal.estimators import mask_propagation, saliency_map
from deepinternal.estimators.spreading import spread
from deepinternal.methods import fit
from deepinternal.methods.double_dip import common, hints, segmentation
from deepinternal.ops import cuts
from deepinternal.ops.color import rgb_to_lab
from deepinternal.ops.resizing import resize
from deepinternal.recipe import Figures, Grouping, Recipe, check_smallest
from deepinternal.types import Array, Example, InputError, Inputs, Method, Output

RANGE, DRIFT = 0.05, 0.01  # bounds of the nets' inputs and of their change from frame to frame
_SURE = 0.9  # least probability of the pixels to which a layer is fitted
_UNSURE = 0.03  # least probability of each label in the costs of a cut
_LINK = 2.0  # weight of a link between neighbours, for frames with the following longer side
_LINK_SIDE = 216  # in pixels


class Config(segmentation.Config):
    """The settings for images, with batches of frames."""

    batch: int = field(4, "number of frames in each step", ge=1)
    frame_rate: float = field(
        0.0,
        "frame rate of the written videos; 0: that of the input",
        unit="frames per second",
        ge=0,
    )
    hint_share: float = field(
        0.02,
        "fraction of each frame's pixels that the estimated hints mark as foreground",
        ge=0.001,
        lt=0.5,
    )


PRESETS: Mapping[str, Preset] = {
    "default": segmentation.PRESETS["default"],
    "fast": Preset(
        {**segmentation.PRESETS["fast"].fields, "batch": 2},
        "masks by similar pixels of other frames, and fewer steps for the layers on smaller frames",
        "three clips of DAVIS, 12 frames of 427x240, hints for the first frame: mean IoU of the other "
        "frames .94, .92 and .67 (of the last frame .93, .92 and .58), in 98 s on two cores of an AMD "
        "EPYC, and 47 s for further clips of that size",
    ),
    "smoke": Preset(
        {**segmentation.PRESETS["smoke"].fields, "batch": 2},
        segmentation.PRESETS["smoke"].doc,
    ),
}


def example(config: Config, photo: np.ndarray, **sides: Any) -> Example:
    """Returns six frames in which a round part of the photograph moves over another part."""
    del config, sides
    background, thing = photo[320:416, 40:168], photo[60:100, 200:240]
    y, x = np.mgrid[:40, :40]
    inside = (np.hypot(y - 19.5, x - 19.5) < 18)[..., None]
    frames = []
    for left in range(8, 80, 12):
        frame = background.copy()
        frame[30:70, left : left + 40] = np.where(inside, thing, frame[30:70, left : left + 40])
        frames.append(frame)
    frames = np.round(255 * np.stack(frames)).astype(np.uint8)
    return Example("skimage.data.astronaut, a part that moves over another", frames)


def prepare(
    config: Config,
    image: np.ndarray,
    foreground: np.ndarray | None = None,
    background: np.ndarray | None = None,
) -> Inputs:
    """Makes the method's inputs from the user's arrays, on the host.

    Args:
        config: The settings.
        image: (T, H, W, C) uint8.
        foreground: (T, H, W), above 0.5 where a pixel is surely foreground, or (1, H, W) for the first
            frame alone. Frames without hints are 0.
        background: (T, H, W) or (1, H, W), above 0.5 where a pixel is surely background.

    Returns:
        `full` (T, H, W, C), `image` (T, h, w, C) to be fitted, and at its size `foreground` and
        `background` (T, h, w, 1) of zeros and ones, and `prior` (T, h, w, 1), the mask that they
        suggest. Without `config.spread` they are zero in frames without hints. With it, `masks`
        (T, h', w', 1) in [0, 1] are the masks that the hints suggest for all frames.

    Raises:
        InputError: See `segmentation.prepare`; or the hints differ in their number of masks.
    """
    check_smallest(image[0], 16)
    full = np.asarray(image, np.float32) / 255
    small = np.stack([common.reduced(config, frame) for frame in full])
    if foreground is None and background is None:
        given = np.stack(saliency_map.moving_hints(small, share=config.hint_share))
    else:
        given = _given(config, image, foreground, background)
    if config.spread and not given.any((2, 3)).all():  # not every frame has hints
        masks = mask_propagation.propagated(full, *given)
        return {"full": full, **_sides(small, masks), "masks": masks[..., None]}
    size = small.shape[1:3]
    pair = [[hints.fitted(hint, size) for hint in frames] for frames in given]
    made = {"full": full, **hints.inputs(small, pair)}
    if not config.spread:
        return made
    sides = [made[name][..., 0] > 0 for name in ("foreground", "background")]
    prior = np.where(np.logical_or(*sides), made["prior"][..., 0], spread(small, *sides))
    prior = np.float32(prior)[..., None]
    return {**made, "prior": prior, "masks": prior}


def _sides(small: np.ndarray, masks: np.ndarray) -> Inputs:
    """The inputs of a fit whose hints are the sure pixels of masks (T, h', w')."""
    size = small.shape[1:3]
    prior = [np.asarray(resize(m[..., None], output_shape=size, method="linear")) for m in masks]
    prior = np.clip(np.stack(prior), 0, 1).astype(np.float32)
    sure = {"foreground": prior > _SURE, "background": prior < 1 - _SURE}
    return {"image": small, "prior": prior, **{n: np.float32(x) for n, x in sure.items()}}


def _given(config: Config, image, foreground, background) -> np.ndarray:
    """Returns the hints from files, (2, T, H, W) booleans; False in frames without hints."""
    pair = foreground, background
    counts = [len(x) for x in pair if x is not None]
    filled = np.all([(x[: min(counts)] > 0.5).any((1, 2)) for x in pair if x is not None], axis=0)
    first = int(np.argmax(filled))  # the first frame with both hints
    hints.checked(image[0], *(None if x is None else x[first] for x in pair), hints=config.hints)
    if len(pair[0]) != len(pair[1]):
        raise InputError(
            f"config.foreground has {len(pair[0])} masks and config.background {len(pair[1])}: give "
            "equal numbers of masks"
        )
    found = np.zeros((2, *image.shape[:3]), bool)
    for number, frames in enumerate(zip(*pair)):
        both = [np.asarray(frame) > 0.5 for frame in frames]
        if (both[0] & both[1]).any():
            raise InputError(
                f"config.foreground and config.background overlap in frame {number}: make each pixel "
                "white in at most one of them"
            )
        found[:, number] = both
    return found


def _cut(mask: Array, full: Array) -> Array:
    """Enlarges a mask (h, w, 1) in [0, 1] to the zeros and ones (H, W) of a minimum cut."""
    size = full.shape[:2]
    inside = resize(mask, output_shape=size, method="linear")[..., 0]
    inside = jnp.clip(inside, _UNSURE, 1 - _UNSURE)
    # A pixel stands for an area, which shrinks faster than the length of a link.
    weight = _LINK * max(size) / _LINK_SIDE
    links = cuts.contrast_links(rgb_to_lab(full), weight=weight)
    cost = jnp.log1p(-inside) - jnp.log(inside)
    return (cuts.minimum_cut(cost, links) > 0.5).astype(jnp.float32)


def _outputs(config, layers, inputs) -> dict[str, Output]:
    """The outputs of `segmentation` for each frame."""
    full = inputs["full"]
    if config.spread:
        mask = jax.lax.map(lambda pair: _cut(*pair), (inputs["masks"], full))
    else:
        mask = jax.lax.map(lambda pair: segmentation.cut(config, *pair), (layers["mask"], full))
    made = {"result": full * mask[..., None], "mask": mask}
    if config.layers:
        enlarge = jax.vmap(segmentation.enlarged)
        made["foreground"] = enlarge(layers["foreground"], full, mask)
        made["background"] = enlarge(layers["background"], full, 1 - mask)
    return {n: Output(x, "frames", frame_rate=config.frame_rate) for n, x in made.items()}


def make(config: Config, spec: Inputs) -> Method:
    """Makes segmentation for videos of one shape.

    Args:
        config: The settings.
        spec: The shapes of the inputs that `prepare` returns.

    Returns:
        The method. Its outputs, of kind 'frames', are `mask` (T, H, W) of zeros and ones; the layers
        `foreground` and `background` (T, H, W, C); and `result`, the video multiplied by the mask.
    """
    frames, *shape, channels = spec["image"].shape
    return fit.build(
        "video_segmentation",
        segmentation.generators(config, channels, drift=DRIFT, low=-RANGE, high=RANGE),
        segmentation.phases(config),
        functools.partial(_outputs, config),
        shape=shape,
        frames=frames,
        batch=min(config.batch, frames),
        per_frame=("image", "foreground", "background", "prior"),
        more=segmentation.more(config),
        baseline=lambda inputs: inputs["full"][0],
    )


def _remarks(config: Config, inputs: Inputs, figures: Figures) -> tuple[str, ...]:
    """Says that large frames were fitted at a smaller size."""
    del figures
    return common.remarks(config, inputs["full"].shape[1:], inputs["image"].shape[1:])


RECIPE = Recipe(
    name="video_segmentation",
    config=Config,
    presets=PRESETS,
    prepare=prepare,
    make=make,
    example=example,
    side_inputs={"foreground": "masks", "background": "masks"},
    grouping=lambda config: Grouping("video", least=2),
    remarks=_remarks,
    equations=segmentation.equations,
    continued=segmentation.CONTINUED,
    smaller=common.SMALLER,
)
