"""Makes the images of this folder and, with Pillow, what reading, resizing and cropping them should give.

    pip install numpy pillow && python make_pillow.py

`photo.jpg` and `wide.png` are drawn, not photographed: gradients, edges and noise. `pillow.npz` holds, for each case, the
pixels as `u8[height, width, 3]`. Resizing is Pillow's BILINEAR with torchvision's rounding of sides and crops.
"""

import pathlib

import numpy as np
from PIL import Image

FOLDER = pathlib.Path(__file__).parent


def draw(width, height, seed):
    """Gradients, a disc with a hard edge, stripes of the highest frequency, and noise."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    image = np.stack([255 * x / width, 255 * y / height, 127 + 120 * np.sin(x / 5) * np.cos(y / 7)], axis=-1)
    disc = (x - width / 3) ** 2 + (y - height / 2) ** 2 < (min(width, height) / 4) ** 2
    image[disc] = [250, 20, 90]
    image[: height // 8, ::2] = 255
    image += np.random.default_rng(seed).normal(0, 6, image.shape)
    return Image.fromarray(np.clip(image, 0, 255).astype(np.uint8), "RGB")


def resize(image, side):
    """Shorter side to `side`, as torchvision.transforms.Resize."""
    width, height = image.size
    if width <= height:
        size = (side, int(side * height / width))
    else:
        size = (int(side * width / height), side)
    return image.resize(size, Image.BILINEAR)


def center_crop(image, side):
    """As torchvision.transforms.CenterCrop; Python's round takes halves to the even number."""
    width, height = image.size
    left, top = round((width - side) / 2.0), round((height - side) / 2.0)
    return image.crop((left, top, left + side, top + side))


draw(90, 121, 1).save(FOLDER / "photo.jpg", quality=92)
draw(83, 52, 2).save(FOLDER / "wide.png", optimize=True)
photo, wide = (Image.open(FOLDER / name).convert("RGB") for name in ("photo.jpg", "wide.png"))
np.savez_compressed(
    FOLDER / "pillow.npz",
    photo=np.asarray(photo),
    photo_resize_40=np.asarray(resize(photo, 40)),
    photo_resize_40_crop_33=np.asarray(center_crop(resize(photo, 40), 33)),
    wide_resize_60=np.asarray(resize(wide, 60)),
    wide_resize_31=np.asarray(resize(wide, 31)),
    wide_crop_40=np.asarray(center_crop(wide, 40)),
)
