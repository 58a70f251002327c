"""Retargets an image to other sizes and shapes, or makes a video of them.

    python -m launch.retarget --input=photo.png --scale=1,2 --out=wide.png
    python -m launch.retarget --workdir=DIR --size=224,544 --out=wide.png
    python -m launch.retarget --workdir=DIR --scale=1,2 --scale=2,1 --out=made.png
    python -m launch.retarget --workdir=DIR --collage --out=collage.png
    python -m launch.retarget --workdir=DIR --video=zoom --out=zoom.mp4

With --input, the patches of the image make the results, without training. With --workdir, the InGAN
that was trained in that work folder makes them. Several sizes are written to OUT-HxW. --nonrect, for
a trained InGAN, makes a grid of non-rectangular images.
"""

import sys

from deepinternal.cli import console

if __name__ == "__main__":
    console.main(["retarget", *sys.argv[1:]])
