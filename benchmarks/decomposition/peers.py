"""Segmentation of images and videos by other packages, and trivial baselines.

The options of the packages were chosen on the photographs and the clip in `CHOSEN`, with the same
strokes. Each function takes a uint8 image (H, W, C) or clip (T, H, W,
C) and the hints (foreground, background), (H, W) booleans of the image or of the first frame, and
returns (H, W) or (T, H, W) booleans.
"""

import functools
import itertools
from collections.abc import Callable, Mapping

import numpy as np
from scipy import ndimage

from deepinternal.messages import tell

Hints = tuple[np.ndarray, np.ndarray]
Peer = Callable[[np.ndarray, Hints | None], np.ndarray]
_IMAGES = ("106024", "153093", "189080", "209070", "24077")
CHOSEN = (*_IMAGES, "blackswan", "breakdance", "car-shadow")
ROUNDS = 8  # of GrabCut
BETA = 15000.0  # of the random walker; the default of scikit-image is 130
INSIDE, OUTSIDE = 8, 12  # pixels around the last outline that GrabCut decides in the next frame


def nearest(image: np.ndarray, hints: Hints | None) -> np.ndarray:
    """Gives each pixel the label of the nearest hint."""
    del image
    foreground, background = (ndimage.distance_transform_edt(~hint) for hint in hints)
    return foreground < background


def grabcut(image: np.ndarray, hints: Hints | None, start: np.ndarray | None = None) -> np.ndarray:
    """GrabCut (Rother et al. 2004) by OpenCV.

    Args:
        image: (H, W, C) uint8.
        hints: Foreground and background; None: everything but a frame of a tenth of each side may be
            foreground, and that frame is background.
        start: (H, W) booleans, which of the pixels without a hint are probably foreground; None: those
            whose nearest hint is.
    """
    import cv2

    if hints is None:
        height, width = image.shape[:2]
        start = np.zeros((height, width), bool)
        start[height // 10 : -(height // 10), width // 10 : -(width // 10)] = True
        hints = np.zeros_like(start), ~start
    if start is None:
        start = nearest(image, hints)
    labels = np.where(start, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[hints[0]], labels[hints[1]] = cv2.GC_FGD, cv2.GC_BGD
    colours = np.ascontiguousarray(np.broadcast_to(image[..., ::-1], (*image.shape[:2], 3)))
    cv2.setRNGSeed(0)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    made, *_ = cv2.grabCut(colours, labels, None, *models, ROUNDS, cv2.GC_INIT_WITH_MASK)
    return (made == cv2.GC_FGD) | (made == cv2.GC_PR_FGD)


def connected(mask: np.ndarray, hints: Hints | None) -> np.ndarray:
    """Keeps the parts of a mask with a foreground hint, and fills holes without a background hint."""
    if hints is None:
        return mask
    foreground, background = hints
    parts, _ = ndimage.label(mask | foreground)
    mask = np.isin(parts, np.unique(parts[foreground]))
    holes, _ = ndimage.label(~mask)
    edges = np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]])
    return ~np.isin(holes, np.unique(np.concatenate([edges, holes[background]]))) | mask


def grabcut_connected(image: np.ndarray, hints: Hints | None) -> np.ndarray:
    """GrabCut, of whose mask only parts connected with a hint are kept; see `connected`."""
    return connected(grabcut(image, hints), hints)


def random_walker(image: np.ndarray, hints: Hints | None) -> np.ndarray:
    """The random walker (Grady 2006) by scikit-image, solved directly: with `cg_j` it takes minutes."""
    from skimage.segmentation import random_walker as walk

    labels = np.where(hints[0], 1, np.where(hints[1], 2, 0))
    return walk(image / 255, labels, beta=BETA, mode="bf", channel_axis=-1) == 1


def repeated(clip: np.ndarray, hints: Hints | None) -> np.ndarray:
    """Repeats the mask of the nearest hint of the first frame."""
    return np.repeat(nearest(clip[0], hints)[None], len(clip), axis=0)


def grabcut_tracked(clip: np.ndarray, hints: Hints | None) -> np.ndarray:
    """GrabCut frame by frame: the hints are the last mask, eroded, and the outside of it, dilated."""
    masks = [grabcut(clip[0], hints)]
    for frame in clip[1:]:
        last = masks[-1]
        inside, outside = (ndimage.distance_transform_edt(x) for x in (last, ~last))
        pair = inside > INSIDE, outside > OUTSIDE
        masks.append(grabcut(frame, pair, start=last) if pair[1].any() and last.any() else last)
    return np.stack(masks)


def flow(clip: np.ndarray, hints: Hints | None) -> np.ndarray:
    """Moves the mask of the first frame, by GrabCut, along the dense optical flow (DIS) of OpenCV."""
    import cv2

    grey = [np.uint8(np.round(frame.mean(-1))) for frame in clip]
    y, x = np.mgrid[: clip.shape[1], : clip.shape[2]].astype(np.float32)
    estimate = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    masks = [grabcut(clip[0], hints).astype(np.float32)]
    for before, after in itertools.pairwise(grey):
        moved = estimate.calc(after, before, None)
        where = x + moved[..., 0], y + moved[..., 1]
        masks.append(
            cv2.remap(masks[-1], *where, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        )
    return np.stack(masks) > 0.5


IMAGE_PEERS: Mapping[str, Peer] = {
    "nearest stroke": nearest,
    "GrabCut": grabcut,
    "GrabCut, connected": grabcut_connected,
    "random walker": random_walker,
}
VIDEO_PEERS: Mapping[str, Peer] = {
    "first mask repeated": repeated,
    "GrabCut frame by frame": grabcut_tracked,
    "GrabCut, optical flow": flow,
}
WITHOUT_HINTS = ("GrabCut",)  # those that need none
_NEEDS = {"GrabCut": "cv2", "random walker": "skimage"}


def installed(peers: Mapping[str, Peer]) -> dict[str, Peer]:
    """Returns the peers whose packages are installed, and says which are left out."""
    found = {}
    for name, peer in peers.items():
        module = next((m for start, m in _NEEDS.items() if name.startswith(start)), "")
        if module and not _is_installed(module):
            tell(f"left out: {name} needs the module {module}: pip install -e '.[bench]'")
        else:
            found[name] = peer
    return found


@functools.cache
def _is_installed(module: str) -> bool:
    try:
        __import__(module)
    except ImportError:
        return False
    return True


def usable(peers: Mapping[str, Peer], *, auto: bool) -> dict[str, Peer]:
    """Returns all peers, or without hints only those that need none."""
    return {name: peer for name, peer in peers.items() if not auto or name in WITHOUT_HINTS}
