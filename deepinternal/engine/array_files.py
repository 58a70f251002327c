"""Reads and writes arrays in the format of an orbax checkpoint, without orbax.

Orbax writes in threads. If a disk is full, a folder is removed, or a file is damaged, they print long
tracebacks, the cause is lost, and missing folders are created again. The files are those that orbax
writes without its database, but not compressed: _METADATA and, for each array, NAME/.zarray and NAME/0
of Zarr version 2. The name of an array is its dtype, and it has one axis.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np


def write(folder: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays by name to a new folder. Raises OSError if that is not possible."""
    folder.mkdir()
    _put(folder / "_METADATA", json.dumps(_metadata(arrays)).encode())
    for name, array in arrays.items():
        (folder / name).mkdir()
        _put(folder / name / ".zarray", json.dumps(_description(array)).encode())
        _put(folder / name / "0", array.tobytes())


def _put(path: Path, data: bytes) -> None:
    try:
        with open(path, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        error.filename = str(path)
        raise


def _metadata(names: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Returns what orbax needs to know about a dict of arrays."""
    value = {"value_type": "np.ndarray", "skip_deserialize": False}
    entry = lambda name: {
        "key_metadata": [{"key": name, "key_type": 2}],  # a key of a dict
        "value_metadata": value,
    }
    return {
        "tree_metadata": {str((name,)): entry(name) for name in names},
        "use_ocdbt": False,
        "use_zarr3": False,
        "store_array_data_equal_to_fill_value": True,
        "custom_metadata": None,
    }


def _description(array: np.ndarray) -> dict[str, Any]:
    """Returns the contents of .zarray for an array that is one chunk."""
    dtype, shape = array.dtype, list(array.shape)
    return {
        "zarr_format": 2,
        "shape": shape,
        "chunks": shape,
        "dtype": dtype.str if dtype.kind in "biufc" else str(dtype),
        "compressor": None,
        "fill_value": None,
        "filters": None,
        "order": "C",
        "dimension_separator": ".",
    }


def read(folder: Path) -> dict[str, np.ndarray]:
    """Returns the arrays in a folder by name.

    Raises:
        OSError: A file is missing or cannot be read.
        ValueError: A file is damaged.
    """
    arrays = {}
    for path in sorted(path for path in folder.iterdir() if path.is_dir()):
        about = json.loads((path / ".zarray").read_text(encoding="utf-8"))
        if about["compressor"] is not None:  # written by an earlier version
            return _read_compressed(folder)
        data = (path / "0").read_bytes()
        arrays[path.name] = np.frombuffer(data, jnp.dtype(path.name)).reshape(about["shape"])
    return arrays


def _read_compressed(folder: Path) -> dict[str, np.ndarray]:
    import orbax.checkpoint as ocp
    from etils.epath import Path as OrbaxPath

    handler = ocp.PyTreeCheckpointHandler(use_ocdbt=False)
    return handler.restore(OrbaxPath(folder), args=ocp.args.PyTreeRestore())
