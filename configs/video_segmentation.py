"""Double-DIP segmentation of a video. Presets: default, fast, smoke.

    python -m launch.main --config=configs/video_segmentation.py:fast --workdir=DIR \
        --config.input=clip.mp4 --config.foreground=first_fg.png --config.background=first_bg.png

The input is a video file (extra `video`) or a folder of frames; hints are masks of the first frame, or
a folder of masks, one for each frame; without them they come from the video itself. Fields:
`deepinternal.methods.double_dip.video`.
"""

import ml_collections

from configs.common import with_presets


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The config with the presets named in `arg`, joined by commas."""
    return with_presets("video_segmentation", arg)
