from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
from PIL import Image

from culture_neurons import seeds
from culture_neurons.data.flags import photographs
from culture_neurons.data.flags.designs import FLAGS
from culture_neurons.data.flags.photographs import photograph
from culture_neurons.data.flags.placement import Placement, Wave
from culture_neurons.errors import ConfigError
from tests.data.flags.conftest import drawn, nearest_colours

SEEDS = range(8)
GREY = (128, 128, 128)


def taken(country: str, seed: int) -> np.ndarray:
    """Pixels of a photograph, int [height, width, 3]."""
    return np.asarray(photograph(country, seeds.generator("photograph", seed))).astype(int)


@pytest.mark.parametrize("country", FLAGS)
def test_the_same_generator_takes_the_same_photograph(country: str) -> None:
    first, again, other = (photograph(country, seeds.generator("same", seed)) for seed in (0, 0, 1))
    assert first.mode == "RGB"
    assert first.tobytes() == again.tobytes() != other.tobytes()


def test_sizes_vary_and_stand_or_lie() -> None:
    sizes = np.array([photographs._size(seeds.generator("size", seed)) for seed in range(300)])
    long, short = sizes.max(axis=1), sizes.min(axis=1)
    assert (long.min(), long.max()) == pytest.approx((160, 320), abs=2)
    assert 0.59 < (short / long).min() < 0.62
    assert 0.98 < (short / long).max() <= 1
    assert 0.5 < (sizes[:, 0] > sizes[:, 1]).mean() < 0.7
    image = photograph("Japan", seeds.generator("size", 5))
    assert image.size == tuple(sizes[5].tolist())


def test_global_random_states_are_left_alone() -> None:
    before = pickle.dumps((random.getstate(), np.random.get_state()))
    for seed in SEEDS:  # of all kinds of backgrounds
        photograph("Kenya", seeds.generator("state", seed))
    assert pickle.dumps((random.getstate(), np.random.get_state())) == before


def test_pictures_without_a_flag_are_of_one_colour_or_of_a_scene() -> None:
    pictures = [photographs.photograph_without_flag(seeds.generator("nothing", seed)) for seed in range(40)]
    again = photographs.photograph_without_flag(seeds.generator("nothing", 0))
    assert again.tobytes() == pictures[0].tobytes()
    assert {picture.mode for picture in pictures} == {"RGB"}
    assert 8 < sum(len(picture.getcolors(10**6)) == 1 for picture in pictures) < 32
    assert len({picture.size for picture in pictures}) > 30


def test_an_unknown_country_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        photograph("Japn", seeds.generator("unknown"))
    message = str(caught.value)
    assert message.startswith("flags: unknown country 'Japn' (did you mean 'Japan'?); known: Brazil, China")
    assert len(message.splitlines()) == 1


def test_a_scene_is_the_same_for_every_country() -> None:
    after = set()
    for country in FLAGS:
        generator = seeds.generator("scene", 4)
        image = photograph(country, generator)
        after.add((image.size, generator.random()))
    assert len(after) == 1
    # Flags of one size lie in the same place, and around them all is equal but for what JPEG does.
    for seed in SEEDS:
        japan, turkey = taken("Japan", seed), taken("Turkey", seed)
        same = (np.abs(japan - turkey).max(axis=-1) <= 12).mean()
        assert 0.04 < same < 0.95


def hue_shares(pixels: np.ndarray) -> dict[str, float]:
    """The shares of pixels that are clearly red, green, blue, yellow, light or dark."""
    red, green, blue = np.moveaxis(pixels, -1, 0)
    high, low = pixels.max(axis=-1), pixels.min(axis=-1)
    strong = high - low > 0.35 * high
    return {
        "red": float((strong & (red == high) & (green - low < 0.3 * (high - low))).mean()),
        "green": float((strong & (green == high) & (red - low < 0.6 * (high - low))).mean()),
        "blue": float((strong & (blue == high)).mean()),
        "yellow": float((strong & (np.minimum(red, green) - low > 0.4 * (high - low))).mean()),
        "light": float((~strong & (low > 120)).mean()),
        "dark": float((high < 60).mean()),
    }


def test_photographs_have_the_colours_of_their_flag() -> None:
    # Scenes are the same for all: what a flag adds to the mean over countries is its own.
    seen = {c: [hue_shares(taken(c, seed)) for seed in SEEDS[:4]] for c in FLAGS}
    mean = {c: {hue: np.mean([shares[hue] for shares in seen[c]]) for hue in seen[c][0]} for c in FLAGS}
    flat = {c: hue_shares(drawn(c)) for c in FLAGS}
    for hue in ("red", "green", "blue", "yellow", "light", "dark"):
        drawn_shares = [flat[c][hue] for c in FLAGS]
        slope, _ = np.polyfit(drawn_shares, [mean[c][hue] for c in FLAGS], 1)
        # A flag covers some third of its picture.
        assert 0.12 < slope < 0.6, hue
        assert np.corrcoef(drawn_shares, [mean[c][hue] for c in FLAGS])[0, 1] > 0.8, hue


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Photographs on grey, without things, poles and patches, and by a camera without faults."""
    monkeypatch.setattr(
        photographs, "background", lambda width, height, generator: Image.new("RGB", (width, height), GREY)
    )
    monkeypatch.setattr(photographs, "expose", lambda scene, light, generator: scene)
    monkeypatch.setattr(photographs, "_add_pole", lambda scene, placement, generator: None)
    monkeypatch.setattr(photographs, "_add_patch", lambda scene, placement, generator: None)


def middles(country: str, seed: int) -> list[np.ndarray]:
    """The mean row and column of each colour of a flag in a plain photograph, from back to front."""
    colours = (GREY, *FLAGS[country].colours)
    numbers = nearest_colours(taken(country, seed), colours)
    return [np.argwhere(numbers == number).mean(axis=0) for number in range(1, len(colours))]


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("seed", SEEDS)
def test_flags_hang_the_right_way_up_and_round(seed: int) -> None:
    for country in ("Poland", "Indonesia", "Hungary"):  # in this order from the top down
        rows = [middle[0] for middle in middles(country, seed)]
        assert rows == sorted(rows)
    green, white, red = middles("Italy", seed)
    assert green[1] < white[1] < red[1]
    ground, star = middles("China", seed)
    assert star[0] < ground[0]
    assert star[1] < ground[1]


@pytest.mark.usefixtures("plain")
def test_a_flag_covers_its_part_of_the_picture() -> None:
    covered = []
    for seed in range(60):
        image = np.asarray(photograph("Turkey", seeds.generator("covered", seed))).astype(int)
        inside = (np.abs(image - np.array(GREY)) > 30).any(axis=-1)
        rows, columns = np.nonzero(inside.any(axis=1))[0], np.nonzero(inside.any(axis=0))[0]
        # A side that is cropped, and waves, take some of it.
        covered.append(max(np.ptp(rows) / inside.shape[0], np.ptp(columns) / inside.shape[1]))
    assert 0.38 < min(covered) < 0.55
    assert 0.85 < max(covered) < 0.96


@pytest.mark.usefixtures("plain")
def test_folds_are_lit(monkeypatch: pytest.MonkeyPatch) -> None:
    lights: list[tuple[Image.Image, np.ndarray]] = []

    def keep(scene: Image.Image, light: np.ndarray, generator: np.random.Generator) -> Image.Image:
        lights.append((scene, light))
        return scene

    monkeypatch.setattr(photographs, "expose", keep)
    for seed in SEEDS:
        photograph("Turkey", seeds.generator("lit", seed))
    for scene, light in lights:
        outside = (np.asarray(scene) == np.array(GREY)).all(axis=-1)
        assert light.shape == outside.shape
        assert (light[outside] == 1).all()
        assert light[~outside].min() > 0.6
    spreads = [np.ptp(light) for _, light in lights]
    assert min(spreads) == 0
    assert max(spreads) > 0.3


def test_a_patch_hides_little_of_a_flag() -> None:
    hidden = []
    for seed in range(100):
        scene = Image.new("RGB", (300, 200), GREY)
        placement = Placement(1.5, np.array([[100.0, 0, 75], [0, 100.0, 50], [0, 0, 1]]), Wave(0, 1, 0, 0, 0))
        photographs._add_patch(scene, placement, seeds.generator("patch", seed))
        hidden.append((np.asarray(scene) != np.array(GREY)).any(axis=-1).sum() / 15_000)
    assert 0.15 < np.mean(np.array(hidden) > 0) < 0.35
    assert 0.01 < max(hidden) < 0.02


def test_a_pole_stands_at_the_hoist() -> None:
    places = []
    for seed in range(60):
        scene = Image.new("RGB", (300, 200), GREY)
        placement = Placement(1.5, np.array([[100.0, 0, 75], [0, 100.0, 50], [0, 0, 1]]), Wave(0, 1, 0, 0, 0))
        photographs._add_pole(scene, placement, seeds.generator("pole", seed))
        there = np.argwhere((np.asarray(scene) != np.array(GREY)).any(axis=-1))
        if len(there):
            places.append([*there.min(axis=0), *there.max(axis=0)])
    top, left, bottom, right = np.array(places).T
    assert 15 < len(places) < 35
    assert (top < 50).all()
    assert (bottom == 199).all()
    assert left.min() >= 68
    assert right.max() <= 77
