"""Writes crates/data/tests/augmentation/operations.safetensors: what Pillow makes of two pictures.

    python3 bench/augmentation_operations.py [FILE]        needs numpy, pillow, safetensors

The operations of RandAugment and TrivialAugment as torchvision's transforms apply them to images of
Pillow (nearest pixels, black outside). The file holds the pictures `rgb` [3, 16, 17] and `grey`
[1, 16, 17], and for each case `PICTURE.OPERATION.MAGNITUDE` of the picture's shape.
"""

import math
import pathlib
import sys

import numpy as np
from PIL import Image, ImageEnhance, ImageOps
from safetensors.numpy import save_file

FILE = (
    pathlib.Path(__file__).resolve().parent.parent
    / "crates" / "data" / "tests" / "augmentation" / "operations.safetensors"
)
HEIGHT, WIDTH = 16, 17

CASES = {
    "shear-x": [0.3, -0.3, 0.99, -0.495],
    "shear-y": [0.3, -0.3, 0.99, -0.495],
    "translate-x": [2.9, -2.9, 32.0],
    "translate-y": [3.0, -5.5],
    "rotate": [9.0, -30.0, 90.0, -135.0, 4.5],
    "brightness": [0.27, -0.27, 0.99, -0.99],
    "color": [0.27, -0.27, 0.99, -0.99],
    "contrast": [0.27, -0.27, 0.99, -0.99],
    "sharpness": [0.27, -0.27, 0.99, -0.99],
    "posterize": [7, 4, 2],
    "solarize": [255.0, 178.5, 0.0],
    "auto-contrast": [0],
    "equalize": [0],
}


def affine(image, matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST)


def applied(image, operation, magnitude):
    shift = int(magnitude)
    shear = math.tan(math.atan(magnitude))
    strength = 1.0 + magnitude
    return {
        "shear-x": lambda: affine(image, (1, shear, 0, 0, 1, 0)),
        "shear-y": lambda: affine(image, (1, 0, 0, shear, 1, 0)),
        "translate-x": lambda: affine(image, (1, 0, -shift, 0, 1, 0)),
        "translate-y": lambda: affine(image, (1, 0, 0, 0, 1, -shift)),
        "rotate": lambda: image.rotate(magnitude, Image.Resampling.NEAREST),
        "brightness": lambda: ImageEnhance.Brightness(image).enhance(strength),
        "color": lambda: ImageEnhance.Color(image).enhance(strength),
        "contrast": lambda: ImageEnhance.Contrast(image).enhance(strength),
        "sharpness": lambda: ImageEnhance.Sharpness(image).enhance(strength),
        "posterize": lambda: ImageOps.posterize(image, int(magnitude)),
        "solarize": lambda: ImageOps.solarize(image, magnitude),
        "auto-contrast": lambda: ImageOps.autocontrast(image),
        "equalize": lambda: ImageOps.equalize(image),
    }[operation]()


def planes(image):
    values = np.asarray(image)
    return values[None].copy() if values.ndim == 2 else values.transpose(2, 0, 1).copy()


def main():
    random = np.random.default_rng(5)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    base = np.stack([30 + 9 * rows, 220 - 8 * columns, 40 + 4 * (rows + columns)], axis=-1)
    noisy = np.clip(base + random.integers(-20, 21, base.shape), 17, 238).astype(np.uint8)
    pictures = {"rgb": Image.fromarray(noisy), "grey": Image.fromarray(noisy[..., 0].copy())}
    tensors = {}
    for name, picture in pictures.items():
        tensors[name] = planes(picture)
        for operation, magnitudes in CASES.items():
            for magnitude in magnitudes if name == "rgb" else magnitudes[:1]:
                result = planes(applied(picture, operation, magnitude))
                tensors[f"{name}.{operation}.{magnitude}"] = result
    file = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file)


main()
