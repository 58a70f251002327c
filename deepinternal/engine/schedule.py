"""The dispatches of a run: how many steps each takes, and which programs all of them need.

A dispatch takes steps of one variant. In a stage with variants, it takes either a single step or
the full number, so that each variant has at most two programs.
"""

from collections.abc import Hashable, Iterator

from deepinternal.types import Stage, no_variant


def limit(stage: Stage, step: int, *, offset: int = 0, snapshot_every: int = 0) -> int:
    """Returns the steps until the next evaluation, permanent checkpoint or end of the stage.

    Args:
        stage: The stage.
        step: The number of steps already taken in it.
        offset: The number of steps taken in earlier stages.
        snapshot_every: The number of steps between permanent checkpoints; 0 for none.
    """
    ends = [stage.steps - step]
    if stage.evaluate and stage.evaluate_every:
        ends.append(stage.evaluate_every - step % stage.evaluate_every)
    if snapshot_every:
        ends.append(snapshot_every - (offset + step) % snapshot_every)
    return min(ends)


def dispatch(stage: Stage, seed: int, step: int, most: int, full: int) -> tuple[int, Hashable]:
    """Returns the number of steps of a dispatch, and their variant.

    Args:
        stage: The stage.
        seed: The seed of the run.
        step: The number of steps already taken in the stage.
        most: The maximum number of steps, at least 1.
        full: The number of steps of a full dispatch.
    """
    if stage.variant is no_variant:
        return min(full, most), None
    variant = stage.variant(seed, step)
    fits = most >= full and all(stage.variant(seed, step + i) == variant for i in range(1, full))
    return (full if fits else 1), variant


def programs(
    stage: Stage, seed: int, step: int, full: int, **pauses: int
) -> Iterator[tuple[Hashable, int]]:
    """Yields the distinct programs of the remaining steps of a stage, in the order of first need.

    Args:
        stage: The stage.
        seed: The seed of the run.
        step: The number of steps already taken in the stage.
        full: The number of steps of a full dispatch.
        **pauses: See `limit`.

    Yields:
        (variant, steps per dispatch).
    """
    seen = set()
    while step < stage.steps:
        end = step + limit(stage, step, **pauses)
        while step < end:
            count, variant = dispatch(stage, seed, step, end - step, full)
            if (variant, count) not in seen:
                seen.add((variant, count))
                yield variant, count
            step += count
