"""Writes a run's log, pictures and config for TensorBoard; needs the extra `tensorboard`."""

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepinternal.files import reason, show_path
from deepinternal.messages import tell
from deepinternal.types import Array
from deepinternal.writers import flat, is_number

_SUFFIX = ".deepinternal"  # marks the event files of this class
_NO_CURVES = ("step", "seconds")


class TensorBoard:
    """An event file in one folder, written to disk at every call.

    tensorboardX's own writer queues events, which are lost when the process is killed; this class
    uses its records without the queue.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        config: Mapping[str, Any],
        *,
        before: Sequence[Mapping[str, Any]] = (),
    ):
        """Opens the folder; a resumed run starts a new file with its complete log.

        Args:
            folder: The folder, created if missing. Earlier event files of this class are removed,
                and a running TensorBoard drops what it has read from them.
            config: The config, which is shown as a table; nested fields have dotted names.
            before: The existing lines of the log, as for `scalars`.
        """
        from tensorboardX import event_file_writer, summary
        from tensorboardX.proto import event_pb2

        self._summary, self._protocol = summary, event_pb2
        self._folder, self._works = (folder := Path(folder)), True
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"events.out.tfevents.*{_SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):
                old.unlink()
        suffix = f".{secrets.token_hex(4)}{_SUFFIX}"
        self._writer = event_file_writer.EventsWriter(str(folder / "events"), suffix)
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._write(0, time.time(), session_log=start)
        self._step = 0
        rows = [f"| {name} | {_cell(value)} |" for name, value in flat(config).items()]
        table = "\n".join(["| field | value |", "| --- | --- |", *rows])
        self._write(0, time.time(), [summary.text("config", table)])
        self.scalars(before)

    def scalars(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Adds points to the curves.

        Args:
            entries: Lines of the log, dicts with `step`, `seconds` and figures; values other than
                numbers are ignored. The last one is dated now, and the others relative to it by
                their `seconds`.
        """
        now = time.time()
        for entry in entries:
            self._step = entry["step"]
            figures = {k: v for k, v in entry.items() if k not in _NO_CURVES and is_number(v)}
            moment = now - (entries[-1].get("seconds", 0) - entry.get("seconds", 0))
            parts = [self._summary.scalar(name, value) for name, value in figures.items()]
            self._write(self._step, moment, parts)
        self._act(self._writer.flush)

    def images(self, images: Mapping[str, Array | np.ndarray]) -> None:
        """Adds pictures (H, W, C) or (H, W) in [0, 1] at the last step, by name."""
        parts = []
        for name, image in images.items():
            samples = np.round(np.clip(np.asarray(image, np.float32), 0, 1) * 255).astype(np.uint8)
            samples = samples[..., None] if samples.ndim == 2 else samples
            parts.append(self._summary.image(name, samples, dataformats="HWC"))
        self._write(self._step, time.time(), parts)
        self._act(self._writer.flush)

    def close(self) -> None:
        """Closes the file."""
        with contextlib.suppress(OSError):
            self._writer.close()

    def _write(self, step: int, moment: float, parts: Sequence = (), **fields) -> None:
        event = self._protocol.Event(step=step, wall_time=moment, **fields)
        for part in parts:
            event.summary.value.extend(part.value)
        self._act(lambda: self._writer.write_event(event))

    def _act(self, write: Callable[[], object]) -> None:
        """Writes, unless that has failed before: records after a damaged one cannot be read."""
        if self._works:
            try:
                write()
            except OSError as error:
                self._works = False
                place = show_path(self._folder)
                tell(f"{place}: cannot be written ({reason(error)}); training continues")


def _cell(value: Any) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")
