"""Event files, read back record by record."""

import io
import struct
import time

import numpy as np
import pytest
from PIL import Image

from deepinternal.engine.tensorboard import TensorBoard

CRC32C = [0] * 256
for _byte in range(256):
    _crc = _byte
    for _ in range(8):
        _crc = (_crc >> 1) ^ (0x82F63B78 if _crc & 1 else 0)
    CRC32C[_byte] = _crc


def masked_crc(data):
    """The checksum of the TFRecord format."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC32C[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def events(folder):
    """All events of the one file in a folder, checksums checked."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    [path] = folder.iterdir()
    assert "tfevents" in path.name, "what TensorBoard goes by"
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        body = data[12 : 12 + length]
        assert struct.unpack("<I", data[8:12])[0] == masked_crc(data[:8])
        assert struct.unpack("<I", data[12 + length : 16 + length])[0] == masked_crc(body)
        found.append(event_pb2.Event.FromString(body))
        data = data[16 + length :]
    return found


def curves(folder):
    """{name: [(step, value), ...]} of all scalars."""
    found = {}
    for event in events(folder):
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


@pytest.fixture
def board(tmp_path):
    pytest.importorskip("tensorboardX")
    board = TensorBoard(tmp_path / "events", CONFIG)
    yield board
    board.close()


CONFIG = {"steps": 12, "scale": "2|3\n", "parallel": {"devices": 0}}
LINES = [
    {"step": 10, "seconds": 1.5, "stage": "1: 2x2", "loss": 0.5, "learning_rate": 1e-3},
    {"step": 20, "seconds": 3.0, "stage": "1: 2x2", "loss": 0.25, "test_psnr": 30.5, "on": True},
    {"step": 30, "seconds": 4.0, "loss": None, "learning_rate": float("nan"), "memory_mb": 12},
]


def test_curves_hold_the_lines_of_the_log(board, tmp_path):
    before = time.time()
    board.scalars(LINES[:2])
    board.scalars(LINES[2:])
    after = time.time()
    found = curves(tmp_path / "events")  # not closed: a killed process leaves as much
    assert found.pop("learning_rate") == [(10, pytest.approx(1e-3))]
    assert found == {
        "loss": [(10, 0.5), (20, 0.25)],
        "test_psnr": [(20, 30.5)],
        "memory_mb": [(30, 12.0)],
    }
    times = {e.step: e.wall_time for e in events(tmp_path / "events") if e.step}
    assert times[20] - times[10] == pytest.approx(1.5, abs=1e-3)
    assert before <= times[20] <= times[30] <= after


def test_the_first_record_says_what_the_file_is(board, tmp_path):
    first, second, *_ = events(tmp_path / "events")
    assert first.file_version == "brain.Event:2"
    assert second.session_log.status == second.session_log.START
    assert second.step == 0, "what TensorBoard read of an earlier file is withdrawn"


def test_a_resumed_run_has_no_step_twice(board, tmp_path):
    """Killed after step 30, it resumes from a checkpoint at step 20."""
    folder = tmp_path / "events"
    (folder / "mine.txt").write_text("a user's")
    (folder / "events.out.tfevents.1.host").write_text("of another program")
    board.scalars(LINES)
    second = TensorBoard(folder, CONFIG, before=LINES[:2])
    second.scalars([{"step": 30, "seconds": 9.0, "loss": 0.125}])
    second.close()
    (folder / "mine.txt").unlink()
    (folder / "events.out.tfevents.1.host").unlink()
    assert curves(folder)["loss"] == [(10, 0.5), (20, 0.25), (30, 0.125)]
    times = [e.wall_time for e in events(folder) if e.step]
    assert times == sorted(times)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3)])
def test_images_keep_their_samples(board, tmp_path, shape):
    image = np.random.default_rng(0).uniform(-0.1, 1.1, shape).astype(np.float32)
    board.scalars(LINES[:1])
    board.images({"result": image, "other": image * 0})
    [event] = [
        e for e in events(tmp_path / "events") if any(v.image.width for v in e.summary.value)
    ]
    assert event.step == 10
    pictures = {v.tag: v.image for v in event.summary.value}
    assert set(pictures) == {"result", "other"}
    with Image.open(io.BytesIO(pictures["result"].encoded_image_string)) as read:
        samples = np.asarray(read.convert("RGB"))
    expected = np.clip(image.reshape(5, 7, -1), 0, 1) * 255
    np.testing.assert_allclose(samples, np.broadcast_to(expected, (5, 7, 3)), atol=0.5001)


def test_the_config_is_a_table(board, tmp_path):
    [text] = [
        v.tensor.string_val[0].decode()
        for e in events(tmp_path / "events")
        for v in e.summary.value
    ]
    assert text.splitlines()[2:] == [
        "| steps | 12 |",
        "| scale | 2\\|3 |",
        "| parallel.devices | 0 |",
    ]
