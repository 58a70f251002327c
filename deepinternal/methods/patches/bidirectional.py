"""Retargeting by bidirectional similarity, from coarse to fine.

In each step, every patch of the target votes for the colours of its nearest patch in the source
(coherence), and every patch of the source for its own colours at its nearest patch in the target
(completeness). At the coarsest scale the size changes gradually; every other scale starts from the
enlarged result of the coarser one, whose matches are improved by propagation.

Target and source are on canvases of the same size, so that one program searches in both directions and
at all sizes of the coarsest scale.

References:
    Simakov, Caspi, Shechtman, Irani: Summarizing Visual Data Using Bidirectional Similarity. CVPR 2008,
    section 3. Here colours are used as given.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from deepinternal.methods.patches import pyramid
from deepinternal.methods.patches.config import Config, Size
from deepinternal.methods.patches.pyramid import Level
from deepinternal.ops.patches.fields import enlarged, propagated
from deepinternal.ops.patches.places import covered
from deepinternal.ops.patches.search import nearest
from deepinternal.ops.patches.voting import voted_by_both
from deepinternal.ops.resizing import resize_within
from deepinternal.types import Array, Inputs, Metrics, Stage, TrainState


def _repeats(config: Config) -> int:
    return config.steps or config.iterations


def _canvas(level: Level) -> Size:
    return tuple(map(max, level.source, level.result))


def _padded(x: Array, size: Size) -> Array:
    """Adds zeros below and at the right of (h, w, C), up to (H, W)."""
    return jnp.pad(x, (*((0, n - m) for n, m in zip(size, x.shape)), (0, 0)))


def improved(
    images: Array, sizes: Array, places: Array, *, patch: int, key: Array | None
) -> tuple[Array, Array, Array]:
    """Takes one step of expectation and maximisation of the bidirectional similarity.

    Args:
        images: (2, H, W, C), target and source, in the upper left of canvases.
        sizes: int32 (2, 2), the heights and widths of target and source.
        places: int32 (2, H - patch + 1, W - patch + 1, 2), the last matches of the patches of both.
        patch: Side of a patch in pixels.
        key: PRNG key of the search by propagation; None: exact search without the last matches.

    Returns:
        The new target (H, W, C), the mean of the votes, where those of each direction are weighted by
        one over their number (eq. 3); the matches; and the bidirectional distance before the step.
    """

    def search(given):
        image, searched, place, allowed = given
        options = {"patch": patch, "allowed": allowed}
        if key is None:
            return nearest(image, searched, **options)
        # Without random orders, fields are smoother, so that patches that overlap fit together.
        return propagated(image, searched, place, key=key, orders=0, **options)

    inside = lambda canvas, sizes: jnp.stack([covered(canvas, size) for size in sizes])
    searched = images[::-1], places, inside(images.shape[1:3], sizes[::-1])
    distance, places = lax.map(search, (images, *searched))
    weights = inside(places.shape[1:3], sizes - patch + 1).astype(images.dtype)
    weights /= jnp.sum(weights, axis=(1, 2), keepdims=True)
    options = {"size": sizes[0], "searched_size": sizes[1], "patch": patch}
    made = voted_by_both(*places, images[1], **options)
    return made, places, jnp.sum(weights * distance)


def _step(
    config: Config,
    path: tuple[Size, ...],
    state: TrainState,
    inputs: Inputs,
    variant: None = None,
) -> tuple[TrainState, Metrics]:
    """Improves the target. With a path, the target has each of its sizes in turn; search is exact."""
    del inputs, variant
    old, key = state.model_state, jax.random.fold_in(state.key, state.step)
    (target, source), sizes = old["images"], old["sizes"]
    if path:
        size = jnp.asarray(path, jnp.int32)[state.step // _repeats(config)]
        target = resize_within(target, sizes[0], size, output_shape=target.shape[:2])
        target, sizes, key = jnp.clip(target, 0, 1), sizes.at[0].set(size), None
    images = jnp.stack([target, source])
    made, places, apart = improved(images, sizes, old["places"], patch=config.patch, key=key)
    new = {"images": jnp.stack([made, source]), "sizes": sizes, "places": places}
    return state.replace(step=state.step + 1, model_state=new), {"loss": apart}


def _begin(image: Array, level: Level, target: Array, places: Sequence[Array], patch: int) -> dict:
    """The first state of a scale, for the full image, a target and the fields of both directions."""
    images = target, pyramid.resized(image, level.source)
    canvas = _canvas(level)
    fields = [_padded(x, tuple(n - patch + 1 for n in canvas)) for x in places]
    return {
        "images": jnp.stack([_padded(x, canvas) for x in images]),
        "sizes": jnp.asarray([x.shape[:2] for x in images], jnp.int32),
        "places": jnp.stack(fields),
    }


def _advance(
    config: Config, whole: Size, level: Level, finer: Level, state: TrainState, inputs: Inputs
) -> tuple[TrainState, Inputs]:
    """Enlarges the target and the matches for the next scale."""
    (h, w), patch, fields = level.result, config.patch, []
    target = pyramid.resized(state.model_state["images"][0, :h, :w], finer.result)
    here, there = (level.result, finer.result), (level.source, finer.source)  # coarse and fine
    for place in state.model_state["places"]:
        h, w = (n - patch + 1 for n in here[0])
        options = {"patch": patch, "coarse_searched_size": there[0]}
        fields.append(enlarged(place[:h, :w], here[1], there[1], **options))
        here, there = there, here
    image = pyramid.extended(inputs["image"], whole)
    new = _begin(image, finer, target, fields, patch)
    key = jax.random.fold_in(state.key, 0)
    return TrainState(jnp.zeros((), jnp.int32), key, {}, {}, new), inputs


def parts(config: Config, source: Size, result: Size):
    """Returns the parts of the method; see `gpnn.parts`."""
    whole, extended = pyramid.on_grid(config, source, result)
    levels = pyramid.levels(config, whole, extended)
    first = levels[0]
    grown = pyramid.growth(config, first.source, first.result)

    def init(key: Array, inputs: Inputs) -> TrainState:
        image = pyramid.extended(inputs["image"], whole)
        start = pyramid.resized(image, first.source)
        places = [jnp.zeros((1, 1, 2), jnp.int32)] * 2
        new = _begin(image, first, start, places, config.patch)
        return TrainState(jnp.zeros((), jnp.int32), key, {}, {}, new)

    def results(state: TrainState, inputs: Inputs) -> Array:
        del inputs
        h, w = result
        return jnp.clip(state.model_state["images"][:1, :h, :w], 0, 1)

    def stage(level: Level, finer: Level | None) -> Stage:
        path = grown if level is first else ()
        step = functools.partial(_step, config, path)
        advance = functools.partial(_advance, config, whole, level, finer) if finer else None
        name = "{}x{}".format(*level.result)
        return Stage(name, _repeats(config) * max(len(path), 1), step, advance=advance)

    return init, tuple(map(stage, levels, (*levels[1:], None))), results
