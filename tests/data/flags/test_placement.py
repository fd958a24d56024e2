from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from culture_neurons import seeds
from culture_neurons.data.flags import placement
from culture_neurons.data.flags.placement import Placement, Wave, place

FLAT = Wave(0.0, 1.0, 0.0, 0.0, 0.0)
SIZES = [(320, 200), (170, 290), (200, 200)]
MANY = [(ratio, size, seed) for ratio in (1.43, 1.5, 2.0) for size in SIZES for seed in range(40)]


def bounds(placed: Placement) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest x and y of a flag in its picture, its waves included."""
    more = placed.wave.height
    corners = np.array([[x, y] for x in (0, placed.ratio) for y in (-more, 1 + more)])
    points = placed.to_picture(corners)
    return points.min(axis=0), points.max(axis=0)


def test_a_flag_takes_its_share_and_reaches_over_one_side_at_most() -> None:
    shares, over = [], []
    for ratio, size, seed in MANY:
        low, high = bounds(place(ratio, *size, seeds.generator("place", ratio, size, seed)))
        shares.append(((high - low) / size).max())
        beyond = np.concatenate([-low, high - size]) / np.tile(high - low, 2)
        over.append(np.clip(beyond, 0, None))
    assert 0.45 <= min(shares) < 0.5
    assert 0.9 < max(shares) <= 0.95
    cropped = np.array(over) > 1e-9
    assert set(cropped.sum(axis=1).tolist()) == {0, 1}
    assert cropped.any(axis=0).all()
    assert 0.2 < cropped.any(axis=1).mean() < 0.47
    assert 0.1 < np.max(over) <= 0.12


def test_a_flag_is_never_mirrored_nor_upside_down_nor_turned_far() -> None:
    turns = []
    for ratio, size, seed in MANY:
        placed = place(ratio, *size, seeds.generator("upright", seed))
        upper, lower, hoist, fly = placed.to_picture(
            np.array([[ratio / 2, 0.4], [ratio / 2, 0.6], [0.4 * ratio, 0.5], [0.6 * ratio, 0.5]])
        )
        (right_x, right_y), (down_x, down_y) = fly - hoist, lower - upper
        turns += [np.degrees(np.arctan2(right_y, right_x)), np.degrees(np.arctan2(-down_x, down_y))]
        assert right_x * down_y - right_y * down_x > 0
    assert -12.01 <= min(turns) < -10
    assert 10 < max(turns) <= 12.01


def test_perspective_makes_one_side_smaller_by_little() -> None:
    quotients = []
    for ratio, size, seed in MANY:
        corners = place(ratio, *size, seeds.generator("sides", seed)).to_picture(
            np.array([[0, 0], [ratio, 0], [ratio, 1], [0, 1]])
        )
        lengths = np.hypot(*(corners - np.roll(corners, -1, axis=0)).T)
        quotients += [lengths[0] / lengths[2], lengths[1] / lengths[3]]
    # 8 % nearer against 8 % further: 1.08 / 0.92.
    assert 0.85 < min(quotients) < 0.92
    assert 1.08 < max(quotients) < 1.18


@pytest.mark.parametrize("ratio", [1.43, 2.0])
def test_the_generator_is_used_alike_for_all_flags(ratio: float) -> None:
    for seed in range(20):
        one, other = seeds.generator("alike", seed), seeds.generator("alike", seed)
        first, second = place(1.5, 300, 200, one), place(ratio, 300, 200, other)
        assert first.wave == second.wave
        assert one.random() == other.random()


def test_waves_are_low_and_not_everywhere() -> None:
    waves = [place(1.5, 300, 200, seeds.generator("waves", seed)).wave for seed in range(200)]
    flat = [wave for wave in waves if wave.height == 0]
    assert 0.3 < len(flat) / 200 < 0.5
    assert all(wave.shade == 0 for wave in flat)
    assert 0.04 < max(wave.height for wave in waves) <= 0.05
    assert 0.2 < max(wave.shade for wave in waves) <= 0.35


def test_points_go_to_the_picture_and_back() -> None:
    placed = place(1.6, 300, 200, seeds.generator("back", 3))
    flat = Placement(placed.ratio, placed.matrix, FLAT)
    points = np.array([[0, 0], [1.6, 1], [0.8, 0.5], [0.1, 0.9]])
    np.testing.assert_allclose(flat.to_flag(flat.to_picture(points)), points, atol=1e-9)


def test_a_wave_by_hand() -> None:
    wave = Wave(height=0.1, waves=2.0, phase=0.125, slant=0.5, shade=0.2)
    # Half way to the fly and down: 2 · 0.5 + 0.5 · 0.5 + 0.125 = 1.375 waves; 0.3 + 0.7 / 2 of the height.
    points = np.array([[0.75, 0.5], [0.0, 0.0]])
    lifted = wave.lift(points, 1.5)
    np.testing.assert_allclose(
        lifted,
        [[0.75, 0.5 + 0.065 * np.sin(2 * np.pi * 0.375)], [0.0, 0.03 * np.sin(np.pi / 4)]],
    )
    assert points.tolist() == [[0.75, 0.5], [0.0, 0.0]]


def quartered(height: int, ratio: float) -> Image.Image:
    """A flag of four colours with a transparent edge of one pixel."""
    width = round(height * ratio)
    pixels = np.zeros((height + 2, width + 2, 4), np.uint8)
    pixels[1:-1, 1:-1, 3] = 255
    top, left = 1 + height // 2, 1 + width // 2
    pixels[:top, :left, :3], pixels[:top, left:, :3] = (250, 0, 0), (0, 250, 0)
    pixels[top:, :left, :3], pixels[top:, left:, :3] = (0, 0, 250), (250, 250, 0)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("seed", range(6))
def test_a_warped_flag_has_each_colour_where_its_pixels_lead(seed: int) -> None:
    width, height, ratio = 210, 170, 1.5
    placed = place(ratio, width, height, seeds.generator("warp", seed))
    seen = np.asarray(placement.warp(quartered(120, ratio), placed, width, height)).astype(int)
    centres = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1).astype(np.float64)
    u, v = np.moveaxis(placed.to_flag(centres), -1, 0)
    inside = (u > 0) & (u < ratio) & (v > 0) & (v < 1)
    colours = np.array([[250, 0, 0], [0, 250, 0], [0, 0, 250], [250, 250, 0]])[2 * (v > 0.5) + (u > ratio / 2)]
    expected = np.concatenate([colours, np.full((height, width, 1), 255)], axis=-1) * inside[..., None]
    # Near an edge a pixel is mixed.
    edge = np.min([abs(u), abs(u - ratio), abs(u - ratio / 2), abs(v), abs(v - 1), abs(v - 0.5)], axis=0) < 0.03
    assert (seen == expected).all(axis=-1)[~edge].all()
    assert edge.mean() < 0.3
    assert 0.1 < (seen[..., 3] == 255).mean() < 0.95


def test_light_on_folds_by_hand() -> None:
    # A flag of 100 pixels in the picture's corner, one wave of shade across its 150 pixels.
    upright = Placement(1.5, np.diag([100.0, 100.0, 1.0]), Wave(0.0, 1.0, 0.0, 0.0, 0.2))
    light = placement.shading(upright, 150, 100)
    assert (light.shape, light.dtype) == ((100, 150), np.float32)
    np.testing.assert_allclose(light[50], 1 + 0.2 * np.cos(2 * np.pi * (np.arange(150) + 0.5) / 150), atol=0.01)
    slanting = Placement(1.5, upright.matrix, Wave(0.0, 0.0, 0.0, 1.0, 0.2))
    column = placement.shading(slanting, 150, 100)[:, 20]
    np.testing.assert_allclose(column, 1 + 0.2 * np.cos(2 * np.pi * (np.arange(100) + 0.5) / 100), atol=0.012)
    assert np.ptp(placement.shading(Placement(1.5, upright.matrix, FLAT), 150, 100)) == 0
