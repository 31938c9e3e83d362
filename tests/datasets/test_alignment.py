"""Faces aligned on the way in: whose, what the records then hold, and what is said of it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from vggface_gender import datasets, records
from vggface_gender.base.errors import InputError
from vggface_gender.data import records as reading
from vggface_gender.datasets import mixes
from vggface_gender.evaluation import held_out, overlap
from vggface_gender.photos import crops, framing, read


@pytest.fixture
def folder(workplace, faces_dir, write_image):
    """Class folders of two of UTKFace's faces and a picture that shows none."""
    for number, path in enumerate(sorted((faces_dir / "UTKFace").glob("25_0_*"))[:2]):
        place = Path("faces", "male", f"{number}.jpg")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    write_image(Path("faces", "female", "none.png"))
    return workplace / "faces"


def prepare(name="faces", **options):
    return datasets.prepare(name, say=lambda text: None, **options)


def test_a_folders_faces_are_aligned_and_what_shows_none_is_used_whole(folder, capsys):
    records.main(["--dataset", "faces"])
    assert (
        "aligned: 2 by cnn; no face found, used whole: 1 (female/none.png)"
        in capsys.readouterr().out
    )
    dataset = prepare(align="auto")
    said = json.loads((dataset.directory / "metadata.json").read_text())["alignment"]
    assert said["aligned"] == 2 and said["settings"] == framing.settings()
    assert said["whole"] == ["female/none.png"]
    assert dataset.padding == framing.PADDING and dataset.is_aligned
    names = reading.labels(dataset, "all")["name"]
    for name, jpeg in zip(names, reading.jpegs(dataset, "all"), strict=True):
        expected = framing.frame(read.read_photo(folder / name)).image
        assert crops.to_jpeg(expected) == jpeg


def test_without_it_records_are_those_of_the_files(folder):
    plain, aligned = prepare(align="never"), prepare(align="always")
    assert plain.directory != aligned.directory and plain.fingerprint != aligned.fingerprint
    assert "alignment" not in plain.summary and plain.padding is None
    for name, jpeg in zip(
        reading.labels(plain, "all")["name"], reading.jpegs(plain, "all"), strict=True
    ):
        if name.startswith("male"):
            assert jpeg == (folder / name).read_bytes()
    assert prepare(align="never") == plain and prepare(align="auto") == aligned


def test_auto_leaves_alone_what_is_known_to_be_framed(folder):
    assert prepare(align="auto").is_aligned
    framed = prepare(align="auto", padding=0.3)
    assert not framed.is_aligned and framed.padding == 0.3
    assert prepare(align="auto") == framed  # the frame is kept
    assert prepare(align="always").is_aligned
    drawn = datasets.has_frame("SyntheticFaces"), datasets.has_frame("UTKFace")
    assert drawn == (True, True) and not datasets.has_frame("AllAgeFaces")


def test_what_can_not_be_is_refused(folder):
    with pytest.raises(InputError, match="no alignment often: give auto, always, never"):
        prepare(align="often")
    with pytest.raises(InputError, match="not both"):
        prepare(align="always", padding=0.3)
    with pytest.raises(SystemExit):
        records.main(["--dataset", "faces", "--align", "often"])
    assert not Path("tfrecords").exists()


def test_where_only_records_of_images_as_they_are_exist_it_says_so(folder):
    plain = prepare(align="never")
    shutil.rmtree(folder)
    with pytest.raises(InputError, match="align never"):
        prepare(align="auto")
    assert prepare(align="never") == plain


def test_a_changed_source_is_written_anew(folder):
    before = prepare(align="auto")
    shutil.copy(folder / "male" / "0.jpg", folder / "male" / "4.jpg")
    after = prepare(align="auto")
    assert before.directory == after.directory and before.fingerprint != after.fingerprint
    assert after.summary["alignment"]["aligned"] == 3


def test_a_mix_aligns_the_parts_whose_frame_is_not_known(folder):
    mix = mixes.prepare("faces", align="auto", say=lambda text: None)
    assert [part.dataset.is_aligned for part in mix.parts] == [True]


def test_faces_are_recognized_by_the_pictures_that_they_were_cut_from(folder):
    found = {}
    for align in ("never", "always"):
        dataset = prepare(align=align)
        names = reading.labels(dataset, "all")["name"]
        made = overlap.of_split(dataset, "all")
        found[align] = {
            name: (int(digest), bits.tolist())
            for name, digest, bits in zip(names, made.digests, made.hashes, strict=True)
        }
    assert found["never"] == found["always"] and len(found["never"]) == 3


@pytest.mark.parametrize(
    ("settings", "own", "other"),
    [
        ({}, "never", "auto"),  # from before faces were aligned
        ({"align": "auto"}, "auto", "auto"),
        ({"align": "never"}, "never", "never"),
    ],
)
def test_a_run_is_tested_on_faces_framed_as_those_it_learned_from(folder, settings, own, other):
    settings = {"dataset": "faces", **settings}
    assert held_out.own_alignment(settings, "faces") == own
    assert held_out.own_alignment(settings, "Adience") == other


def test_batches_show_the_frame_that_is_wanted(folder):
    dataset = prepare(align="auto")
    [batch] = reading.batches(dataset, "train", batch_size=9, size=60, padding=0.25)
    for name, crop in zip(batch["name"].numpy(), batch["image"].numpy(), strict=True):
        image = framing.frame(read.read_photo(folder / name.decode())).image
        assert np.abs(crops.fit(image, 60, frame=0.75).astype(int) - crop).mean() < 4
