"""The page for painting in a real browser: what mouse, fingers and keys paint, and what is saved."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from deepinternal.codecs.image_io import to_array
from deepinternal.report.scribble import write_page
from tests.report.sheets import NAME, Sheet
from tests.tiny_methods import photo

pytestmark = pytest.mark.browser

HEIGHT, WIDTH = 60, 90
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
PHOTO = np.round(photo(90)[:HEIGHT] * 255).astype(np.uint8)


@pytest.fixture
def sheet(chromium, tmp_path):
    """Opens the page of the photograph; afterwards, nothing may have gone wrong."""
    opened = []

    def start(*, image=PHOTO, name=NAME, width=1000, options=(), **given):
        path = tmp_path / f"{name}.html"
        write_page(path, to_array(image), source=f"{name}.png", folder="my hints", **given)
        opened.append(Sheet(chromium, dict(options)))
        return opened[-1].open(path, width, image.shape)

    yield start
    for one in opened:
        one.seen.check()
        one.seen.page.context.close()


def line(a, b, diameter):
    """The pixels whose centres are within half a diameter of a line, and those within rounding."""
    a, b = np.float64(a), np.float64(b)
    off = np.stack([COLUMNS, ROWS], -1) - a
    square = max(((b - a) ** 2).sum(), 1e-9)
    along = np.clip((off @ (b - a)) / square, 0, 1)
    away = np.hypot(*np.moveaxis(off - along[..., None] * (b - a), -1, 0))
    return away <= diameter / 2, abs(away - diameter / 2) < 1e-6


def assert_painted(values, *lines, without=()):
    """Exactly the pixels of some lines, without those of others, are white."""
    wanted, unsure = np.zeros((HEIGHT, WIDTH), bool), np.zeros((HEIGHT, WIDTH), bool)
    for one, value in (*((x, True) for x in lines), *((x, False) for x in without)):
        inside, edge = line(*one)
        wanted[inside] = value
        unsure |= edge
    assert wanted.any()
    np.testing.assert_array_equal((values == 255)[~unsure], wanted[~unsure])


def test_strokes_are_exact_exclusive_and_can_be_undone(sheet):
    one = sheet()
    size = one.brush
    first, second = ((20, 15), (60, 40)), ((50, 12), (45, 50))
    one.drag(*first)
    assert_painted(one.save()["foreground"], (*first, size))
    assert "background" in one.page.inner_text("#todo"), "segment needs both"
    one.press("2", "]", "]")
    large = one.brush
    assert large >= size + 2
    one.drag(*second)
    assert one.page.inner_text("#todo") == ""
    saved = one.save(2)
    assert_painted(saved["background"], (*second, large))
    assert_painted(saved["foreground"], (*first, size), without=[(*second, large)])
    one.press("Control+z")
    assert one.save().keys() == {"foreground"}
    one.press("Control+z")
    assert one.page.locator("#undo").is_disabled()
    assert one.page.locator("#save").is_disabled()
    one.press("Control+Shift+z", "Control+y")
    again = one.save(2)
    assert all((again[name] == saved[name]).all() for name in saved)
    one.press("e")
    one.drag(*second)
    left = one.save()
    assert left.keys() == {"foreground"}
    np.testing.assert_array_equal(left["foreground"], saved["foreground"])
    (command,) = one.commands()
    assert command == [
        *("deepinternal", "segment", f"{NAME}.png", f"--out={NAME}-mask.png"),
        *(f"--{f}=my hints/{NAME}_{f}.png" for f in ("foreground", "background")),
    ]


def test_a_straight_line_a_rectangle_and_clear(sheet):
    one = sheet(task="inpaint")
    size = one.brush
    one.drag((10, 10))
    one.page.keyboard.down("Shift")
    one.drag((70, 25))
    one.page.keyboard.up("Shift")
    missing = 255 - one.save()["mask"]
    assert_painted(missing, ((10, 10), (70, 25), size))
    one.press("r")
    one.drag((80, 55), (30, 40))
    missing = 255 - one.save()["mask"]
    assert (missing[40:56, 30:81] == 255).all()
    inside = (slice(40, 56), slice(30, 81))
    missing[inside] = 0
    assert_painted(missing, ((10, 10), (70, 25), size))
    ways = [command[1:5] for command in one.commands()]
    assert [f"--mask=my hints/{NAME}_mask.png" in way for way in ways] == [True, True]
    one.page.click("#clear")
    assert one.page.locator("#save").is_disabled()
    one.press("Control+z")
    assert (one.save()["mask"] == 0).sum() > 16 * 51


def test_keys_alone_paint_and_draw_a_box(sheet):
    one = sheet(task="unwatermark")
    one.page.locator("#easel").focus()
    one.press("2", *["Shift+ArrowRight"] * 3, *["Shift+ArrowUp"] * 2, "Enter")
    one.press(*["Shift+ArrowRight"] * 10, *["Shift+ArrowDown"] * 7, "Enter")
    x, y = WIDTH // 2 + 3, HEIGHT // 2 - 2
    box = f"--box={y},{x},{y + 8},{x + 11}"
    assert one.page.inner_text("#box") == box
    assert one.commands()[0][-1] == box
    one.press("Control+z")
    assert not one.page.locator("#box").is_visible()
    one.press("1", "Enter", *["Shift+ArrowLeft"] * 9, "Enter")
    size, end = one.brush, (x + 10, y + 7)
    mark = (end, (end[0] - 9, end[1]), size)
    assert_painted(one.save()["mask"], mark)
    one.press("Control+y")
    assert not one.page.locator("#box").is_visible(), "a new stroke forgets what was undone"
    assert one.commands()[0][-1] == f"--mask=my hints/{NAME}_mask.png"
    one.press("Enter", *["ArrowRight"] * 5, "Escape", "2")
    one.drag((5, 4), (14, 9))
    assert "contains the box" in one.page.inner_text("#box")
    mask = one.save()["mask"]
    assert (mask[4:10, 5:15] == 255).all()
    mask[4:10, 5:15] = 0
    assert_painted(mask, mark)


def test_a_finger_paints_and_two_zoom(sheet):
    one = sheet(width=390, options={"has_touch": True, "is_mobile": True, "device_scale_factor": 2})
    assert one.page.evaluate("document.documentElement.scrollWidth") <= 390
    session = one.page.context.new_cdp_session(one.page)

    def touch(*moments):
        for number, points in enumerate(moments):
            kind = "touchMove" if number and points else "touchEnd" if not points else "touchStart"
            if number and len(points) > len(moments[number - 1]):
                kind = "touchStart"
            points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    ends = (30, 20), (60, 35)
    start, stop = map(one.at, ends)
    touch([start], [stop], [])
    painted = one.save()["foreground"]
    assert_painted(painted, (*ends, one.brush))
    start = one.at((65, 10))  # on the page that saving has scrolled
    far = [start[0] - 60, start[1]]
    touch([start], [start, far], [start, [far[0] - 60, far[1]]], [])
    np.testing.assert_array_equal(one.save()["foreground"], painted)
    zoomed = one.page.evaluate("view.scale / view.fitScale")
    assert zoomed == pytest.approx(2, abs=0.05)
    x, y = one.page.evaluate("[view.x, view.y]")
    box, scale = one.page.locator("#easel").bounding_box(), one.page.evaluate("view.scale")
    middle = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
    one.page.touchscreen.tap(*middle)
    seen = [np.floor(n + box[a] / 2 / scale) for n, a in ((x, "width"), (y, "height"))]
    assert_painted(one.save()["foreground"], (*ends, one.brush), (seen, seen, one.brush))


def test_the_wheel_zooms_about_the_pointer_and_space_moves(sheet):
    one = sheet()
    target = one.at((70, 20))
    one.page.mouse.move(*target)
    one.page.mouse.wheel(0, -700)
    one.page.wait_for_function("view.scale > 2 * view.fitScale")
    one.press("[", "[", "[", "[")
    one.page.mouse.click(*target)
    assert_painted(one.save()["foreground"], ((70, 20), (70, 20), one.brush))
    before = one.page.evaluate("view.x")
    one.page.locator("#easel").focus()
    one.page.mouse.move(*target)
    one.page.keyboard.down("Space")
    one.page.mouse.down()
    one.page.mouse.move(target[0] + 50, target[1])
    one.page.mouse.up()
    one.page.keyboard.up("Space")
    moved = one.page.evaluate("[view.x, view.scale]")
    assert before - moved[0] == pytest.approx(50 / moved[1], abs=0.01)
    one.press("0")
    assert one.page.evaluate("view.scale === view.fitScale")
    assert (one.save()["foreground"] == 255).sum() < 20


def test_painted_files_are_continued_and_the_mask_of_a_run_is_shown(sheet):
    hints = {
        "foreground": line((20, 20), (40, 30), 7)[0],
        "background": line((70, 5), (75, 55), 5)[0],
    }
    result = np.where(COLUMNS < 45, np.float32(1), np.float32(0.1))
    one = sheet(painted=hints, result=result, workdir="my run")
    saved = one.save(2)
    for name, hint in hints.items():
        np.testing.assert_array_equal(saved[name] == 255, hint)
    assert one.commands()[0][-1] == "--workdir=my run"
    colours = {}
    for opacity in (0, 80):
        one.page.locator("#opacity").fill(str(opacity))
        colours[opacity] = {p: colour(one, p) for p in ((10, 50), (60, 50), (30, 25), (72, 30))}
    assert abs(colours[0][10, 50] - PHOTO[50, 10]).max() <= 12
    assert abs(colours[0][60, 50] - PHOTO[50, 60]).max() <= 12
    covered = 0.8 * np.array([16, 20, 40]) + 0.2 * PHOTO[50, 60]
    assert abs(colours[80][60, 50] - covered).max() <= 5, "what the mask leaves out"
    assert abs(colours[80][10, 50] - PHOTO[50, 10]).max() <= 12
    for point, mean in (((30, 25), [0, 200, 255]), ((72, 30), [255, 123, 0])):
        blend = 0.65 * np.array(mean) + 0.35 * PHOTO[point[1], point[0]]
        assert abs(colours[0][point] - blend).max() <= 12
    one.press("h")
    assert abs(colour(one, (30, 25)) - PHOTO[25, 30]).max() <= 12


def colour(one, point):
    """What the screen shows in the middle of a pixel."""
    one.page.mouse.move(0, 0)
    one.page.evaluate("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")
    x, y = one.at(point)
    clip = {"x": round(x), "y": round(y), "width": 1, "height": 1}
    picture = Image.open(io.BytesIO(one.page.screenshot(clip=clip))).convert("RGB")
    return np.asarray(picture).astype(int)[0, 0]


def test_parts_are_copied_for_an_edit(sheet):
    one = sheet(task="edit")
    assert "copied" in one.page.inner_text("#todo")
    one.drag((10, 8), (24, 19))
    one.drag((15, 12), (45, 33))
    wanted = PHOTO.copy()
    wanted[29:41, 40:55] = PHOTO[8:20, 10:25]
    np.testing.assert_array_equal(one.save()["layout"], wanted)
    one.press("2")
    one.drag((80, 50))
    saved = one.save(2)
    assert_painted(saved["mask"], ((80, 50), (80, 50), one.brush))
    assert one.commands()[0][-2:] == [
        f"--config.{f}=my hints/{NAME}_{f}.png" for f in ("layout", "mask")
    ]
    one.press("Control+z", "Control+z")
    assert one.page.locator("#save").is_disabled()
    one.press("Control+y")
    np.testing.assert_array_equal(one.save()["layout"], wanted)
    one.page.click("#clear")
    assert one.page.locator("#save").is_disabled()
    one.press("Control+z")
    np.testing.assert_array_equal(one.save()["layout"], wanted)


def test_files_are_written_into_a_chosen_folder(sheet):
    evil = "\"></script><script>alert('1')%41#?ü&amp;".replace("/", "\\")
    one = sheet(image=PHOTO[..., 0], name=evil)
    assert one.page.inner_text("h1").startswith(f"{evil}.png")
    assert one.commands()[0][2] == f"{evil}.png"
    one.page.evaluate("""() => {
      window.written = [];
      window.showDirectoryPicker = async () => ({
        getFileHandle: async (name) => ({ createWritable: async () => ({
          write: async (blob) => written.push([name, blob.size]), close: async () => {},
        }) }),
      });
    }""")
    leave = "dispatchEvent(new Event('beforeunload', { cancelable: true }))"
    assert one.page.evaluate(leave)
    one.drag((10, 10), (20, 20))
    assert not one.page.evaluate(leave), "asks whether to leave"
    one.page.click("#into")
    one.page.wait_for_function("document.querySelector('#said').textContent.startsWith('Saved')")
    ((name, size),) = one.page.evaluate("written")
    assert name == f"{evil}_foreground.png"
    assert size > 60
    assert one.page.evaluate(leave)
    one.press("Control+z")
    assert not one.page.evaluate(leave)
    one.press("Control+y")
    assert one.page.evaluate(leave)


def test_dark_and_narrow(sheet):
    one = sheet()
    for width in (340, 1000):
        one.page.set_viewport_size({"width": width, "height": 700})
        for scheme, least, most in (("dark", 0, 60), ("light", 200, 255)):
            one.page.emulate_media(color_scheme=scheme)
            assert one.page.evaluate("document.documentElement.scrollWidth") <= width
            style = one.page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert least <= np.mean([int(n) for n in re.findall(r"\d+", style)]) <= most
        for button in one.page.locator("button:visible").all():
            assert button.bounding_box()["height"] >= 32
            assert button.inner_text().strip()
