"""Rows of tokens, by hand."""

import pytest
import torch

from culture_neurons.models.option_rows import (
    Continued,
    branch_mask,
    continuation,
    lay_out,
    places,
    without_last_spaces,
)

CONTINUED = [Continued([1, 2, 3], [[11, 12, 13], [21, 22]]), Continued([4], [[31, 32]])]


def test_rows_of_two_contexts_by_hand():
    rows = lay_out(CONTINUED)
    assert rows.ids.tolist() == [[1, 2, 3, 11, 12, 21], [0, 0, 0, 0, 4, 31]]
    # One text alone is no branch: its row is as any other.
    assert rows.branch.tolist() == [[0, 0, 0, 1, 1, 2], [-1, -1, -1, -1, 0, 0]]
    assert rows.spans.row.tolist() == [[0, 0, 0], [0, 0, 0], [1, 1, 0]]
    assert rows.spans.position.tolist() == [[4, 3, 2], [4, 1, 1], [2, 1, 1]]
    assert rows.spans.token.tolist() == [[11, 12, 13], [21, 22, -1], [31, 32, -1]]
    branch = torch.from_numpy(rows.branch)
    assert places(branch).tolist() == [[0, 1, 2, 3, 4, 3], [0, 0, 0, 0, 0, 1]]
    sees = branch_mask(branch)[0, 0]
    assert sees[5].tolist() == [True, True, True, False, False, True]
    assert sees[4].tolist() == [True, True, True, True, True, False]


def test_whole_texts_are_inputs_with_their_last_token():
    rows = lay_out(CONTINUED, with_last_token=True)
    assert rows.ids.tolist() == [[1, 2, 3, 11, 12, 13, 21, 22], [0, 0, 0, 0, 0, 4, 31, 32]]
    assert rows.branch.tolist() == [[0, 0, 0, 1, 1, 1, 2, 2], [-1, -1, -1, -1, -1, 0, 0, 0]]
    assert rows.spans.position.tolist() == [[6, 5, 4], [6, 2, 1], [3, 2, 1]]


@pytest.mark.parametrize(
    ("context", "kept"),
    [("in", "in"), ("in ", "in"), ("in \t\u00a0 ", "in"), ("A:\n", "A:\n"), ("A:\n ", "A:\n"), ("  ", "")],
)
def test_spaces_at_the_end_of_a_context_belong_to_what_follows(context, kept):
    assert without_last_spaces(context) == kept


@pytest.mark.parametrize(
    ("context", "text", "expected"),
    [
        ("in", "Japan", " Japan"),
        ("A:\n", "Japan", "Japan"),
        ("", "Japan", "Japan"),
        ("in", " Japan", " Japan"),
        ("in", "", " "),
    ],
)
def test_one_space_lies_between_context_and_text(context, text, expected):
    assert continuation(" ", context, text) == expected
