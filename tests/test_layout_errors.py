"""Paths that are not of the layout, and two files of one thing, are named."""

from __future__ import annotations

import re

import pytest

from culture_neurons import layout
from culture_neurons.errors import FileError


@pytest.mark.parametrize(
    ("name", "file", "expected"),
    [
        ("masks", "masks/cas_top0.1.parquet", "results/{dataset}/{model}/masks/{selector}_top{fraction}.parquet"),
        ("masks", "run/m/masks/cas.parquet", "results/{dataset}/{model}/masks/{selector}_top{fraction}.parquet"),
        ("predictions", "run/m/answers.parquet", "results/{dataset}/{model}/{of}predictions.parquet"),
        ("outcomes", "run/m/sets/a/ablation/cas_xmuch.parquet", "results/{dataset}/{model}/{of}ablation/{selector}_"),
    ],
)
def test_a_path_of_another_kind_is_refused(name, file, expected):
    with pytest.raises(FileError, match=re.escape(f"{file}: expected a path like {expected}")):
        layout.by(name, [file])


def test_two_files_of_one_thing_are_refused():
    files = [f"{run}/m/masks/cas_top0.1.parquet" for run in ("a", "b")]
    with pytest.raises(FileError, match=r"^a/m.* and b/m.* are both of m/cas/0\.1; expected one of them$"):
        layout.by("masks", files, "model", "selector", "fraction")
