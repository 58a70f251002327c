"""Degrades images by a known blur kernel, noise and compression: a benchmark with its truth.

    python -m launch.degrade --input=photos/ --out=bench --kernel=div2krk
    python -m launch.main --config=zssr:fast,kernel --config.input=bench --config.kernel=bench ...

--out is a new folder. It gets for each image the degraded STEM.png (with --jpeg STEM.jpg), the original
STEM_gt.png and the blur kernel STEM_kernel.mat; degradation.json says what was done.
"""

import sys

from deepinternal.cli import console

if __name__ == "__main__":
    console.main(["degrade", *sys.argv[1:]])
