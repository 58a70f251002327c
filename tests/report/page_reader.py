"""Reads pages as a browser does: their tags, texts and pictures."""

import base64
import html.parser
import io

import numpy as np
from PIL import Image

EVIL = "</script><script>alert(1)</script>&\"'%41#?ü"
VOID = ("meta", "link", "img", "path", "circle", "wbr")


class Page(html.parser.HTMLParser):
    """Tags with their attributes, and the text outside of style and scripts."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self.scripts, self._open = [], "", [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open.pop() == tag, "tags are closed in order"

    def handle_data(self, data):
        if self._open[-1:] == ["script"]:
            self.scripts.append(data)
        elif self._open[-1:] != ["style"]:
            self.text += data

    def all(self, tag, **attrs):
        return [a for name, a in self.tags if name == tag and attrs.items() <= a.items()]


def shown(address):
    kind, data = address.split(",", 1)
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
