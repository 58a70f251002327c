"""Fits of untrained networks to one image, as used by DIP and Double-DIP.

A *generator* is a network with a fixed random input, and its output is a *layer*. A loss, which is a
pure function of the layers, fits all of them together. A decomposition consists of a dict of
generators, a list of phases (each with a loss), and a function from layers to outputs. `build` turns
these into a `Method`, which is run, batched, resumed and reported like any other.

Where the papers are in the code: the fixed input and its perturbation (DIP, section 2.1) ->
`generator`; the fit (eq. 2) -> `fit_steps.step`; the state that a phase tracks, and the end of a phase
-> `tracking`.

References:
    Ulyanov, Vedaldi, Lempitsky: Deep Image Prior. CVPR 2018.
    Gandelsman, Shocher, Irani: "Double-DIP": Unsupervised Image Decomposition via Coupled
    Deep-Image-Priors. CVPR 2019.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deepinternal.methods import fit_steps, tracking
from deepinternal.methods.fit_steps import Fit
from deepinternal.methods.generator import Generator
from deepinternal.methods.tracking import Layers, Phase
from deepinternal.types import Inputs, Method, Output, Stage, never_done

EVALUATE_EVERY = 100  # steps between the evaluations of a phase with `backtrack`


def build(
    name: str,
    generators: Mapping[str, Generator],
    phases: Sequence[Phase],
    outputs: Callable[[Layers, Inputs], dict[str, Output]],
    *,
    shape: tuple[int, int],
    frames: int = 0,
    batch: int = 0,
    per_frame: Sequence[str] = ("image",),
    more: int = 0,
    **method: Any,
) -> Method:
    """Makes a method that fits generators to inputs of one shape.

    Args:
        name: Name of the method.
        generators: The generators, by the names of their layers.
        phases: The phases in order; weights are passed on from one to the next.
        outputs: `(layers, inputs) -> outputs`, pure, from the final layers of the last phase.
        shape: (H, W) of the layers; the nets' inputs are enlarged to the multiples that they need.
        frames: Number T of frames of a video, whose layers are (T, H, W, C) with the same weights; 0:
            an image.
        batch: Number of frames in a step; 0: all.
        per_frame: Names of the inputs with a leading axis of frames.
        more: Number of steps with which a finished fit continues after its inputs have changed, see
            `Recipe.continued`: it takes the last phase again, from its own weights and net inputs and
            with a new optimiser, but with faster schedules and without an early end. 0: it cannot.
        **method: Further fields of `Method`: baseline, progress, replicas, reduce.

    Returns:
        The method, with one stage for each phase.

    Raises:
        ValueError: A phase names an unknown generator, it tracks layers although they are flipped or
            belong to a batch of frames, it has `validate` without `patience`, or a fit with `more`
            carries inputs from phase to phase.

    Example:
        A photograph is the product of a grey shading and a colour, each fitted by a small net:

        >>> import jax
        >>> from deepinternal.losses.pixel import l2
        >>> from deepinternal.methods import fit
        >>> from deepinternal.nets.skip import SkipNet
        >>> from deepinternal.types import Output
        >>> nets = {
        ...     "shading": fit.Generator(SkipNet(outputs=1, down=(4,), skip=2)),
        ...     "colour": fit.Generator(SkipNet(outputs=3, down=(4,), skip=2)),
        ... }
        >>> def loss(layers, inputs, step):
        ...     error = l2(layers["shading"] * layers["colour"], inputs["image"])
        ...     return error, {"data": error}
        >>> def outputs(layers, inputs):
        ...     return {"result": Output(layers["colour"]), "shading": Output(layers["shading"])}
        >>> phase = fit.Phase("fit", 1000, loss, learning_rate=0.01)
        >>> method = fit.build("intrinsic", nets, [phase], outputs, shape=(16, 24))
        >>> inputs = {"image": jax.numpy.full((16, 24, 3), 0.25)}
        >>> state = jax.jit(method.init)(jax.random.key(0), inputs)
        >>> state, metrics = jax.jit(method.step)(state, inputs)
        >>> sorted(metrics)
        ['data', 'learning_rate', 'loss']
        >>> jax.jit(method.outputs)(state, inputs)["shading"].value.shape
        (16, 24, 1)
    """
    sizes = tuple(shape), frames, batch or frames
    fit = Fit(generators, tuple(phases), *sizes, tuple(per_frame), more)
    _check(name, fit)
    stages = _stages(fit)
    if more:
        stage = dataclasses.replace(stages[-1], name="more", steps=more)  # the same programs
        method |= {"more": stage, "again": functools.partial(fit_steps.again, fit)}
    finish = lambda state, inputs: outputs(fit_steps.final(fit, phases[-1], state), inputs)
    return Method(name, functools.partial(fit_steps.init, fit), tuple(stages), finish, **method)


def _check(name: str, fit: Fit) -> None:
    """Raises the errors of `build`."""
    for phase in fit.phases:
        if unknown := [n for n in (*phase.nets, *phase.restart) if n not in fit.generators]:
            raise ValueError(f"{name}: phase {phase.name!r}: no generator {unknown[0]!r}")
        if (fit.batch < fit.frames or phase.flips) and (phase.keep != "last" or phase.validate):
            raise ValueError(f"{name}: batches and flips need keep='last' and validate=None")
        if phase.validate and phase.patience < 1:
            raise ValueError(
                f"{name}: phase {phase.name!r}: validate needs patience: the phase ends that many "
                "steps after the least error"
            )
        if fit.more and phase.carry:
            raise ValueError(f"{name}: `more` needs phases without `carry`")


def _stages(fit: Fit) -> list[Stage]:
    """Returns the stages of all phases; those of equal phases have the same functions.

    The programs of such stages are compiled only once.
    """
    bind, steps, advances, stages = functools.partial, [], [], []
    for phase, following in zip(fit.phases, [*fit.phases[1:], None]):
        kind, advance = dataclasses.replace(phase, name="", carry=None), None
        if following:
            key = kind, phase.carry, dataclasses.replace(following, name="", carry=None)
            advance = _known(advances, key, bind(fit_steps.advance, fit, phase, following))
        stage = Stage(
            name=phase.name,
            steps=phase.steps,
            step=bind(fit_steps.step, fit, phase),
            evaluate=bind(tracking.evaluate, phase) if phase.backtrack else None,
            evaluate_every=EVALUATE_EVERY if phase.backtrack else 0,
            done=bind(fit_steps.done, phase) if tracking.can_end(phase) else never_done,
        )
        stage = _known(steps, kind, stage)
        stages.append(dataclasses.replace(stage, name=phase.name, advance=advance))
    return stages


def _known(made: list[tuple[Any, Any]], key: Any, value: Any) -> Any:
    """Returns the value that was made for an equal key, or the new one, which is then added."""
    for other, earlier in made:
        if other == key:
            return earlier
    made.append((key, value))
    return value
