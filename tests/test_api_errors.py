"""Whatever is wrong with an argument is said in one line that names it, by every call."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import deepinternal as di
from deepinternal import methods
from deepinternal.methods import fit
from deepinternal.nets.skip import SkipNet
from deepinternal.types import InputError, Output

IMAGE = np.full((40, 48, 3), 128, np.uint8)
MASK = np.ones((40, 48))
CALLS = {
    "run": lambda image, **o: di.run("zssr", image, **o),
    "super_resolve": di.super_resolve,
    "estimate_kernel": di.estimate_kernel,
    "denoise": di.denoise,
    "inpaint": lambda image, **o: di.inpaint(image, MASK, **o),
    "segment": lambda image, **o: di.segment(image, MASK, 0 * MASK, **o),
    "dehaze": di.dehaze,
    "separate": di.separate,
    "remove_watermark": lambda image, **o: di.remove_watermark(image, MASK, **o),
    "train_retargeter": di.train_retargeter,
    "retarget": lambda image, **o: di.retarget(image, scale=1, **o),
    "generate": di.generate,
}


class OnAnotherDevice:
    """As tensors of other libraries are."""

    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert a tensor on device cuda:0.\nUse Tensor.cpu() first.")


IMAGES = {
    "none": (None, "image: is None; give an array"),
    "a file's name": ("a.png", "image: is of type str; give an array"),
    "a dict": ({}, "image: is of type dict; give an array"),
    "a function": (len, "image: values of type object; give an array of real numbers"),
    "a number": (5, "image: shape () is not an image"),
    "a row": (np.ones(5), "image: shape (5,) is not an image"),
    "too many axes": (np.ones((2,) * 5), "is not an image"),
    "five channels": (np.ones((40, 40, 5)), "image: shape (40, 40, 5) is not an image"),
    "no pixels": (np.zeros((0, 5, 3)), "image: shape (0, 5, 3) has no pixels"),
    "NaN": (np.full((40, 40), np.nan), "image: NaN"),
    "negative": (np.full((40, 40), -0.5), "image: float values in [-0.5, -0.5]; scale them to"),
    "up to 255": (IMAGE * 1.0, "image: float values in [128, 128]; scale them to [0, 1]"),
    "integers": (IMAGE.astype(int), "image: values of type int64; give uint8, uint16"),
    "objects": (np.array([[None]]), "image: values of type object; give an array of real"),
    "complex": (IMAGE * 1j, "image: values of type complex128; give an array of real numbers"),
    "on a device": (
        OnAnotherDevice(),
        "image: cannot be converted to an array (can't convert a tensor",
    ),
}
OPTIONS = {
    "preset none": ({"preset": None}, "preset=None: give names of presets"),
    "preset number": ({"preset": 123}, "preset=123: give names of presets"),
    "preset list": ({"preset": ["fast"]}, "preset=['fast']: give names of presets"),
    "preset unknown": ({"preset": "fsat"}, "no preset 'fsat', did you mean fast"),
    "seed negative": ({"seed": -1}, "config.seed=-1: must be a whole number from 0"),
    "seed text": ({"seed": "x"}, "config.seed=x: must be a whole number from 0"),
    "seed none": ({"seed": 1.5}, "config.seed=1.5: must be a whole number from 0"),
    "callback": ({"callback": 3}, "callback=3: give a function of (step, metrics)"),
    "unknown": ({"stepz": 1}, "config.stepz: there is no such field, did you mean steps?"),
    "steps": ({"steps": -1}, "config.steps=-1: must be a whole number of at least 0"),
    "steps NaN": ({"steps": np.nan}, "config.steps=nan: must be a whole number of at least 0"),
    "steps list": ({"steps": [1]}, "config.steps=[1]: must be a whole number of at least 0"),
}


def refused(message, function, *arguments, **options):
    with pytest.raises(InputError) as error:
        function(*arguments, **options)
    assert "\n" not in str(error.value)
    assert message in str(error.value)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("image", "message"), IMAGES.values(), ids=IMAGES)
def test_images(call, image, message):
    refused(message, CALLS[call], image, steps=1)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("options", "message"), OPTIONS.values(), ids=OPTIONS)
def test_options(call, options, message):
    refused(message, CALLS[call], IMAGE, **options)


class Flat(nn.Module):
    """Returns no image."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x).mean((1, 2))


OWN = {
    "net number": ({"net": 3}, "give an instance of a linen module"),
    "net function": ({"net": lambda x: x}, "give an instance of a linen module"),
    "net class": ({"net": Flat}, "give an instance of a linen module"),
    "net flat": ({"net": Flat()}, "net: returns (1, 3) for"),
    "net text": ({"net": "subpixell"}, "config.net=subpixell: must be one of"),
    "down number": ({"down": 3}, "down: cannot be traced for (40, 48, 3) (TypeError"),
    "down NumPy": ({"down": lambda x: np.asarray(x)[::2]}, "down: cannot be traced for"),
    "down size": ({"down": lambda x: x}, "down: returns (40, 48, 3) for (40, 48, 3)"),
    "down none": ({"down": lambda x: None}, "down: returns None for"),
    "scale": ({"scale": "x"}, "config.scale=x: must be"),
    "scale nan": ({"scale": float("nan")}, "config.scale=nan: must be"),
    "output_shape": ({"output_shape": (9,)}, "config.output_shape=(9,): must be"),
    "kernel": ({"kernel": "k.mat"}, "kernel=k.mat: give an array"),
    "kernel objects": ({"kernel": np.array([[None]])}, "kernel: values of type object"),
    "kernel NaN": ({"kernel": np.full((3, 3), np.nan)}, "kernel"),
}


@pytest.mark.parametrize(("options", "message"), OWN.values(), ids=OWN)
def test_options_of_super_resolve(options, message):
    refused(message, di.super_resolve, IMAGE, **{"steps": 1, "crop": 48, **options})


def test_side_inputs_and_lists():
    refused("the mask is 5x5 but image is 40x48", di.inpaint, IMAGE, np.ones((5, 5)))
    refused("mask: values of type object", di.inpaint, IMAGE, np.array([[None]]))
    refused("mask=m.png: give an array", di.inpaint, IMAGE, "m.png")
    refused("foreground: is of type set", di.segment, IMAGE, {1}, MASK)
    refused("config.box=(1, 2, 3): must be", di.remove_watermark, IMAGE, box=(1, 2, 3))
    refused("config.airlight", di.dehaze, IMAGE, airlight=object())
    refused("images: has 3 images; this needs exactly 2", di.separate, [IMAGE] * 3)
    refused("image[1]: is None; give an array", di.separate, [IMAGE, None])
    refused("images of one job must have the same size", di.separate, [IMAGE, IMAGE[:36]])


def test_names_of_methods_and_folders(tmp_path):
    for call in (lambda name: di.run(name, IMAGE), di.presets, di.fields, methods.make):
        refused("method None: give its name as text", call, None)
        refused("no method 'zss', did you mean zssr", call, "zss")
        refused("cannot be loaded", call, "no_such_package:RECIPE")
    refused("preset=3: give names of presets", di.fields, "zssr", preset=3)
    refused("recipe: is of type str; give a deepinternal Recipe", di.methods.register, "zssr")
    refused("workdir=None: give the path of a folder", di.load, None)
    refused("holds no results of a run (no config.json)", di.load, tmp_path)
    refused("image: is of type str; give an array", di.retarget, "folder", (40, 40))


@pytest.mark.parametrize("spec", [None, 3, "x", [40, 48, 3], {"image": None}, {"image": 3}])
def test_specs(spec):
    refused("give arrays or shapes, such as (256, 256, 3)", methods.make, "zssr", {}, spec)


def test_fields_of_make():
    for fields in (3, "x", [1]):
        refused("fields: is of type", methods.make, "zssr", fields, (40, 48, 3))
    refused("config.3: there is no such field", methods.make, "zssr", {3: 3}, (40, 48, 3))
    refused("zssr: takes no foo", methods.make, "zssr", {}, (40, 48, 3), foo=3)


@pytest.fixture(scope="module")
def method():
    return methods.make("zssr", {"steps": 1, "crop": 16}, (40, 48, 3), preset="fast")


def test_inputs_of_fit(method):
    image = IMAGE / 255
    refused("method: is of type str; give a Method", di.fit, "zssr", {"image": image})
    refused("inputs: is of type ndarray; give arrays by name", di.fit, method, image)
    for given, message in {
        "none": (None, "inputs['image']: is None"),
        "text": ("a", "inputs['image']: is of type str"),
        "uint8": (IMAGE, "inputs['image']: values of type uint8; give images as float in [0, 1]"),
        "uint16": (IMAGE.astype(np.uint16), "such as image / 65535"),
        "integers": (IMAGE.astype(int), "image must hold the kind of numbers"),
        "objects": (np.array([None]), "inputs['image']: values of type object"),
        "ragged": ([[1], [1, 2]], "inputs['image']: cannot be converted to an array"),
        "NaN": (image * np.nan, "inputs['image']: contains NaN"),
        "nested": ({"a": image}, "was made for image"),
        "smaller": (image[:9], "this method was made for image (40, 48, 3), not (9, 48, 3)"),
    }.values():
        refused(message, di.fit, method, {"image": given})
    refused("this method was made for image", di.fit, method, {})
    refused("this method was made for k nothing", di.fit, method, {"image": image, "k": image})
    for seed in (-1, "x", 1.5, None, True):
        refused("seed=", di.fit, method, {"image": image}, seed=seed)
    refused("callback=3", di.fit, method, {"image": image}, callback=3)


def own(loss, **phase):
    """A fit of a grey layer to an image, with a user's loss."""
    nets = {"layer": fit.Generator(SkipNet(outputs=1, down=(4,), skip=2))}
    outputs = lambda layers, inputs: {"result": Output(layers["layer"])}
    return fit.build("own", nets, [fit.Phase("all", 2, loss, **phase)], outputs, shape=(8, 8))


@pytest.mark.parametrize("wanted", [{"target": 20.0}, {"backtrack": 2.0}])
def test_a_loss_without_a_required_psnr_is_refused(wanted):
    loss = lambda layers, inputs, step: (jnp.mean(layers["layer"] ** 2), {})
    refused("phase 'all': backtrack and target need a term 'psnr'", di.fit, own(loss, **wanted), {})


@pytest.mark.parametrize("made", [1.0, (1.0, 2.0), (jnp.ones(3), {}), None, "loss"])
def test_a_loss_that_returns_something_else(made):
    refused("phase 'all': its loss must return (scalar, terms)", di.fit, own(lambda *_: made), {})
