"""The page for painting in a browser, for tests: drags, keys, and what is saved."""

import shlex

import numpy as np
from PIL import Image

from deepinternal.codecs import masks
from tests.report.conftest import Seen

NAME = "it's a photo"  # which a shell must be told of


class Sheet:
    """The page, with points given in pixels of the image as (x, y)."""

    def __init__(self, browser, options):
        self.seen = Seen(browser, **options)
        self.page = self.seen.page

    def open(self, path, width, shape):
        self.seen.go(path, width=width)
        self.page.wait_for_selector("body[data-ready]")
        self.shape = shape
        return self

    def at(self, point):
        """The place on the screen of the middle of a pixel, while the whole image is shown."""
        box = self.page.locator("#easel").bounding_box()
        scale = min(box["width"] / self.shape[1], box["height"] / self.shape[0], 8)
        return [
            box[a] + box[n] / 2 + scale * (p + 0.5 - length / 2)
            for a, n, p, length in zip("xy", ("width", "height"), point, self.shape[1::-1])
        ]

    def drag(self, *points):
        self.page.mouse.move(*self.at(points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.at(point))
        self.page.mouse.up()

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    @property
    def brush(self):
        return int(self.page.inner_text("#pixels").removesuffix(" px"))

    def save(self, count=1):
        """The saved files as arrays, by what their names add to that of the image."""
        caught = []

        def keep(one):
            caught.append(one)

        self.page.on("download", keep)
        assert len(self.page.inner_text("#names").split(", ")) == count
        self.page.click("#save")
        while len(caught) < count:
            self.page.wait_for_timeout(10)
        self.page.remove_listener("download", keep)
        found = {}
        for one in caught:
            field = one.suggested_filename.removeprefix(f"{NAME}_").removesuffix(".png")
            image = Image.open(one.path())
            assert image.size == self.shape[1::-1]
            assert image.mode == ("RGB" if field == "layout" else "L")
            found[field] = np.array(image)
            if field != "layout":
                assert set(np.unique(found[field])) <= {0, 255}
                read, remarks = masks.read_masks([one.path()])
                np.testing.assert_array_equal(read[0], found[field] / 255)
                assert not remarks
        return found

    def commands(self):
        return [shlex.split(text) for text in self.page.locator("#commands code").all_inner_texts()]
