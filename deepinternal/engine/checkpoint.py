"""Atomic checkpoints of one run in one folder; the last two are kept.

A checkpoint NUMBER/ holds meta/metadata, a JSON object, and state/, which orbax can read: one flat
array of all leaves for each dtype. In the JSON object, `layout` names the leaves in their order and
`checksums` has the CRC-32 of each array. A checkpoint of an earlier version holds the state, and the
inputs, as trees of orbax.
"""

import contextlib
import json
import logging
import os
import secrets
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from deepinternal.engine import array_files
from deepinternal.files import atomic_write_text
from deepinternal.types import Inputs, Method, PyTree, TrainState

_log = logging.getLogger(__name__)
_META = Path("meta", "metadata")  # where earlier versions put it, by orbax
_MISSING = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_UNFINISHED = ("*.tmp", "*.orbax-checkpoint-tmp*")  # of this version, and of earlier ones


class Checkpoints:
    """The checkpoints of one run.

    A checkpoint holds the training state, the inputs if an earlier stage has changed them, and a
    JSON object with everything else that the loop needs to continue. A damaged checkpoint is
    skipped with a warning, and the previous one is used.
    """

    def __init__(self, folder: Path | str, *, keep_every: int = 0):
        """Names the folder, which is created with the first checkpoint.

        Args:
            folder: The folder.
            keep_every: Checkpoints whose number is a multiple of this are kept permanently; 0: only the
                last two are kept.
        """
        self._folder, self._keep_every = Path(folder).absolute(), keep_every

    def save(
        self, number: int, state: TrainState, inputs: Inputs | None, meta: dict[str, Any]
    ) -> None:
        """Saves a checkpoint; does nothing if the number already exists.

        Args:
            number: The total number of steps taken, over all stages, which must increase.
            state: The training state.
            inputs: The inputs, if they differ from the initial ones, or None.
            meta: JSON-serialisable; must contain `stage`, the index of the current stage.

        Raises:
            OSError: The folder cannot be written; the checkpoints in it are unchanged.
        """
        numbers = self.numbers()
        if number in numbers:
            return  # the same step has the same state
        self._folder.mkdir(parents=True, exist_ok=True)
        unfinished = self._unfinished(number)
        try:
            (unfinished / "meta").mkdir(parents=True)
            saved = (state, None if inputs is None else dict(inputs))
            arrays = _flatten(saved)
            known = {"layout": _layout(saved), "checksums": _checksums(arrays)}
            atomic_write_text(unfinished / _META, json.dumps(meta | known))
            array_files.write(unfinished / "state", arrays)
            os.replace(unfinished, self._folder / str(number))
        except BaseException as error:
            if isinstance(error, OSError):
                error.filename, error.filename2 = str(self._folder), None
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        for old in numbers[:-1]:
            if not self._keep_every or old % self._keep_every:
                self._remove(old)

    def restore(
        self, method: Method, inputs: Inputs, number: int | None = None
    ) -> tuple[TrainState, Inputs, dict[str, Any]] | None:
        """Returns the newest readable checkpoint as `(state, inputs, meta)`, or None.

        Args:
            method: The method with replicas folded in, which determines the shapes.
            inputs: The initial inputs of the run.
            number: The only accepted checkpoint; None for any.

        Raises:
            OSError: There are checkpoints, but no permission, memory or connection to read them.
        """
        unread: OSError | None = None
        for found in reversed([n for n in self.numbers() if number in (None, n)]):
            try:
                meta = json.loads((self._folder / str(found) / _META).read_text(encoding="utf-8"))
                state, later = shapes_at(method, inputs, meta["stage"])
                shapes = (state, dict(later) if meta["stage"] > 0 else None)
                state, later = self._read(found, meta, shapes)
            except MemoryError:
                raise
            except Exception as error:  # orbax raises many types for a damaged folder
                if isinstance(error, OSError) and not isinstance(error, _MISSING):
                    unread = error
                _log.warning(
                    "checkpoint %d is damaged (%s); trying the previous one",
                    found,
                    str(error).splitlines()[0] if str(error) else type(error).__name__,
                )
                continue
            return state, later or inputs, meta
        if unread:  # a new start would replace checkpoints that may be good
            raise unread
        return None

    def _read(self, number: int, meta: dict[str, Any], shapes: PyTree) -> PyTree:
        """Returns the state and inputs of a checkpoint, which must have these shapes."""
        device, folder = jax.local_devices()[0], self._folder / str(number)
        if "layout" not in meta:  # of an earlier version
            return _read_trees(folder, shapes, device)
        if meta["layout"] != _layout(shapes):
            raise ValueError("its arrays are not those of this method")
        arrays = array_files.read(folder / "state")
        if meta["checksums"] != _checksums(arrays):
            raise ValueError("the checksums of its arrays are wrong")
        return jax.device_put(_unflatten(arrays, shapes), device)

    def numbers(self) -> list[int]:
        """Returns the numbers of all checkpoints, the oldest first."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(int(name) for name in os.listdir(self._folder) if name.isdecimal())
        return []

    def discard_above(self, number: int) -> None:
        """Prepares to continue from `number`: removes later checkpoints, and unfinished ones.

        The later ones are unreadable and would block new ones.
        """
        for later in self.numbers():
            if later > number:
                self._remove(later)
        for pattern in _UNFINISHED:
            for path in self._folder.glob(pattern):
                shutil.rmtree(path, ignore_errors=True)

    def note_resumption(self, step: int) -> list[int]:
        """Records that a run was resumed from `step`; returns all such steps, oldest first."""
        path = self._folder / "resumed.json"
        try:
            steps = [int(number) for number in json.loads(path.read_text(encoding="utf-8"))]
        except (OSError, ValueError, TypeError, RecursionError):  # missing or damaged
            steps = []
        atomic_write_text(path, json.dumps([*steps, step]))
        return [*steps, step]

    def _unfinished(self, number: int) -> Path:
        """Returns the path of a folder that does not count as a checkpoint."""
        return self._folder / f"{number}.{secrets.token_hex(4)}.tmp"

    def _remove(self, number: int) -> None:
        """Removes a checkpoint; a partly removed one does not count as a checkpoint."""
        unfinished = self._unfinished(number)
        with contextlib.suppress(FileNotFoundError):
            os.replace(self._folder / str(number), unfinished)
        shutil.rmtree(unfinished, ignore_errors=True)


def shapes_at(method: Method, inputs: Inputs, stage: int = -1) -> tuple[TrainState, Inputs]:
    """Returns the shapes of state and inputs in a stage; computes nothing.

    Args:
        method: The method.
        inputs: The initial inputs.
        stage: The index of the stage in `all_stages`; -1: the last one of `stages`.
    """
    state, later = jax.eval_shape(method.init, jax.random.key(0), inputs), inputs
    last = len(method.stages) - 1
    for earlier in method.stages[: last if stage < 0 else min(stage, last)]:
        state, later = jax.eval_shape(earlier.advance, state, later)
    if stage > last:
        return jax.eval_shape(method.again, state, inputs), inputs
    return state, later


# A tree as one flat array for each dtype


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _layout(tree: PyTree) -> list[list]:
    """Returns [path, dtype, shape] of each leaf, for JSON."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [[jax.tree_util.keystr(path), str(x.dtype), list(x.shape)] for path, x in leaves]


def _flatten(tree: PyTree) -> dict[str, np.ndarray]:
    """Returns the leaves of a tree as one flat array for each dtype; keys as their data."""
    leaves = [jax.random.key_data(x) if _is_key(x) else x for x in jax.tree.leaves(tree)]
    parts: dict[str, list[np.ndarray]] = {}
    for leaf in map(np.asarray, jax.device_get([x for x in leaves if x.size])):
        parts.setdefault(str(leaf.dtype), []).append(leaf.ravel())
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def _checksums(arrays: dict[str, np.ndarray]) -> dict[str, int]:
    return {name: zlib.crc32(np.ascontiguousarray(x).view(np.uint8)) for name, x in arrays.items()}


def _unflatten(flat: dict[str, np.ndarray], shapes: PyTree) -> PyTree:
    """Returns the tree of these shapes from the result of `_flatten`."""
    taken = dict.fromkeys(flat, 0)

    def take(shape: Sequence[int], name: str) -> np.ndarray:
        begin, taken[name] = taken[name], taken[name] + int(np.prod(shape))
        return flat[name][begin : taken[name]].reshape(shape)

    def leaf(x: jax.ShapeDtypeStruct) -> Any:
        if not x.size:
            return jnp.zeros(x.shape, x.dtype)
        if not _is_key(x):
            return take(x.shape, str(x.dtype))
        found: list[Any] = []
        data = jax.eval_shape(
            lambda key: found.append(jax.random.key_impl(key)) or jax.random.key_data(key), x
        )
        return jax.random.wrap_key_data(take(data.shape, str(data.dtype)), impl=found[0])

    return jax.tree.map(leaf, shapes)


def _read_trees(folder: Path, shapes: PyTree, device: jax.Device) -> PyTree:
    """Returns the state and inputs of a checkpoint of an earlier version."""
    import orbax.checkpoint as ocp
    from etils.epath import Path as OrbaxPath

    place = jax.sharding.SingleDeviceSharding(device)
    placed = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)
    read = lambda name, tree: ocp.StandardCheckpointHandler().restore(
        OrbaxPath(folder / name), args=ocp.args.StandardRestore(jax.tree.map(placed, tree))
    )
    state, later = shapes
    return read("state", state), None if later is None else read("inputs", later)
