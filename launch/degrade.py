"""Degrades images with a known blur kernel, noise and compression, to benchmark with a ground truth.

    python -m launch.degrade --input=photos/ --out=bench --kernel=div2krk
    python -m launch.main --config=zssr:fast,kernel --config.input=bench --config.kernel=bench ...

--out is a new folder. For each image, it receives the degraded STEM.png (STEM.jpg with --jpeg), the
original STEM_gt.png and the blur kernel STEM_kernel.mat. degradation.json records the settings.
"""

import sys

from deepinternal.cli import console

if __name__ == "__main__":
    console.main(["degrade", *sys.argv[1:]])
