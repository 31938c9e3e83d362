"""Cached features: what they equal, when they are found again, and what a kill costs."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from vggface_gender import datasets
from vggface_gender.base.errors import InputError
from vggface_gender.data import features, records


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    import cv2

    folder = tmp_path_factory.mktemp("faces")
    for i in range(120):
        path = folder / "mine" / ("female", "male")[i % 2] / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (40, 40, 3), np.uint8)
        cv2.imwrite(str(path), pixels)
    return datasets.prepare(str(folder / "mine"), data_dir=folder / "tfrecords")


def tiny_backbone(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    crop = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(crop)
    x = keras.layers.Conv2D(4, 3, strides=4, name="last")(x)
    return keras.Model(crop, x, name="tiny")


def test_features_are_what_the_backbone_gives_in_the_labels_order(dataset, tmp_path):
    backbone = tiny_backbone()
    got = features.extract(
        dataset, "train", backbone=backbone, padding=None, directory=tmp_path, batch_size=7
    )
    crops = np.concatenate(
        [
            p["image"]
            for p in records.batches(dataset, "train", batch_size=50, size=32).as_numpy_iterator()
        ]
    )
    np.testing.assert_allclose(got, backbone.predict(crops, verbose=0), atol=1e-6)
    assert len(got) == dataset.counts["train"] == len(records.labels(dataset, "train"))


def test_a_batch_is_as_large_as_its_largest_output_allows():
    def network(side, channels):
        crop = keras.Input((side, side, 3))
        return keras.Model(crop, keras.layers.Conv2D(channels, 1)(crop))

    assert features.fitting_batch_size(tiny_backbone()) == 64
    assert features.fitting_batch_size(network(150, 32)) == 64
    assert features.fitting_batch_size(network(224, 64)) == 16  # as VGG-Face's first block
    assert features.fitting_batch_size(network(8000, 3)) == 1


def test_the_cache_is_found_and_is_one_hdf5_file(dataset, tmp_path):
    first = features.extract(
        dataset, "test", backbone=tiny_backbone(), padding=None, directory=tmp_path
    )
    (path,) = tmp_path.iterdir()
    with h5py.File(path) as file:
        assert (file["features"][:] == first).all()
    written = path.stat().st_mtime_ns
    again = features.extract(
        dataset, "test", backbone=tiny_backbone(), padding=None, directory=tmp_path
    )
    assert (again == first).all() and path.stat().st_mtime_ns == written


def test_whatever_makes_the_features_makes_another_cache(dataset, tmp_path):
    from vggface_gender.backbones import with_precision

    variants = [
        ("test", tiny_backbone(), None),
        ("validation", tiny_backbone(), None),
        ("test", tiny_backbone(seed=1), None),
        ("test", tiny_backbone(), 0.25),
        ("test", with_precision(tiny_backbone(), "mixed_bfloat16"), None),
    ]
    for split, backbone, padding in variants:
        features.extract(dataset, split, backbone=backbone, padding=padding, directory=tmp_path)
    assert len(list(tmp_path.iterdir())) == len(variants)


def test_no_room_on_the_disk_is_said_before_anything_is_written(dataset, tmp_path, monkeypatch):
    usage = type(features.shutil.disk_usage(tmp_path))(10**9, 10**9 - 1000, 1000)
    monkeypatch.setattr(features.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match="make room"):
        features.extract(
            dataset, "train", backbone=tiny_backbone(), padding=None, directory=tmp_path
        )
    assert not list(tmp_path.iterdir())


SLOWLY = """
import sys, time, pathlib
sys.path.insert(0, sys.argv[4])
from test_features import tiny_backbone
from vggface_gender import datasets
from vggface_gender.data import features
dataset = datasets.prepare(sys.argv[1], data_dir=sys.argv[2])
backbone = tiny_backbone()
at_once = backbone.predict_on_batch
backbone.predict_on_batch = lambda x: (time.sleep(0.1), at_once(x))[1]
to = pathlib.Path(sys.argv[3])
features.extract(
    dataset, "train", backbone=backbone, padding=None, directory=to, batch_size=8
)
"""


def test_after_a_kill_the_same_call_goes_on_and_gives_the_same(dataset, tmp_path):
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", SLOWLY),
            *(dataset.name, dataset.directory.parents[2], tmp_path, Path(__file__).parent),
        ],
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not any(features.rows_done(path) for path in unlocked(tmp_path)):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (part,) = tmp_path.glob("*.part.h5")
    done = features.rows_done(part)
    assert 0 < done < dataset.counts["train"]

    computed = []
    backbone = tiny_backbone()
    at_once = backbone.predict_on_batch
    backbone.predict_on_batch = lambda x: (computed.append(1), at_once(x))[1]
    resumed = features.extract(
        dataset, "train", backbone=backbone, padding=None, directory=tmp_path, batch_size=8
    )
    assert len(computed) == -(-(dataset.counts["train"] - done) // 8)
    undisturbed = features.extract(
        dataset,
        "train",
        backbone=tiny_backbone(),
        padding=None,
        directory=tmp_path / "b",
        batch_size=8,
    )
    np.testing.assert_array_equal(resumed, undisturbed)


def unlocked(folder):
    """Copies of the unfinished files, which can be read while the originals are written."""
    for path in folder.glob("*.part.h5"):
        copy = folder.parent / f"{folder.name}-copy.h5"
        copy.write_bytes(path.read_bytes())
        yield copy


def test_a_file_broken_in_its_creation_is_made_anew(dataset, tmp_path):
    expected = features.extract(
        dataset, "test", backbone=tiny_backbone(), padding=None, directory=tmp_path
    )
    (path,) = tmp_path.iterdir()
    path.rename(path.with_suffix(".part.h5"))
    path.with_suffix(".part.h5").write_bytes(b"half a header")
    got = features.extract(
        dataset, "test", backbone=tiny_backbone(), padding=None, directory=tmp_path
    )
    np.testing.assert_array_equal(got, expected)
