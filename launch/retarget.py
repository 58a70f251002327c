"""Makes images of other sizes and shapes, and videos of them, from an image or with a trained InGAN.

    python -m launch.retarget --input=photo.png --scale=1,2 --out=wide.png
    python -m launch.retarget --workdir=DIR --size=224,544 --out=wide.png
    python -m launch.retarget --workdir=DIR --scale=1,2 --scale=2,1 --out=made.png
    python -m launch.retarget --workdir=DIR --collage --out=collage.png
    python -m launch.retarget --workdir=DIR --video=zoom --out=zoom.mp4

Without --workdir, results are made of the patches of the image, without training. Several sizes are
written to OUT-HxW. --nonrect makes a picture of non-rectangular shapes, with a trained InGAN.
"""

import sys

from deepinternal.cli import console

if __name__ == "__main__":
    console.main(["retarget", *sys.argv[1:]])
