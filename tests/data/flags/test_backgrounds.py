from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from culture_neurons import seeds
from culture_neurons.data.flags import backgrounds


def test_pixels_and_pictures_are_turned_into_each_other() -> None:
    pixels = np.array([[[0, 260.2, 7.6]], [[1, 20, 30.4]], [[2, -5, 255]]], dtype=np.float32)
    image = backgrounds.to_image(pixels)
    assert (image.mode, image.size) == ("RGB", (3, 1))
    assert np.asarray(image)[0].tolist() == [[0, 1, 2], [255, 20, 0], [8, 30, 255]]
    back = backgrounds.to_pixels(image)
    assert (back.dtype, back.shape) == (np.float32, (3, 1, 3))
    assert back[:, 0, 1].tolist() == [255, 20, 0]


@pytest.mark.parametrize("kind", backgrounds.KINDS)
def test_backgrounds_differ_by_seed_and_not_without(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backgrounds, "KINDS", (kind,))
    pictures = [backgrounds.background(96, 70, seeds.generator(kind, seed)) for seed in (0, 0, 1, 2)]
    assert all((picture.mode, picture.size) == ("RGB", (96, 70)) for picture in pictures)
    first, again, *others = [picture.tobytes() for picture in pictures]
    assert first == again
    assert len({first, *others}) == 3


def test_every_kind_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for number, kind in enumerate(backgrounds.KINDS):
        monkeypatch.setattr(backgrounds, f"_{kind}", lambda w, h, g, n=number: np.full((3, h, w), n, np.float32))
    monkeypatch.setattr(backgrounds, "_thing", lambda *rest: None)
    pictures = [backgrounds.background(20, 20, seeds.generator("kinds", seed)) for seed in range(40)]
    assert {picture.getpixel((9, 9)) for picture in pictures} == {(n, n, n) for n in range(len(backgrounds.KINDS))}


def test_things_lie_on_a_plain_background(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backgrounds, "KINDS", ("sky",))
    monkeypatch.setattr(backgrounds, "_sky", lambda w, h, g: np.full((3, h, w), 7, np.float32))
    counts = []
    for seed in range(60):
        picture = backgrounds.background(120, 90, seeds.generator("things", seed))
        # Each thing has one colour; the last hides others at times.
        counts.append(len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) - 1)
    assert min(counts) == 0
    assert max(counts) == 5
    assert 1.5 < np.mean(counts) < 2.7


def test_colours_are_as_bright_as_asked_and_of_all_hues() -> None:
    generator = seeds.generator("colours")
    colours = np.array([backgrounds.random_colour(generator, 0.4, 0.6) for _ in range(300)])
    assert colours.max(axis=1).min() >= 0.4 * 255 - 1
    assert colours.max() <= 0.6 * 255 + 1
    assert sorted(set(colours.argmax(axis=1).tolist())) == [0, 1, 2]
    greyness = np.ptp(colours, axis=1) / colours.max(axis=1)
    assert greyness.min() < 0.1 < 0.8 < greyness.max()


def test_blotches_are_smooth_and_as_many_as_asked() -> None:
    coarse, fine = (backgrounds.smooth(160, 80, cells, seeds.generator("blotches")) for cells in (4, 40))
    assert coarse.shape == fine.shape == (80, 160)
    assert coarse.dtype == np.float32
    steps = [np.abs(np.diff(field, axis=1)).mean() for field in (coarse, fine)]
    assert 0 < steps[0] < steps[1] / 4
    assert -0.3 < min(coarse.min(), fine.min()) < 0.2 < 0.8 < max(coarse.max(), fine.max()) < 1.3


def test_a_slope_falls_in_its_direction() -> None:
    across, down = backgrounds.slope(5, 3, 0.0), backgrounds.slope(5, 3, np.pi / 2)
    np.testing.assert_allclose(across, [[-1, -0.5, 0, 0.5, 1]] * 3, atol=1e-6)
    np.testing.assert_allclose(down, [[-1] * 5, [0] * 5, [1] * 5], atol=1e-6)
    assert np.abs(backgrounds.slope(50, 30, 1.0)).max() == pytest.approx(1)


def test_mixed_colours_are_the_first_and_the_second_at_the_ends() -> None:
    mixed = backgrounds._mixed((10, 20, 30), (110, 0, 30), np.array([[0, 0.5, 1]], np.float32))
    assert mixed[:, 0].T.tolist() == [[10, 20, 30], [60, 10, 30], [110, 0, 30]]


def test_a_sky_is_no_darker_below_and_never_red() -> None:
    for seed in range(12):
        sky = backgrounds.to_image(backgrounds._sky(60, 40, seeds.generator("sky", seed)))
        red, _, blue = (np.asarray(plane).astype(int) for plane in sky.split())
        assert (blue - red).min() >= -1
        assert isinstance(sky, Image.Image)
