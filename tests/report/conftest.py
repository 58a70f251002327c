"""A real browser without a network, for the tests of pages."""

import os
import shutil

import pytest

FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
--disable-background-networking --disable-component-update --force-color-profile=srgb"""


@pytest.fixture(scope="module")
def chromium():
    found = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    path = next(found, None)
    if path is None:
        require = os.environ.get("DEEPINTERNAL_REQUIRE_BROWSER") == "1"
        (pytest.fail if require else pytest.skip)("no Chromium; apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS.split())
        yield browser
        browser.close()


class Seen:
    """A page without a network, and what it asked for and said."""

    def __init__(self, browser, **options):
        self.asked, self.wrong = [], []
        self._context = browser.new_context(offline=True, **options)
        self._context.on("request", lambda request: self.asked.append(request.url))
        self.page = self._context.new_page()
        self.page.set_default_timeout(10_000)
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda box: (self.wrong.append(box.message), box.dismiss()))

    def go(self, path, width=1000, height=800):
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.goto(path.as_uri())
        return self.page

    def check(self):
        """Nothing may be asked of a network, nothing may go wrong."""
        assert not self.wrong
        assert self.asked
        assert not [u for u in self.asked if not u.startswith(("file:", "data:", "blob:"))]
        self.asked.clear()
