"""Published results: the metrics of the written table, and the spread of repeats and folds."""

import json
from types import SimpleNamespace

import event_files
import numpy as np
import pytest
from drawn_tables import table

from vggface_gender.base import files, runs
from vggface_gender.evaluation import metrics, predictions, results

DATASET = SimpleNamespace(label="Faces", fingerprint="0123456789abcdef")


def publish(folder, faces, **options):
    return results.publish(
        faces,
        dataset=DATASET,
        split="test",
        folder=folder,
        metrics_path=folder / runs.METRICS,
        **options,
    )


def test_what_is_published_is_computed_from_the_written_table(tmp_path, capsys):
    faces = table(1, 0.5)
    figures = publish(tmp_path, faces)
    assert figures["tasks"] == metrics.evaluate(faces)
    assert json.loads((tmp_path / runs.METRICS).read_text()) == figures
    assert [*figures] == ["dataset", "split", "count", "tasks"]
    assert len(predictions.read(tmp_path / "predictions-Faces-test.csv")) == len(faces)
    assert capsys.readouterr().out == ""


def test_of_a_run_with_tensorboards_folder_every_figure_is_shown_there_once(tmp_path):
    publish(tmp_path, table(1, 0.5))
    assert not (tmp_path / runs.TENSORBOARD).exists()  # of a folder that is no run
    (tmp_path / runs.TENSORBOARD).mkdir()
    for skill in (0.2, 0.5):
        figures = publish(tmp_path, table(1, skill, count=200))
    [place] = (tmp_path / runs.TENSORBOARD).iterdir()
    assert place.name == "Faces-test"
    shown, tasks = event_files.scalars(place), figures["tasks"]
    for name, figure in (
        ("test/gender_accuracy", tasks["gender"]["accuracy"]),
        ("test/age_mae", tasks["age"]["mae"]),
        ("test by race/race_accuracy/Black", tasks["race"]["groups"]["race"]["Black"]["accuracy"]),
        (
            "test by gender/age_mae/not known",
            tasks["age"]["ungrouped"]["gender"]["mae"],
        ),
        (
            "test by gender x race/gender_accuracy/female, White",
            tasks["gender"]["groups"]["gender x race"]["female, White"]["accuracy"],
        ),
    ):
        assert shown[name] == pytest.approx(figure, rel=1e-6)
    others = event_files.read(place)
    assert {tag for tag in others if tag.endswith("confusion matrix")} == {
        "gender confusion matrix",
        "race confusion matrix",
    }
    [(_, (height, width))] = others["race confusion matrix"]
    assert 300 < height < width == 555
    [(_, text)] = others["gender by group"]
    black = tasks["gender"]["groups"]["race"]["Black"]
    assert f"| race | Black | {black['count']} | {black['accuracy']:.1%} |" in text


def repeats(folder, **settings):
    """Three repeats' folders."""
    kind = "fold" if "fold" in settings else "seed"
    for key in range(3):
        each = folder / f"{kind}-{key}"
        each.mkdir()
        files.write_json({"settings": {"dataset": "Faces"} | settings}, each / "config.json")
        publish(each, table(key, 0.5))
        for split in ("train", "validation"):
            predictions.write(table(10 + key, 0.5), each / f"predictions-Faces-{split}.csv")
    return sorted(folder.iterdir())


def test_the_summary_of_repeats_is_the_spread_of_their_metrics(tmp_path):
    each = repeats(tmp_path)
    summary = results.summary(tmp_path, each)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert [*summary] == ["dataset", "split", "count", "tasks"] and summary["count"] == 60
    values = [metrics.evaluate(table(key, 0.5))["race"]["accuracy"] for key in range(3)]
    assert summary["tasks"]["race"]["accuracy"] == {
        "mean": pytest.approx(np.mean(values)),
        "sd": pytest.approx(np.std(values, ddof=1)),
        "n": 3,
        "values": values,
    }
    described = results.describe_summary(summary)
    assert all(f"{value:.4f}" in described for value in values)


@pytest.mark.slow
def test_the_summary_of_folds_has_a_row_for_each_of_all_splits(tmp_path):
    each = repeats(tmp_path, fold=[0, 3])
    summary = results.summary(tmp_path, each)
    assert summary["count"] == 180
    assert [row["fold"] for row in summary["folds"]] == ["fold-0", "fold-1", "fold-2"]
    for key, row in enumerate(summary["folds"]):
        expected = metrics.evaluate(table(key, 0.5))
        assert row["test"] == {
            "count": 60,
            "gender": expected["gender"]["accuracy"],
            "race": expected["race"]["accuracy"],
            "age": expected["age"]["mae"],
        }
        assert row["train"]["age"] == metrics.evaluate(table(10 + key, 0.5))["age"]["mae"]
    lines = results.describe_folds(summary["folds"]).splitlines()
    first = ["fold", "fold-0", "fold-1", "fold-2", "mean", "sd"]
    assert [line.split()[0] for line in lines] == first
