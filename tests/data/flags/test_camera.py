from __future__ import annotations

import io

import numpy as np
from PIL import Image

from culture_neurons import seeds
from culture_neurons.data.flags import camera


def scene(colour: tuple[int, int, int] = (120, 120, 120), size: tuple[int, int] = (90, 60)) -> Image.Image:
    return Image.new("RGB", size, colour)


def exposed(picture: Image.Image, seed: int, light: float = 1.0) -> np.ndarray:
    """What the camera makes of a picture under even light, [height, width, 3]."""
    field = np.full(picture.size[::-1], light, np.float32)
    return np.asarray(camera.expose(picture, field, seeds.generator("camera", seed))).astype(float)


def test_the_same_generator_takes_the_same_photograph() -> None:
    picture = scene()
    first, again, other = exposed(picture, 0), exposed(picture, 0), exposed(picture, 1)
    assert first.shape == (60, 90, 3)
    assert (first == again).all()
    assert (first != other).any()
    assert picture.getcolors() == [(5400, (120, 120, 120))]


def test_brightness_cast_and_grain_vary_within_bounds() -> None:
    pictures = [exposed(scene(), seed) for seed in range(80)]
    means = np.array([picture.mean(axis=(0, 1)) for picture in pictures])
    # 115 + 1.1 (120 · 1.12 · 1.07 - 115) + 15 = 162; 115 + 1.1 (120 · 0.72 · 0.93 - 115) = 77.
    assert 75 < means.min() < 95
    assert 135 < means.max() < 163
    casts = means.max(axis=1) / means.min(axis=1)
    assert casts.min() < 1.04
    assert 1.08 < casts.max() < 1.07 / 0.93 + 0.05
    grain = [np.diff(picture[..., 1], axis=1).std() / np.sqrt(2) for picture in pictures]
    assert min(grain) < 1
    assert 4 < max(grain) < 7.5


def test_light_darkens_where_it_falls_less() -> None:
    field = np.ones((60, 90), np.float32)
    field[:, 45:] = 0.6
    for seed in range(8):
        shaded = np.asarray(camera.expose(scene(), field, seeds.generator("camera", seed))).astype(float)
        plain = exposed(scene(), seed)
        assert np.abs(shaded[:, :40] - plain[:, :40]).mean() < 2
        assert shaded[:, 50:].mean() < plain[:, 50:].mean() - 20


def test_some_photographs_are_blurred_and_some_compressed() -> None:
    # A sharp edge: how much of it two neighbouring pixels keep.
    edge = scene((40, 40, 40))
    edge.paste((200, 200, 200), (45, 0, 90, 60))
    kept = []
    for seed in range(40):
        columns = exposed(edge, seed).mean(axis=(0, 2))
        kept.append((columns[45] - columns[44]) / (columns[50:60].mean() - columns[30:40].mean()))
    assert min(kept) < 0.5
    assert max(kept) > 0.95
    assert 0.15 < np.mean(np.array(kept) > 0.93) < 0.6


def test_stronger_compression_leaves_less() -> None:
    noise = Image.fromarray(seeds.generator("noise").integers(0, 256, (40, 40, 3), dtype=np.uint8))
    original = np.asarray(noise).astype(int)
    errors = [np.abs(np.asarray(camera.compress(noise, quality)) - original).mean() for quality in (95, 40)]
    assert 0 < errors[0] < errors[1]
    assert camera.compress(noise, 40).mode == "RGB"


def test_encoded_pixels_come_back_and_the_bytes_are_the_same() -> None:
    image = Image.fromarray(seeds.generator("png").integers(0, 256, (20, 30, 3), dtype=np.uint8))
    data = camera.encode(image)
    assert data == camera.encode(image.copy())
    with Image.open(io.BytesIO(data)) as again:
        assert (again.format, again.mode) == ("PNG", "RGB")
        assert again.tobytes() == image.tobytes()
