"""Which random masks a selector's masks are held against."""

from __future__ import annotations

from collections.abc import Mapping

#: Random masks whose mean number of neurons differs by a larger share are not used.
SIZE_TOLERANCE = 0.1


def controls_for(selector: str, controls: Mapping[str, str]) -> list[str]:
    """Which random controls a selector is held against.

    controls   name -> the selector that it is matched to; "" for plain random masks

    Those matched to this selector; if there are none, all matched ones; if there are none, all plain ones.
    """
    matched = sorted(name for name, reference in controls.items() if reference)
    own = [name for name in matched if controls[name] == selector]
    return own or matched or sorted(controls)


def available_controls(
    location: Mapping[tuple[str, str], str], key: tuple[str, str], controls: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Keys of the random controls of one mask file that exist and have neurons in the same location.

    location   (selector, top fraction or factor) -> where the neurons of its masks lie
    controls   as for `controls_for`
    """
    available = {name: reference for name, reference in controls.items() if (name, key[1]) in location}
    at_location = {name: reference for name, reference in available.items() if location[name, key[1]] == location[key]}
    return [(name, key[1]) for name in controls_for(key[0], at_location)]


def is_same_size(mask: float, control: float) -> bool:
    """Whether two mean numbers of neurons, of a selector's masks and of a control's, agree within `SIZE_TOLERANCE`.

    A larger control does more harm by its size alone, and a smaller one less.
    """
    return not abs(mask - control) > SIZE_TOLERANCE * max(mask, control)
