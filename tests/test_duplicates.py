"""duplicates: what it finds and writes, of photos and of datasets; bad input is one line."""

import os

import cv2
import numpy as np
import pandas as pd
import pytest

from vggface_gender import duplicates
from vggface_gender.base import console
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import duplicates_images
from vggface_gender.photos import prints


def picture(seed, size=120):
    noise = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), np.uint8)
    return cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def album(tmp_path, monkeypatch):
    """Six photos, two of them copies and one a near-duplicate of the first, and one broken."""
    monkeypatch.chdir(tmp_path)
    os.mkdir("album")
    for name, image in {
        "a.png": picture(0),
        "b.png": picture(1),
        "c.bmp": picture(0),
        "d.jpg": cv2.resize(picture(0), (90, 90)),
        "e.png": picture(2),
        "f.bmp": picture(0),
    }.items():
        assert cv2.imwrite(f"album/{name}", image)
    (tmp_path / "album" / "broken.jpg").write_bytes(b"no image")
    return tmp_path


def read(path="duplicates.csv"):
    return pd.read_csv(path, keep_default_na=False)


def test_copies_and_near_duplicates_of_photos_are_a_table(album, capsys):
    assert duplicates.main(["album", "album/a.png"]) == 1  # named twice, it is no copy

    out, error = capsys.readouterr()
    table = read()
    assert list(table) == ["name", "other", "kind", "bits", "group"]
    assert table.name.tolist() == ["album/a.png"] * 3
    assert table.other.tolist() == ["album/c.bmp", "album/d.jpg", "album/f.bmp"]
    assert table.kind.tolist() == ["exact", "near", "exact"]
    assert table.bits[[0, 2]].tolist() == [0, 0] and 0 <= table.bits[1] <= 24
    assert table.group.tolist() == [1, 1, 1]
    assert out.startswith("6 images\n")
    assert "exact copies: 2 images have" in out and "near-duplicates: 1 pairs" in out
    assert "groups: 1, of 4 images, the largest of 4" in out
    assert "splits" not in out and "labels" not in out
    assert error.splitlines()[-1] == "error: 1 of 7 images can't be read"
    assert "error: album/broken.jpg: not an image" in error
    assert sorted(path.name for path in album.iterdir()) == ["album", "duplicates.csv"]


def test_nothing_alike_is_an_empty_table(album, capsys):
    assert duplicates.main(["album/b.png", "album/e.png", "--out", "none.csv"]) == 0
    assert len(read("none.csv")) == 0
    assert "groups: 0, of 0 images" in capsys.readouterr().out


def test_shares_are_brought_together_and_a_changed_photo_is_read_again(album, monkeypatch, capsys):
    monkeypatch.setattr(duplicates_images, "LEAST", 2)

    def share(which):
        assert console.run(lambda: duplicates.main(["album", "--shards", which])) == 0
        return capsys.readouterr().out

    assert "share 1 of 2 is done, and 2 of 4 parts are left" in share("1/2")
    assert "all 4 parts are done" in share("2/2")
    assert not (album / "duplicates.csv").exists()
    kept = {path: path.stat().st_mtime_ns for path in album.glob(".parts-*/*/*.npz")}
    assert duplicates.main(["album", "--out", "whole.csv"]) == 1
    with monkeypatch.context() as patched:
        patched.setattr(prints, "digest", None)  # what is kept is not made again
        assert duplicates.main(["album"]) == 1
    assert (album / "duplicates.csv").read_bytes() == (album / "whole.csv").read_bytes()
    assert len(kept) == 4 and not list(album.glob(".parts-*"))

    share("1/2"), share("2/2")
    cv2.imwrite("album/e.png", picture(1))  # is a copy of b.png now
    duplicates.main(["album"])
    assert read().iloc[-1][["name", "other", "kind", "group"]].tolist() == [
        *("album/b.png", "album/e.png", "exact", 2)
    ]


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A dataset with a copy within a split, and a near-duplicate in another, of other labels."""
    monkeypatch.chdir(tmp_path)
    lines = ["file,gender,age,split"]
    for i in range(12):
        image = cv2.resize(picture(0), (90, 90)) if i == 7 else picture(1 if i == 4 else i)
        cv2.imwrite(f"{i}.png", image)
        gender = "" if i == 4 else ("female", "male")[i % 2]
        split = "train" if i < 5 else "validation" if i == 5 else "test"
        lines.append(f"{i}.png,{gender},{20 + i},{split}")
    (tmp_path / "faces.csv").write_text("\n".join(lines) + "\n")
    return ["--dataset", "faces.csv", "--align", "never"]


@pytest.mark.slow
def test_a_datasets_leakage_and_labels_that_differ_are_counted(table, capsys):
    assert duplicates.main([*table, "--exhaustive"]) == 0

    out = capsys.readouterr().out
    near, copy = read().sort_values("kind", ascending=False).to_dict("records")
    assert (near["name"], near["other"], near["kind"]) == ("0.png", "7.png", "near")
    assert (near["split"], near["other_split"], near["differ"]) == ("train", "test", "gender age")
    assert {copy["name"], copy["other"]} == {"1.png", "4.png"}
    assert (copy["kind"], copy["bits"], copy["split"]) == ("exact", 0, copy["other_split"])
    assert copy["differ"] == "age"  # a missing label is not another one
    assert "across splits: 1 groups, with these images: train 1, test 1\n" in out
    assert "with different labels: 2 pairs (gender 1, race 0, age 2)" in out
    (total,) = (line for line in out.splitlines() if line.startswith("  0 to 24 bits"))
    assert total.split()[-3:] == ["2", "2", "100.0%"]

    assert duplicates.main([*table, "--split", "test"]) == 0
    assert "across splits: 0 groups\n" in capsys.readouterr().out
    assert len(read()) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give photos or a --dataset"),
        (["album", "--dataset", "UTKFace"], "give photos or a --dataset"),
        (["album", "--out", "album"], "album: a folder"),
        (["album/broken.jpg"], "none of 1 images can be read, album/broken.jpg: not an image"),
        (["clip.mp4"], "clip.mp4: duplicates are looked for among files of photos"),
        (["album", "--runner", "DirectRunner", "--shards", "1/2"], "leave --runner out"),
    ],
)
def test_bad_input_is_one_line(album, arguments, message):
    with pytest.raises(InputError, match=message):
        duplicates.main(arguments)
    assert [path.name for path in album.iterdir()] == ["album"]


@pytest.mark.slow
def test_utkfaces_duplicates_on_beam_are_those_of_one_process(faces_dir, tmp_path, monkeypatch):
    pytest.importorskip("apache_beam")
    monkeypatch.chdir(tmp_path)
    given = [str(faces_dir / "UTKFace")]
    on_beam = ["--runner=DirectRunner", "--direct_num_workers=2"]
    on_beam.append("--direct_running_mode=multi_processing")
    assert duplicates.main([*given, *on_beam, "--out", "beam.csv"]) == 0
    assert duplicates.main([*given, "--out", "here.csv"]) == 0
    assert (tmp_path / "beam.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    assert len(read("here.csv")) > 1_000


def test_names_that_are_no_text_are_escaped(album):
    os.rename(b"album/c.bmp", b"album/c\xe9.bmp")
    assert duplicates.main(["album"]) == 1
    assert r"album/c\udce9.bmp" in read().other.tolist()
