from deepinternal.codecs import decoding as decoding
from deepinternal.codecs import export as export
from deepinternal.codecs import image_io as image_io
from deepinternal.codecs import jpeg as jpeg
from deepinternal.codecs import kernel_io as kernel_io
from deepinternal.codecs import metadata as metadata
from deepinternal.codecs import png as png
from deepinternal.codecs import video_io as video_io
