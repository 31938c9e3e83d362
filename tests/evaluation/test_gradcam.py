"""Grad-CAM against a gradient worked out by hand, and on every kind of classifier."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import cv2
import keras
import numpy as np
import pytest
from PIL import Image

from vggface_gender import backbones, datasets
from vggface_gender.backbones import resnet50, vggface
from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.data import records
from vggface_gender.evaluation import gradcam
from vggface_gender.inference import classifier
from vggface_gender.training import heads

TASKS = {"gender": ("female", "male"), "race": ("White", "Black", "Asian"), "age": ()}


@pytest.fixture
def crops():
    return np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)


def tiny(tasks=TASKS):
    keras.utils.set_random_seed(2)
    crop = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 255)(crop)
    x = keras.layers.Conv2D(6, 5, strides=4, activation="relu", name="first")(x)
    x = keras.layers.Conv2D(5, 3, padding="same", activation="tanh", name="second")(x)
    backbone = keras.Model(crop, x, name="tiny")
    head = heads.shared(backbone.output_shape[1:], tasks)
    head.get_layer("normalize").moving_variance.assign(
        np.random.default_rng(1).uniform(0.5, 2, 7 * 7 * 5)
    )
    return backbone, head


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
@pytest.mark.parametrize("asked", [None, 1])
def test_it_is_the_gradient_by_hand(crops, task, asked):
    backbone, head = tiny()
    made = classifier.build(backbone, heads.answers(head), TASKS, 0.25, "float32", {})
    explain = gradcam.explainer(made.model, task, "second")
    maps, told = explain(crops, None if asked is None else np.full(6, asked))
    kernel, bias = (w.astype(np.float64) for w in head.get_layer(task).get_weights())

    def places(hidden):
        return (hidden @ kernel + bias).argmax(1) if asked is None else np.full(6, asked)

    expected, expected_told = by_hand(backbone, head, crops, kernel, places)
    assert told.tolist() == expected_told.tolist()
    assert (expected > 0).any(axis=(1, 2)).sum() >= 3  # there is something to agree on
    np.testing.assert_allclose(maps, expected, atol=1e-5 * expected.max())


def test_age_is_explained_by_its_years(crops):
    backbone, head = tiny()
    made = classifier.build(backbone, heads.answers(head), TASKS, 0.25, "float32", {})
    maps, told = gradcam.explainer(made.model, "age", "first")(crops)
    np.testing.assert_allclose(told, made.predict(crops)["age"], rtol=1e-5)
    assert maps.shape == (6, 7, 7) and (maps >= 0).all() and maps.max() > 0


def test_a_flat_model_a_mirrored_and_a_loaded_one_give_the_same(crops, tmp_path):
    backbone, head = tiny({"race": TASKS["race"]})
    made = classifier.build(
        backbone, head, {"race": TASKS["race"]}, 0.25, "float32", {}, mirror=True
    )
    classifier.save(made, tmp_path / "c.keras")
    again = classifier.load(tmp_path / "c.keras")
    expected, _ = gradcam.explainer(made.model, "race", "second")(crops)
    got, _ = gradcam.explainer(again.model, "race", "second")(crops)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    x = backbone.output
    for layer in head.layers[1:]:
        x = layer(x)
    whole = keras.Model(backbone.input, {"race": x})
    got, _ = gradcam.explainer(whole, "race", "second")(crops)
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda: backbones.load("dlib", layer="map+block_4_3"), (4, 4)),
        (lambda: backbones.load("dlib", "mixed_bfloat16"), (4, 4)),
        (lambda: resnet50.load(size=96), (3, 3)),
        (lambda: vggface.build(channels=((4, 4), (8,), (8,)), size=32), (4, 4)),
    ],
)
def test_every_backbone_can_be_explained(build, shape):
    backbone = build()
    size = backbone.input_shape[1]
    head = heads.shared(backbone.output_shape[1:], TASKS)
    made = classifier.build(backbone, heads.answers(head), TASKS, 0.25, "float32", {})
    crops = np.random.default_rng(3).integers(0, 256, (2, size, size, 3), np.uint8)
    maps, _ = gradcam.explainer(made.model, "gender")(crops)
    assert maps.shape == (2, *shape) and np.isfinite(maps).all() and maps.dtype == np.float32


@pytest.mark.parametrize(
    ("task", "layer", "complaint"),
    [
        ("smile", None, "does not tell smile; it tells gender"),
        ("gender", "third", "no layer third that gives a map; its last: .*second"),
    ],
)
def test_what_is_not_there_is_told(task, layer, complaint):
    backbone, head = tiny({"gender": TASKS["gender"]})
    made = classifier.build(backbone, head, {"gender": TASKS["gender"]}, 0.25, "float32", {})
    with pytest.raises(InputError, match=complaint):
        gradcam.explainer(made.model, task, layer)


def test_an_overlay_is_red_where_the_map_is_great_and_the_crop_shows_through():
    crop = np.full((40, 40, 3), 100, np.uint8)
    heat = np.zeros((4, 4))
    heat[0, 0] = 3
    laid = gradcam.overlay(crop, heat)
    assert laid.shape == crop.shape and laid.dtype == np.uint8
    assert laid[2, 2, 0] > laid[2, 2, 2] and laid[-2, -2, 2] > laid[-2, -2, 0]
    assert (gradcam.overlay(crop, heat, 0) == crop).all()
    assert np.isfinite(gradcam.overlay(crop, np.zeros((4, 4)))).all()


def test_averages_are_of_each_group_alone_and_weigh_every_face_alike():
    crops = np.stack([np.full((8, 8, 3), value, np.uint8) for value in (10, 30, 100, 7)])
    maps = np.zeros((4, 2, 2), np.float32)
    maps[0, 0, 0], maps[1, 1, 1], maps[2, 0, 1] = 5.0, 0.5, 1.0
    keys = [("female", "Asian", "right"), ("female", "Asian", "right"), ("male", "Black", "wrong")]
    batches = [(crops[:2], maps[:2], keys[:2]), (crops[2:], maps[2:], [keys[2], None])]
    cells = gradcam.averages(batches)
    assert {key: cell.count for key, cell in cells.items()} == {keys[0]: 2, keys[2]: 1}
    assert (cells[keys[0]].face == 20).all()
    assert cells[keys[0]].heat.tolist() == [[0.5, 0], [0, 0.5]]
    sheet = np.asarray(gradcam.figure(cells, [("female", "Asian"), ("male", "Black")], ["right"]))
    assert (sheet[gradcam.LABEL + 5, 175] == 20).all()  # the average face stands there
    assert (sheet[-gradcam.SIDE :, 175:] == 255).all()  # of the other row nothing was right


@pytest.fixture
def tool():
    script = Path(__file__).resolve().parents[1] / "tools" / "gradcam.py"
    spec = importlib.util.spec_from_file_location("gradcam_tool", script)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def test_aligned_first_turned_faces_are_upright_again(tool, faces_dir, tmp_path):
    photos = sorted((faces_dir / "FairFace" / "train").glob("*.jpg"))[:16]
    lines = ["file,gender,split"]
    for place, photo in enumerate(photos):
        image = cv2.imread(str(photo))
        turned = cv2.getRotationMatrix2D((112, 112), 9, 0.9)
        turned[:, 2] += (6, -4)
        turned = cv2.warpAffine(image, turned, (224, 224), borderMode=cv2.BORDER_REPLICATE)
        for kind, picture in (("a", image), ("b", turned)):
            cv2.imwrite(str(tmp_path / f"{place}{kind}.png"), picture)
            lines.append(f"{place}{kind}.png,female,test")
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((224, 224, 3), 128, np.uint8))
    lines.append("grey.png,female,test")
    (tmp_path / "faces.csv").write_text("\n".join(lines) + "\n")
    trained = SimpleNamespace(size=150, padding=0.25)
    dataset = datasets.prepare(str(tmp_path / "faces.csv"), data_dir=tmp_path / "records")
    names = records.labels(dataset, "test").name.tolist()
    crops, found = map(np.concatenate, zip(*tool.aligned(trained, dataset, "test"), strict=True))
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


def test_races_of_another_taxonomy_are_compared_in_what_both_name(tool, tmp_path, draw_table):
    """A classifier of FairFace's seven races on UTKFace's five: nobody is left out for a name."""
    keras.utils.set_random_seed(3)
    tasks = {"race": labels.FAIRFACE_RACES}
    backbone, _ = tiny()
    head = heads.compact(backbone.output_shape[1:], tasks)
    trained = classifier.build(backbone, head, tasks, 0.25, "float32", {})
    dataset = datasets.prepare(str(draw_table(tmp_path, 70, 48)), data_dir=tmp_path / "records")
    explained = tool.explain(trained, dataset, "train", "race")
    keys = [key for _, _, batch in explained for key in batch]
    truth, outputs = classifier.classify(trained, dataset, "train")
    told = np.array(labels.FAIRFACE_RACES)[outputs["race"].argmax(1)]
    coarser = labels.project(labels.FAIRFACE_RACES, labels.UTKFACE_RACES)
    expected = [
        (gender, race, "right" if coarser[one] == race else "wrong") if gender and race else None
        for gender, race, one in zip(truth.gender, truth.race, told, strict=True)
    ]
    assert keys == expected and {"Asian", "Others"} & {key[1] for key in keys if key}


def test_the_tool_draws_the_default_classifiers_answers(tool, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tool.main(["--dataset", "SyntheticFaces", "--task", "gender", "--out", "pictures"])
    written = sorted(Path("pictures").iterdir())
    assert [path.name for path in written] == [
        "gradcam-SyntheticFaces-test-gender-averages.png",
        "gradcam-SyntheticFaces-test-gender-examples.png",
    ]
    printed = capsys.readouterr().out
    assert all(str(path) in printed for path in written)
    width, height = Image.open(written[1]).size
    assert width == 8 * 150 and height % 150 == 0
    with pytest.raises(InputError, match="no split nothing: give"):
        tool.main(["--dataset", "SyntheticFaces", "--split", "nothing"])
