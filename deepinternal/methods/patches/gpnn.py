"""Results made of the image's patches, from coarse to fine, by nearest patches (GPNN).

At each scale, every patch of the current guess is replaced by a patch of the source, and overlapping
patches are averaged; this is repeated. The next scale starts from the enlarged result.

The coarse scales, where the layout is decided, are searched exactly, in one program (`coarse`). Each of
the fine ones starts from the enlarged field of places of the coarser one, which is improved by
propagation; its time and memory are linear in the number of pixels.

Deliberate deviations from the paper: for retargeting, the patches of the source vote at all scales, as
in bidirectional similarity, instead of the normalised score (`votes=0 alpha=0.00125` as there); a prior
keeps patches near their relative positions until the last steps at coarse scales (`position`);
generation starts from an image whose parts are moved at random, because patches of noise lead back to
the image itself (`shift`); fine scales are further apart than coarse ones (`fine_ratio`).

References:
    Granot, Feinstein, Shocher, Bagon, Irani: Drop the GAN: In Defense of Patches Nearest Neighbors as
    Single Image Generative Models. CVPR 2022.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import lax

from deepinternal.methods.patches import coarse, filling, pyramid
from deepinternal.methods.patches.config import Config, Size
from deepinternal.methods.patches.pyramid import Level
from deepinternal.methods.patches.tasks import TASKS
from deepinternal.ops.patches import fields
from deepinternal.ops.patches.voting import vote
from deepinternal.ops.resizing import mirror_index, resize
from deepinternal.types import Array, Inputs, Metrics, Stage, TrainState

# Pairs of a patch of the result and one of the source that are compared exactly. Where the source
# votes, fields that are only propagated are smoother, and average less that does not fit together.
_PAIRS, _PAIRS_WITH_VOTES = 2**24, 2**20
_CELLS = 4  # random distances along each side, see `scattered`
_LARGE = 2**20  # pixels of a result from which on patches have fewer components
_TOGETHER = 2**18  # pixels of results that are made side by side
_UNSURE = 0.1  # weight in distances of pixels that are not fixed, next to those that are


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


def _plan(config: Config, source: Size, result: Size) -> _Plan:
    levels = pyramid.levels(config, source, result)
    grows = TASKS[config.task].start == "grow"
    pairs = _PAIRS_WITH_VOTES if grows and config.votes else _PAIRS
    count = max(sum(level.pairs(config.patch) <= pairs for level in levels), 1)
    levels = pyramid.thinned(levels, count, config.fine_ratio, config.ratio)
    first = levels[0]
    sizes = pyramid.growth(config, first.source, first.result) if grows else (first.result,)
    return _Plan(config, levels, count, sizes)


def _of_samples(function, *args: Array, pixels: int):
    """Applies a function to each sample, to as many at once as memory allows."""
    # On CPU, loops over samples are faster than batches.
    together = 1 if jax.default_backend() == "cpu" else max(_TOGETHER // pixels, 1)
    if args[0].shape[0] == 1:
        return jax.tree.map(lambda x: x[None], function(*(x[0] for x in args)))
    batch = together if together > 1 else None
    return lax.map(lambda xs: function(*xs), args, batch_size=batch)


def _fixed(inputs: Inputs) -> Array:
    """The fixed pixels of the guess, 0 elsewhere, and a channel that is 1 where they are."""
    fixed = jnp.asarray(inputs["fixed"], jnp.float32)[..., None]
    return jnp.concatenate([fixed * inputs["guess"], fixed], axis=-1)


def scattered(key: Array, image: Array, size: Size, *, amount: float) -> Array:
    """Moves the parts of an image by random distances, which vary smoothly.

    Args:
        key: PRNG key.
        image: (H, W, C), with the image in the upper left.
        size: (h, w) of the image.
        amount: Greatest distance, relative to the sides of the image.

    Returns:
        (H, W, C); what comes from outside of the image is mirrored.
    """
    grid = jax.random.uniform(key, (_CELLS * _CELLS * 2,)).reshape(_CELLS, _CELLS, 2)
    shifts = (2 * resize(grid, output_shape=size) - 1) * amount * jnp.asarray(size)
    places = jnp.round(jnp.moveaxis(jnp.indices(size), 0, -1) + shifts).astype(jnp.int32)
    rows, columns = (mirror_index(places[..., i], n) for i, n in enumerate(size))
    return image.at[: size[0], : size[1]].set(image[rows, columns])


# Coarse scales


def _init(plan: _Plan, key: Array, inputs: Inputs) -> TrainState:
    """The state before the first step: the source at coarse scales, and the first guesses."""
    config, levels = plan.config, plan.levels[: plan.count]
    sources = [x.source for x in levels]
    kept = {"sources": coarse.stacked(inputs["image"], sources, plan.source_canvas)}
    if "allowed" in inputs:
        allowed = jnp.asarray(inputs["allowed"], jnp.float32)[..., None]
        kept["allowed"] = coarse.stacked(allowed, sources, plan.source_canvas)[..., 0] > 0.9
    if "fixed" in inputs:
        kept["fixed"] = coarse.stacked(_fixed(inputs), [x.result for x in levels], plan.canvas)
    start, first = TASKS[config.task].start, tuple(map(int, plan.schedule.before[0]))
    if start in ("guess", "peel"):
        guess = coarse.stacked(inputs["guess"], [first], plan.canvas)[0]
    else:
        guess = coarse.stacked(inputs["image"], [first], plan.canvas)[0]
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


def _coarse_step(
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
    # The last steps, after which the best trial is chosen, are about looks alone.
    last = len(plan.schedule.level) - plan.repeats
    position = jnp.where(at < last, config.position, 0.0) if config.position else None
    stays = kept["fixed"][level] if "fixed" in kept else None
    counts = None if stays is None else _UNSURE + (1 - _UNSURE) * stays[..., -1]

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
            made = coarse.voted_by_both(found, values=source, **sizes, **options)
        else:
            made = coarse.voted(found.place, size, source, patch=patch)
        if stays is not None:
            made = stays[..., :-1] + (1 - stays[..., -1:]) * made
        return made, found.place, found.back, (found.distance, found.neglected)

    pixels = plan.canvas[0] * plan.canvas[1]
    guess, place, back, apart = _of_samples(improved, kept["guess"], pixels=pixels)
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


# Fine scales


def _at(image: Array, size: Size) -> Array:
    if image.shape[:2] == tuple(size):
        return image
    return jnp.clip(resize(image, output_shape=size), 0, 1)


def _advance(
    plan: _Plan, number: int, state: TrainState, inputs: Inputs
) -> tuple[TrainState, Inputs]:
    """Enlarges the guesses and their fields to scale `number` from the coarser one."""
    before, after, patch = plan.levels[number - 1], plan.levels[number], plan.config.patch

    def larger(guess, place, back):
        there = {"patch": patch, "coarse_searched_size": before.source}
        here = {"patch": patch, "coarse_searched_size": before.result}
        place = fields.enlarged(place, after.result, after.source, **there)
        back = fields.enlarged(back, after.source, after.result, **here)
        return _at(guess, after.result), place, back

    pixels = after.result[0] * after.result[1]
    kept = state.model_state
    names = ("guess", "place", "back")
    old = _best(plan, kept) if number == plan.count else [kept[name] for name in names]
    kept = dict(zip(names, _of_samples(larger, *old, pixels=pixels)))
    state = state.replace(
        step=jnp.zeros((), jnp.int32), key=jax.random.fold_in(state.key, 1), model_state=kept
    )
    return state, inputs


def _fine_step(
    plan: _Plan, number: int, state: TrainState, inputs: Inputs, variant=None
) -> tuple[TrainState, Metrics]:
    """One step at a fine scale."""
    del variant
    level, coarser, patch = plan.levels[number], plan.levels[number - 1], plan.config.patch
    source = _at(inputs["image"], level.source)
    blurred = _at(_at(inputs["image"], coarser.source), level.source)
    # Where the source votes, it is not blurred, so that the matches of both directions fit together.
    by_both = plan.config.votes > 0 and not {"allowed", "fixed"} & set(inputs)
    searched = source if by_both else jnp.where(state.step == 0, blurred, source)
    allowed = None
    if "allowed" in inputs:
        allowed = _at(jnp.asarray(inputs["allowed"], jnp.float32)[..., None], level.source)
        allowed = allowed[..., 0] > 0.9
    key = jax.random.fold_in(state.key, state.step)

    stays, counts, orders = None, None, 0
    if "fixed" in inputs:  # coarse fields do not know the small holes
        stays, orders = _at(_fixed(inputs), level.result), 1
        counts = _UNSURE + (1 - _UNSURE) * stays[..., -1]

    def improved(guess, place, back, key):
        options = {"patch": patch, "size": 16 if pixels > _LARGE else 40}
        mine = {"key": key, "orders": orders, "counts": counts, "allowed": allowed, **options}
        apart, place = fields.propagated(guess, searched, place, **mine)
        if by_both:
            back = fields.propagated(searched, guess, back, key=key, orders=0, **options).place
            found = coarse.Found(place, back, apart, apart)
            made = coarse.voted_by_both(
                found,
                jnp.asarray(level.result),
                source,
                jnp.asarray(level.source),
                patch=patch,
                weight=plan.config.votes,
            )
        else:
            made = vote(place, source, patch=patch)
        if stays is not None:
            made = stays[..., :-1] + (1 - stays[..., -1:]) * made
        return made, place, back, jnp.mean(apart)

    kept, pixels = state.model_state, level.result[0] * level.result[1]
    keys = jax.random.split(key, plan.config.samples)
    names = ("guess", "place", "back")
    *made, apart = _of_samples(improved, *(kept[n] for n in names), keys, pixels=pixels)
    kept = dict(zip(names, made))
    return state.replace(step=state.step + 1, model_state=kept), {"loss": jnp.mean(apart)}


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
    stages = [Stage("coarse", len(plan.schedule.level), bind(_coarse_step, plan))]
    for number in range(plan.count, len(plan.levels)):
        stages[-1] = dataclasses.replace(stages[-1], advance=bind(_advance, plan, number))
        name = "{}x{}".format(*plan.levels[number].result)
        repeats = config.steps or config.iterations
        stages.append(Stage(name, repeats, bind(_fine_step, plan, number)))

    def results(state: TrainState, inputs: Inputs) -> Array:
        del inputs
        if plan.count == len(plan.levels):
            return _best(plan, state.model_state)[0]
        return state.model_state["guess"]

    return bind(_init, plan), tuple(stages), results
