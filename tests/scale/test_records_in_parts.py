"""Records and features by Apache Beam in two processes, or in shares: equal to one process's."""

import contextlib
import filecmp
import functools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from vggface_gender import datasets
from vggface_gender.base import parts
from vggface_gender.base.parts import HERE
from vggface_gender.data import features, records

TWO = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")


@pytest.fixture(scope="module")
def source(tmp_path_factory, draw_table):
    """A table of 200 drawn faces, some of them copies, one unreadable and one no JPEG."""
    folder = tmp_path_factory.mktemp("faces")
    table = draw_table(folder, 200, 48)
    shutil.copy(folder / "3.jpg", folder / "9.jpg")
    (folder / "17.jpg").write_bytes((folder / "17.jpg").read_bytes()[:200])
    import cv2

    cv2.imwrite(str(folder / "21.png"), cv2.imread(str(folder / "21.jpg")))
    table.write_text(table.read_text().replace("\n21.jpg", "\n21.png"))
    return table


def _prepare(source: Path, folder: Path, **given) -> datasets.Dataset:
    return datasets.prepare(str(source), data_dir=folder, say=lambda text: None, **given)


def _differing(one: datasets.Dataset, other: datasets.Dataset) -> list[str]:
    """The files of records that are not the same, byte for byte."""
    names = sorted(os.listdir(one.directory))
    assert names == sorted(os.listdir(other.directory)) and len(names) > 20
    return filecmp.cmpfiles(one.directory, other.directory, names, shallow=False)[1]


def _done(folder: Path, name: str) -> Path | None:
    """A part that is done, of that name."""
    found = (path for path in folder.rglob(name) if not path.parent.name.startswith(".part-"))
    with contextlib.suppress(FileNotFoundError):  # a folder went while it was looked through
        return next(found, None)
    return None


class Tiny(NamedTuple):
    """A network."""

    model: Any


def tiny_network() -> Tiny:
    """A network that other processes can make: the same everywhere."""
    import keras

    keras.utils.set_random_seed(3)
    crop = keras.Input((32, 32, 3))
    last = keras.layers.Conv2D(2, 3, strides=8, name="last")(crop)
    return Tiny(keras.Model(crop, last, name="tiny"))


def test_shares_of_records_are_those_of_one_process(source, tmp_path, monkeypatch):
    monkeypatch.setattr("vggface_gender.datasets.checks.LEAST_IMAGES", 30)
    whole = _prepare(source, tmp_path / "one")
    for _ in "check", "write":
        for number in (1, 2, 3):
            with pytest.raises(parts.Unfinished):
                _prepare(source, tmp_path / "shares", engine=parts.share(number, 3))
    shared = _prepare(source, tmp_path / "shares")
    assert _differing(whole, shared) == [] and whole.summary == shared.summary
    assert not list((tmp_path / "shares").rglob(".parts*"))


def test_shares_of_features_are_those_of_one_process(source, tmp_path):
    dataset = _prepare(source, tmp_path / "records")
    backbone = tiny_network().model
    given = {"backbone": backbone, "padding": None, "batch_size": 16, "load": tiny_network}
    whole = features.extract(dataset, "all", directory=tmp_path / "one", **given)
    for number in (1, 2):
        with pytest.raises(parts.Unfinished):
            features.extract(
                dataset,
                "all",
                directory=tmp_path / "shares",
                engine=parts.share(number, 2),
                **given,
            )
    shared = features.extract(dataset, "all", directory=tmp_path / "shares", engine=HERE, **given)
    np.testing.assert_allclose(shared[:], whole[:], atol=1e-5)
    assert len(shared) == sum(dataset.counts.values()) == 199
    assert [path.name for path in (tmp_path / "one").glob("*.h5")] == os.listdir(
        tmp_path / "shares"
    )


@pytest.mark.parametrize("split", ["train", "all"])
def test_the_order_of_records_is_known_from_their_shards(source, tmp_path, split):
    dataset = _prepare(source, tmp_path)
    shards = records.shards(dataset, split)
    in_files = [
        name
        for shard in shards
        for name in records.records(dataset, shard.split)
        .map(lambda record: record["name"])
        .as_numpy_iterator()
    ]
    order = records.order([shard.size for shard in shards])
    assert [in_files[place].decode() for place in order] == list(
        records.labels(dataset, split).name
    )


@pytest.mark.slow
def test_records_by_beam_are_those_of_one_process(source, tmp_path):
    pytest.importorskip("apache_beam", reason="takes Apache Beam: the extra [beam]")
    from vggface_gender.scale import engine

    beam = engine.on_beam("DirectRunner", options=TWO)
    whole = _prepare(source, tmp_path / "one")
    by_beam = _prepare(source, tmp_path / "beam", engine=beam)
    assert _differing(whole, by_beam) == [] and whole.summary == by_beam.summary
    assert list(whole.summary["skipped"]) == ["17.jpg"]


@pytest.mark.slow
def test_utkface_by_beam_is_that_of_one_process_though_a_worker_is_killed(faces_dir, tmp_path):
    pytest.importorskip("apache_beam", reason="takes Apache Beam: the extra [beam]")
    if not (faces_dir / "UTKFace").is_dir():
        pytest.skip("UTKFace is not there")
    from test_engine import _workers

    from vggface_gender.inference import feature_network
    from vggface_gender.scale import engine

    beam = engine.on_beam("DirectRunner", options=TWO)
    given = {"source": faces_dir / "UTKFace", "say": lambda text: None}
    whole = datasets.prepare("UTKFace", data_dir=tmp_path / "one", **given)
    killed: list[int] = []

    def kill_one(pattern: str) -> None:
        while not _done(tmp_path, pattern):
            time.sleep(0.1)
        killed.append(_workers(os.getpid())[-1])
        os.kill(killed[-1], signal.SIGKILL)

    def disturbed(pattern: str, work):
        killer = threading.Thread(target=kill_one, args=[pattern])
        killer.start()
        made = work()
        killer.join()
        return made

    by_beam = disturbed(
        "train-0000?",
        lambda: datasets.prepare("UTKFace", data_dir=tmp_path / "beam", engine=beam, **given),
    )
    assert _differing(whole, by_beam) == [] and whole.summary == by_beam.summary

    load = functools.partial(feature_network.of_backbone, "dlib", precision="float32")
    network = load()
    wanted = {"backbone": network.model, "padding": network.padding, "load": load}
    one = features.extract(whole, "test", directory=tmp_path / "f1", **wanted)
    other = disturbed(
        "00000.npy",
        lambda: features.extract(by_beam, "test", directory=tmp_path / "f2", engine=beam, **wanted),
    )
    np.testing.assert_allclose(other[:], one[:], atol=1e-5)
    assert len(killed) == 2


@pytest.mark.slow
def test_a_killed_command_goes_on(source, tmp_path):
    """The parts that were done before `kill -9` are not done again."""
    pytest.importorskip("apache_beam", reason="takes Apache Beam: the extra [beam]")
    command = [sys.executable, "-m", "vggface_gender.records", "--dataset", str(source)]
    command += ["--data-dir", str(tmp_path / "beam"), "--runner", "DirectRunner"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (done := _done(tmp_path, "train-00000")):
        time.sleep(0.05)
    running.kill()
    running.wait()
    about = done / "about.json"
    before = about.stat().st_mtime_ns
    seen: list[int] = []

    def watch() -> None:
        while about.exists():
            seen.append(about.stat().st_mtime_ns)
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    subprocess.run(command, check=True, capture_output=True)
    watcher.join()
    assert set(seen) == {before}
    whole = _prepare(source, tmp_path / "one")
    assert _differing(whole, _prepare(source, tmp_path / "beam")) == []
