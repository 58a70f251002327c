"""The tasks of `benchmarks.gallery`: the call that each makes, its pictures and its figure."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks import gallery_samples as samples
from benchmarks.gallery_samples import Sample
from deepinternal.ops.kernel_scores import correlation
from deepinternal.ops.patches.measures import bidirectional_similarity
from deepinternal.ops.resizing import resize

RED, BLUE = (255, 40, 40), (40, 90, 255)  # strokes on the foreground and on the background
COHERENCE = "Coherence error"
_RADIUS = 8  # pixels around the centre of a kernel that are shown
_ZOOM = 12  # side in pixels of a square that shows one value of a kernel


@dataclasses.dataclass(frozen=True)
class Figure:
    """How good a result is.

    Attributes:
        name: What is measured.
        unit: Its unit; '' if it has none.
        after: The figure of the result.
        before: That of the input or of what a user has without us; None if it has no meaning.
    """

    name: str
    unit: str
    after: float
    before: float | None = None


@dataclasses.dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        title: What the task does.
        panels: What the strip shows, from left to right.
        sample: Makes the sample.
        function: The function of `deepinternal` that does the task.
        show: Returns the panels of the strip, uint8 (H, W[, 3]), from the sample and the outputs.
        measure: Returns the figure of the outputs.
        options: Arguments of the call besides the inputs of the sample.
    """

    title: str
    panels: str
    sample: Callable[[], Sample]
    function: str
    show: Callable[[Sample, Any], Sequence[np.ndarray]]
    measure: Callable[[Sample, Any], Figure]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def call(self, sample: Sample) -> str:
        """Returns the call as Python text, such as 'di.denoise(image)'."""
        first, *others = sample.inputs
        words = [first, *(f"{name}={name}" for name in others)]
        words += [f"{name}={value!r}".replace("'", '"') for name, value in self.options.items()]
        return f"di.{self.function}({', '.join(words)})"

    def run(self, sample: Sample) -> Any:
        """Makes the call and returns its outputs."""
        import deepinternal as di

        first, *others = sample.inputs
        given = {name: sample.inputs[name] for name in others}
        return getattr(di, self.function)(sample.inputs[first], **given, **self.options)


def psnr(made: np.ndarray, truth: np.ndarray) -> float:
    """Returns the PSNR in dB of 8-bit images, over all pixels and channels."""
    return float(-10 * np.log10(np.mean(np.square((np.float64(made) - truth) / 255))))


def enlarged(image: np.ndarray) -> np.ndarray:
    """Returns an 8-bit image of twice the size, by cubic interpolation."""
    made = np.asarray(resize(np.float32(image), scale=2))
    return np.uint8(np.round(np.clip(made, 0, 255)))


def overlap(mask: np.ndarray, truth: np.ndarray) -> float:
    """Returns the intersection over union of two masks (H, W)."""
    mask, truth = mask > 0.5, truth > 0.5
    return float(np.sum(mask & truth) / np.sum(mask | truth))


def coherence(source: np.ndarray, made: np.ndarray) -> float:
    """Returns how far the patches of an image are from the nearest ones of its source, times 1e4.

    Args:
        source: uint8 (H, W[, C]).
        made: uint8 (H', W'[, C]).
    """
    pair = [np.float32(x.reshape(*x.shape[:2], -1)) / 255 for x in (source, made)]
    return 1e4 * float(bidirectional_similarity(*pair, stride=4).coherence)


def stretched(image: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Returns an 8-bit grey image of another size, by cubic interpolation."""
    made = np.asarray(resize(np.float32(image)[..., None], output_shape=tuple(shape)))[..., 0]
    return np.uint8(np.round(np.clip(made, 0, 255)))


def _cropped(box: Sequence[int], *images: np.ndarray) -> list[np.ndarray]:
    y0, x0, y1, x1 = box
    return [image[y0:y1, x0:x1] for image in images]


def _enlargement(box: Sequence[int]) -> dict[str, Callable]:
    """Cubic interpolation, the result and the truth in a box, and their PSNR."""
    return {
        "show": lambda s, out: _cropped(box, enlarged(s.image), out["result"], s.truth),
        "measure": lambda s, out: Figure(
            "PSNR", "dB", psnr(out["result"], s.truth), psnr(enlarged(s.image), s.truth)
        ),
    }


def _restoration(*, compared: bool = True) -> dict[str, Callable]:
    """The input, the result and the truth, and their PSNR, or that of the result alone."""
    before = lambda s: psnr(s.image, s.truth) if compared else None
    return {
        "show": lambda s, out: [s.image, out["result"], s.truth],
        "measure": lambda s, out: Figure("PSNR", "dB", psnr(out["result"], s.truth), before(s)),
    }


def _cut_out(sample: Sample, outputs: Any) -> list[np.ndarray]:
    """The image with its strokes, and what the mask and the outline leave of it."""
    hinted = sample.image.copy()
    hinted[sample.inputs["foreground"]] = RED
    hinted[sample.inputs["background"]] = BLUE
    masks = [outputs["mask"] > 0.5, sample.truth]
    return [hinted, *(np.where(mask[..., None], sample.image, np.uint8(255)) for mask in masks)]


def _kernel_picture(kernel: np.ndarray) -> np.ndarray:
    """A kernel (K, K) as a grey picture, without what is far from its centre."""
    middle = kernel.shape[0] // 2
    near = slice(max(middle - _RADIUS, 0), middle + _RADIUS + 1)
    shown = np.clip(kernel[near, near] / kernel.max(), 0, 1)
    return np.kron(np.uint8(np.round(255 * shown)), np.ones((_ZOOM, _ZOOM), np.uint8))


def _kernel_panels(sample: Sample, outputs: Any) -> list[np.ndarray]:
    kernels = [np.asarray(outputs["kernel"]), samples.slanted_kernel()]
    return [sample.image[20:123], *map(_kernel_picture, kernels)]


def _kernel_figure(sample: Sample, outputs: Any) -> Figure:
    found = correlation(outputs["kernel"], samples.slanted_kernel())
    return Figure("Correlation", "", float(found))


TASKS: Mapping[str, Task] = {
    "sr": Task(
        "Super-resolution",
        "cubic interpolation, result, truth",
        samples.halved,
        "super_resolve",
        options={"scale": 2},
        **_enlargement((60, 95, 177, 243)),
    ),
    "blind": Task(
        "Unknown blur",
        "cubic interpolation, result, truth",
        samples.blurred,
        "super_resolve",
        options={"scale": 2, "preset": "blind"},
        **_enlargement((140, 110, 257, 258)),
    ),
    "kernel": Task(
        "Kernel estimation",
        "blurred photograph, estimated kernel, true kernel",
        samples.blurred,
        "estimate_kernel",
        _kernel_panels,
        _kernel_figure,
    ),
    "denoise": Task(
        "Denoising",
        "noise of 30/255, result, truth",
        samples.noisy,
        "denoise",
        show=lambda s, out: _cropped((110, 190, 343, 486), s.image, out["result"], s.truth),
        measure=_restoration()["measure"],
    ),
    "pixels": Task(
        "Missing pixels",
        "half of the pixels, result, truth",
        samples.sparse,
        "denoise",
        **_restoration(compared=False),
    ),
    "inpaint": Task(
        "Inpainting",
        "holes, result, truth",
        samples.torn,
        "inpaint",
        options={"method": "patches"},
        **_restoration(compared=False),
    ),
    "segment": Task(
        "Segmentation",
        "strokes, result, truth drawn by hand",
        samples.stroked,
        "segment",
        _cut_out,
        lambda s, out: Figure("IoU", "", overlap(out["mask"], s.truth)),
    ),
    "dehaze": Task(
        "Dehazing",
        "synthetic haze, result, truth",
        samples.hazy,
        "dehaze",
        **_restoration(),
    ),
    "reflection": Task(
        "Reflections",
        "reflection in a window, result, truth",
        samples.mirrored,
        "separate",
        options={"preset": "reflection"},
        **_restoration(),
    ),
    "unwatermark": Task(
        "Watermarks",
        "watermark, result, truth",
        samples.marked,
        "remove_watermark",
        **_restoration(),
    ),
    "retarget": Task(
        "Retargeting",
        "photograph, twice as wide",
        samples.coins,
        "retarget",
        lambda s, out: [s.image, out],
        lambda s, out: Figure(
            COHERENCE,
            "",
            coherence(s.image, out),
            coherence(s.image, stretched(s.image, out.shape[:2])),
        ),
        options={"scale": (1, 2)},
    ),
    "generate": Task(
        "Generation",
        "photograph, three random images",
        samples.galaxies,
        "generate",
        lambda s, out: [s.image, *out["samples"].values()],
        lambda s, out: Figure(COHERENCE, "", coherence(s.image, out["result"])),
        options={"samples": 3},
    ),
}
