"""The input pipeline: what comes out is what was put in, in the frame and order that were asked."""

import cv2
import numpy as np
import pandas as pd
import pytest

from vggface_gender import datasets
from vggface_gender.data import records
from vggface_gender.photos import crops


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """40 faces of a table, some labels missing; the images' colour is their number."""
    folder = tmp_path_factory.mktemp("faces")
    lines = ["file,gender,age"]
    for i in range(40):
        image = np.full((50 + i, 50 + i, 3), 6 * i, np.uint8)
        cv2.imwrite(str(folder / f"{i}.jpg"), image)
        lines.append(f"{i}.jpg,{['female', 'male', ''][i % 3]},{i if i % 2 else ''}")
    (folder / "faces.csv").write_text("\n".join(lines) + "\n")
    return datasets.prepare(str(folder / "faces.csv"), data_dir=folder / "tfrecords")


def number(name: str) -> int:
    return int(name.removesuffix(".jpg"))


def test_labels_are_the_table_and_what_is_missing_is_none(dataset):
    table = pd.concat([records.labels(dataset, split) for split in dataset.counts])
    assert sorted(map(number, table.name)) == list(range(40))
    for row in table.itertuples():
        i = number(row.name)
        assert row.gender == ["female", "male", None][i % 3]
        assert row.race is None and row.subject is None
        assert row.age == i if i % 2 else np.isnan(row.age)


def test_batches_hold_each_record_once_with_its_own_image(dataset):
    names, images = [], []
    for part in records.batches(dataset, "train", batch_size=7, size=32).as_numpy_iterator():
        assert part["image"].dtype == np.uint8 and part["image"].shape[1:] == (32, 32, 3)
        names += [name.decode() for name in part["name"]]
        images += list(part["image"])
    assert names == list(records.labels(dataset, "train").name)
    assert len(names) == dataset.counts["train"]
    for name, image in zip(names, images, strict=True):
        assert np.abs(image.astype(int) - 6 * number(name)).max() <= 2


def test_the_end_waits_for_no_thread_that_tunes(dataset):
    """TensorFlow's would sleep on after the last record, for up to a minute."""
    crops_of = records.batches(dataset, "train", batch_size=7, size=32)
    for data in (records.records(dataset, "train"), crops_of):
        assert data.options().autotune.enabled is False


def test_all_is_every_split(dataset):
    (part,) = records.batches(dataset, "all", batch_size=50, size=8).as_numpy_iterator()
    assert sorted(number(name.decode()) for name in part["name"]) == list(range(40))
    assert [name.decode() for name in part["name"]] == list(records.labels(dataset, "all").name)
    assert len(records.jpegs(dataset, "all")) == dataset.count("all") == 40


def test_skipping_gives_the_rest_of_the_same_order(dataset):
    def names(skip):
        parts = records.batches(
            dataset, "train", batch_size=4, size=8, skip=skip
        ).as_numpy_iterator()
        return [name for part in parts for name in part["name"]]

    assert names(10) == names(0)[10:]


@pytest.mark.slow
def test_a_dataset_is_brought_to_the_frame_that_is_asked_for(faces_dir, tmp_path):
    dataset = datasets.prepare("FairFace", faces_dir / "FairFace", data_dir=tmp_path)
    assert dataset.padding == 0.25
    part = next(
        iter(
            records.batches(
                dataset, "test", batch_size=4, size=150, padding=0.1
            ).as_numpy_iterator()
        )
    )
    for name, image in zip(part["name"], part["image"], strict=True):
        photo = crops.decode((faces_dir / "FairFace" / name.decode()).read_bytes())
        margin = round(224 * (1 - 1.2 / 1.5) / 2)  # of 1 + 2 * padding
        middle = photo[margin:-margin, margin:-margin]
        assert (image == cv2.resize(middle, (150, 150))).all()


@pytest.mark.slow
def test_utkface_shows_what_dlib_would_show(faces_dir):
    """Its padding is a measured fact: check it with dlib's landmarks on its own crops."""
    import dlib

    from vggface_gender.datasets.utk_face.utk_face_dataset_builder import Builder
    from vggface_gender.photos import detect, read

    ratios = []
    for path in sorted((faces_dir / "UTKFace").glob("3*"))[:60]:
        photo = read.read_photo(path)
        found = detect.detect(photo, detector="hog")
        if len(found) == 1:
            chip = dlib.get_face_chip_details(
                dlib.full_object_detection(
                    dlib.rectangle(*found[0].box),
                    dlib.points([dlib.point(*map(int, p)) for p in found[0].landmarks]),
                ),
                150,
                Builder.PADDING,
            )
            ratios.append(chip.rect.width() / photo.shape[1])
    assert len(ratios) > 30
    assert np.median(ratios) == pytest.approx(1, abs=0.03)
