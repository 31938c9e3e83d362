"""Clusters against brute force and pair counts; the plot; the network up to one of its layers."""

import itertools

import keras
import matplotlib.colors
import numpy as np
import pandas as pd
import pytest

from vggface_gender.base import files
from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation import (
    clusters,
    clusters_figure,
    clusters_results,
    palette,
)
from vggface_gender.evaluation.clusters_results import Results
from vggface_gender.inference import classifier, feature_network
from vggface_gender.training import heads


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
    found = clusters.scores(true, places, names=("a", "b", "c"))
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
    assert clusters.majority(true, names=("a", "b", "c")) == {"label": "c", "accuracy": 8 / 20}


@pytest.mark.parametrize("count", [2, 3, 5])
def test_scores_are_those_of_brute_force_and_of_pairs(count):
    rng = np.random.default_rng(count)
    names = tuple("abcde"[:count])
    for _ in range(20):
        true = rng.integers(0, count, 40)
        places = np.where(rng.random(40) < rng.random(), true, rng.integers(0, count, 40))
        found = clusters.scores(true, places, names=names)
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
        assert found["purity"] >= clusters.majority(true, names=names)["accuracy"]


@pytest.mark.parametrize("count", [200, 9])  # of few faces several matchings are equally good
def test_numbers_of_clusters_mean_nothing(count):
    rng = np.random.default_rng(4)
    true = rng.integers(0, 4, count)
    places = np.where(rng.random(count) < 0.6, true, rng.integers(0, 4, count))
    found = clusters.scores(true, places, names=tuple("abcd"))
    for order in itertools.permutations(range(4)):
        other = clusters.scores(true, np.array(order)[places], names=tuple("abcd"))
        assert [other["clusters"][place] for place in order] == found["clusters"]
        assert other["adjusted_rand"] == pytest.approx(found["adjusted_rand"])
        for key in ("accuracy", "interval", "purity", "groups", "confusion"):
            assert other[key] == found[key]


def test_an_empty_cluster_and_a_label_without_faces_are_scored():
    true, places = np.array([0, 0, 1, 1, 1]), np.array([2, 2, 0, 0, 2])
    found = clusters.scores(true, places, names=("a", "b", "c"))
    assert found["accuracy"] == 4 / 5 and list(found["groups"]) == ["a", "b"]
    assert found["clusters"][1] == {"label": "c", "count": 0}


def test_clusters_that_know_nothing_have_no_index_but_an_accuracy_above_chance():
    rng = np.random.default_rng(0)
    draws = [
        clusters.scores(rng.integers(0, 3, 60), rng.integers(0, 3, 60), names=tuple("abc"))
        for _ in range(200)
    ]
    index, accuracy = (np.mean([one[k] for one in draws]) for k in ("adjusted_rand", "accuracy"))
    assert abs(index) < 0.005
    assert accuracy > 0.38  # by matching alone: what the module's docstring warns of


@pytest.mark.parametrize("method", clusters.METHODS)
@pytest.mark.parametrize("count", [2, 5, 7])
def test_groups_far_apart_are_found_exactly(method, count):
    features, true = blobs(count, 30)
    places = clusters.find(features, count, method=method, seed=1)
    assert places.shape == true.shape and places.dtype == np.int64
    assert set(places) == set(range(count))
    found = clusters.scores(true, places, names=tuple("abcdefg"[:count]))
    assert found["accuracy"] == found["adjusted_rand"] == found["purity"] == 1
    assert (clusters.find(features, count, method=method, seed=1) == places).all()


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
    places = clusters.find(features, 3, method="agglomerative")
    got = {frozenset(np.flatnonzero(places == place).tolist()) for place in range(3)}
    assert got == {frozenset(group) for group in groups}


@pytest.mark.slow
def test_the_plane_keeps_neighbours_and_the_seed_keeps_the_plane():
    features, true = blobs(4, 40)
    points = clusters_figure.plane(features, seed=2)
    assert points.shape == (160, 2) and np.isfinite(points).all()
    apart = ((points[:, None] - points) ** 2).sum(axis=2) + 1e9 * np.eye(160)
    assert (true[apart.argmin(axis=1)] == true).all()
    assert (clusters_figure.plane(features, seed=2) == points).all()
    for few in (features[:2], features[:3, :1]):
        assert np.isfinite(clusters_figure.plane(few)).all()


def test_a_figure_shows_the_same_points_in_each_panels_colours():
    points = np.random.default_rng(0).normal(size=(6, 2))
    panels = {"true": np.array([0, 1, 2, 2, 2, 0]), "predicted": np.array([1, 1, 1, 1, 1, 1])}
    drawn = clusters_figure.figure(points, panels, names="abc", title="six faces")
    assert drawn.get_suptitle() == "six faces"
    for axes, (heading, places) in zip(drawn.axes, panels.items(), strict=True):
        (scatter,) = axes.collections
        assert axes.get_title() == heading
        assert (scatter.get_offsets() == points).all()
        expected = [matplotlib.colors.to_rgba(palette.LABELS[place]) for place in places]
        assert (scatter.get_facecolors() == expected).all()
        legend = axes.get_legend()
        shown = {
            text.get_text(): handle.get_color()
            for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
        }
        counts = np.bincount(places, minlength=3)
        assert shown == {
            f"{name} ({number})": colour
            for name, number, colour in zip("abc", counts, palette.LABELS, strict=False)
        }


@pytest.mark.parametrize("most", [20, 45])
def test_a_plot_of_a_sample_has_the_colours_of_its_faces(most):
    vectors, true = blobs(3, 15)
    label = np.array(["White", "Black", "Asian"])[true]
    table = pd.DataFrame({"race": label} | {f"{name} label": label for name in clusters.METHODS})
    names = ("White", "Black", "Asian")
    drawn = clusters_figure.tsne(vectors, table, task="race", names=names, title="x", most=most)
    title = drawn.get_suptitle()
    assert title.startswith("x") and "45 faces" in title and ("20 of 45" in title) == (most == 20)
    assert len(drawn.axes) == 1 + len(clusters.METHODS)
    points, colours = (
        [getattr(axes.collections[0], f"get_{what}")() for axes in drawn.axes]
        for what in ("offsets", "facecolors")
    )
    assert all((each == points[0]).all() for each in points) and points[0].shape == (most, 2)
    assert all((each == colours[0]).all() for each in colours)
    assert len(np.unique(colours[0], axis=0)) == 3
    # Neighbours, which are of one label here, have one colour.
    apart = ((points[0][:, None] - points[0]) ** 2).sum(axis=2) + 1e9 * np.eye(most)
    assert (colours[0][apart.argmin(axis=1)] == colours[0]).all()


@pytest.mark.parametrize("mirror", [False, True])  # whose layers are called twice
def test_a_network_up_to_a_layer_of_the_head_or_of_the_backbone(tmp_path, mirror):
    tasks = {"gender": TASKS["gender"].labels}
    crop = keras.Input((32, 32, 3))
    mean = keras.layers.GlobalAveragePooling2D(name="mean")(crop)
    built = classifier.build(
        keras.Model(crop, mean, name="colour"),
        heads.build("shared", (3,), tasks=tasks),
        tasks=tasks,
        padding=0.25,
        precision="float32",
        about={},
        mirror=mirror,
    )
    classifier.save(built, tmp_path / "c.keras")
    trained = classifier.load(tmp_path / "c.keras")
    _, head = trained.parts()
    rng = np.random.default_rng(0)
    gamma, beta = rng.uniform(0.5, 2, 3), rng.normal(size=3)
    mean, variance = rng.uniform(90, 150, 3), rng.uniform(0.5, 2, 3)
    head.get_layer("normalize").set_weights([gamma, beta, mean, variance])
    crops = rng.integers(0, 256, (5, 32, 32, 3)).astype(np.float32)
    pooled = crops.mean(axis=(1, 2))
    for layer in (None, "mean"):
        got = feature_network.cut(trained, layer)(crops)
        np.testing.assert_allclose(got, pooled, rtol=1e-5)
    kernel, bias = head.get_layer("shared").get_weights()
    normal = (pooled - mean) / np.sqrt(variance + head.get_layer("normalize").epsilon)
    expected = np.maximum((normal * gamma + beta) @ kernel + bias, 0)
    got = feature_network.cut(trained, "shared")(crops)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3 * expected.max())
    with pytest.raises(InputError, match=r"nose.*shared.*mean"):
        feature_network.cut(trained, "nose")


def test_a_gender_has_one_colour_in_every_picture():
    assert palette.of(("female", "male")) == [*palette.GENDERS.values()]
    assert palette.of(("White", "Black")) == [*palette.LABELS[:2]]


def test_results_of_other_records_have_a_folder_of_their_own(tmp_path):
    def results(*fingerprints: str) -> Results:
        return Results({"datasets": [{"fingerprint": each} for each in fingerprints]}, None, {})

    usual = tmp_path / "clusters-test-gender"
    assert clusters_results.place(usual, results("a")) == usual
    files.write_json(results("a", "b").summary, usual / "clusters.json")
    assert clusters_results.place(usual, results("a", "b")) == usual
    other = clusters_results.place(usual, results("a"))
    assert other.parent == tmp_path and other != usual
    assert clusters_results.place(usual, results("c")) not in (usual, other)
