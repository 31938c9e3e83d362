"""Whether uncertainty separates wrong predictions from right ones, against scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from drawn_tables import table
from scipy import stats
from sklearn.metrics import roc_auc_score

from vggface_gender.evaluation import uncertainty


def test_figures_are_scikit_learns_and_scipys():
    faces = table(1, 0.3, 200)
    rng = np.random.default_rng(0)
    given = {task: rng.random(200) for task in ("gender", "race", "age")}
    found = uncertainty.figures(faces, given)
    for task in ("gender", "race"):
        outputs = faces.filter(regex=f"^{task}_")
        wrong = outputs.idxmax(axis=1).str.removeprefix(f"{task}_") != faces[task]
        known = faces[task].notna()
        assert found[task]["auroc"] == pytest.approx(
            roc_auc_score(wrong[known], given[task][known])
        )
        assert found[task]["wrong"] == pytest.approx(given[task][known & wrong].mean())
        assert found[task]["right"] == pytest.approx(given[task][known & ~wrong].mean())
    errors = (faces["age_predicted"] - faces["age"]).abs()
    assert found["age"]["correlation"] == pytest.approx(
        stats.spearmanr(given["age"], errors).statistic
    )
    assert len(uncertainty.report(found).splitlines()) == 4


def test_where_all_is_right_or_unknown_there_is_nothing_to_separate():
    faces = table(1, 0.3, 3)
    certain = faces.assign(gender="male", gender_male=1.0, gender_female=0.0, age=np.nan)
    found = uncertainty.figures(certain, {"gender": np.ones(3), "age": np.ones(3)})
    assert found["gender"] == {"right": 1.0, "wrong": None, "auroc": None}
    assert found["age"] == {"mean": 1.0, "correlation": None}
    assert "right" in uncertainty.report(found)
    nobody = uncertainty.figures(certain.assign(gender=None), {"gender": np.ones(3)})
    assert nobody["gender"] == {"right": None, "wrong": None, "auroc": None}
    uncertainty.report(nobody)


def test_the_file_has_a_row_a_face(tmp_path):
    faces = table(1, 0.3, 5)
    uncertainty.write(faces, {"gender": np.arange(5.0)}, path=tmp_path / "u.csv")
    back = pd.read_csv(tmp_path / "u.csv")
    assert back["name"].tolist() == faces["name"].tolist()
    assert back["gender"].tolist() == [*range(5)]
