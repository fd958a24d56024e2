import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from culture_neurons.errors import FileError
from culture_neurons.models import lape_mask_files
from culture_neurons.types import NeuronMask
from tests.conftest import examples

LAYERS, NEURONS = 3, 10


def published(*cultures):
    """The form of LAPE's files: per culture, per layer, a tensor of neuron indices."""
    return [[torch.tensor(layer).long() for layer in culture] for culture in cultures]


def save(path: Path, value) -> Path:
    torch.save(value, path)
    return path


def read(path, cultures=("en", "zh")):
    return lape_mask_files.read(path, cultures, LAYERS, NEURONS)


def pairs(mask):
    return list(zip(mask.layer.tolist(), mask.neuron.tolist(), strict=True))


def test_published_file_by_hand(tmp_path):
    path = save(tmp_path / "m.pth", published([[3, 1], [], [9]], [[], [0], []]))
    first, second = read(path)
    assert (first.culture, set(first.site), pairs(first)) == ("en", {"act_fn"}, [(0, 1), (0, 3), (2, 9)])
    assert (second.culture, pairs(second)) == ("zh", [(1, 0)])
    assert pairs(read(path, ("zh", "en"))[0]) == pairs(first)  # names follow the file's order


def test_last_languages_without_a_list_have_empty_masks(tmp_path):
    masks = read(save(tmp_path / "m.pth", published([[1], [], []])), ("en", "zh", "fr"))
    assert [(mask.culture, len(mask)) for mask in masks] == [("en", 1), ("zh", 0), ("fr", 0)]


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8])
def test_other_whole_numbers_and_the_older_format(tmp_path, dtype):
    value = [[torch.tensor([2, 1], dtype=dtype)] * LAYERS]
    torch.save(value, tmp_path / "m.pth", _use_new_zipfile_serialization=False)
    assert pairs(read(tmp_path / "m.pth")[0]) == [(i, n) for i in range(LAYERS) for n in (1, 2)]


@pytest.mark.parametrize("empty", [
    torch.tensor([]), torch.zeros(0, dtype=torch.float16), torch.zeros(0, dtype=torch.bool),
    torch.zeros(5).nonzero(), torch.zeros(10**12, 0),
])  # fmt: skip
def test_an_empty_tensor_of_any_kind_is_an_empty_list_of_neurons(tmp_path, empty):
    first, second = read(save(tmp_path / "m.pth", [[empty, torch.tensor([4]), empty], [empty] * LAYERS]))
    assert (pairs(first), pairs(second)) == ([(1, 4)], [])
    assert first.layer.dtype == first.neuron.dtype == np.int64


cells = st.sets(st.tuples(st.integers(0, LAYERS - 1), st.integers(0, NEURONS - 1)))


@examples(30)
@given(sets=st.lists(cells, min_size=1, max_size=4))
def test_there_and_back(tmp_path_factory, sets):
    names = [f"c{i}" for i in range(len(sets))]
    masks = [
        NeuronMask(name, "act_fn", [p[0] for p in chosen], [p[1] for p in chosen])
        for name, chosen in zip(names, sets, strict=True)
    ]
    path = tmp_path_factory.mktemp("exchange") / "m.pth"
    lape_mask_files.write(path, masks, LAYERS)
    value = torch.load(path, weights_only=True)  # as its other readers would
    assert all(t.dtype == torch.int64 and t.ndim == 1 for tensors in value for t in tensors)
    assert [pairs(mask) for mask in lape_mask_files.read(path, names, LAYERS, NEURONS)] == [sorted(s) for s in sets]
    second = path.with_name("other.pth")
    lape_mask_files.write(second, masks, LAYERS)
    assert second.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"en": []}, "holds a dict of 1; expected a list with one list of tensors per culture"),
        ([], "holds a list of 0; expected a list"),
        (torch.zeros(3, dtype=torch.long), "holds a tensor of int64 with 1 dimensions; expected a list"),
        (published([[1]] * LAYERS) * 3, "holds the masks of 3 cultures, but 2 are named"),
        ([torch.tensor([1])], "culture 'en': holds a tensor of int64 with 1 dimensions; expected a list of tensors"),
        (published([[1]] * 2), "culture 'en': 2 layers, but the model has 3"),
        (published([[1]] * 3, [[1]] * 4), "culture 'zh': 4 layers, but the model has 3"),
        ([[[1]] * 3], "culture 'en', layer 0: holds a list of 1; expected a 1-d tensor of whole numbers"),
        ([[torch.tensor([[1]])] * 3], "layer 0: holds a tensor of int64 with 2 dimensions; expected a 1-d tensor"),
        ([[torch.tensor(1)] * 3], "layer 0: holds a tensor of int64 with 0 dimensions; expected a 1-d tensor"),
        ([[torch.tensor([1.0])] * 3], "layer 0: holds a tensor of float32 with 1 dimensions"),
        ([[torch.tensor([True])] * 3], "layer 0: holds a tensor of bool with 1 dimensions"),
        (published([[1], [0, -2], [-1]]), "culture 'en', layer 1: neuron -2; expected 0 to 9"),
        (published([[1], [10], []]), "culture 'en', layer 1: neuron 10; expected 0 to 9"),
        (published([[], [], [4, 2, 4]]), "culture 'en', layer 2: neuron 4 is listed twice"),
        ([[torch.zeros(1, dtype=torch.long).expand(10**12)] * 3], "layer 0: 1000000000000 indices, but the model has"),
        ([[torch.tensor([0]).to_sparse()] * 3], "layer 0: holds a tensor of int64"),
        ([[torch.tensor([1]).to_sparse()] * 3], "layer 0: holds a tensor of int64"),
        ([[torch.empty(3, dtype=torch.long, device="meta")] * 3], "layer 0: holds a tensor of int64"),
    ],
)
def test_another_form_is_named(tmp_path, value, message):
    path = save(tmp_path / "m.pth", value)
    with pytest.raises(FileError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


class Attack:
    """Makes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return open, (str(self.target), "w")


def in_zip(path: Path, payload: bytes) -> None:
    """A file as torch saves it, with another pickle inside."""
    torch.save([[torch.tensor([1])]], path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, payload if name.endswith("data.pkl") else content)


@pytest.mark.parametrize("form", ["plain", "zip", "older"])
def test_pickle_that_runs_code_does_not_run(tmp_path, form):
    ran, path = tmp_path / "ran", tmp_path / "m.pth"
    payload = pickle.dumps([[Attack(ran)]], protocol=5 if form == "plain" else 2)
    if form == "plain":
        path.write_bytes(payload)
    elif form == "zip":
        in_zip(path, payload)
    else:
        torch.save([[Attack(ran)]], path, _use_new_zipfile_serialization=False)
    with pytest.raises(FileError, match=r"not made of lists and tensors alone .*nothing was unpickled") as error:
        read(path)
    assert not ran.exists()
    assert len(str(error.value).splitlines()) == 1
    assert "weights_only" not in str(error.value)  # no advice to switch the protection off
    pickle.loads(payload)[0][0].close()  # it would have worked
    assert ran.exists()


@pytest.mark.parametrize("content", [b"", b"\x80", b"PK\x03\x04", b"some text\n" * 50, b"PAR1" * 20])
def test_file_that_is_something_else(tmp_path, content):
    (tmp_path / "m.pth").write_bytes(content)
    with pytest.raises(FileError, match=r"m\.pth: ") as error:
        read(tmp_path / "m.pth")
    assert len(str(error.value).splitlines()) == 1


def test_file_that_is_missing_or_a_folder(tmp_path):
    with pytest.raises(FileError, match=r"none\.pth: no such file"):
        read(tmp_path / "none.pth")
    with pytest.raises(FileError):
        read(tmp_path)


def test_large_file_is_not_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was loaded"))
    path = tmp_path / "m.pth"
    with path.open("wb") as stream:
        stream.truncate(5 << 20)
    with pytest.raises(FileError, match="5242880 bytes; masks of as many cultures of this model take"):
        read(path)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(5 << 20))
    path.write_bytes(packed.getvalue())
    assert path.stat().st_size < 10000
    with pytest.raises(FileError, match="5242880 bytes"):
        read(path)


@examples(150)
@given(data=st.data())
def test_damaged_file_is_one_line_and_no_traceback(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    path = save(folder / "m.pth", published([[1, 2], [3], []], [[], [4], [5]]))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    message = ""
    try:
        assert all(np.isin(mask.neuron, range(NEURONS)).all() for mask in read(path))
    except FileError as error:
        message = str(error)
    assert len(message.splitlines()) <= 1
