"""Published results: the metrics of the written table, and the spread of repeats and folds."""

import json
from types import SimpleNamespace

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
