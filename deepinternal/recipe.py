"""What makes a method runnable from files: its `Recipe`. One of these is all that a new method exports.

    RECIPE = Recipe(name="deblur", config=Config, presets=PRESETS, prepare=prepare, make=make,
                    example=example, side_inputs={"kernel": "kernel"})

`deepinternal.methods.registry` finds recipes by name, by 'package.module:RECIPE', by
`methods.register`, and among the entry points of the group `deepinternal.methods`.
"""

import dataclasses
import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from deepinternal.config import GIVEN, MethodConfig, Presets, build, did_you_mean
from deepinternal.types import Example, InputError, Inputs, Method, PyTree, for_spec

C = TypeVar("C", bound=MethodConfig)
Figures = Mapping[str, Any] | None
# Kinds of side inputs, and the form in which `prepare` and `example` get them:
#   'kernel'  (K, K) float32 that sums to 1; in a folder, also `<stem>_kernel.*`
#   'image'   (H, W, 3) float32 in [0, 1], of the image's size
#   'mask'    (H, W) float32 in [0, 1], white is 1, of the image's size
#   'masks'   (T, H, W), one for each frame of a video, or (1, H, W) for its first frame
SideKind = Literal["kernel", "image", "mask", "masks"]


@dataclasses.dataclass(frozen=True)
class Grouping:
    """How input files make jobs.

    Attributes:
        kind: 'single': each image is a job, `prepare` takes `image` (H, W, C) float32 in [0, 1], C = 1
            or 3. 'together': all files of `config.input` are one job, `image` is a list of such
            arrays, all grey or all RGB. 'video': each video file or folder of frames is a job,
            `image` is (T, H, W, C) uint8.
        least: how many images or frames a job must have.
        most: how many it may have; None: any number.
        any_size: whether images that are taken together may differ in size.
    """

    kind: Literal["single", "together", "video"] = "single"
    least: int = 1
    most: int | None = None
    any_size: bool = False


def single(config: Any) -> Grouping:
    """Each image is a job of its own."""
    del config
    return Grouping()


@dataclasses.dataclass(frozen=True)
class Canvas:
    """How images of different sizes share programs and batches: each in the upper left of a canvas.

    Attributes:
        group: `(config, shape, sides) -> Hashable | None`: of an image (H, W, C) and the shapes of its
            side inputs by field. Images for which it is equal may share a canvas with the greatest
            height and width among them; None: the image can share none.
        pad: `(config, inputs, canvas) -> inputs`: puts prepared inputs on a canvas (H, W), on the host.
            `make` for the padded shapes returns a method for all images of the group; its outputs and
            its baseline have the canvas's size, and `Output.size` says how much of an output counts.
    """

    group: Callable[[Any, tuple[int, ...], Mapping[str, tuple[int, ...]]], Hashable | None]
    pad: Callable[[Any, Inputs, tuple[int, int]], Inputs]


def no_remarks(config: Any, inputs: Inputs, figures: Figures) -> Sequence[str]:
    """A method that decides nothing for an image."""
    del config, inputs, figures
    return ()


def no_equations(config: Any, inputs: Inputs) -> Sequence[str]:
    """A method whose outputs do not make up its input."""
    del config, inputs
    return ()


@dataclasses.dataclass(frozen=True)
class Recipe(Generic[C]):
    """A method and what is needed to run it from files.

    Attributes:
        name: the method's name, one word.
        config: the class of its settings, which names all its fields.
        presets: its named sets of fields.
        prepare: `(config, image, **side_inputs) -> inputs`, on the host: from what the user gave to
            what the method takes. Side inputs that were not given are left out.
        make: `(config, spec) -> Method`, where `spec` holds the inputs' shapes as `input_spec` returns
            them. Further arguments are functions or modules that users may inject; all keyword-only.
        example: `(config, photo, **side_inputs) -> Example`: what stands for the user's files where
            there are none, made from a photograph (H, W, C).
        side_inputs: which fields name further input files, and of what kind; see `SideKind`.
        grouping: `config -> Grouping`.
        canvas: how images of different sizes share programs; None: only equal shapes do.
        scored: whether a result is what a ground truth shows.
        remarks: `(config, inputs, figures) -> sentences`: what was decided for an image and why.
            `inputs` are the prepared ones; `figures` the scalar outputs by name as Python numbers
            and lists, None before training. They are shown as soon as they are known, and kept in
            metrics.json and in the report.
        equations: `(config, inputs) -> formulas`: how outputs make up the input, such as
            'input = mask * foreground + (1 - mask) * background'. The report shows pictures in the
            places of outputs and of 'input' (of several 'input1', 'input2', ...), and numbers in those
            of scalar outputs; 'alphas[0]' is the first value of `alphas`.
    """

    name: str
    config: type[C]
    presets: Presets
    prepare: Callable[..., Inputs]
    make: Callable[..., Method]
    example: Callable[..., Example]
    side_inputs: Mapping[str, SideKind] = dataclasses.field(default_factory=dict)
    grouping: Callable[[C], Grouping] = single
    canvas: Canvas | None = None
    scored: bool = True
    remarks: Callable[[C, Inputs, Figures], Sequence[str]] = no_remarks
    equations: Callable[[C, Inputs], Sequence[str]] = no_equations

    def __post_init__(self):
        missing = [n for n in self.side_inputs if n not in self.config.model_fields]
        if missing:
            raise ValueError(f"{self.name}: side input {missing[0]!r} is no field of its config")

    def build(self, presets: str = "", /, **fields: Any) -> C:
        """A config from the defaults, presets joined by commas, and fields; see `config.build`."""
        try:
            return build(self.config, self.presets, preset_names(presets), **fields)
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from None

    def method(self, config: C, spec: PyTree, **injected: Any) -> Method:
        """The method for inputs of given shapes, which refuses others.

        Args:
            config: as `build` returns it.
            spec: shapes of the inputs, as `input_spec` returns them.
            **injected: functions or modules that `make` takes.
        """
        for name in injected:
            if name not in (known := self.injectable):
                hint = did_you_mean(name, known) or f"; there are: {', '.join(known) or 'none'}"
                raise InputError(f"{self.name}: takes no {name}{hint}")
        try:
            made = self.make(config.resolved(), spec, **injected)
        except KeyError as error:
            if not error.args or error.args[0] in spec:
                raise
            raise InputError(
                f"{self.name}: the inputs lack {error.args[0]!r}; take their shapes from `prepare`"
            ) from None
        return for_spec(made, spec)

    @property
    def injectable(self) -> tuple[str, ...]:
        """The names of the functions and modules that users may inject."""
        parameters = inspect.signature(self.make).parameters.values()
        return tuple(p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY)

    def given(self, sides: Mapping[str, Any]) -> dict[str, str]:
        """The fields of side inputs that were given as arrays, for `build`."""
        return {field: GIVEN for field, value in sides.items() if value is not None}


def preset_names(text: Any) -> str:
    """Names of presets as users give them. Raises InputError where they are no text."""
    if not isinstance(text, str):
        raise InputError(
            f"preset={text!r}: give names of presets joined by commas, as text; '' for none"
        )
    return text


def check_size(field: str, side: np.ndarray, image: np.ndarray) -> None:
    """Raises InputError unless a mask or an image (H, W[, C]) has the size of another."""
    if side.shape[:2] != image.shape[:2]:
        (h, w), (y, x) = side.shape[:2], image.shape[:2]
        raise InputError(
            f"config.{field}: is {h}x{w}, the image {y}x{x}: give one of the same size"
        )


def check_smallest(image: np.ndarray, side: int) -> None:
    """Raises InputError where an image (H, W, C) has a side under `side` pixels."""
    if min(image.shape[:2]) < side:
        h, w = image.shape[:2]
        raise InputError(f"the image is {h}x{w}: its sides must be at least {side} pixels")
