"""Cached features: what they equal, when they are found again, and what a kill costs."""

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from vggface_gender import datasets
from vggface_gender.base.errors import InputError
from vggface_gender.data import features, features_file, records


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
        np.testing.assert_array_equal(file["features"], first)
    written = path.stat().st_mtime_ns
    again = features.extract(
        dataset, "test", backbone=tiny_backbone(), padding=None, directory=tmp_path
    )
    np.testing.assert_array_equal(again, first)
    assert path.stat().st_mtime_ns == written


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
    all_splits = [features.Wanted(dataset, split) for split in ("train", "validation", "test")]
    arguments = {"backbone": tiny_backbone(), "padding": None, "directory": tmp_path}
    needed = sum(dataset.counts.values()) * (8 * 8 * 4 * 4 + 4)
    room = needed - 1

    kind = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr("shutil.disk_usage", lambda path: kind(10**9, 10**9 - room, room))
    with pytest.raises(InputError, match="make room"):
        features.reserve(all_splits, **arguments)
    assert not list(tmp_path.iterdir())
    room = needed
    features.reserve([*all_splits, *all_splits], **arguments)
    taken = sum(path.stat().st_blocks * 512 for path in tmp_path.glob("*.part.h5"))
    assert len(list(tmp_path.iterdir())) == 3 and taken >= needed
    room = 0  # what has its space already needs no more
    features.reserve(all_splits, **arguments)
    assert len(features.extract(dataset, "train", **arguments)) == dataset.counts["train"]
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="make room"):
        features.extract(dataset, "train", **arguments | {"directory": tmp_path / "other"})
    assert not list((tmp_path / "other").iterdir())


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


@pytest.mark.slow
def test_after_a_kill_the_same_call_goes_on_and_gives_the_same(dataset, tmp_path):
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", SLOWLY),
            *(dataset.name, dataset.directory.parents[2], tmp_path, Path(__file__).parent),
        ],
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not rows_done(tmp_path, dataset):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = rows_done(tmp_path, dataset)
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


def rows_done(folder, dataset):
    """How many rows the unfinished file in a folder has; 0 where there is none."""
    for path in folder.glob("*.part.h5"):
        with contextlib.suppress(OSError, KeyError):  # while it is created
            shape = (dataset.counts["train"], *tiny_backbone().output_shape[1:])
            return features_file.FeaturesFile(path, shape=shape, dtype="float32").whole()
    return 0


def test_a_file_broken_in_its_creation_is_made_anew(dataset, tmp_path):
    expected = np.asarray(
        features.extract(
            dataset, "test", backbone=tiny_backbone(), padding=None, directory=tmp_path
        )
    )
    (path,) = tmp_path.iterdir()
    path.rename(path.with_suffix(".part.h5"))
    path.with_suffix(".part.h5").write_bytes(b"half a header")
    got = features.extract(
        dataset, "test", backbone=tiny_backbone(), padding=None, directory=tmp_path
    )
    np.testing.assert_array_equal(got, expected)


def cut(path, place):
    os.truncate(path, place)


def zero(path, place):
    overwrite(path, place, bytes(100))


def flip(path, place):
    with open(path, "rb") as file:
        file.seek(place)
        (before,) = file.read(1)
    overwrite(path, place, bytes([before ^ 4]))


def overwrite(path, place, content):
    with open(path, "r+b") as file:
        file.seek(place)
        file.write(content)


@pytest.mark.parametrize("dtype", [pytest.param("float32", marks=pytest.mark.slow), "float16"])
@pytest.mark.parametrize("damage", [cut, zero, flip])
def test_a_damaged_file_is_made_anew_wherever_it_is_and_that_is_said(
    damage, dtype, dataset, tmp_path, capfd
):
    backbone = tiny_backbone()

    def extract():
        found = features.extract(
            dataset,
            "test",
            backbone=backbone,
            padding=None,
            directory=tmp_path,
            batch_size=5,
            dtype=dtype,
        )
        return np.asarray(found)

    expected = extract()
    (path,) = tmp_path.iterdir()
    used = path.stat().st_size
    for place in (48, 300, used // 2, used - 20):  # HDF5's own structures, rows, checksums
        damage(path, place)
        capfd.readouterr()
        changed = path.read_bytes()
        np.testing.assert_array_equal(extract(), expected)
        said = [line for line in capfd.readouterr().err.splitlines() if str(path) in line]
        if path.read_bytes() == changed:  # a part of the file that nothing is read from
            assert not said
        else:
            assert len(said) == 1 and "computed anew" in said[0]
        assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_an_empty_file_or_one_of_other_things_is_made_anew(dataset, tmp_path, capfd):
    backbone = tiny_backbone()

    def extract():
        return features.extract(
            dataset, "test", backbone=backbone, padding=None, directory=tmp_path
        )

    expected = np.asarray(extract())
    (path,) = tmp_path.iterdir()
    with h5py.File(tmp_path / "earlier.h5", "w") as file:  # as written before there were checksums
        file["features"] = expected
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["features"] = expected[:, 0]
        file["checksums"] = np.zeros(len(expected), np.uint32)
    for content in (
        b"",
        b"{}",
        (tmp_path / "earlier.h5").read_bytes(),
        (tmp_path / "other.h5").read_bytes(),
    ):
        path.write_bytes(content)
        np.testing.assert_array_equal(extract(), expected)
        assert "earlier version: its features are computed anew" in capfd.readouterr().err


def test_of_a_damaged_file_the_rows_before_the_damage_are_kept(dataset, tmp_path, capfd):
    def extract(backbone):
        return features.extract(
            dataset, "train", backbone=backbone, padding=None, directory=tmp_path, batch_size=8
        )

    expected = np.asarray(extract(tiny_backbone()))
    (path,) = tmp_path.iterdir()
    place = path.read_bytes().index(expected[50].tobytes())
    flip(path, place + 30)
    backbone, computed = tiny_backbone(), []
    at_once = backbone.predict_on_batch
    backbone.predict_on_batch = lambda x: (computed.append(1), at_once(x))[1]
    np.testing.assert_array_equal(extract(backbone), expected)
    assert "damaged: its features are computed anew from row 51 on" in capfd.readouterr().err
    assert len(computed) == -(-(len(expected) - 48) // 8)


def test_of_two_that_want_the_same_features_one_computes_and_the_other_waits(
    dataset, tmp_path, capfd
):
    computed = []

    def extract(backbone):
        at_once = backbone.predict_on_batch
        backbone.predict_on_batch = lambda x: (computed.append(1), time.sleep(0.05), at_once(x))[2]
        return np.asarray(
            features.extract(
                dataset, "train", backbone=backbone, padding=None, directory=tmp_path, batch_size=8
            )
        )

    with ThreadPoolExecutor() as pool:  # whose locks are as those of two processes
        first, second = pool.map(extract, [tiny_backbone(), tiny_backbone()])
    np.testing.assert_array_equal(first, second)
    assert len(computed) == -(-len(first) // 8)
    assert "waiting until it is done" in capfd.readouterr().err
    assert len(list(tmp_path.iterdir())) == 1


def test_features_that_are_not_finite_are_refused_and_the_image_named(dataset, tmp_path):
    backbone = tiny_backbone()
    kernel, bias = backbone.get_layer("last").get_weights()
    backbone.get_layer("last").set_weights([np.full_like(kernel, np.nan), bias])
    with pytest.raises(InputError, match=r"tiny, layer last: .* not finite for (fe)?male/\d+.jpg"):
        features.extract(dataset, "test", backbone=backbone, padding=None, directory=tmp_path)
    assert not [path for path in tmp_path.iterdir() if ".part" not in path.name]


def test_records_that_are_fewer_or_more_than_was_written_are_refused(dataset, tmp_path):
    for change in (-1, 1):
        counts = dataset.counts | {"test": dataset.counts["test"] + change}
        other = dataclasses.replace(dataset, summary=dataset.summary | {"counts": counts})
        with pytest.raises(InputError, match=f"test split does not have the {counts['test']} rec"):
            features.extract(
                other, "test", backbone=tiny_backbone(), padding=None, directory=tmp_path
            )
    assert not [path for path in tmp_path.iterdir() if ".part" not in path.name]


def test_wide_features_are_kept_in_float16_and_narrow_ones_as_they_are(dataset, tmp_path):
    assert features.kept_in((128,)) == features.kept_in((4, 4, 256)) == "float32"
    assert features.kept_in((4097,)) == features.kept_in((7, 7, 512)) == "float16"
    crop = keras.Input((32, 32, 3))
    raw = keras.Model(crop, keras.layers.Conv2D(5, 1, name="wide")(crop), name="raw")
    wide = features.extract(dataset, "test", backbone=raw, padding=None, directory=tmp_path)
    (path,) = tmp_path.iterdir()
    with h5py.File(path) as file:
        assert file["features"].dtype == np.float16
        shape = (-1, 1, 1, 1)
        rows = file["features"][:].astype(np.float32) * file["scales"][:].reshape(shape)
    np.testing.assert_array_equal(wide, rows)
    exact = features.extract(
        dataset, "test", backbone=raw, padding=None, directory=tmp_path, dtype="float32"
    )
    np.testing.assert_allclose(wide, exact, rtol=2**-11)
    assert wide[2:3].dtype == np.float32
