"""EXIF data and XMP packets: keeps what stays true for a result, which is upright and of another size.

Tags that describe how the input was stored, thumbnails, and positions in pixels are left out, as are
the notes of a camera's maker, whose contents point to places in the input file.
"""

import io
import re
import struct
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO
from xml.dom import minidom

_EXIF, _GPS, _INTEROP = 34665, 34853, 40965  # tags that point to further directories
# Tags of the main directory that describe the photograph: title, camera, program, date, artist,
# copyright, rating, and the titles, comments, authors, keywords and subjects of Windows.
_DESCRIPTIVE = {270, 271, 272, 305, 306, 315, 316, 33432, 18246, 18249, *range(40091, 40096)}
# Tags that are read besides them.
_OTHERS = {"photometric": 262, "x": 282, "y": 283, "unit": 296, "icc_profile": 34675, "xmp": 700}
# Of the EXIF directory: layout of a JPEG, maker's notes, sizes, positions, resolution of the sensor in
# the pixels of the input, and the identity of the input.
_UNTRUE = {37121, 37122, 37500, 37396, 41492, 41486, 41487, 41488, 42016, 40962, 40963}
_LAYOUT = re.compile(rb'\s*(\{"shape"|ImageJ=|<\?xml|<OME)')  # in the title, by other programs
EMPTY = b"II*\0\x08\0\0\0" + bytes(6)  # a block without tags

# Namespaces of XMP that repeat EXIF data, or describe gain maps, depth maps, motion photographs,
# panoramas, regions, and further parts of the input's file.
_ABSENT = re.compile(
    "ns.adobe.com/(tiff|exif)/|gain-?map|pixeldatainfo|google|regions|microsoft.com/photo/1.2|xmp/note",
    re.IGNORECASE,
)
_LONGEST = 1_000_000  # bytes of a packet


def read(file: BinaryIO, offset: int | None = None) -> tuple[bytes, dict[str, Any]]:
    """Reads a TIFF file, or a block of EXIF data, which has the same structure.

    Args:
        file: The file.
        offset: The position of its main directory; None: that of the first one.

    Returns:
        A block of EXIF data with the tags that stay true, and the values of `_OTHERS` by name, with
        'adobe_rgb': whether the colours are Adobe RGB, as cameras say it without a profile.

    Raises:
        Exception: The data are damaged; Pillow raises several kinds.
    """
    wanted = {*_DESCRIPTIVE, *_OTHERS.values(), _EXIF, _GPS}
    root = _directory(file, offset, None, wanted.__contains__)
    photo = _directory(file, root.pop(_EXIF, 0), _EXIF, lambda tag: tag not in _UNTRUE)
    gps = _directory(file, root.pop(_GPS, 0), _GPS)
    interop = _directory(file, photo.pop(_INTEROP, 0), _INTEROP)
    others = {name: root.pop(tag, None) for name, tag in _OTHERS.items()}
    others["adobe_rgb"] = interop.get(1) == b"R03"
    if _LAYOUT.match(root.get(270, b"")):
        del root[270]
    is_empty = not (len(root) or len(photo) or len(gps))
    return b"" if is_empty else _packed(root, photo, gps), others


def _directory(
    file: BinaryIO,
    offset: int | None,
    group: int | None,
    wanted: Callable[[int], bool] = lambda tag: True,
) -> Any:
    """Returns the wanted tags at a position as Pillow's `ImageFileDirectory_v2`; none at 0."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    file.seek(0)
    head = file.read(16)
    # The byte order is given apart, because Pillow knows only the little-endian mark of BigTIFF.
    mark = b"II+\0" + head[4:] if 43 in head[2:4] else b"II*\0" + head[4:8]
    found = ImageFileDirectory_v2(mark, head[:2], group)
    if offset != 0:
        file.seek(found.next if offset is None else offset)
        found.load(file)
    made = ImageFileDirectory_v2(prefix=head[:2], group=group)
    for tag in filter(wanted, found):
        made.tagtype[tag], value = found.tagtype[tag], found[tag]
        # As bytes, because Pillow would write '?' for letters beyond ASCII.
        made[tag] = value.encode("latin-1") if isinstance(value, str) else value
    return made


def _packed(root: Any, photo: Any, gps: Any) -> bytes:
    """Returns a TIFF structure whose last part is the main directory with its values."""
    order, body = "<" if root.prefix == b"II" else ">", b""
    for tag, part in ((_EXIF, photo), (_GPS, gps)):
        if len(part):
            root[tag] = 8 + len(body)
            body += part.tobytes(8 + len(body))
    start = 8 + len(body)
    return root.prefix + struct.pack(f"{order}HI", 42, start) + body + root.tobytes(start)


def encode(
    block: bytes,
    size: tuple[int, int],
    dpi: tuple[float, float] | None,
    *,
    is_srgb: bool,
    image: Mapping[int, Any] | None = None,
) -> bytes:
    """Returns a block of EXIF data that is true for an image.

    Args:
        block: The data that `read` returned; none: only the other facts are written.
        size: The (height, width) of the image.
        dpi: Its pixels per inch (horizontal, vertical), or None.
        is_srgb: Whether it has no colour profile.
        image: The further tags of a TIFF file, of which the block is the first part. The strip
            offset 0 in it means the place after the block.
    """
    file = io.BytesIO(block or EMPTY)
    root = _directory(file, None, None)
    photo, gps = (_directory(file, root.pop(tag, 0), tag) for tag in (_EXIF, _GPS))
    if dpi:
        root.update({282: dpi[0], 283: dpi[1], 296: 2})
    if len(photo):
        photo.update({40961: 1 if is_srgb else 65535, 40962: size[1], 40963: size[0]})
    root.update(image or {})
    return _packed(root, photo, gps)


def cleaned(packet: bytes) -> bytes:
    """Returns an XMP packet without the properties that are not true of a result.

    Raises:
        Exception: The packet is damaged, too long, or declares a document type.
    """
    if b"<!DOCTYPE" in packet:
        raise ValueError("a document type")
    document = minidom.parseString(packet.strip(b"\0 \r\n\t")[:_LONGEST])
    for node in document.getElementsByTagName("*"):
        for attribute in list(node.attributes.values()):
            if _is_untrue(attribute):
                node.removeAttributeNode(attribute)
        if _is_untrue(node) and node.parentNode is not None:
            node.parentNode.removeChild(node)
    return document.toxml("utf-8").partition(b"?>")[2]


def _is_untrue(node: Any) -> bool:
    is_absent = _ABSENT.search(node.namespaceURI or "")
    return bool(is_absent) or node.localName in ("Orientation", "Thumbnails")
