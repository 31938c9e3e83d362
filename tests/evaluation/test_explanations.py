"""What predictions depend on: maps from forward passes, groups, parts of the face, pictures."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vggface_gender import datasets
from vggface_gender import gradcam as command
from vggface_gender.base import geometry, labels
from vggface_gender.base.errors import InputError
from vggface_gender.data import records
from vggface_gender.evaluation import (
    black_box,
    explanations,
    explanations_figure,
    face_regions,
)
from vggface_gender.inference import classifier
from vggface_gender.training import heads

TASKS = {"gender": ("female", "male"), "race": ("White", "Black", "Asian"), "age": ()}


def tiny(tasks=TASKS):
    keras.utils.set_random_seed(2)
    crop = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(crop)
    x = keras.layers.Conv2D(6, 5, strides=4, activation="relu", name="first")(x)
    backbone = keras.Model(crop, x, name="tiny")
    return backbone, heads.build("shared", backbone.output_shape[1:], tasks=tasks)


def built(backbone, head, tasks=TASKS):
    return classifier.build(
        backbone, head, tasks=tasks, padding=0.25, precision="float32", about={}
    )


class Corner:
    """A classifier whose answers are known: it looks at one square of the crop, how bright it is.

    `male` has the square's mean brightness as its probability; the age is a hundred times that.
    """

    tasks = {"gender": ("female", "male"), "age": ()}
    padding = 0.25

    def __init__(self, square):
        self.square = square

    def predict(self, crops, *, batch_size=64):
        male = crops[(slice(None), *self.square)].mean(axis=(1, 2, 3)) / 255
        return {"gender": np.stack([1 - male, male], axis=1), "age": 100 * male}


@pytest.fixture
def bright():
    """Crops that are bright in the square, and dark elsewhere."""
    crops = np.random.default_rng(0).integers(0, 40, (2, 64, 64, 3), np.uint8)
    crops[:, 8:24, 40:56] = 250
    return crops


SQUARE = np.s_[8:24, 40:56]


@pytest.mark.parametrize("task", ["gender", "age"])
def test_occlusion_is_the_fall_where_each_place_is_covered(bright, task):
    model = Corner(SQUARE)
    maps, places = black_box.occluded(model, task)(bright)
    whole = model.predict(bright)
    expected = np.zeros((2, 8, 8))
    for crop, one, answer in zip(bright, expected, whole["gender"][:, 1], strict=True):
        colour = crop.mean(axis=(0, 1)).astype(np.uint8)
        for row in range(8):
            for column in range(8):
                copy, y, x = crop.copy(), 8 * row + 4, 8 * column + 4
                copy[max(0, y - 8) : y + 8, max(0, x - 8) : x + 8] = colour
                one[row, column] = answer - model.predict(copy[None])["gender"][0, 1]
    if task == "age":
        np.testing.assert_allclose(maps, np.abs(100 * expected), atol=1e-3)
        np.testing.assert_allclose(places, whole["age"])
    else:
        np.testing.assert_allclose(maps, np.maximum(expected, 0), atol=1e-6)
        assert places.tolist() == [1, 1]
        other, _ = black_box.occluded(model, "gender")(bright, np.zeros(2, int))
        np.testing.assert_allclose(other, np.maximum(-expected, 0), atol=1e-6)


def test_rise_is_the_mean_of_what_masks_show(bright):
    model = Corner(SQUARE)
    maps, places = black_box.rise(model, "gender", masks=96, seed=3)(bright)
    masks, _ = black_box.random_masks(64, count=96, seed=3)
    assert masks.shape == (96, 64, 64) and masks.min() >= 0 and masks.max() <= 1
    assert 0.4 < masks.mean() < 0.6
    for crop, found in zip(bright, maps, strict=True):
        colour = crop.mean(axis=(0, 1))
        seen = [np.round(colour + mask[..., None] * (crop - colour)) for mask in masks]
        male = np.array([one[SQUARE].mean() / 255 for one in seen])
        weights = masks.reshape(96, 16, 4, 16, 4).mean(axis=(2, 4)).astype(np.float64)
        added = np.einsum("m,mij->ij", male, weights) / weights.sum(axis=0) - male.mean()
        np.testing.assert_allclose(found, np.maximum(added, 0), atol=1e-5)
    # It is where the classifier looks: rows 2 to 5, columns 10 to 13 of 16.
    peaks = [np.unravel_index(one.argmax(), one.shape) for one in maps]
    assert all(2 <= row <= 5 and 10 <= column <= 13 for row, column in peaks)
    assert places.tolist() == [1, 1]


def test_a_task_that_is_not_predicted_is_named(bright):
    with pytest.raises(InputError, match=r"race: gender, age"):
        black_box.rise(Corner(SQUARE), "race")


@pytest.mark.parametrize("padding", [0.0, 0.25, 0.548])
def test_the_parts_of_the_face_lie_where_its_points_are(padding):
    plan = face_regions.plan(padding)
    areas = dict(zip(face_regions.REGIONS, face_regions.areas(padding), strict=True))
    assert abs(sum(areas.values()) - 1) < 1e-9
    expected = {
        "mouth": geometry.MOUTH[2:5],
        "nose": geometry.NOSE[1:4],
        "eyes and brows": (*geometry.LEFT_EYE, *geometry.RIGHT_EYE, *geometry.LEFT_BROW[1:]),
        "cheeks": ((0.1, 0.5), (0.88, 0.5)),
        "chin and jaw": ((0.49, 0.99),),
        "forehead": ((0.3, -0.05), (0.7, -0.05)) if padding else (),
        "hair and background": ((-0.2, 0.9), (1.2, 0.9)) if padding else (),
    }
    for region, points in expected.items():
        for point in points:
            x, y = geometry.in_crop(point, padding=padding, size=face_regions.SIDE)
            found = face_regions.REGIONS[plan[min(int(y), 191), min(int(x), 191)]]
            assert found == region, (point, found)
    # The two halves are each other's mirror images, but for the axis's place.
    axis, _ = geometry.in_crop((0.490127, 0), padding=padding, size=face_regions.SIDE)
    half = int(min(axis, face_regions.SIDE - axis))
    left = plan[:, round(axis) - half : round(axis)][:, ::-1]
    assert (left == plan[:, round(axis) : round(axis) + half]).mean() > 0.97


def test_a_flat_maps_shares_are_the_areas_and_a_points_are_its_regions():
    maps = np.zeros((3, 8, 8), np.float32)
    maps[0] = 0.3
    maps[1, 5, 3:5] = 2  # between mouth and nose, of a crop in the frame 0.25
    parts = face_regions.shares(maps, padding=0.25)
    np.testing.assert_allclose(parts[0], face_regions.areas(0.25), atol=1e-6)
    assert {face_regions.REGIONS[place] for place in np.argsort(parts[1])[-2:]} <= {
        *("mouth", "nose", "cheeks", "chin and jaw")
    }
    assert np.isnan(parts[2]).all()  # nothing depends on anything


def test_covering_a_part_of_the_face_takes_what_lies_in_it():
    side = 96
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, (3, side, side, 3), np.uint8)
    copies = face_regions.covered(crops, padding=0.25)
    plan = cv2.resize(np.array(face_regions.plan(0.25)), (side, side), interpolation=0)
    for crop, its in zip(crops, copies, strict=True):
        for place, copy in enumerate(its):
            assert (copy[plan != place] == crop[plan != place]).all()
            assert (copy[plan == place] == crop.mean(axis=(0, 1)).astype(np.uint8)).all()
    # Of a classifier that looks at the mouth alone, the mouth's drop is the greatest by far.
    mouth = [geometry.in_crop(p, padding=0.25, size=side) for p in geometry.MOUTH]
    (left, top), (right, low) = np.min(mouth, axis=0).astype(int), np.max(mouth, axis=0).astype(int)
    model = Corner(np.s_[top + 3 : low - 3, left + 12 : right - 12])
    crops[:, top:low, left:right] = 255
    drops = explanations.region_drops(model, crops, task="gender", places=np.ones(3, int))
    assert [face_regions.REGIONS[place] for place in drops.argmax(axis=1)] == ["mouth"] * 3
    others = np.delete(drops, face_regions.REGIONS.index("mouth"), axis=1)
    assert np.abs(others).max() < 0.02 < 0.2 < drops.max(axis=1).min()
    years = explanations.region_drops(model, crops, task="age", places=np.zeros(3, int))
    np.testing.assert_allclose(years, np.abs(100 * drops), atol=1e-6)


def test_the_table_has_means_with_intervals_over_faces():
    rng = np.random.default_rng(4)
    parts = rng.dirichlet(np.ones(7), 80)
    parts[3] = np.nan
    drops = rng.normal(0.1, 0.2, (80, 7))
    table = face_regions.table(parts, drops, padding=0.25).set_index("region")
    assert list(table.index) == list(face_regions.REGIONS)
    known = np.delete(parts, 3, axis=0)
    np.testing.assert_allclose(table.share, known.mean(axis=0))
    np.testing.assert_allclose(table.ratio, known.mean(axis=0) / face_regions.areas(0.25))
    np.testing.assert_allclose(table["drop"], drops.mean(axis=0))
    assert table.faces.unique().tolist() == [79]
    # Of so many faces the bootstrap's interval is nearly that of the normal distribution.
    error = drops.std(axis=0, ddof=1) / np.sqrt(80)
    np.testing.assert_allclose(table.drop_high - table["drop"], 1.96 * error, rtol=0.15)
    np.testing.assert_allclose(table["drop"] - table.drop_low, 1.96 * error, rtol=0.15)
    without = face_regions.table(parts, padding=0.25)
    assert without["drop"].isna().all()
    said = face_regions.report(without, task="gender")
    assert "share of importance" in said and "covered" not in said
    assert "fall of the probability" in face_regions.report(table.reset_index(), task="gender")
    one = face_regions.interval([0.25])
    assert one.mean == 0.25 and np.isnan(one.low)


def test_an_overlay_is_red_where_the_map_is_great_and_the_crop_shows_through():
    crop = np.full((40, 40, 3), 100, np.uint8)
    heat = np.zeros((4, 4))
    heat[0, 0] = 3
    laid = explanations_figure.overlay(crop, heat)
    assert laid.shape == crop.shape and laid.dtype == np.uint8
    assert laid[2, 2, 0] > laid[2, 2, 2] and laid[-2, -2, 2] > laid[-2, -2, 0]
    assert (explanations_figure.overlay(crop, heat, opacity=0) == crop).all()
    assert np.isfinite(explanations_figure.overlay(crop, np.zeros((4, 4)))).all()


def test_averages_are_of_each_group_alone_and_weigh_every_face_alike(monkeypatch):
    crops = np.stack([np.full((8, 8, 3), value, np.uint8) for value in (10, 30, 100, 7)])
    maps = np.zeros((4, 2, 2), np.float32)
    maps[0, 0, 0], maps[1, 1, 1], maps[2, 0, 1] = 5.0, 0.5, 1.0
    keys = [("female", "Asian", "right"), ("female", "Asian", "right"), ("male", "Black", "wrong")]
    said = ["female", "female", "male", "not known"]

    def batch(first, last, groups, found):
        part = np.s_[first:last]
        return explanations.Explained(
            np.arange(4)[part], crops[part], maps[part], groups, found, said[part], said[part]
        )

    batches = [
        batch(0, 2, keys[:2], np.array([True, True])),
        batch(2, 4, [keys[2], None], np.array([True, False])),
    ]
    monkeypatch.setattr(explanations, "explain", lambda *_, **__: iter(batches))
    frame = SimpleNamespace(padding=0.25)
    summary = explanations.summarize(frame, None, split="test", task="gender", examples=1)
    cells = summary.averages
    assert {key: cell.count for key, cell in cells.items()} == {keys[0]: 2, keys[2]: 1}
    assert (cells[keys[0]].face == 20).all()
    assert cells[keys[0]].heat.tolist() == [[0.5, 0], [0, 0.5]]
    assert (summary.count, summary.undetected) == (4, 1)
    assert {kind: len(shown) for kind, shown in summary.examples.items()} == {
        "right": 1,
        "wrong": 1,
    }
    assert summary.examples["wrong"][0].true == "male"
    assert len(summary.shares) == 3 and summary.drops is None
    assert (summary.face == 47).all()  # of 10, 30 and 100

    batches[1] = batches[1]._replace(groups=[None, None])
    marked = explanations.summarize(
        frame, None, split="test", task="gender", overlap=["exact", "near", None, None]
    )
    assert [cell.count for cell in marked.averages.values()] == [1]
    assert (marked.seen, marked.undetected, marked.ungrouped) == (1, 1, 1)
    assert explanations.describe(marked).startswith("1 of 4 faces; left out: 1 in which no face is")

    sheet = np.asarray(explanations_figure.averages(cells))
    left, stride = explanations_figure.NAMES, explanations_figure.STRIDE
    line = explanations_figure.LINE
    races = len(labels.UTKFACE_RACES)
    assert sheet.shape[0] == 2 * line + 2 * races * stride
    asian, black = (labels.UTKFACE_RACES.index(race) for race in ("Asian", "Black"))
    top = line + 5
    assert (sheet[top + asian * stride, left + 5] == 20).all()  # the average face stands there
    row = sheet[top + (races + black) * stride :][: explanations_figure.SIDE - 10]
    assert (row[:, left : left + 2 * stride - 10] == 255).all()  # nothing was right there
    assert (row[0, left + 2 * stride + 5] == 100).all()


def frames(picture):
    """Which of the colours of marks a picture has."""
    pixels = {tuple(pixel) for pixel in np.asarray(picture).reshape(-1, 3)}
    rgb = {
        name: tuple(int(text[at : at + 2], 16) for at in (1, 3, 5))
        for name, text in explanations_figure.MARKS.items()
    }
    return {name for name, colour in rgb.items() if colour in pixels}


def test_averages_of_few_faces_are_framed():
    def sheet(count):
        face = np.full((20, 20, 3), 90, np.uint8)
        found = explanations.Average(count, face, np.ones((4, 4)))
        return explanations_figure.averages({("female", "", "right"): found})

    assert frames(sheet(9)) == {"wrong"} and frames(sheet(10)) == set()


def test_examples_say_which_is_right():
    crop = np.full((20, 20, 3), 90, np.uint8)
    face = explanations.Example(crop, np.eye(4), "female", "male")
    none = explanations.Summary({}, {"right": [], "wrong": []}, 0, 0, 0, 0, None, None, None)
    assert explanations_figure.examples(none) is None
    for right, wrong, expected in (
        (5, 0, {"right"}),
        (0, 1, {"wrong"}),
        (1, 1, {"right", "wrong"}),
    ):
        shown = {"right": [face] * right, "wrong": [face] * wrong}
        summary = explanations.Summary({}, shown, 6, 0, 0, 0, None, None, None)
        assert frames(explanations_figure.examples(summary)) == expected


@pytest.mark.slow
def test_aligned_first_rotated_faces_are_upright_again(faces_dir, tmp_path):
    photos = sorted((faces_dir / "FairFace" / "train").glob("*.jpg"))[:16]
    lines = ["file,gender,split"]
    for place, photo in enumerate(photos):
        image = cv2.imread(str(photo))
        rotation = cv2.getRotationMatrix2D((112, 112), 9, 0.9)
        rotation[:, 2] += (6, -4)
        rotated = cv2.warpAffine(image, rotation, (224, 224), borderMode=cv2.BORDER_REPLICATE)
        for kind, picture in (("a", image), ("b", rotated)):
            cv2.imwrite(str(tmp_path / f"{place}{kind}.png"), picture)
            lines.append(f"{place}{kind}.png,female,test")
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((224, 224, 3), 128, np.uint8))
    lines.append("grey.png,female,test")
    (tmp_path / "faces.csv").write_text("\n".join(lines) + "\n")
    frame = SimpleNamespace(size=150, padding=0.25)
    dataset = datasets.prepare(str(tmp_path / "faces.csv"), data_dir=tmp_path / "records")
    names = records.labels(dataset, "test").name.tolist()
    batches = explanations.aligned(frame, dataset, split="test")
    rows, crops, found = map(np.concatenate, zip(*batches, strict=True))
    assert rows.tolist() == list(range(len(names)))
    crop = dict(zip(names, crops.astype(int), strict=True))
    is_found = dict(zip(names, found, strict=True))
    assert not is_found["grey.png"] and (crop["grey.png"] == 0).all()
    pairs = [k for k in range(16) if is_found[f"{k}a.png"] and is_found[f"{k}b.png"]]
    assert len(pairs) >= 5
    middle = np.s_[30:120, 30:120]  # the face, not what was filled in around it
    for k in pairs:
        same = np.abs(crop[f"{k}a.png"][middle] - crop[f"{k}b.png"][middle]).mean()
        others = [
            np.abs(crop[f"{k}a.png"][middle] - crop[f"{other}b.png"][middle]).mean()
            for other in pairs
            if other != k
        ]
        assert same < min(others)


def test_races_of_another_taxonomy_are_compared_in_what_both_name(drawn):
    """A classifier of FairFace's seven races on UTKFace's five: nobody is left out for a name."""
    keras.utils.set_random_seed(3)
    tasks = {"race": labels.FAIRFACE_RACES}
    backbone, _ = tiny()
    trained = built(backbone, heads.build("compact", backbone.output_shape[1:], tasks=tasks), tasks)
    dataset = datasets.prepare(str(drawn.table), data_dir=drawn.records)
    batches = explanations.explain(trained, dataset, split="test", task="race")
    groups = [group for batch in batches for group in batch.groups]
    truth, outputs = classifier.classify(trained, dataset, split="test")
    predicted = np.array(labels.FAIRFACE_RACES)[outputs["race"].argmax(1)]
    coarser = labels.project(labels.FAIRFACE_RACES, labels.UTKFACE_RACES)
    expected = [
        (gender, race, "right" if coarser[one] == race else "wrong") if gender and race else None
        for gender, race, one in zip(truth.gender, truth.race, predicted, strict=True)
    ]
    assert groups == expected and any(groups)


def test_ages_within_ten_years_are_right(drawn):
    tasks = {"age": ()}
    trained = built(*tiny(tasks), tasks)
    dataset = datasets.prepare(str(drawn.table), data_dir=drawn.records)
    batches = explanations.explain(trained, dataset, split="test", task="age")
    groups = [group for batch in batches for group in batch.groups]
    truth, outputs = classifier.classify(trained, dataset, split="test")
    right = (abs(outputs["age"] - truth.age) < 10).tolist()
    known = (truth.gender.notna() & truth.race.notna()).tolist()
    assert [group and group[-1] for group in groups] == [
        ("right" if is_right else "wrong") if is_known else None
        for is_right, is_known in zip(right, known, strict=True)
    ]


def test_a_sample_is_of_the_split_and_the_same_again(drawn):
    trained = built(*tiny())
    dataset = datasets.prepare(str(drawn.table), data_dir=drawn.records)
    truth, _ = classifier.classify(trained, dataset, split="train")
    (jpegs, seen) = records.jpegs(dataset, "train"), []
    for _ in range(2):
        batches = list(explanations.explain(trained, dataset, split="train", task="age", count=9))
        seen.append(np.concatenate([batch.rows for batch in batches]))
        said = [text for batch in batches for text in batch.true]
        assert said == [f"{age:.0f} years" for age in truth.age.iloc[seen[-1]]]
        crops = np.concatenate([batch.crops for batch in batches])
    assert len(set(seen[0])) == 9 and (seen[0] == seen[1]).all() and seen[0].max() < len(jpegs)
    every = np.concatenate(
        list(classifier.crops_of(trained, dataset, split="train", batch_size=64))
    )
    np.testing.assert_array_equal(crops, every[seen[0]])


@pytest.mark.slow
def test_the_command_writes_pictures_and_a_table(drawn, tiny_run, workplace, capsys):
    line = ["--run", str(tiny_run), "--dataset", str(drawn.table)]
    line += ["--data-dir", str(drawn.records)]
    command.main([*line, "--task", "race", "--out", "pictures"])
    said = capsys.readouterr()
    written = sorted(path.name for path in Path("pictures").glob("gradcam-*[gv]"))
    kinds = ("averages.png", "examples.png", "regions.csv", "regions.png")
    assert written == [f"gradcam-faces-test-race-{kind}" for kind in kinds]
    assert all(name in said.out for name in written)
    width = explanations_figure.ACROSS * 2 * (explanations_figure.SIDE + explanations_figure.MARGIN)
    assert Image.open(f"pictures/{written[1]}").size[0] == width + explanations_figure.MARGIN

    for method, few in (("occlusion", "7"), ("rise", "2")):
        given = [*line, "--method", method, "--count", few]
        command.main([*given, "--task", "gender", "--out", method])
        table = pd.read_csv(f"{method}/{method}-faces-test-gender-regions.csv")
        assert table.columns.tolist() == list(face_regions.COLUMNS)
        assert table["drop"].notna().all() == (method == "occlusion")
        assert abs(table.share.sum() - 1) < 1e-4
        assert Path(f"{method}/{method}-faces-test-gender-regions.png").is_file()

    with pytest.raises(InputError, match="nothing"):
        command.main([*line, "--split", "nothing"])
    with pytest.raises(InputError, match="--layer goes with"):
        command.main([*line, "--method", "rise", "--layer", "conv1"])
