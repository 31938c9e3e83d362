"""Clusters against brute force and pair counts; the tool on faces whose clusters are planted."""

import importlib.util
import itertools
import json
import shutil
import sys
from pathlib import Path

import cv2
import keras
import matplotlib.colors
import numpy as np
import pandas as pd
import pytest

from vggface_gender.base import console, files
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import clusters
from vggface_gender.inference import classifier
from vggface_gender.training import heads

SCRIPT = Path(__file__).resolve().parents[1] / "tools" / "cluster.py"


def faces_of(table):
    """True labels and clusters of which `table` counts the faces, in random order."""
    cells = [cell for cell, count in np.ndenumerate(table) for _ in range(count)]
    return np.random.default_rng(0).permutation(np.array(cells)).T


def rand_of_pairs(true, places):
    """The adjusted Rand index, from counting every pair of faces."""
    both = only_true = only_places = neither = 0
    for one, other in itertools.combinations(range(len(true)), 2):
        same_true, same_place = true[one] == true[other], places[one] == places[other]
        both += same_true and same_place
        only_true += same_true and not same_place
        only_places += same_place and not same_true
        neither += not same_true and not same_place
    return (
        2
        * (both * neither - only_true * only_places)
        / (
            (both + only_true) * (only_true + neither)
            + (both + only_places) * (only_places + neither)
        )
    )


def blobs(count, each, dimensions=8, seed=0):
    """Features of `count` groups far apart, and the group of each face."""
    rng = np.random.default_rng(seed)
    true = rng.permutation(np.repeat(np.arange(count), each))
    centres = 20 * np.eye(count, dimensions)
    return (centres[true] + rng.normal(size=(len(true), dimensions))).astype(np.float32), true


def test_scores_of_a_table_worked_out_by_hand():
    # Clusters 2, 0, 1 are matched with a, b, c: 5 + 3 + 4 faces agree; any other way, fewer.
    true, places = faces_of([[1, 0, 5], [3, 1, 2], [4, 4, 0]])
    found = clusters.scores(true, places, ("a", "b", "c"))
    assert found["accuracy"] == 12 / 20
    assert found["purity"] == (4 + 4 + 5) / 20
    # Pairs that share a cell 26, a label 58, a cluster 59, of 190.
    expected = (26 - 58 * 59 / 190) / ((58 + 59) / 2 - 58 * 59 / 190)
    assert found["adjusted_rand"] == pytest.approx(expected)
    sizes = [("b", 8), ("c", 5), ("a", 7)]
    assert found["clusters"] == [{"label": name, "count": size} for name, size in sizes]
    assert found["confusion"] == [[5, 1, 0], [2, 3, 1], [0, 4, 4]]
    groups = {name: (group["accuracy"], group["count"]) for name, group in found["groups"].items()}
    assert groups == {"a": (5 / 6, 6), "b": (3 / 6, 6), "c": (4 / 8, 8)}
    # Wilson's interval of 12 of 20, from its formula.
    z, share, n = 1.959964, 0.6, 20
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    assert found["interval"] == pytest.approx([middle - half, middle + half], abs=1e-6)
    assert clusters.majority(true, ("a", "b", "c")) == {"label": "c", "accuracy": 8 / 20}


@pytest.mark.parametrize("count", [2, 3, 5])
def test_scores_are_those_of_brute_force_and_of_pairs(count):
    rng = np.random.default_rng(count)
    names = tuple("abcde"[:count])
    for _ in range(20):
        true = rng.integers(0, count, 40)
        places = np.where(rng.random(40) < rng.random(), true, rng.integers(0, count, 40))
        found = clusters.scores(true, places, names)
        agreeing = [
            (np.array(order)[places] == true).mean()
            for order in itertools.permutations(range(count))
        ]
        assert found["accuracy"] == pytest.approx(max(agreeing))
        matched = [names.index(cluster["label"]) for cluster in found["clusters"]]
        assert sorted(matched) == list(range(count))
        assert (np.array(matched)[places] == true).mean() == pytest.approx(max(agreeing))
        assert found["adjusted_rand"] == pytest.approx(rand_of_pairs(true, places))
        commonest = [max(np.bincount(true[places == one])) for one in set(places)]
        assert found["purity"] == pytest.approx(sum(commonest) / 40)
        assert found["purity"] >= clusters.majority(true, names)["accuracy"]


@pytest.mark.parametrize("count", [200, 9])  # of few faces several matchings are equally good
def test_numbers_of_clusters_mean_nothing(count):
    rng = np.random.default_rng(4)
    true = rng.integers(0, 4, count)
    places = np.where(rng.random(count) < 0.6, true, rng.integers(0, 4, count))
    found = clusters.scores(true, places, tuple("abcd"))
    for order in itertools.permutations(range(4)):
        other = clusters.scores(true, np.array(order)[places], tuple("abcd"))
        assert [other["clusters"][place] for place in order] == found["clusters"]
        assert other["adjusted_rand"] == pytest.approx(found["adjusted_rand"])
        for key in ("accuracy", "interval", "purity", "groups", "confusion"):
            assert other[key] == found[key]


def test_an_empty_cluster_and_a_label_without_faces_are_scored():
    true, places = np.array([0, 0, 1, 1, 1]), np.array([2, 2, 0, 0, 2])
    found = clusters.scores(true, places, ("a", "b", "c"))
    assert found["accuracy"] == 4 / 5 and list(found["groups"]) == ["a", "b"]
    assert found["clusters"][1] == {"label": "c", "count": 0}


def test_clusters_that_know_nothing_have_no_index_but_an_accuracy_above_chance():
    rng = np.random.default_rng(0)
    draws = [
        clusters.scores(rng.integers(0, 3, 60), rng.integers(0, 3, 60), tuple("abc"))
        for _ in range(200)
    ]
    index, accuracy = (np.mean([one[k] for one in draws]) for k in ("adjusted_rand", "accuracy"))
    assert abs(index) < 0.005
    assert accuracy > 0.38  # by matching alone: what the module's docstring warns of


@pytest.mark.parametrize("method", clusters.METHODS)
@pytest.mark.parametrize("count", [2, 5, 7])
def test_groups_far_apart_are_found_exactly(method, count):
    features, true = blobs(count, 30)
    places = clusters.find(features, count, method, seed=1)
    assert places.shape == true.shape and places.dtype == np.int64
    assert set(places) == set(range(count))
    found = clusters.scores(true, places, tuple("abcdefg"[:count]))
    assert found["accuracy"] == found["adjusted_rand"] == found["purity"] == 1
    assert (clusters.find(features, count, method, seed=1) == places).all()


def test_agglomerative_joins_what_adds_least_to_the_squares():
    # Ward's rule written out: of all pairs the one whose joining costs least, until 3 are left.
    features = np.random.default_rng(5).normal(size=(40, 3))
    groups = [[place] for place in range(40)]
    while len(groups) > 3:

        def cost(pair):
            one, other = (features[groups[place]] for place in pair)
            squares = ((one.mean(axis=0) - other.mean(axis=0)) ** 2).sum()
            return len(one) * len(other) / (len(one) + len(other)) * squares

        one, other = min(itertools.combinations(range(len(groups)), 2), key=cost)
        groups[one] += groups.pop(other)
    places = clusters.find(features, 3, "agglomerative")
    got = {frozenset(np.flatnonzero(places == place).tolist()) for place in range(3)}
    assert got == {frozenset(group) for group in groups}


def test_the_plane_keeps_neighbours_and_the_seed_keeps_the_plane():
    features, true = blobs(4, 40)
    points = clusters.flatten(features, seed=2)
    assert points.shape == (160, 2) and np.isfinite(points).all()
    apart = ((points[:, None] - points) ** 2).sum(axis=2) + 1e9 * np.eye(160)
    assert (true[apart.argmin(axis=1)] == true).all()
    assert (clusters.flatten(features, seed=2) == points).all()
    for few in (features[:2], features[:3, :1]):
        assert np.isfinite(clusters.flatten(few)).all()


def test_a_figure_shows_the_same_points_in_each_panels_colours():
    points = np.random.default_rng(0).normal(size=(6, 2))
    panels = {"true": np.array([0, 1, 2, 2, 2, 0]), "told": np.array([1, 1, 1, 1, 1, 1])}
    drawn = clusters.figure(points, panels, ("a", "b", "c"), "six faces")
    assert drawn.get_suptitle() == "six faces"
    for axes, (heading, places) in zip(drawn.axes, panels.items(), strict=True):
        (scatter,) = axes.collections
        assert axes.get_title() == heading
        assert (scatter.get_offsets() == points).all()
        expected = [matplotlib.colors.to_rgba(clusters.COLOURS[place]) for place in places]
        assert (scatter.get_facecolors() == expected).all()
        legend = axes.get_legend()
        shown = {
            text.get_text(): handle.get_color()
            for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
        }
        counts = np.bincount(places, minlength=3)
        assert shown == {
            f"{name} ({number})": colour
            for name, number, colour in zip("abc", counts, clusters.COLOURS, strict=False)
        }


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("cluster_tool", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["cluster_tool"] = module
    spec.loader.exec_module(module)
    return module


def write_plain(folder, colours, seed):
    """One picture for each colour (n, 3) RGB, nearly plain: `0.jpg`, ..."""
    rng = np.random.default_rng(seed)
    for place, colour in enumerate(colours):
        picture = np.clip(np.array(colour) + rng.normal(0, 8, 3), 0, 255)
        picture = np.broadcast_to(picture, (40, 40, 3)).astype(np.uint8)
        assert cv2.imwrite(str(folder / f"{place}.jpg"), picture[..., ::-1])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two datasets and a backbone that tells a picture's mean colour.

    `light`: 60 dark women and light men, of whom 4 have the other label and 6 none, and no race.
    `hues`: 45 faces of three races, each of one colour, and 5 of a race in train alone.
    """
    home = tmp_path_factory.mktemp("home")
    for name in ("light", "hues"):
        (home / name).mkdir()
    is_light = np.arange(60) % 2
    write_plain(home / "light", [[60] * 3 if not light else [190] * 3 for light in is_light], 0)
    gender = [("female", "male")[light] for light in is_light]
    for place in (3, 10, 20, 31):
        gender[place] = ("female", "male")[gender[place] == "female"]
    gender[40:46] = [""] * 6
    names = [f"{place}.jpg" for place in range(60)]
    table = pd.DataFrame({"file": names, "gender": gender, "age": 30, "split": "test"})
    table.to_csv(home / "light" / "light.csv", index=False)
    colours = 180 * np.eye(3) + 30
    race = np.arange(50) % 3
    write_plain(home / "hues", colours[race], 1)
    table = pd.DataFrame(
        {
            "file": names[:50],
            "gender": "female",
            "race": [("White", "Black", "Asian")[place] for place in race[:45]] + ["Indian"] * 5,
            "split": ["test"] * 45 + ["train"] * 5,
        }
    )
    table.to_csv(home / "hues" / "hues.csv", index=False)

    keras.utils.set_random_seed(0)
    crop = keras.Input((32, 32, 3))
    mean = keras.layers.GlobalAveragePooling2D(name="mean")(crop)
    backbone = keras.Model(crop, mean, name="colour")
    backbone.save(home / "colour.keras")
    tasks = {"gender": ("female", "male")}
    made = classifier.build(backbone, heads.shared((3,), tasks), tasks, 0.25, "float32", {})
    (home / "run").mkdir()
    classifier.save(made, home / "run" / "classifier.keras")
    settings = {"dataset": "light/light.csv", "split_seed": 3}
    files.write_json({"settings": settings, "versions": {}}, home / "run" / "config.json")
    return home


LIGHT = ["--datasets", "light/light.csv", "--backbone", "colour.keras"]
HUES = ["--datasets", "hues/hues.csv", "--backbone", "colour.keras", "--task", "race"]


def test_the_tool_finds_what_is_planted_and_writes_what_it_says(tool, home, monkeypatch, capsys):
    monkeypatch.chdir(home)
    tool.main([*LIGHT, "--out", "out"])
    printed = capsys.readouterr().out
    assert "light test: 54 faces in 2 clusters" in printed
    assert "without a gender, left out: 6" in printed
    written = ["clusters.csv", "clusters.json", "tsne-light.png"]
    assert sorted(path.name for path in Path("out").iterdir()) == written
    assert all(str(Path("out", name)) in printed for name in written)
    result = json.loads(Path("out/clusters.json").read_text())
    assert (result["task"], result["split"], result["seed"]) == ("gender", "test", 0)
    assert result["features"] == {"backbone": "colour.keras", "layer": "mean"}
    (one,) = result["datasets"]
    assert (one["dataset"], one["count"], one["missing"], one["left_out"]) == ("light", 54, 6, 0)
    assert one["plot"] == "tsne-light.png" and not one["trained_on"]
    table = pd.read_csv("out/clusters.csv")
    assert len(table) == 54 and set(table.dataset) == {"light"}
    asked = pd.read_csv("light/light.csv").set_index("file").gender
    assert (asked[table.name].to_numpy() == table.gender).all()
    is_light = table.name.str.removesuffix(".jpg").astype(int) % 2
    assert list(one["methods"]) == list(clusters.METHODS)
    for method, figures in one["methods"].items():
        assert (table[f"{method} label"] == np.array(["female", "male"])[is_light]).all()
        assert figures["accuracy"] == pytest.approx(50 / 54) == figures["purity"]
        assert table.groupby(method)[f"{method} label"].nunique().tolist() == [1, 1]
        assert figures["clusters"] == [
            {"label": group.iloc[0], "count": len(group)}
            for _, group in table.groupby(method)[f"{method} label"]
        ]
        assert f"{figures['adjusted_rand']:.3f}" in printed
    share = max(table.gender.value_counts()) / 54
    assert one["majority"]["accuracy"] == pytest.approx(share) and f"{share:.1%}" in printed
    height, width = cv2.imread("out/tsne-light.png").shape[:2]
    assert width > 2 * height


def test_the_same_command_gives_the_same_files(tool, home, monkeypatch):
    monkeypatch.chdir(home)
    contents = []
    for seed, out in (("7", "first"), ("7", "again"), ("8", "other")):
        tool.main([*HUES, "--count", "30", "--seed", seed, "--out", out])
        contents.append({path.name: path.read_bytes() for path in Path(out).iterdir()})
    assert contents[0] == contents[1]
    drawn = [set(pd.read_csv(f"{out}/clusters.csv").name) for out in ("first", "other")]
    assert drawn[0] != drawn[1] and len(drawn[0]) == len(drawn[1]) == 30
    (one,) = json.loads(Path("first/clusters.json").read_text())["datasets"]
    assert (one["count"], one["left_out"], one["missing"]) == (30, 15, 0)
    # As many clusters as labels in the split; the fourth race stands in train alone.
    assert one["labels"] == ["White", "Black", "Asian"]
    assert all(figures["adjusted_rand"] == 1 for figures in one["methods"].values())


def test_a_plot_says_how_many_of_the_faces_it_shows(tool, home, monkeypatch):
    monkeypatch.chdir(home)
    monkeypatch.setattr(tool, "PLOTTED", 20)
    drawn = []
    real = clusters.figure
    monkeypatch.setattr(clusters, "figure", lambda *given: drawn.append(given) or real(*given))
    tool.main([*HUES, "--out", "few"])
    ((points, panels, names, title),) = drawn
    assert "20 of 45 faces" in title and points.shape == (20, 2)
    true, *told = panels.values()
    assert len(told) == 2 and all((places == true).all() for places in told)
    assert names == ["White", "Black", "Asian"]


def test_a_runs_own_network_on_its_own_split(tool, home, monkeypatch, capsys):
    monkeypatch.chdir(home)
    tool.main(["--datasets", "light/light.csv", "--run", "run"])
    result = json.loads(Path("run/clusters-test-gender-mean/clusters.json").read_text())
    assert result["features"] == {"run": "run", "layer": "mean"}
    (one,) = result["datasets"]
    assert one["trained_on"] and one["methods"]["k-means"]["accuracy"] == pytest.approx(50 / 54)
    printed = capsys.readouterr().out
    assert "split_3" in printed and "trained on this dataset" in printed
    tool.main(["--datasets", "hues/hues.csv", "--task", "race", "--run", "run", "--out", "hued"])
    (one,) = json.loads(Path("hued/clusters.json").read_text())["datasets"]
    assert not one["trained_on"] and one["methods"]["k-means"]["accuracy"] == 1
    assert "split_0" in capsys.readouterr().out


@pytest.mark.parametrize("mirror", [False, True])  # whose layers are called twice
def test_a_layer_of_the_head_or_of_the_backbone(tool, home, tmp_path, mirror):
    made = classifier.load(home / "run" / "classifier.keras")
    again = classifier.build(*made.parts(), made.tasks, 0.25, "float32", {}, mirror)
    classifier.save(again, tmp_path / "c.keras")
    trained = classifier.load(tmp_path / "c.keras")
    _, head = trained.parts()
    rng = np.random.default_rng(0)
    gamma, beta = rng.uniform(0.5, 2, 3), rng.normal(size=3)
    mean, variance = rng.uniform(90, 150, 3), rng.uniform(0.5, 2, 3)
    head.get_layer("normalize").set_weights([gamma, beta, mean, variance])
    crops = rng.integers(0, 256, (5, 32, 32, 3)).astype(np.float32)
    pooled = crops.mean(axis=(1, 2))
    for layer in (None, "mean"):
        got = tool.cut(trained, layer).predict(crops, verbose=0)
        np.testing.assert_allclose(got, pooled, rtol=1e-5)
    kernel, bias = head.get_layer("shared").get_weights()
    normal = (pooled - mean) / np.sqrt(variance + head.get_layer("normalize").epsilon)
    expected = np.maximum((normal * gamma + beta) @ kernel + bias, 0)
    got = tool.cut(trained, "shared").predict(crops, verbose=0)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3 * expected.max())
    with pytest.raises(
        InputError, match=r"no layer nose: its head's are .*shared.*backbone's.*mean"
    ):
        tool.cut(trained, "nose")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--datasets", "nothing.csv"], "no dataset nothing.csv"),
        (["--datasets", "light/light.csv", "--task", "race"], "light.csv has no race labels"),
        (["--datasets", "hues/hues.csv"], "one gender alone, female"),
        (
            ["--datasets", "light/light.csv", "--split", "train"],
            "no split train: give --split test",
        ),
        ([*HUES, "--count", "2"], "2 faces are fewer than the 3 clusters"),
        ([*LIGHT, "--datasets", "light/light.csv", "light/light.csv"], "two of one name"),
        ([*LIGHT, "--datasets", "light/light.csv", "nothing.csv"], "no dataset nothing.csv"),
        (["--datasets", "light/light.csv", "--run", "nobody"], "no run nobody"),
        ([*LIGHT, "--layer", "nose"], "no layer nose"),
        (["--datasets", "light/light.csv", "--backbone", "none.keras"], "no backbone none.keras"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    tool, home, monkeypatch, capsys, options, complaint
):
    monkeypatch.chdir(home)
    given = options if "--run" in options else ["--backbone", "colour.keras", *options]
    assert console.run(lambda: tool.main([*given, "--out", "bad"])) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ") and complaint in last
    assert not Path("bad").exists()


def test_a_run_and_a_backbone_exclude_each_other(tool, capsys):
    with pytest.raises(SystemExit) as stopped:
        tool.main(["--datasets", "UTKFace", "--run", "a", "--backbone", "vggface"])
    assert stopped.value.code == 2 and "not allowed with" in capsys.readouterr().err


def test_features_that_are_all_the_same_are_told(tool, home, monkeypatch):
    monkeypatch.chdir(home)
    crop = keras.Input((32, 32, 3))
    nothing = keras.layers.Rescaling(0.0, name="nothing")(crop)
    pooled = keras.layers.GlobalAveragePooling2D()(nothing)
    keras.Model(crop, pooled).save("blind.keras")
    with pytest.raises(InputError, match=r"light.csv: the features of all faces are the same"):
        tool.main(["--datasets", "light/light.csv", "--backbone", "blind.keras", "--out", "bad"])


def test_a_full_disk_leaves_no_half(tool, home, monkeypatch, capsys):
    monkeypatch.chdir(home)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tool.command, "write_json", full)
    assert console.run(lambda: tool.main([*LIGHT, "--out", "full"])) == 2
    assert "make room" in capsys.readouterr().err
    assert list(Path("full").iterdir()) == []


def test_dlibs_embedding_tells_womens_and_mens_real_faces_apart(
    tool, faces_dir, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faces" / "UTKFace").mkdir(parents=True)
    paths = sorted((faces_dir / "UTKFace").glob("3[0-9]_*"))[::20]
    for path in paths:
        shutil.copy(path, tmp_path / "faces" / "UTKFace")
    options = ["--datasets", "UTKFace", "--source", "faces", "--split", "train", "--out", "out"]
    tool.main(options)
    result = json.loads(Path("out/clusters.json").read_text())
    assert result["features"] == {"backbone": "dlib", "layer": "embedding"}
    (one,) = result["datasets"]
    assert 120 <= one["count"] <= len(paths)
    assert one["methods"]["k-means"]["adjusted_rand"] > 0.4
    assert one["methods"]["k-means"]["interval"][0] > one["majority"]["accuracy"]
