"""Grad-CAM against a gradient worked out by hand, and on every kind of classifier."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import keras
import numpy as np
import pytest
from PIL import Image

from vggface_gender import backbones, datasets
from vggface_gender import gradcam as command
from vggface_gender.backbones import resnet50, vggface
from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.data import records
from vggface_gender.evaluation import gradcam, gradcam_figure
from vggface_gender.inference import classifier
from vggface_gender.training import heads

TASKS = {"gender": ("female", "male"), "race": ("White", "Black", "Asian"), "age": ()}


@pytest.fixture
def crops():
    return np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)


def tiny(tasks=TASKS, age="years"):
    keras.utils.set_random_seed(2)
    crop = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(crop)
    x = keras.layers.Conv2D(6, 5, strides=4, activation="relu", name="first")(x)
    x = keras.layers.Conv2D(5, 3, padding="same", activation="tanh", name="second")(x)
    backbone = keras.Model(crop, x, name="tiny")
    head = heads.build("shared", backbone.output_shape[1:], tasks=tasks, age=age)
    head.get_layer("normalize").moving_variance.assign(
        np.random.default_rng(1).uniform(0.5, 2, 7 * 7 * 5)
    )
    return backbone, head


def built(backbone, head, tasks=TASKS, **kwargs):
    return classifier.build(
        backbone, head, tasks=tasks, padding=0.25, precision="float32", about={}, **kwargs
    )


def by_hand(backbone, head, crops, kernel, bias_free_scores):
    """The maps of layer "second" from the chain rule written out in NumPy, in float64."""
    maps = backbone.predict(crops, verbose=0).astype(np.float64)
    flat = maps.reshape(len(maps), -1)
    normal = head.get_layer("normalize")
    gamma, beta, mean, variance = (w.astype(np.float64) for w in normal.get_weights())
    scale = gamma / np.sqrt(variance + normal.epsilon)
    weights, bias = (w.astype(np.float64) for w in head.get_layer("shared").get_weights())
    hidden = ((flat - mean) * scale + beta) @ weights + bias
    on = hidden > 0
    places = bias_free_scores(np.maximum(hidden, 0))
    gradient = ((on * kernel[:, places].T) @ weights.T) * scale
    channel = gradient.reshape(maps.shape).mean((1, 2), keepdims=True)
    return np.maximum((channel * maps).sum(-1), 0), places


@pytest.mark.parametrize("task", ["gender", "race"])
@pytest.mark.parametrize("wanted", [None, 1])
def test_it_is_the_gradient_by_hand(crops, task, wanted):
    backbone, head = tiny()
    explain = gradcam.explainer(built(backbone, head), task, layer="second")
    maps, explained = explain(crops, None if wanted is None else np.full(6, wanted))
    kernel, bias = (w.astype(np.float64) for w in head.get_layer(task).get_weights())

    def places(hidden):
        return (hidden @ kernel + bias).argmax(1) if wanted is None else np.full(6, wanted)

    expected, expected_places = by_hand(backbone, head, crops, kernel, places)
    assert explained.tolist() == expected_places.tolist()
    assert (expected > 0).any(axis=(1, 2)).sum() >= 3  # there is something to agree on
    np.testing.assert_allclose(maps, expected, atol=1e-5 * expected.max())


@pytest.mark.parametrize("age", ["years", "distribution", "laplace"])
def test_age_is_explained_by_its_years(crops, age):
    made = built(*tiny(age=age))
    maps, years = gradcam.explainer(made, "age", layer="first")(crops)
    np.testing.assert_allclose(years, made.predict(crops)["age"], rtol=1e-4)
    assert maps.shape == (6, 7, 7) and (maps >= 0).all() and maps.max() > 0


def test_a_mirrored_a_tempered_and_a_loaded_classifier_give_the_same(crops, tmp_path):
    tasks = {"race": TASKS["race"]}
    backbone, head = tiny(tasks)
    expected, _ = gradcam.explainer(built(backbone, head, tasks), "race", layer="second")(crops)
    made = built(backbone, head, tasks, mirror=True, temperatures={"race": 3.0})
    classifier.save(made, tmp_path / "c.keras")
    again = classifier.load(tmp_path / "c.keras")
    for one in (made, again):
        got, _ = gradcam.explainer(one, "race", layer="second")(crops)
        np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "shape"),
    [
        pytest.param(
            lambda: backbones.load("dlib", layer="map+block_4_3"), (4, 4), marks=pytest.mark.slow
        ),
        (lambda: backbones.load("dlib", precision="mixed_bfloat16"), (4, 4)),
        pytest.param(lambda: resnet50.load(size=96), (3, 3), marks=pytest.mark.slow),
        (
            lambda: vggface.build(
                channels=((4, 4), (4, 4), (4,) * 3, (8,) * 3, (8,) * 3), size=128
            ),
            (4, 4),
        ),
    ],
)
def test_every_backbone_can_be_explained(build, shape):
    backbone = build()
    size = backbone.input_shape[1]
    head = heads.build("shared", backbone.output_shape[1:], tasks=TASKS)
    crops = np.random.default_rng(3).integers(0, 256, (2, size, size, 3), np.uint8)
    maps, _ = gradcam.explainer(built(backbone, head), "gender")(crops)
    assert maps.shape == (2, *shape) and np.isfinite(maps).all() and maps.dtype == np.float32


@pytest.mark.parametrize(
    ("task", "layer", "named"),
    [("race", None, "race.*gender"), ("gender", "third", "third.*second")],
)
def test_what_is_not_there_is_named(task, layer, named):
    tasks = {"gender": TASKS["gender"]}
    with pytest.raises(InputError, match=named):
        gradcam.explainer(built(*tiny(tasks), tasks), task, layer=layer)


def test_an_overlay_is_red_where_the_map_is_great_and_the_crop_shows_through():
    crop = np.full((40, 40, 3), 100, np.uint8)
    heat = np.zeros((4, 4))
    heat[0, 0] = 3
    laid = gradcam_figure.overlay(crop, heat)
    assert laid.shape == crop.shape and laid.dtype == np.uint8
    assert laid[2, 2, 0] > laid[2, 2, 2] and laid[-2, -2, 2] > laid[-2, -2, 0]
    assert (gradcam_figure.overlay(crop, heat, opacity=0) == crop).all()
    assert np.isfinite(gradcam_figure.overlay(crop, np.zeros((4, 4)))).all()


def test_averages_are_of_each_group_alone_and_weigh_every_face_alike(monkeypatch):
    crops = np.stack([np.full((8, 8, 3), value, np.uint8) for value in (10, 30, 100, 7)])
    maps = np.zeros((4, 2, 2), np.float32)
    maps[0, 0, 0], maps[1, 1, 1], maps[2, 0, 1] = 5.0, 0.5, 1.0
    keys = [("female", "Asian", "right"), ("female", "Asian", "right"), ("male", "Black", "wrong")]
    found = np.array([True, True, True, False])
    batches = [
        gradcam.Explained(crops[:2], maps[:2], keys[:2], found[:2]),
        gradcam.Explained(crops[2:], maps[2:], [keys[2], None], found[2:]),
    ]
    monkeypatch.setattr(gradcam, "explain", lambda *_, **__: iter(batches))
    summary = gradcam.summarize(None, None, split="test", task="gender", examples=1)
    cells = summary.averages
    assert {key: cell.count for key, cell in cells.items()} == {keys[0]: 2, keys[2]: 1}
    assert (cells[keys[0]].face == 20).all()
    assert cells[keys[0]].heat.tolist() == [[0.5, 0], [0, 0.5]]
    assert (summary.count, summary.undetected) == (4, 1)
    assert {kind: len(shown) for kind, shown in summary.examples.items()} == {
        "right": 1,
        "wrong": 1,
    }

    batches[1] = batches[1]._replace(groups=[None, None])
    marked = gradcam.summarize(
        None, None, split="test", task="gender", overlap=["exact", "near", None, None]
    )
    assert [cell.count for cell in marked.averages.values()] == [1]
    assert (marked.seen, marked.undetected, marked.ungrouped) == (1, 1, 1)
    assert gradcam.describe(marked).startswith("1 of 4 faces; left out: 1 in which no face is")

    sheet = np.asarray(gradcam_figure.averages(cells))
    left, stride = gradcam_figure.NAMES, gradcam_figure.SIDE + gradcam_figure.MARGIN
    top = gradcam_figure.LINE + 5
    races = len(labels.UTKFACE_RACES)
    assert sheet.shape[0] == gradcam_figure.LINE + 2 * races * stride
    asian, black = (labels.UTKFACE_RACES.index(race) for race in ("Asian", "Black"))
    assert (sheet[top + asian * stride, left + 5] == 20).all()  # the average face stands there
    row = sheet[top + (races + black) * stride :][: gradcam_figure.SIDE - 10]
    assert (row[:, left : left + 2 * stride] == 255).all()  # nothing was right there
    assert (row[0, left + 2 * stride + 5] == 100).all()
    width, height = gradcam_figure.examples(summary).size
    assert (width, height) == (8 * gradcam_figure.ACROSS, 8)


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
    batches = gradcam.aligned(frame, dataset, split="test")
    crops, found = map(np.concatenate, zip(*batches, strict=True))
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
    batches = gradcam.explain(trained, dataset, split="test", task="race")
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
    batches = gradcam.explain(trained, dataset, split="test", task="age")
    groups = [group for batch in batches for group in batch.groups]
    truth, outputs = classifier.classify(trained, dataset, split="test")
    right = (abs(outputs["age"] - truth.age) < 10).tolist()
    known = (truth.gender.notna() & truth.race.notna()).tolist()
    assert [group and group[-1] for group in groups] == [
        ("right" if is_right else "wrong") if is_known else None
        for is_right, is_known in zip(right, known, strict=True)
    ]


def test_the_command_writes_both_pictures(drawn, tiny_run, workplace, capsys):
    line = ["--run", str(tiny_run), "--dataset", str(drawn.table), "--data-dir", str(drawn.records)]
    command.main([*line, "--task", "race", "--out", "pictures"])
    written = sorted(Path("pictures").glob("*.png"))
    assert [path.name for path in written] == [
        "gradcam-faces-test-race-averages.png",
        "gradcam-faces-test-race-examples.png",
    ]
    printed = capsys.readouterr().out
    assert all(str(path) in printed for path in written)
    width, height = Image.open(written[1]).size
    assert width == 8 * 32 and height % 32 == 0
    with pytest.raises(InputError, match="nothing"):
        command.main([*line, "--split", "nothing"])
