"""Results made of the image's patches, from coarse to fine, by nearest patches (GPNN).

At each scale, every patch of the current guess is replaced by a patch of the source, and overlapping
patches are averaged; this is repeated. The next scale starts from the enlarged result.

The coarse scales, where the layout is decided, are searched exactly, in one program (`coarse`). Each of
the fine ones starts from the enlarged field of places of the coarser one, which is improved by
propagation; its time and memory are linear in the number of pixels.

Deliberate deviations from the paper: for retargeting, the patches of the source vote at all scales,
as in bidirectional similarity, instead of the normalised score (`votes=0 alpha=0.00125` is the
paper's way); a prior keeps patches near their relative positions until the last steps at coarse
scales (`position`); generation starts from an image whose parts are moved at random, because a guess
of pure noise leads back to the image itself (`shift`); fine scales are further apart than coarse ones
(`fine_ratio`); for retargeting, up to three pixels are added at the lower and the right border, so that
regions that are copied at a coarse scale stay on the same grid of pixels at the finer scales.

References:
    Granot, Feinstein, Shocher, Bagon, Irani: Drop the GAN: In Defense of Patches Nearest Neighbors as
    Single Image Generative Models. CVPR 2022.
"""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp

from deepinternal.methods.patches import coarse, filling, fine, pyramid
from deepinternal.methods.patches.config import Config, Size
from deepinternal.methods.patches.guesses import (
    counts_with,
    fixed_pixels,
    of_samples,
    scattered,
    with_fixed,
)
from deepinternal.methods.patches.pyramid import Level
from deepinternal.methods.patches.tasks import TASKS
from deepinternal.ops.patches.voting import voted_by_both
from deepinternal.types import Array, Inputs, Metrics, Stage, TrainState

# Greatest numbers of pairs of patches up to which a scale is searched exactly. Propagated fields are
# smoother, so that overlapping patches fit together, which pays where the patches of the source vote.
_PAIRS, _PAIRS_WITH_VOTES = 2**24, 2**20


@dataclasses.dataclass(frozen=True)
class _Plan:
    """The static part of the method for a source and a result of given sizes."""

    config: Config
    levels: tuple[Level, ...]
    count: int  # of coarse scales
    sizes: tuple[Size, ...]  # of the result at the coarsest scale

    @functools.cached_property
    def schedule(self) -> coarse.Schedule:
        grows = TASKS[self.config.task].start == "grow"
        start = self.levels[0].source if grows else self.levels[0].result
        return coarse.schedule(self.levels[: self.count], self.sizes, start, self.repeats)

    @property
    def repeats(self) -> int:
        """The number of steps at each size of the coarse scales."""
        return self.config.steps or self.config.iterations

    @property
    def canvas(self) -> Size:
        """The size of the canvas of the guess at coarse scales."""
        both = (self.schedule.before, self.schedule.after)
        return tuple(int(max(x[:, i].max() for x in both)) for i in (0, 1))

    @property
    def source_canvas(self) -> Size:
        return self.levels[self.count - 1].source

    def source(self, inputs: Inputs) -> Array:
        """The source at the size of the finest scale."""
        return pyramid.extended(inputs["image"], self.levels[-1].source)


def _plan(config: Config, source: Size, result: Size) -> _Plan:
    grows = TASKS[config.task].start == "grow"
    if grows:
        source, result = pyramid.on_grid(config, source, result)
    levels = pyramid.levels(config, source, result)
    pairs = _PAIRS_WITH_VOTES if grows and config.votes else _PAIRS
    count = max(sum(level.pairs(config.patch) <= pairs for level in levels), 1)
    levels = pyramid.thinned(levels, count, config.fine_ratio, config.ratio)
    first = levels[0]
    sizes = pyramid.growth(config, first.source, first.result) if grows else (first.result,)
    return _Plan(config, levels, count, sizes)


def _init(plan: _Plan, key: Array, inputs: Inputs) -> TrainState:
    """The state before the first step: the source at coarse scales, and the first guesses."""
    config, levels = plan.config, plan.levels[: plan.count]
    sources, image = [x.source for x in levels], plan.source(inputs)
    kept = {"sources": coarse.stacked(image, sources, plan.source_canvas)}
    if "allowed" in inputs:
        allowed = jnp.asarray(inputs["allowed"], jnp.float32)[..., None]
        kept["allowed"] = coarse.stacked(allowed, sources, plan.source_canvas)[..., 0] > 0.9
    if "fixed" in inputs:
        kept["fixed"] = coarse.stacked(
            fixed_pixels(inputs), [x.result for x in levels], plan.canvas
        )
    start, first = TASKS[config.task].start, tuple(map(int, plan.schedule.before[0]))
    if start in ("guess", "peel"):
        guess = coarse.stacked(inputs["guess"], [first], plan.canvas)[0]
    else:
        guess = coarse.stacked(image, [first], plan.canvas)[0]
    if start == "peel":
        (h, w), (y, x) = first, levels[0].source
        stays, allowed = kept["fixed"][0, :h, :w, -1], kept["allowed"][0, :y, :x]
        source = kept["sources"][0, :y, :x]
        made = filling.peeled(guess[:h, :w], stays, source, allowed, patch=config.patch)
        guess = guess.at[:h, :w].set(made)
    count, spread = config.samples * config.trials, jnp.std(inputs["image"], axis=(0, 1))

    def varied(key, number):
        noise = jax.random.normal(jax.random.fold_in(key, 1), (guess.size,)).reshape(guess.shape)
        noise *= config.noise * spread
        if start == "noise":
            return scattered(key, guess, first, amount=config.shift) + noise
        return guess + jnp.where(number > 0, noise, 0)

    keys = jax.random.split(jax.random.fold_in(key, 0), count)
    shape, back = ([n - config.patch + 1 for n in x] for x in (plan.canvas, plan.source_canvas))
    kept |= {
        "guess": jnp.clip(jax.vmap(varied)(keys, jnp.arange(count)), 0, 1),
        "place": jnp.zeros((count, *shape, 2), jnp.int32),
        "back": jnp.zeros((count, *back, 2), jnp.int32),
        "distance": jnp.zeros(count),
    }
    return TrainState(jnp.zeros((), jnp.int32), key, {}, {}, kept)


def _step(
    plan: _Plan, state: TrainState, inputs: Inputs, variant=None
) -> tuple[TrainState, Metrics]:
    """One step at a coarse scale, at the size that the schedule says."""
    del variant, inputs
    config, kept, patch = plan.config, state.model_state, plan.config.patch
    at = jnp.minimum(state.step, len(plan.schedule.level) - 1)
    level, before, size = (jnp.asarray(x)[at] for x in plan.schedule)
    every = jnp.asarray([x.source for x in plan.levels[: plan.count]])
    source, searched_size = kept["sources"][level], every[level]
    # A guess that was just enlarged is compared with a source that was enlarged, too.
    coarser = jnp.maximum(level - 1, 0)
    blurred = coarse.scaled(kept["sources"][coarser], every[coarser], searched_size, source.shape)
    new_level = (level > 0) & jnp.any(before != size)
    searched = jnp.where(new_level, blurred, source)
    allowed = kept["allowed"][level] if "allowed" in kept else None
    # The last steps, after which the best trial is chosen, do without the prior of positions.
    last = len(plan.schedule.level) - plan.repeats
    position = jnp.where(at < last, config.position, 0.0) if config.position else None
    stays = kept["fixed"][level] if "fixed" in kept else None
    counts = counts_with(stays)

    def improved(guess):
        guess = coarse.scaled(guess, before, size, plan.canvas)
        found = coarse.matched(
            guess,
            size,
            searched,
            searched_size,
            patch=patch,
            alpha=config.alpha,
            position=position,
            counts=counts,
            allowed=allowed,
            both=config.votes > 0,
        )
        if config.votes:
            sizes = {"size": size, "searched_size": searched_size}
            options = {"patch": patch, "weight": config.votes}
            made = voted_by_both(found.place, found.back, source, **sizes, **options)
        else:
            made = coarse.voted(found.place, size, source, patch=patch)
        return with_fixed(made, stays), found.place, found.back, (found.distance, found.neglected)

    pixels = plan.canvas[0] * plan.canvas[1]
    guess, place, back, apart = of_samples(improved, kept["guess"], pixels=pixels)
    kept = {**kept, "guess": guess, "place": place, "back": back, "distance": sum(apart)}
    return state.replace(step=state.step + 1, model_state=kept), {"loss": jnp.mean(apart[0])}


def _best(plan: _Plan, kept: dict[str, Array]) -> tuple[Array, Array, Array]:
    """The guesses and the fields of the best trial of each sample at the end of the coarse scales."""
    level, patch = plan.levels[plan.count - 1], plan.config.patch
    guess, place, back, distance = (
        kept[name].reshape(plan.config.samples, plan.config.trials, *kept[name].shape[1:])
        for name in ("guess", "place", "back", "distance")
    )
    order = jnp.arange(plan.config.samples), jnp.argmin(distance, axis=1)
    cut = lambda x, size, less: x[order][:, : size[0] - less, : size[1] - less]
    return (
        cut(guess, level.result, 0),
        cut(place, level.result, patch - 1),
        cut(back, level.source, patch - 1),
    )


def parts(config: Config, source: Size, result: Size):
    """Returns the parts of the method for a source and a result of given sizes.

    Args:
        config: The settings.
        source: (H, W) of the input `image`.
        result: (H, W) of the result.

    Returns:
        `init`, the stages, and `(state, inputs) -> (N, H, W, C)`, the results in [0, 1].

    Raises:
        InputError: A side is too short.
    """
    plan, bind = _plan(config, source, result), functools.partial

    def advance(before: Level, after: Level, state: TrainState, inputs: Inputs):
        kept = state.model_state
        is_coarse = before is plan.levels[plan.count - 1]
        old = _best(plan, kept) if is_coarse else fine.arrays(kept)
        key = jax.random.fold_in(state.key, 1)
        return fine.enlarged_state(config, before, after, old, key), inputs

    stages = [Stage("coarse", len(plan.schedule.level), bind(_step, plan))]
    for before, after in itertools.pairwise(plan.levels[plan.count - 1 :]):
        stages[-1] = dataclasses.replace(stages[-1], advance=bind(advance, before, after))
        name = "{}x{}".format(*after.result)
        stages.append(
            Stage(name, plan.repeats, bind(fine.step, config, plan.source, before, after))
        )

    def results(state: TrainState, inputs: Inputs) -> Array:
        del inputs
        whole = plan.count == len(plan.levels)
        made = _best(plan, state.model_state)[0] if whole else state.model_state["guess"]
        return made[:, : result[0], : result[1]]

    return bind(_init, plan), tuple(stages), results
