"""The fine scales of GPNN, whose fields are enlarged from the coarser scale and then propagated.

The time and the memory of a step are linear in the number of pixels.
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from deepinternal.methods.patches.config import Config
from deepinternal.methods.patches.guesses import counts_with, fixed_pixels, of_samples, with_fixed
from deepinternal.methods.patches.pyramid import Level, resized
from deepinternal.ops.patches.fields import enlarged, propagated
from deepinternal.ops.patches.voting import vote, voted_by_both
from deepinternal.types import Array, Inputs, Metrics, TrainState

_LARGE = 2**20  # pixels of a result from which on patches have fewer components
_NAMES = ("guess", "place", "back")  # the arrays of a state


def arrays(kept: Mapping[str, Array]) -> tuple[Array, ...]:
    """Returns the guesses and the fields of a state at a fine scale."""
    return tuple(kept[name] for name in _NAMES)


def enlarged_state(
    config: Config, before: Level, after: Level, old: Sequence[Array], key: Array
) -> TrainState:
    """Enlarges the guesses and the fields of a coarser scale.

    Args:
        config: The settings.
        before: The coarser scale.
        after: The finer scale.
        old: At the coarser scale: the guesses (N, H, W, C), the matches (N, h, w, 2) of their patches,
            and those (N, h', w', 2) of the patches of the source.
        key: PRNG key of the finer scale.

    Returns:
        The first state of the finer scale.
    """
    patch = config.patch

    def larger(guess, place, back):
        there = {"patch": patch, "coarse_searched_size": before.source}
        here = {"patch": patch, "coarse_searched_size": before.result}
        place = enlarged(place, after.result, after.source, **there)
        back = enlarged(back, after.source, after.result, **here)
        return resized(guess, after.result), place, back

    made = of_samples(larger, *old, pixels=after.result[0] * after.result[1])
    return TrainState(jnp.zeros((), jnp.int32), key, {}, {}, dict(zip(_NAMES, made)))


def step(
    config: Config,
    source_of: Callable[[Inputs], Array],
    coarser: Level,
    level: Level,
    state: TrainState,
    inputs: Inputs,
    variant: None = None,
) -> tuple[TrainState, Metrics]:
    """Takes one step at a fine scale.

    Args:
        config: The settings.
        source_of: Returns the source (H, W, C) at full size.
        coarser: The scale before.
        level: The scale.
        state: The state.
        inputs: The method's inputs.
        variant: Not used.
    """
    del variant
    patch, pixels = config.patch, level.result[0] * level.result[1]
    image = source_of(inputs)
    source = resized(image, level.source)
    blurred = resized(resized(image, coarser.source), level.source)
    # Where the source votes, it is not blurred, so that the matches of both directions fit together.
    by_both = config.votes > 0 and not {"allowed", "fixed"} & set(inputs)
    searched = source if by_both else jnp.where(state.step == 0, blurred, source)
    allowed = None
    if "allowed" in inputs:
        allowed = resized(jnp.asarray(inputs["allowed"], jnp.float32)[..., None], level.source)
        allowed = allowed[..., 0] > 0.9
    stays, orders = None, 0
    if "fixed" in inputs:  # fields of coarser scales do not help in small holes
        stays, orders = resized(fixed_pixels(inputs), level.result), 1
    counts = counts_with(stays)

    def improved(guess, place, back, key):
        options = {"key": key, "patch": patch, "size": 16 if pixels > _LARGE else 40}
        mine = {"orders": orders, "counts": counts, "allowed": allowed, **options}
        apart, place = propagated(guess, searched, place, **mine)
        if by_both:
            back = propagated(searched, guess, back, orders=0, **options).place
            made = voted_by_both(place, back, source, patch=patch, weight=config.votes)
        else:
            made = vote(place, source, patch=patch)
        return with_fixed(made, stays), place, back, jnp.mean(apart)

    keys = jax.random.split(jax.random.fold_in(state.key, state.step), config.samples)
    *made, apart = of_samples(improved, *arrays(state.model_state), keys, pixels=pixels)
    state = state.replace(step=state.step + 1, model_state=dict(zip(_NAMES, made)))
    return state, {"loss": jnp.mean(apart)}
