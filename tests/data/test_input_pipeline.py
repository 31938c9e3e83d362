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


def test_targets_are_places_and_years_with_missing_marked():
    truth = pd.DataFrame({"gender": ["male", None, "female"], "age": [3.5, np.nan, 70]})
    places = records.targets(truth, "gender", ("female", "male"))
    assert places.tolist() == [1, -1, 0]
    years = records.targets(truth, "age", ())
    assert years.dtype == np.float32 and np.isnan(years[1]) and years[2] == 70


def test_batches_hold_each_record_once_with_its_own_image(dataset):
    names, images = [], []
    for part in records.batches(dataset, "train", 7, 32).as_numpy_iterator():
        assert part["image"].dtype == np.uint8 and part["image"].shape[1:] == (32, 32, 3)
        names += [name.decode() for name in part["name"]]
        images += list(part["image"])
    assert names == list(records.labels(dataset, "train").name)
    assert len(names) == dataset.counts["train"]
    for name, image in zip(names, images, strict=True):
        assert np.abs(image.astype(int) - 6 * number(name)).max() <= 2


def test_skipping_gives_the_rest_of_the_same_order(dataset):
    def names(skip):
        parts = records.batches(dataset, "train", 4, 8, skip=skip).as_numpy_iterator()
        return [name for part in parts for name in part["name"]]

    assert names(10) == names(0)[10:]


def test_a_dataset_is_brought_to_the_frame_that_is_asked_for(faces_dir, tmp_path):
    dataset = datasets.prepare("FairFace", faces_dir / "FairFace", tmp_path)
    assert dataset.padding == 0.25
    part = next(iter(records.batches(dataset, "test", 4, 150, 0.1).as_numpy_iterator()))
    for name, image in zip(part["name"], part["image"], strict=True):
        photo = crops.decode((faces_dir / "FairFace" / name.decode()).read_bytes())
        margin = round(224 * (1 - 1.2 / 1.5) / 2)  # of 1 + 2 * padding
        middle = photo[margin:-margin, margin:-margin]
        assert (image == cv2.resize(middle, (150, 150))).all()


def test_utkface_shows_what_dlib_would_show(faces_dir):
    """Its padding is a measured fact: check it with dlib's landmarks on its own crops."""
    import dlib

    from vggface_gender.datasets.utk_face.utk_face_dataset_builder import Builder
    from vggface_gender.photos import faces

    ratios = []
    for path in sorted((faces_dir / "UTKFace").glob("3*"))[:60]:
        photo = faces.read_photo(path)
        found = faces.detect(photo)
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


def test_the_sheet_shows_the_first_crops_row_by_row(dataset, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    records.log_sheet(dataset, "train", 16, None, tmp_path)
    events = EventAccumulator(str(tmp_path), {"tensors": 0}).Reload()
    _, _, png = events.Tensors("crops, train")[0].tensor_proto.string_val
    sheet = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR_RGB).astype(int)
    assert sheet.shape == (64, 128, 3)
    for i, name in enumerate(records.labels(dataset, "train").name[:32]):
        row, column = divmod(i, 8)
        tile = sheet[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
        assert np.abs(tile - 6 * number(name)).max() <= 2


def feature_rows(seed, first_epoch=0, count=3, rows=None):
    """The row numbers in `count` epochs of batches, read back from the features themselves."""
    features = np.arange(23, dtype=np.float32)[:, None]
    rows = np.arange(23) if rows is None else rows
    targets = {"age": np.arange(23, dtype=np.float32)}
    data = records.feature_batches(features, targets, 5, rows, seed, first_epoch)
    steps = -(-len(rows) // 5)
    epochs = []
    iterator = data.as_numpy_iterator()
    for _ in range(count):
        epoch = []
        for _ in range(steps):
            x, y = next(iterator)
            assert (x[:, 0] == y["age"]).all()
            epoch += x[:, 0].astype(int).tolist()
        epochs.append(epoch)
    return epochs


def test_every_epoch_is_a_new_order_of_all_rows():
    epochs = feature_rows(seed=0)
    assert all(sorted(epoch) == list(range(23)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs == feature_rows(seed=0)
    assert epochs != feature_rows(seed=1)


def test_an_epoch_is_the_same_however_it_was_come_to():
    assert feature_rows(seed=3, first_epoch=2, count=1)[0] == feature_rows(seed=3)[2]


def test_only_the_rows_asked_for_are_given():
    rows = np.array([1, 5, 7])
    assert feature_rows(seed=None, count=1, rows=rows) == [[1, 5, 7]]
    assert sorted(feature_rows(seed=0, count=1, rows=rows)[0]) == [1, 5, 7]
