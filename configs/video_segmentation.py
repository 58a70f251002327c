"""Double-DIP segmentation of a video. Its recipe: `deepinternal.methods.double_dip.video.RECIPE`.

    python -m launch.main --config=configs/video_segmentation.py:fast --workdir=DIR \
        --config.input=clip.mp4 --config.foreground=first_fg.png --config.background=first_bg.png

The input is a video file (extra `video`) or a folder of frames. Hints are masks of the first frame, or
folders with one mask for each frame, black in frames without hints. Without them, hints are estimated
from the video.
"""

import ml_collections

from deepinternal.methods import find
from deepinternal.runs.settings import to_config_dict


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """Returns the config with the presets named in `arg`, joined by commas."""
    return to_config_dict(find("video_segmentation"), arg)
