"""What an image file says besides its samples."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What an image file says besides its samples; None where it says nothing.

    Attributes:
        profile: The ICC profile of its colours.
        exif: The EXIF block, without the prefix that JPEG puts before it.
        xmp: The XMP packet.
        dpi: Pixels per inch, horizontal and vertical.
    """

    profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None


NONE = Metadata()
