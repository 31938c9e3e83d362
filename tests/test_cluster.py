"""cluster: it finds what is planted in drawn faces, writes all or nothing, refuses in one line."""

import json
import shutil
from pathlib import Path

import cv2
import keras
import numpy as np
import pandas as pd
import pytest

from vggface_gender import cluster
from vggface_gender.base import console, files, runs
from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation import clusters
from vggface_gender.inference import classifier
from vggface_gender.training import heads

LIGHT = ("--datasets", "light/light.csv", "--align", "never", "--backbone", "colour.keras")
HUES = (*LIGHT, "--datasets", "hues/hues.csv", "--task", "race")


def write_plain(folder, colours, seed):
    """One picture for each colour (n, 3) RGB, nearly plain: `0.jpg`, ..."""
    rng = np.random.default_rng(seed)
    for place, colour in enumerate(colours):
        picture = np.clip(np.array(colour) + rng.normal(0, 8, 3), 0, 255)
        picture = np.broadcast_to(picture, (40, 40, 3)).astype(np.uint8)
        assert cv2.imwrite(str(folder / f"{place}.jpg"), picture[..., ::-1])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two datasets, a run, a backbone whose features are a picture's mean colour, and a blind one.

    `light`, which the run was trained on: 60 dark women and light men, of whom
    4 have the other label and 6 none, and no race.
    `hues`: 45 faces of three races, each of one colour, and 5 of a race in train alone.
    """
    home = tmp_path_factory.mktemp("clusters")
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
    nothing = keras.layers.Rescaling(0.0, name="nothing")(crop)
    keras.Model(crop, keras.layers.GlobalAveragePooling2D()(nothing)).save(home / "blind.keras")
    tasks = {"gender": TASKS["gender"].labels}
    built = classifier.build(
        backbone,
        heads.build("shared", (3,), tasks=tasks),
        tasks=tasks,
        padding=0.25,
        precision="float32",
        about={},
    )
    classifier.save(built, home / "run" / runs.CLASSIFIER)
    settings = {"dataset": "light/light.csv", "split_seed": 3}
    files.write_json({"settings": settings, "versions": {}}, home / "run" / "config.json")
    return home


@pytest.fixture
def home(made, monkeypatch):
    """The same as the working directory."""
    monkeypatch.chdir(made)
    return made


def cluster_into(out, *arguments):
    """What the command writes: `clusters.json` and `clusters.csv`."""
    cluster.main([*arguments, "--out", str(out)])
    return json.loads((out / "clusters.json").read_text()), pd.read_csv(out / "clusters.csv")


def test_it_finds_what_is_planted_and_writes_what_it_prints(home, tmp_path, capsys):
    result, table = cluster_into(tmp_path / "out", *LIGHT)
    printed = capsys.readouterr().out
    written = ["clusters.csv", "clusters.json", "tsne-light.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == written
    assert all(str(tmp_path / "out" / name) in printed for name in written)
    assert (result["task"], result["split"], result["seed"]) == ("gender", "test", 0)
    assert result["features"] == {"backbone": "colour.keras", "layer": "mean"}
    (one,) = result["datasets"]
    assert (one["dataset"], one["count"], one["missing"], one["left_out"]) == ("light", 54, 6, 0)
    assert one["plot"] == "tsne-light.png" and not one["trained_on"]
    assert len(table) == 54 and set(table.dataset) == {"light"}
    stated = pd.read_csv("light/light.csv").set_index("file").gender
    assert (stated[table.name].to_numpy() == table.gender).all()
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
    height, width = cv2.imread(str(tmp_path / "out" / one["plot"])).shape[:2]
    assert width > 2 * height


@pytest.mark.slow
def test_one_seed_gives_the_same_files(home, tmp_path):
    contents, names = [], []
    for seed, out in (("7", "first"), ("7", "again"), ("8", "other")):
        folder = tmp_path / out
        result, table = cluster_into(folder, *HUES, "--count", "30", "--seed", seed)
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
        names.append(set(table.name))
        (one,) = result["datasets"]
        assert (one["count"], one["left_out"], one["missing"]) == (30, 15, 0)
        # As many clusters as labels in the split; the fourth race is in train alone.
        assert one["labels"] == ["White", "Black", "Asian"]
        assert all(figures["adjusted_rand"] == 1 for figures in one["methods"].values())
    assert contents[0] == contents[1]
    assert names[0] != names[2] and len(names[0]) == len(names[2]) == 30


@pytest.mark.slow
def test_a_runs_own_network_on_its_own_split(home, tmp_path):
    cluster.main(
        ["--datasets", "light/light.csv", "--align", "never", "--run", "run", "--data-dir", "own"]
    )
    result = json.loads(Path("run/clusters-test-gender-mean/clusters.json").read_text())
    assert result["features"] == {"run": "run", "layer": "mean"}
    (one,) = result["datasets"]
    assert one["trained_on"] and one["methods"]["k-means"]["accuracy"] == pytest.approx(50 / 54)
    assert [path.name[-7:] for path in Path("own", "table").iterdir()] == ["split_3"]
    hues = (
        "--datasets",
        "hues/hues.csv",
        "--align",
        "never",
        "--task",
        "race",
        "--data-dir",
        "own",
    )
    result, _ = cluster_into(tmp_path, *hues, "--run", "run", "--layer", "normalize")
    assert result["features"] == {"run": "run", "layer": "normalize"}
    (one,) = result["datasets"]
    assert not one["trained_on"] and one["methods"]["k-means"]["accuracy"] == 1
    assert sorted(path.name[-7:] for path in Path("own", "table").iterdir()) == [
        "split_0",
        "split_3",
    ]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--datasets", "nothing.csv"), "nothing.csv"),
        ((*LIGHT, "--task", "race"), "light.csv"),
        (("--datasets", "hues/hues.csv", "--align", "never"), "female"),
        ((*LIGHT, "--split", "train"), "test"),
        ((*HUES, "--count", "2"), "hues.csv"),
        ((*LIGHT, "--datasets", "light/light.csv", "light/light.csv"), "named twice"),
        ((*LIGHT, "--datasets", "light/light.csv", "nothing.csv"), "nothing.csv"),
        (("--datasets", "light/light.csv", "--run", "nobody"), "nobody"),
        ((*LIGHT, "--layer", "nose"), "nose"),
        (("--datasets", "light/light.csv", "--backbone", "none.keras"), "none.keras"),
        ((*LIGHT, "--backbone", "blind.keras"), "light.csv"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(home, tmp_path, capsys, arguments, complaint):
    if "--run" not in arguments and "--backbone" not in arguments:
        arguments += ("--backbone", "colour.keras")
    out = tmp_path / "bad"
    assert console.run(lambda: cluster.main([*arguments, "--out", str(out)])) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ") and complaint in last
    assert not out.exists()


def test_a_run_and_a_backbone_exclude_each_other():
    with pytest.raises(SystemExit) as stopped:
        cluster.main(["--datasets", "UTKFace", "--run", "a", "--backbone", "vggface"])
    assert stopped.value.code == 2


def test_a_full_disk_leaves_no_half(home, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_json", full)
    assert console.run(lambda: cluster.main([*LIGHT, "--out", str(tmp_path / "full")])) == 2
    assert list((tmp_path / "full").iterdir()) == []


@pytest.mark.slow
def test_dlibs_embedding_separates_womens_and_mens_real_faces(faces_dir, workplace):
    folder = workplace / "faces" / "UTKFace"
    folder.mkdir(parents=True)
    paths = sorted((faces_dir / "UTKFace").glob("3[0-9]_*"))[::20]
    for path in paths:
        shutil.copy(path, folder)
    source = ("--datasets", "UTKFace", "--source", "faces", "--split", "train")
    result, _ = cluster_into(workplace / "out", *source)
    assert result["features"] == {"backbone": "dlib", "layer": "embedding"}
    (one,) = result["datasets"]
    assert 120 <= one["count"] <= len(paths)
    assert one["methods"]["k-means"]["adjusted_rand"] > 0.4
    assert one["methods"]["k-means"]["interval"][0] > one["majority"]["accuracy"]
