"""Layers that are found on the host, without nets: I = layer1 + layer2.

The task `reflection` finds a sharp background behind a soft reflection on a window, and `frames` finds
the background that stands still in several photographs, see `estimators.reflection`. With
`patterns=search`, `single` finds two regular patterns, such as tiles, see
`estimators.regular_patterns`.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from deepinternal.estimators.reflection import soft_reflection, still_background
from deepinternal.estimators.regular_patterns import separate_patterns
from deepinternal.methods import untrained
from deepinternal.ops import fitting
from deepinternal.ops.mixtures import balanced
from deepinternal.types import Inputs, Method, Output

_SIDE = 512  # greatest side in pixels of the image in which edges are compared
_FAINT = 0.02  # fraction of the light below which the image is almost unchanged
_ALL_SOFT = 0.5  # fraction of soft gradients above which there is hardly a sharp layer


def of_reflection(image: np.ndarray, *, strength: float = 1.0) -> Inputs:
    """Estimates a reflection, of a large image from a reduced one.

    Args:
        image: (H, W, C) in [0, 1].
        strength: The fraction of the estimated reflection that the second layer has.

    Returns:
        `image` (H, W, C); `second` (H, W, C) between 0 and the image, the second layer; `soft` and
        `light`, scalars, see `estimators.reflection.Reflection`.
    """
    found = soft_reflection(np.asarray(fitting.reduced(image, side=_SIDE), np.float32))
    layer = np.asarray(fitting.enlarged(jnp.asarray(found.layer), image.shape[:2]))
    return {
        "image": image,
        "second": np.clip(strength * layer, 0, image),
        "soft": np.float32(found.soft),
        "light": np.float32(strength * found.light),
    }


def of_patterns(image: np.ndarray) -> Inputs | None:
    """Searches for two regular patterns.

    Args:
        image: (H, W, C) in [0, 1].

    Returns:
        `image` (H, W, C); `second` (H, W, C), the second layer; `recurrence` (2,), see
        `estimators.regular_patterns.Patterns`. None: there are no two regular patterns.
    """
    found = separate_patterns(image)
    if found is None:
        return None
    layers = (jnp.asarray(x, jnp.float32) for x in (found.first, found.second))
    _, second = balanced(*layers, jnp.asarray(image))
    return {
        "image": image,
        "second": np.asarray(second),
        "recurrence": np.asarray(found.recurrence, np.float32),
    }


def of_frames(images: Sequence[np.ndarray]) -> Inputs:
    """Finds the background that stands still in several photographs.

    Args:
        images: At least three (H, W, C) in [0, 1], aligned.

    Returns:
        `image` (H, W, C), the first photograph; `second` (H, W, C), its excess over the background;
        `count`, the number of photographs.
    """
    still = still_background(images)
    return {
        "image": images[0],
        "second": np.maximum(images[0] - still, 0),
        "count": np.int32(len(images)),
    }


def method() -> Method:
    """Returns the method whose second layer is an input."""
    return untrained.build("transparency", _outputs, baseline=lambda inputs: inputs["image"])


def _outputs(inputs: Inputs) -> dict[str, Output]:
    first = Output(inputs["image"] - inputs["second"], "image")
    return {"result": first, "layer1": first, "layer2": Output(inputs["second"], "image")}


def remarks(inputs: Inputs) -> tuple[str, ...]:
    """Says what was found, and how sure it is."""
    if "recurrence" in inputs:
        percent = [round(100 * float(x)) for x in np.asarray(inputs["recurrence"])]
        return (
            f"two regular patterns are found, whose repetitions agree by {percent[0]} and {percent[1]} "
            "%; they are separated by their periods, and no nets are trained",
        )
    if "count" in inputs:
        return (
            f"the background is what stands still in {int(np.asarray(inputs['count']))} photographs, "
            "which must be aligned; layer2 is the reflection in the first photograph",
        )
    soft, light = (float(np.asarray(inputs[name])) for name in ("soft", "light"))
    if light < _FAINT:
        return ("hardly any reflection is found, and the result is close to the input",)
    said = (
        f"{round(100 * light)} % of the light and {round(100 * soft)} % of the contrast are taken for "
        "a reflection; shading and parts that are out of focus look the same in one image and are "
        "weakened as well: config.strength limits what is removed"
    )
    if soft <= _ALL_SOFT:
        return (said,)
    return (
        said,
        "almost all edges are soft, so that a background and a reflection can hardly be told apart",
    )
