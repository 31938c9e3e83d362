"""Damaged copies of weight files: each is read or refused in one line, and never hangs or crashes.

The parsers themselves may crash or run for ever; reading in a process of its own contains that.
"""

import fuzzing
import keras_files
import matconvnet_files as files
import numpy as np
import pytest
import tfjs_files

from vggface_gender.weights import dlib_dat, keras_h5, matconvnet, tfjs, tfjs_graph

WIDTH = 12  # of every layer: the smallest of which no setting is taken for weights
TINY = {"channels": ((WIDTH,) * 2,) * 2 + ((WIDTH,) * 3,) * 3, "size": 32, "dense": WIDTH}


def mat(version):
    def write(folder):
        layers = files.network(**TINY, identities=WIDTH)
        return files.write(folder / "v.mat", layers, layout="oxford", version=version)

    return write


def h5(folder):
    return keras_files.keras_vggface(folder / "v.h5", files.network(**TINY), top=True)


def dat(folder):
    path = folder / "v.dat"
    path.write_bytes(dlib_dat.find().read_bytes())
    return path


def graph(folder):
    return tfjs_files.write(folder / "v.json", tfjs_files.faceres(**tfjs_files.SMALL))


def run(path):
    """Read a graph model, and run it."""
    image = {"input_1": np.zeros((16, 16, 3))}
    return list(tfjs_graph.forward(tfjs.read(path), image, last="feats/Relu"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("write", "parse", "read"),
    [
        (mat("5"), matconvnet.parse, matconvnet.read),
        (mat("7"), matconvnet.parse, matconvnet.read),
        (mat("7.3"), matconvnet.parse, matconvnet.read),
        (h5, keras_h5.parse, keras_h5.read),
        (dat, dlib_dat.read, dlib_dat.read),
        (graph, run, run),
    ],
    ids=["mat5", "mat7", "mat7.3", "h5", "dat", "tfjs"],
)
def test_damaged_copies_are_refused_in_one_line(tmp_path, write, parse, read):
    keep = tmp_path / "keep"
    keep.mkdir()
    ends = fuzzing.fuzz(parse, write(tmp_path), count=200, keep=keep)
    assert ends["refused"] > 0
    for path in keep.iterdir():  # what the parsers could not bear
        assert fuzzing.outcome(read, path) in ("read", "refused"), path


def test_damage_changes_a_file():
    random = np.random.default_rng(0)
    data = bytes(range(256)) * 40
    copies = [fuzzing.damaged(data, random) for _ in range(50)]
    assert sum(copy != data for copy in copies) > 40
    assert any(len(copy) < len(data) for copy in copies)
