import os
import subprocess
import sys
import threading

import h5py
import numpy as np
import pytest

from culture_neurons.store import hdf5, statistics_writer

#: A disk that is full after 300 kB. HDF5 notices when it writes a chunk, or when it closes the file.
FULL_DISK = """
import resource, sys
import numpy as np
from culture_neurons.errors import FileError
from culture_neurons.store import statistics_writer, write_scores
folder, kind, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
rng = np.random.default_rng(0)
try:
    if kind == "scores":
        write_scores(f"{folder}/s.h5", rng.random((50, 10, n)), [str(i) for i in range(50)], "act_fn", {})
    else:
        ids = [f"{i:03d}" for i in range(200)]
        with statistics_writer(f"{folder}/s.h5", ids, ids, "act_fn", 10, n, {}) as writer:
            for i in ids:
                sums = rng.random((1, 10, n), np.float32)
                writer.write([i], np.ones(1), np.ones_like(sums, int), sums)
except FileError as error:
    print(error)
    sys.exit(1)
"""


@pytest.mark.parametrize(("kind", "n"), [("scores", 1000), ("statistics", 100), ("statistics", 20_000)])
def test_full_disk_is_a_users_error_and_leaves_no_file(tmp_path, kind, n):
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path), kind, str(n)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == (
        f"{tmp_path}/s.h5: can't be written (File too large)\n", "", 1
    )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_error_of_the_caller_leaves_no_file_and_no_thread(tmp_path, error):
    before = threading.active_count(), len(os.listdir("/dev/fd"))

    def caller():
        with statistics_writer(tmp_path / "s.h5", ["a", "b"], ["x", "x"], "act_fn", 2, 5, {}) as writer:
            writer.write(["a"], np.ones(1), np.ones((1, 2, 5), int), np.ones((1, 2, 5)))
            raise error

    with pytest.raises(error):
        caller()
    assert list(tmp_path.iterdir()) == []
    assert (threading.active_count(), len(os.listdir("/dev/fd"))) == before


def test_small_arrays_need_no_plug_in(tmp_path):
    with hdf5.create_file(tmp_path / "x.h5") as file:
        hdf5.write_strings(file, "culture", ["日本"] * 100)
    with h5py.File(tmp_path / "x.h5") as file:
        plist = file["culture"].id.get_create_plist()
        filters = {plist.get_filter(i)[0] for i in range(plist.get_nfilters())}
        assert filters == {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_FLETCHER32}
        assert hdf5.read_strings(file, "culture") == ["日本"] * 100
