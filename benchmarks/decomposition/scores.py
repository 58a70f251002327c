"""How well masks agree with a truth that has a void band.

All masks are (H, W) booleans, for videos (T, H, W). Void pixels belong neither to the foreground nor to
the background: what a mask says there is neither right nor wrong. For outlines, the truth is completed
with what the mask says in the void, so that an outline inside the void band is right wherever it lies.
"""

import numpy as np
from scipy import ndimage

TOLERANCE = 0.008  # of the boundary F-measure, as a share of the diagonal, as in DAVIS


def iou(mask: np.ndarray, truth: np.ndarray, void: np.ndarray) -> float:
    """Returns intersection over union outside the void; 1 if both masks are empty there."""
    mask, truth = mask & ~void, truth & ~void
    union = np.sum(mask | truth)
    return float(np.sum(mask & truth) / union) if union else 1.0


def outline(mask: np.ndarray) -> np.ndarray:
    """Marks the pixels of a mask with one of their four neighbours in the image outside the mask."""
    padded = np.pad(mask, 1, mode="edge")  # the border of the image is no outline
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def outlines(mask: np.ndarray, truth: np.ndarray, void: np.ndarray) -> dict[str, float]:
    """Compares the outlines of two masks, see `outline`.

    Args:
        mask: (H, W).
        truth: (H, W).
        void: (H, W), where the truth is unknown.

    Returns:
        `distance`: the mean distance in pixels from the pixels of one outline to the nearest of the
        other, averaged over both directions; the image's diagonal if only one mask has an outline,
        and 0 if none has. `boundary`: the harmonic mean of the shares of both outlines that lie
        within `TOLERANCE` of the other.
    """
    diagonal = float(np.hypot(*mask.shape))
    pair = outline(mask), outline(np.where(void, mask, truth))
    if not all(line.any() for line in pair):
        same = pair[0].any() == pair[1].any()
        return {"distance": 0.0 if same else diagonal, "boundary": float(same)}
    to = [ndimage.distance_transform_edt(~line) for line in pair]
    found = to[1][pair[0]], to[0][pair[1]]
    near = [np.mean(d <= TOLERANCE * diagonal) for d in found]
    harmonic = 2 * near[0] * near[1] / max(sum(near), 1e-12)
    return {"distance": float(np.mean([d.mean() for d in found])), "boundary": float(harmonic)}


def of_image(mask: np.ndarray, truth: np.ndarray, void: np.ndarray) -> dict[str, float]:
    """Returns `iou` and the figures of `outlines`."""
    return {"iou": iou(mask, truth, void), **outlines(mask, truth, void)}


def of_video(masks: np.ndarray, truths: np.ndarray, voids: np.ndarray) -> dict[str, object]:
    """Compares the masks of a video with their truth.

    Args:
        masks: (T, H, W), T at least 2.
        truths: (T, H, W).
        voids: (T, H, W), where the truth is unknown.

    Returns:
        `frames`, the IoU of each frame; `iou`, its mean over all frames but the first, of which hints
        are given; `all`, its mean over all frames; `fall`, the IoU of the last frame less that of the
        second; `flicker`, see `flicker`; `distance` and `boundary`, the means of `outlines` over all
        frames but the first.
    """
    each = [of_image(*frame) for frame in zip(masks, truths, voids)]
    found = [frame["iou"] for frame in each]
    return {
        "iou": float(np.mean(found[1:])),
        "all": float(np.mean(found)),
        "fall": found[-1] - found[1],
        "flicker": flicker(masks, truths, voids),
        "distance": float(np.mean([frame["distance"] for frame in each[1:]])),
        "boundary": float(np.mean([frame["boundary"] for frame in each[1:]])),
        "frames": found,
    }


def flicker(masks: np.ndarray, truths: np.ndarray, voids: np.ndarray) -> float:
    """Measures how much the error of masks changes from frame to frame.

    Args:
        masks: (T, H, W).
        truths: (T, H, W).
        voids: (T, H, W), where the truth is unknown.

    Returns:
        The mean absolute difference between the errors, mask less truth, of neighbouring frames, over
        the pixels that are void in neither frame. 0 if the masks move as the truth does.
    """
    errors = np.where(voids, 0, masks.astype(np.int8) - truths.astype(np.int8))
    known = ~(voids[1:] | voids[:-1])
    return float(np.sum(np.abs(np.diff(errors, axis=0)) * known) / max(known.sum(), 1))
