"""A run's model card says what the files in the run's folder say, and no more."""

import functools
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from vggface_gender.base import files, labels, runs
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import catalogue
from vggface_gender.evaluation import card, card_figures, card_sources, metrics, predictions

ROOT = Path(__file__).resolve().parents[2]
TASKS = {"gender": labels.GENDERS, "race": labels.UTKFACE_RACES, "age": ()}
COUNTS = {"train": 18966, "validation": 2370, "test": 2371}


@functools.cache
def answers(seed: int, count: int, tasks: tuple[str, ...]) -> str:
    """The figures of random answers to random faces, as JSON."""
    rng = np.random.default_rng(seed)
    truth = {
        "gender": rng.choice(labels.GENDERS, count),
        "race": rng.choice(labels.UTKFACE_RACES, count),
        "age": rng.uniform(0, 90, count),
    }
    outputs = {
        task: rng.uniform(0, 90, count)
        if task == "age"
        else rng.dirichlet(np.ones(len(TASKS[task])), count)
        for task in tasks
    }
    table = predictions.table(
        [f"{i}.jpg" for i in range(count)], truth, outputs=outputs, tasks=TASKS
    )
    return json.dumps(metrics.evaluate(table))


def figures(
    dataset: str,
    split: str = "test",
    seed: int = 0,
    count: int = 400,
    tasks: tuple[str, ...] = labels.TASKS,
) -> dict:
    """A metrics file's content, made up."""
    made = json.loads(answers(seed, count, tasks))
    return {"dataset": dataset, "split": split, "count": count, "tasks": made}


def add(folder: Path, its: dict) -> None:
    """Write what a later evaluation leaves."""
    (folder / f"metrics-{its['dataset']}-{its['split']}.json").write_text(json.dumps(its))


@pytest.fixture
def finished(tmp_path):
    """A function that writes a finished run's folder: (settings, its figures, contract, name)."""

    def write(settings=(), its=None, contract=(), name="mine") -> Path:
        folder = tmp_path / "model_files" / name
        folder.mkdir(parents=True)
        settings = {
            "command": "multitask",
            "dataset": "UTKFace",
            "fingerprint": "9b276e",
            "counts": COUNTS,
            "split_seed": 3,
            "tasks": [*TASKS],
            "backbone": "dlib",
            "layer": "map",
            "unfreeze": "block_2_1",
            "rate": 0.0005,
            "rates": {"backbone": 0.16},
            "mirror": False,
            "seed": 7,
        } | dict(settings)
        versions = {"tensorflow": "2.21.0", "keras": "3.15.1", "numpy": None}
        config = {"settings": settings, "versions": versions}
        (folder / "config.json").write_text(json.dumps(config))
        contract = {
            "tasks": TASKS,
            "size": 150,
            "padding": 0.3,
            "precision": "float32",
            "about": {},
        } | dict(contract)
        with zipfile.ZipFile(folder / runs.CLASSIFIER, "w") as archive:
            archive.writestr("classifier.json", json.dumps(contract))
        label = "UTKFace" if "UTKFace" in settings["dataset"] else settings["dataset"]
        (folder / runs.METRICS).write_text(json.dumps(its or figures(label)))
        return folder

    return write


def written(folder: Path) -> str:
    assert card.write(folder) == folder / "model_card.md"
    return (folder / "model_card.md").read_text(encoding="utf-8")


def plain(text: str) -> str:
    """Without line breaks."""
    return " ".join(text.split())


def section(card: str, title: str) -> str:
    [found] = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", card, re.DOTALL | re.MULTILINE)
    return found


def item(card: str, title: str) -> str:
    """A list's item of that name, without line breaks."""
    [found] = re.findall(rf"^- \*\*{title}:\*\*(.*?)\n(?=- |\n)", card, re.DOTALL | re.MULTILINE)
    return plain(found)


def rows(card: str) -> list[list[str]]:
    """The cells of the table of main figures."""
    lines = [line for line in section(card, "Figures").splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert len({len(row) for row in table}) == 1 and set(table.pop(1)) == {"---"}
    return table


# Facts that are stated elsewhere too


@pytest.mark.parametrize("name", catalogue.NAMED)
def test_what_is_known_of_a_dataset_is_the_catalogues(name):
    facts, source = catalogue.NAMED[name], card_sources.dataset(name)
    assert (source.name, source.terms, source.asks) == (name, facts.terms, facts.asks)
    for fact in (facts.about, facts.bias, facts.homepage, facts.citation):
        assert fact in source.about


def test_other_modules_names_are_the_same():
    from vggface_gender.backbones import vggface

    assert vggface.PAGE in card_sources.NETWORKS["vggface"].about


# What a card says


def test_the_card_says_what_the_files_say(finished):
    own, other = figures("UTKFace"), figures("FairFace", seed=1)
    folder = finished(its=own)
    add(folder, other)
    card = written(folder)

    assert card.startswith("# mine\n")
    assert "`vggface-gender multitask`" in card
    assert (
        "gender (female, male); race (White, Black, Asian, Indian, Others); age in years"
        in plain(card)
    )
    assert "**perceived**" in card and "what annotators saw" in card
    assert "layer block_2_1" in item(card, "Network")
    data = item(card, "Training data")
    assert "[UTKFace](https://susanqq.github.io/UTKFace/)" in data
    assert "non-commercial research" in data
    assert "Of its 23,707 records 18,966 were trained on, 2,370 chose the epoch, and 2,371" in data
    assert f"{(folder / runs.CLASSIFIER).stat().st_size:,} bytes" in item(card, "File")
    assert "padding 0.3;" in item(card, "File")
    for title in ("What it is for", "What it must not be used for", "Where it fails"):
        assert section(card, title).strip()
    assert "hiring" in section(card, "What it must not be used for")

    heading, *lines = rows(card)
    assert [cell.split(",")[0] for cell in heading] == ["tested on", "gender", "race", "age"]
    for its, line in zip((own, other), lines, strict=True):
        tasks = its["tasks"]
        assert line[0] == f"{its['dataset']}, test (400 faces)"
        for task, classes, cell in zip(("gender", "race"), (2, 5), line[1:3], strict=True):
            low, high = (100 * bound for bound in tasks[task]["interval"])
            accuracy = 100 * tasks[task]["accuracy"]
            assert cell == f"{accuracy:.1f}% ({low:.1f}% to {high:.1f}%), {classes} classes"
        low, high = tasks["age"]["interval"]
        assert line[3] == f"{tasks['age']['mae']:.2f} ({low:.2f} to {high:.2f})"
        # All groups with their intervals.
        assert f"```\n{metrics.report(its).rstrip()}\n```\n" in card

    where = "vggface-gender evaluate --run mine --dataset"
    assert f"\n{where} UTKFace\n{where} FairFace\n" in section(card, "Figures")
    assert "(`vggface-gender finetune --init mine`)" in plain(section(card, "What it is for"))

    settings = section(card, "Settings")
    assert "tensorflow 2.21.0, keras 3.15.1:" in settings and "numpy" not in settings
    listed = dict(line.split(": ", 1) for line in settings.splitlines() if ": " in line)
    for key, value in json.loads((folder / "config.json").read_text())["settings"].items():
        assert listed[key] == (value if isinstance(value, str) else json.dumps(value))
    assert card.count("```") % 2 == 0
    about = card.split("## Figures")[0]
    assert max(map(len, about.splitlines())) <= 100


def test_the_weakest_group_is_the_worst_large_one(finished):
    its = figures("UTKFace", count=200)
    folder = finished(its=its)
    listed = section(written(folder), "Figures").split("faces:\n")[1]
    for task, one in its["tasks"].items():
        groups = [(name, g) for by in one["groups"].values() for name, g in by.items()]
        large = [(name, g) for name, g in groups if g["count"] >= 30]
        assert 0 < len(large) < len(groups)
        if task == "age":
            name, worst = sorted(large, key=lambda group: group[1]["mae"])[-1]
            figure = f"mean absolute error (years) {worst['mae']:.2f}"
        else:
            name, worst = sorted(large, key=lambda group: group[1]["accuracy"])[0]
            figure = f"accuracy {100 * worst['accuracy']:.1f}%"
        [line] = [line for line in listed.splitlines() if f"UTKFace, {task}:" in line]
        assert f": {name}, {figure} (" in line
        assert line.endswith(f", {worst['count']} faces")


def test_a_test_of_few_faces_without_ages(finished):
    its = figures("UTKFace", count=20)
    its["tasks"]["age"] = {"count": 0, "missing": 20, "dropped": 0, "reason": "no face has one"}
    card = written(finished(its=its))
    assert rows(card)[1][3] == "no labels"
    assert "- none has as many" in card
    assert "left out: no face has one" in card


def test_a_single_face_has_no_interval_of_its_age(finished):
    its = figures("UTKFace", count=1)
    assert its["tasks"]["age"]["interval"] is None
    assert rows(written(finished(its=its)))[1][3] == f"{its['tasks']['age']['mae']:.2f}"


@pytest.mark.parametrize("task", labels.TASKS)
def test_only_what_the_classifier_predicts_is_shown(finished, task):
    its = figures("UTKFace", tasks=(task,))
    card = written(finished({"tasks": [task]}, its, {"tasks": {task: TASKS[task]}}))
    assert [cell.split(",")[0] for cell in rows(card)[0]] == ["tested on", task]
    assert ("--race" in section(card, "What it must not be used for")) == (task == "race")


def test_a_temperature_is_given_where_there_is_one(finished):
    card = written(finished(contract={"temperatures": {"gender": 1.2345, "race": 0.5}}))
    assert "gender 1.23, race 0.5, fitted on the validation split" in item(card, "Temperature")
    assert "Temperature" not in written(finished(contract={"temperatures": {}}, name="other"))


def test_a_mirrored_classifier_says_so(finished):
    assert "mirror image" in item(written(finished({"mirror": True})), "File")
    assert "mirror image" not in item(written(finished(name="other")), "File")


@pytest.mark.parametrize(
    "unfreeze, words", [("none", "frozen"), (None, "frozen"), ("all", "All of it was fine-tuned")]
)
def test_what_was_done_to_the_network(finished, unfreeze, words):
    folder = finished({"unfreeze": unfreeze, "command": "transfer"})
    if unfreeze is None:  # as transfer leaves it
        config = json.loads((folder / "config.json").read_text())
        del config["settings"]["unfreeze"]
        (folder / "config.json").write_text(json.dumps(config))
    assert words in item(written(folder), "Network")


def test_a_mix_names_every_dataset_and_what_was_taken(finished):
    folder = finished({"dataset": "UTKFace[:20%]+FairFace*0.5"})
    add(folder, figures("FairFace", seed=1))
    card = written(folder)
    described = re.findall(r"\*\*Training data:\*\* \[(\w+)\]", card)
    assert described == ["UTKFace", "FairFace"]
    used = item(card, "Records")
    assert "`UTKFace[:20%]+FairFace*0.5`" in used and "18,966 were trained on" in used
    assert "23,707 records" not in card  # the counts lack what the slice left out
    assert "UTKFace and FairFace, on the split held out" in plain(card)
    assert "it was not tested on any" in section(card, "Where it fails")
    assert "UTKFace: non-commercial research; FairFace: CC BY 4.0" in item(card, "Licences")


def test_one_datasets_slice_is_not_described_as_all_of_it(finished):
    card = written(finished({"dataset": "UTKFace[:20%]"}))
    assert "`UTKFace[:20%]`" in item(card, "Records") and "Of its" not in card


@pytest.mark.parametrize(
    "dataset, backbone, expected, is_commercial",
    [
        ("UTKFace", "dlib", "non-commercial research only (UTKFace).", False),
        ("FairFace", "dlib", "these: who passes it on names its source (FairFace).", True),
        ("FairFace", "vggface", "non-commercial research only (VGG-Face); who passes", False),
        ("UTKFace", "vggface", "research only (VGG-Face, UTKFace).", False),
        ("SyntheticFaces", "faceres:224", "for non-commercial research only (FaceRes).", False),
        ("FairFace", "dlib+faceres", "dlib's network: public domain; FaceRes: research", False),
        ("SyntheticFaces", "dlib+/x/r.keras", "before you use it (`r.keras`).", True),
        ("SyntheticFaces", "resnet50", "these: none of them restricts it.", True),
        ("SyntheticFaces", "dlib", "these: none of them restricts it.", True),
        ("Adience", "dlib", "ask the owner or publisher before you use it (Adience).", True),
        ("SyntheticFaces", "resnet50:/x/r.keras", "before you use it (`r.keras`).", True),
        ("SyntheticFaces", "my/net.keras", "before you use it (`my/net.keras`).", True),
        ("FairFace+gone/faces.csv", "dlib", "(`gone/faces.csv`); who passes it on", True),
    ],
)
def test_the_strictest_terms_are_inherited(finished, dataset, backbone, expected, is_commercial):
    card = written(finished({"dataset": dataset, "backbone": backbone}, figures("FairFace")))
    assert expected in item(card, "Licences")
    forbidden = section(card, "What it must not be used for")
    assert ("commercial" not in forbidden) == is_commercial
    network = item(card, "Network")
    assert ("random weights" in network) == (backbone == "resnet50")
    assert ("a file whose owner knows" in network) == backbone.endswith(".keras")
    assert ("; beside it " in network) == ("+" in backbone)


def test_drawn_faces_are_no_people(finished):
    card = written(finished({"dataset": "SyntheticFaces"}))
    assert "drawings, not people" in item(card, "Training data")


def test_a_run_that_continues_another_claims_no_more_than_it_knows(finished):
    alone, after = finished(name="alone"), finished({"init": "earlier"}, name="after")
    for folder in (alone, after):
        add(folder, figures("FairFace", seed=1))
    card, continued = written(alone), written(after)
    assert "earlier" not in card and "Nothing was learned from it" in plain(card)
    assert "Nothing was learned" not in plain(continued)
    assert "Whether `earlier` learned from it, the card of that one says." in plain(continued)
    assert "the classifier `earlier`" in item(continued, "Continued from")
    assert "What binds `earlier` binds it too" in item(continued, "Licences")
    assert "whether `earlier` had seen it" in plain(section(continued, "All figures"))


def test_what_an_earlier_run_learned_from_binds_what_continues_it(finished):
    settings = {"dataset": "FairFace", "init": "earlier", "before": ["/data/my faces", "UTKFace"]}
    card = written(finished(settings))
    assert "trained on `my faces`, then on `UTKFace`" in item(card, "Continued from")
    licences = item(card, "Licences")
    assert "non-commercial research only (UTKFace)" in licences and "/data" not in card
    assert "Nor anything commercial" in card
    alone = written(finished({"dataset": "FairFace"}, name="alone"))
    assert "non-commercial" not in item(alone, "Licences")


@pytest.mark.parametrize("settings", [{"dataset": "some/faces"}, {"backbone": "some/net.keras"}])
def test_what_unknown_images_or_weights_hold_is_not_claimed_to_be_known(finished, settings):
    folder = finished(settings, figures("UTKFace"))
    add(folder, figures("FairFace", seed=1))
    assert "Nothing was learned" not in plain(written(folder))


def test_one_fold_of_several(finished):
    card = written(finished({"fold": [2, 5]}, name="mine/fold-2"))
    assert card.startswith("# mine/fold-2\n")
    assert "The test split is fold 2 of 5, the first being 0." in item(card, "Training data")
    assert "evaluate --run mine/fold-2 --dataset UTKFace" in card


# Paths on a machine


@pytest.mark.parametrize("is_there", [True, False])
def test_no_path_on_a_machine_is_shown(finished, tmp_path, is_there):
    home = tmp_path / "someone" / "a+b" / "secret [1]"
    names = {"folder": "faces", "table": "more.csv"}
    if is_there:
        (home / "faces").mkdir(parents=True)
        (home / "more.csv").touch()
    mixed = f"UTKFace[:20%]+{home}/{names['folder']}/+{home}/{names['table']}*0.5"
    folder = finished({"dataset": mixed, "backbone": f"resnet50:{home}/r.keras", "file": str(home)})
    for label in ("faces", "more"):
        add(folder, figures(label, seed=1))
    card = written(folder)
    for word in ("someone", "a+b", "secret [1]/", str(tmp_path)):
        assert word not in card
    assert "`UTKFace[:20%]+faces/+more.csv*0.5`" in item(card, "Records")
    assert "`r.keras`" in item(card, "Network")
    assert "the owner's terms" in item(card, "Licences")
    assert "--dataset more.csv\n# " in card
    if is_there:
        assert "UTKFace and faces and more" in plain(card)


# When it is written


def test_a_second_evaluations_figures_appear(finished):
    folder = finished()
    first = written(folder)
    assert "FairFace" not in first and "it was not tested on any" in first
    add(folder, figures("FairFace", seed=1))
    second = written(folder)
    assert [row[0] for row in rows(second)[1:]] == [
        "UTKFace, test (400 faces)",
        "FairFace, test (400 faces)",
    ]
    assert "compare the datasets below" in second
    again = figures("FairFace", seed=2)
    add(folder, again)
    third = written(folder)
    assert metrics.report(again).rstrip() in third and metrics.report(again).rstrip() not in second
    assert len(rows(third)) == 3


def test_faces_that_the_training_saw_are_no_headline(finished):
    folder = finished()
    seen = [figures("UTKFace", "train", seed=1), figures("UTKFace", "validation", seed=2)]
    unseen = [figures("FairFace", "validation", seed=3), figures("FairFace", "train", seed=4)]
    for its in seen + unseen:
        add(folder, its)
    card = written(folder)
    assert [row[0].split(" (")[0] for row in rows(card)[1:]] == [
        *("UTKFace, test", "FairFace, train", "FairFace, validation")
    ]
    weakest = section(card, "Figures")
    assert "UTKFace train" not in weakest and "UTKFace validation" not in weakest
    assert "- FairFace validation, gender: " in weakest
    shown = plain(section(card, "All figures"))
    assert "left out above, are - UTKFace, train: trained on. - UTKFace, validation: what" in shown
    assert all(metrics.report(its).rstrip() in card for its in seen)
    assert "--dataset UTKFace --split validation\n" in card


@pytest.mark.parametrize("one, other", [("", "_Small"), ("_Small", "")])
def test_the_same_images_in_another_split_are_no_test(finished, one, other):
    folder = finished({"dataset": f"GenderDataset{one}"})
    add(folder, figures(f"GenderDataset{other}", seed=1))
    card = written(folder)
    assert [row[0] for row in rows(card)[1:]] == [f"GenderDataset{one}, test (400 faces)"]
    assert f"- GenderDataset{other}, test: in part trained on." in card


def test_the_trainings_own_test_is_not_replaced(finished):
    """Divided in another way, a dataset's test split has faces that were trained on."""
    own, later = figures("UTKFace"), figures("UTKFace", seed=1)
    folder = finished(its=own)
    add(folder, later)
    card = written(folder)
    assert metrics.report(own).rstrip() in card and metrics.report(later).rstrip() not in card


def test_answers_with_dropout_stand_beside_the_others(finished):
    folder = finished()
    add(folder, figures("UTKFace", "test-dropout20", seed=1))
    card = written(folder)
    assert [row[0].split(" (")[0] for row in rows(card)[1:]] == [
        *("UTKFace, test", "UTKFace, test-dropout20")
    ]
    assert "evaluate --run mine --dataset UTKFace --mc-dropout 20\n" in card
    assert "on UTKFace, on the split" in card


def test_figures_of_another_classifier_are_marked(finished):
    folder = finished()
    own = {"made_by": {"classifier": files.digest(folder / runs.CLASSIFIER)}}
    add(folder, figures("FairFace", seed=1) | own)
    assert card_figures.STALE not in plain(written(folder))
    add(folder, figures("FairFace", seed=1) | {"made_by": {"classifier": "another"}})
    assert plain(written(folder)).count(card_figures.STALE) == 1


@pytest.mark.parametrize("missing", ["config.json", runs.METRICS, runs.CLASSIFIER])
def test_what_is_no_finished_run_has_no_card(finished, missing):
    folder = finished()
    (folder / missing).unlink()
    before = sorted(folder.iterdir())
    assert card.write(folder) is None
    assert sorted(folder.iterdir()) == before


FULL = """
import resource, sys
from pathlib import Path
from vggface_gender.evaluation import card
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))  # bytes that a file may have
try:
    card.write(Path(sys.argv[1]))
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.slow
def test_a_disk_that_refuses_leaves_the_card_as_it_was(finished):
    folder = finished()
    before = written(folder)
    add(folder, figures("FairFace", seed=1))
    listing = sorted(folder.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", FULL, folder], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "File too large\n"
    assert sorted(folder.iterdir()) == listing
    assert (folder / "model_card.md").read_text(encoding="utf-8") == before


def test_a_torn_classifier_leaves_the_card_as_it_was(finished):
    folder = finished()
    before = written(folder)
    (folder / runs.CLASSIFIER).write_bytes(b"PK")
    with pytest.raises(InputError, match="not a classifier of this package"):
        card.write(folder)
    assert (folder / "model_card.md").read_text(encoding="utf-8") == before


QUICK = """
import sys, time
from pathlib import Path
from vggface_gender.evaluation import card
started = time.perf_counter()
assert card.write(Path(sys.argv[1]))
print(time.perf_counter() - started)
print(*sys.modules)
"""


def test_it_is_quick_and_needs_no_framework(finished):
    folder = finished()
    for dataset in ("FairFace", "Adience", "faces"):
        add(folder, figures(dataset))
    done = subprocess.run(
        [sys.executable, "-c", QUICK, folder], capture_output=True, text=True, check=True, cwd=ROOT
    )
    seconds, modules = done.stdout.splitlines()
    assert float(seconds) < 0.2
    assert not {"tensorflow", "keras", "tensorflow_datasets", "cv2"} & {*modules.split()}


@pytest.mark.parametrize(
    "text, expected",
    [
        ("/data/mine/faces.csv", "faces.csv"),
        ("/data/mine/faces/", "faces/"),
        ("/faces", "faces"),
        ("/data/a+b/c[1]/d*/faces", "faces"),
        ("UTKFace[:20%]+/data/mine/faces*0.5", "UTKFace[:20%]+faces*0.5"),
        ("UTKFace[:20%]+/data/mine/faces/*0.5", "UTKFace[:20%]+faces/*0.5"),
        ("/data/mine/a[:5]+/data/mine/b+FairFace", "a[:5]+b+FairFace"),
        ("resnet50:/data/mine/r.keras", "resnet50:r.keras"),
        ("D:\\mine\\r.keras", "r.keras"),
        ("resnet50:D:\\mine\\r.keras", "resnet50:r.keras"),
        ("model_files/vggface.keras", "model_files/vggface.keras"),
        ("map+block_4_3", "map+block_4_3"),
        ("race:Black=2,Asian=3", "race:Black=2,Asian=3"),
    ],
)
def test_paths_on_a_machine_are_cut_to_their_last_part(text, expected):
    content = {"settings": {"a": [text, 1, None]}}
    assert card_sources.without_paths(content) == {"settings": {"a": [expected, 1, None]}}
