"""Metadata for the tests: an EXIF block of a phone, XMP packets, profiles of several kinds."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
from PIL import Image, ImageCms

from deepinternal.codecs import image_io
from tests.codecs.image_samples import png_bytes

XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
    'tiff:Orientation="6" tiff:Make="Maker" GCamera:MotionPhoto="1" xmp:Rating="4">'
    "<dc:creator><rdf:Seq><rdf:li>Jö &amp; Co</rdf:li></rdf:Seq></dc:creator>"
    "<tiff:ImageWidth>40</tiff:ImageWidth></rdf:Description></rdf:RDF></x:xmpmeta>"
    '<?xpacket end="w"?>'
).encode()


def picture(height=24, width=40):
    """(H, W, 3) uint8 with colours in all directions."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    return np.round(np.stack([y, x, 1 - x], -1) * 255).astype(np.uint8)


def phone_exif(order="II"):
    """A block as a phone writes it: turned by 6, with place, maker's note and thumbnail."""
    exif = Image.Exif()
    exif.endian = "<" if order == "II" else ">"
    exif.update({271: "Maker", 272: "Phone 12", 274: 6, 305: "17.1", 306: "2024:01:02 03:04:05"})
    exif.update({282: 72.0, 283: 144.0, 296: 2, 256: 40, 257: 24})
    photo = exif.get_ifd(0x8769)
    photo |= {36864: b"0232", 36867: "2024:01:02 03:04:05", 37500: bytes(300), 40962: 40, 40963: 24}
    photo |= {40961: 65535, 37396: (1, 2, 3, 4), 33437: 1.8, 42036: "lens"}
    gps = exif.get_ifd(0x8825)
    gps |= {1: "N", 2: (48.0, 8.0, 12.25), 3: "E", 4: (11.0, 34.0, 5.0)}
    small = io.BytesIO()
    Image.fromarray(picture()).resize((16, 8)).save(small, "JPEG")
    return _with_thumbnail(exif.tobytes().removeprefix(b"Exif\0\0"), small.getvalue())


def _with_thumbnail(block, jpeg):
    """The block with a second directory that holds a JPEG."""
    form, block = "<" if block[:2] == b"II" else ">", bytearray(block + b"\0" * (len(block) % 2))
    first = struct.unpack_from(f"{form}I", block, 4)[0]
    count = struct.unpack_from(f"{form}H", block, first)[0]
    place = len(block)
    struct.pack_into(f"{form}I", block, first + 2 + 12 * count, place)
    tags = [(259, 6), (513, place + 2 + 36 + 4), (514, len(jpeg))]
    block += struct.pack(f"{form}H", 3)
    block += b"".join(struct.pack(f"{form}HHII", tag, 4, 1, value) for tag, value in tags)
    return bytes(block) + bytes(4) + jpeg


def srgb_profile():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


ADOBE_RGB = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
P3 = (0.68, 0.32, 0.265, 0.69, 0.15, 0.06)


def profile(gamma, primaries=(0.64, 0.33, 0.30, 0.60, 0.15, 0.06), white=(0.3127, 0.3290)):
    """A profile of an exponent, or of a curve as a table, with chromaticities; None: for grey."""
    curve = {"transferfunction": gamma} if isinstance(gamma, np.ndarray) else {"gamma": gamma}
    if primaries is not None:
        curve["primaries"] = [n for x, y in zip(primaries[::2], primaries[1::2]) for n in (x, y, 1)]
    return imagecodecs.cms_profile(
        "gray" if primaries is None else "rgb", whitepoint=(*white, 1), **curve
    )


def cmyk_profile():
    """A profile made of a table: RGB = (1 - ink) (1 - black), in Lab of the connection space."""
    inks = np.stack(np.meshgrid(*[[0, 1]] * 4, indexing="ij"), -1).reshape(16, 4)
    rgb = np.round(255 * (1 - inks[:, :3]) * (1 - inks[:, 3:])).astype(np.uint8)[None]
    lab = ImageCms.profileToProfile(
        Image.fromarray(rgb),
        ImageCms.createProfile("sRGB"),
        ImageCms.createProfile("LAB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="LAB",
    )
    table = np.asarray(lab)[0].copy()
    table[:, 1:] ^= 128
    ramp = bytes(range(256))
    unit = struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    content = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + unit + ramp * 4 + table.tobytes() + ramp * 3
    text = b"Test inks\0"
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78)}
    tags[b"A2B0"] = content
    table, data, start = struct.pack(">I", 2), b"", 132 + 24
    for name, body in tags.items():
        table += struct.pack(">4sII", name, start + len(data), len(body))
        data += body + b"\0" * (-len(body) % 4)
    header = bytearray(128)
    header[0:4] = struct.pack(">I", start + len(data))
    header[8:24] = b"\x02\x10\0\0prtrCMYKLab "
    header[36:40] = b"acsp"
    header[68:80] = struct.pack(">3i", 63190, 65536, 54061)
    return bytes(header) + table + data


def in_srgb(image):
    """The pixels of an opened image in sRGB, by Little CMS and the profile in its own file."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    goal = ImageCms.createProfile("sRGB")
    return np.asarray(ImageCms.profileToProfile(image, source, goal, renderingIntent=1)).astype(int)


def png_with(path, *chunks, samples=None):
    """Writes a PNG with further chunks (kind, data), and reads it."""
    extra = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    path.write_bytes(png_bytes(picture() if samples is None else samples, extra=extra))
    return image_io.read_image(path)
