"""`Recipe`: all that is needed to run a method from files. A new method exports only a recipe.

    RECIPE = Recipe(name="deblur", config=Config, presets=PRESETS, prepare=prepare, make=make,
                    example=example, side_inputs={"kernel": "kernel"})

`deepinternal.methods.registry` finds recipes by name, by 'package.module:RECIPE', among those added
with `methods.register`, and among the entry points of the group `deepinternal.methods`.
"""

import dataclasses
import inspect
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from deepinternal import numerics
from deepinternal.config import GIVEN, MethodConfig, Presets, build
from deepinternal.field_forms import did_you_mean
from deepinternal.types import Array, Example, InputError, Inputs, Method, PyTree, TrainState

C = TypeVar("C", bound=MethodConfig)
Figures = Mapping[str, Any] | None
# Kinds of side inputs, and the form that `prepare` and `example` take:
#   'kernel'  (K, K) float32 that sums to 1; in a folder, also `<stem>_kernel.*`
#   'image'   (H, W, 3) float32 in [0, 1], of the image's size
#   'picture' like 'image', but of any size
#   'mask'    (H, W) float32 in [0, 1], white is 1, of the image's size. In an image of labels, the
#             field `<field>_label` or `label` of the config selects the labels that count as white.
#   'masks'   (T, H, W), one for each frame of a video, or (1, H, W) for its first frame
SideKind = Literal["kernel", "image", "picture", "mask", "masks"]


@dataclasses.dataclass(frozen=True)
class Grouping:
    """How input files form jobs.

    Attributes:
        kind: 'single': each image is a job, and `prepare` takes `image` (H, W, C) float32 in [0,
            1], C = 1 or 3. 'together': all files of `config.input` form one job, and `image` is a
            list of such arrays, either all grey or all RGB. 'video': each video file or folder of
            frames is a job, and `image` is (T, H, W, C) uint8.
        least: The smallest number of images or frames in a job.
        most: The largest number of images or frames in a job; None: no limit.
        any_size: Whether the images of one job may differ in size.
    """

    kind: Literal["single", "together", "video"] = "single"
    least: int = 1
    most: int | None = None
    any_size: bool = False


def single(config: Any) -> Grouping:
    """Returns the grouping that makes each image a separate job."""
    del config
    return Grouping()


@dataclasses.dataclass(frozen=True)
class Canvas:
    """Lets images of different sizes share programs, each in the upper left corner of a canvas.

    Attributes:
        group: `(config, shape, sides) -> Hashable | None`, from the shape (H, W, C) of an image and
            the shapes of its side inputs by field. Images with equal results may share a canvas that
            has the largest height and width among them; None: the image cannot share one.
        pad: `(config, inputs, canvas) -> inputs`: places prepared inputs on a canvas (H, W), on the
            host. `make` for the padded shapes returns a method for all images of the group; its
            outputs and its baseline have the canvas's size, and `Output.size` is the valid part of
            an output.
    """

    group: Callable[[Any, tuple[int, ...], Mapping[str, tuple[int, ...]]], Hashable | None]
    pad: Callable[[Any, Inputs, tuple[int, int]], Inputs]


def no_remarks(config: Any, inputs: Inputs, figures: Figures) -> Sequence[str]:
    """Returns no remarks, for a method that makes no decisions about an image."""
    del config, inputs, figures
    return ()


def no_equations(config: Any, inputs: Inputs) -> Sequence[str]:
    """Returns no equations, for a method whose outputs do not compose its input."""
    del config, inputs
    return ()


def no_holes(config: Any) -> str:
    """Returns '', for a method that fills in nothing."""
    del config
    return ""


@dataclasses.dataclass(frozen=True)
class Recipe(Generic[C]):
    """A method with all that is needed to run it from files.

    Attributes:
        name: The method's name, one word.
        config: The class of its settings.
        presets: Its presets by name.
        prepare: `(config, image, **side_inputs) -> inputs`, on the host: converts the user's arrays
            to the method's inputs. Side inputs that were not given are left out.
        make: `(config, spec) -> Method`, where `spec` holds the inputs' shapes as `input_spec`
            returns them. Further arguments are functions or modules that users may inject; all
            keyword-only.
        example: `(config, photo, **side_inputs) -> Example`: makes a stand-in for the user's files
            from a photograph (H, W, C).
        side_inputs: The fields that name further input files, with their kinds; see `SideKind`.
        grouping: `config -> Grouping`.
        canvas: How images of different sizes share programs; None: only images of equal shapes do.
        scored: Whether a result can be compared with a ground truth.
        remarks: `(config, inputs, figures) -> sentences`: the decisions made for an image, with
            reasons. `inputs` are the prepared ones; `figures` are the scalar outputs by name as
            Python numbers and lists, or None before training. Remarks are shown as soon as they are
            known, and written to metrics.json and to the report.
        equations: `(config, inputs) -> formulas`: how the outputs compose the input, such as 'input
            = mask * foreground + (1 - mask) * background'. In the report, images replace the names of
            outputs and 'input' ('input1', 'input2', ... for several), and numbers replace the names of
            scalar outputs; 'alphas[0]' is the first value of `alphas`.
        holes: `config -> field`: the field of the mask, white where the image is known, of a method
            that fills in the rest; '': it fills in nothing. Filled pixels are opaque in results. If no
            mask is given, the transparent pixels of the image are filled in.
        smaller: How a run can need less memory, as the end of the message 'give a smaller image, or ';
            '': there is no other way.
        continued: The fields, among them side inputs, that may change between a finished run and its
            continuation; the method then has a stage `more`. The functions of the method must not
            depend on these fields, except for the number of steps of `more`.

    Example:
        >>> from deepinternal import methods
        >>> recipe = methods.find("zssr")
        >>> recipe.build("fast", scale=3).scale
        ((3.0, 3.0),)
        >>> recipe.side_inputs["kernel"]
        'kernel'
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
    holes: Callable[[C], str] = no_holes
    smaller: str = ""
    continued: Sequence[str] = ()

    def __post_init__(self):
        for what, names in (("side input", self.side_inputs), ("continued", self.continued)):
            if missing := [n for n in names if n not in self.config.model_fields]:
                raise ValueError(f"{self.name}: {what} {missing[0]!r} is not a field of its config")

    def build(self, presets: str = "", /, **fields: Any) -> C:
        """Builds a config from presets, joined by commas, and fields; see `config.build`."""
        try:
            return build(self.config, self.presets, preset_names(presets), **fields)
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from None

    @numerics.fixed()
    def method(self, config: C, spec: PyTree, **injected: Any) -> Method:
        """Makes the method for inputs of the given shapes, which refuses others.

        Args:
            config: The config, as `build` returns it.
            spec: The shapes of the inputs, as `input_spec` returns them.
            **injected: Functions or modules that `make` takes.
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
        """Returns the fields of the side inputs that are given as arrays, for `build`."""
        return {field: GIVEN for field, value in sides.items() if value is not None}


def for_spec(method: Method, spec: PyTree) -> Method:
    """Returns a copy of a method that knows its `spec` and refuses inputs of other shapes.

    Args:
        method: A method made for these shapes.
        spec: The shapes and dtypes, as `input_spec` returns them.

    Returns:
        The method, with unchanged functions except that `init` checks its inputs.
    """
    if method.spec is not None:
        return method

    def init(key: Array, inputs: Inputs) -> TrainState:
        checked.check(inputs)
        return method.init(key, inputs)

    checked = dataclasses.replace(method, init=init, spec=spec)
    return checked


def preset_names(text: Any) -> str:
    """Returns the preset names that a user gave. Raises InputError if they are not text."""
    if not isinstance(text, str):
        raise InputError(
            f"preset={text!r}: give names of presets joined by commas, as text; '' for none"
        )
    return text


def check_size(field: str, side: np.ndarray, image: np.ndarray) -> None:
    """Raises InputError unless a mask or an image (H, W[, C]) has the size of another one."""
    if side.shape[:2] != image.shape[:2]:
        (h, w), (y, x) = side.shape[:2], image.shape[:2]
        raise InputError(
            f"config.{field}: is {h}x{w}, but the image is {y}x{x}; give one of the same size"
        )


def check_smallest(image: np.ndarray, side: int) -> None:
    """Raises InputError if a side of an image (H, W, C) is shorter than `side` pixels."""
    if min(image.shape[:2]) < side:
        h, w = image.shape[:2]
        raise InputError(f"the image is {h}x{w}: its sides must be at least {side} pixels")
