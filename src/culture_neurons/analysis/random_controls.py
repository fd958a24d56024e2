"""Which random masks a selector's masks are held against."""

from __future__ import annotations

from collections.abc import Mapping

#: Random masks that differ more from the judged ones in their mean number of neurons are not used.
SIZE_TOLERANCE = 0.1


def controls_for(selector: str, controls: Mapping[str, str]) -> list[str]:
    """Which random controls a selector is held against.

    controls   name -> the selector that it is matched to; "" for plain random masks

    Those matched to this selector; if there are none, all matched ones; if there are none, all plain ones.
    """
    matched = sorted(name for name, reference in controls.items() if reference)
    mine = [name for name in matched if controls[name] == selector]
    return mine or matched or sorted(controls)


def held_against(
    place: Mapping[tuple[str, str], str], key: tuple[str, str], controls: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Keys of the random controls of one mask file that there are, at the place of its neurons; see `controls_for`.

    place   (selector, top fraction or factor) -> where the neurons of its masks lie
    """
    there = {name: of for name, of in controls.items() if (name, key[1]) in place}
    near = {name: of for name, of in there.items() if place[name, key[1]] == place[key]}
    return [(name, key[1]) for name in controls_for(key[0], near)]


def same_size(mask: float, control: float) -> bool:
    """Whether a random control has the size of the masks that it judges, within `SIZE_TOLERANCE`.

    A larger one does more harm by its size alone, and a smaller one less.
    """
    return not abs(mask - control) > SIZE_TOLERANCE * max(mask, control)
