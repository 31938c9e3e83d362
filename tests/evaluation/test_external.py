"""Predictions that others made: what is understood of a table, what is said, what is refused."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from vggface_gender import audit, compare, cross_evaluate
from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import external, groups, metrics, predictions

COUNT = 200


@pytest.fixture(scope="module")
def faces() -> pd.DataFrame:
    """Faces with true labels, and a column of groups of their own."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "file": [f"{i}.jpg" for i in range(COUNT)],
            "gender": rng.choice(["Woman", "Man"], COUNT),
            "race": rng.choice(["white", "black", "latino hispanic"], COUNT),
            "age": rng.integers(1, 90, COUNT),
            "skin": rng.choice(["light", "dark", ""], COUNT, p=[0.5, 0.4, 0.1]),
            "yaw": rng.normal(0, 20, COUNT),
        }
    )


@pytest.fixture(scope="module")
def answers(faces) -> pd.DataFrame:
    """What a classifier predicts: right for 4 of 5, a confidence each, nothing for some."""
    rng = np.random.default_rng(1)
    right = rng.random(COUNT) < 0.8
    other = faces.gender.map({"Woman": "Man", "Man": "Woman"})
    predicted = faces.gender.where(right, other)
    confidence = rng.uniform(0.5, 1, COUNT)
    table = pd.DataFrame({"image": faces.file, "y_pred": predicted, "confidence": confidence})
    table.loc[rng.random(COUNT) < 0.1, ["y_pred", "confidence"]] = [None, np.nan]
    return table


def test_labels_and_confidences_are_scikit_learns_figures(faces, answers):
    found = external.understood(answers, truth=faces)
    figures = metrics.evaluate(found.table)["gender"]
    known = answers.y_pred.notna()
    assert figures["count"] == known.sum() and figures["unpredicted"] == (~known).sum()
    expected = sk.accuracy_score(faces.gender[known], answers.y_pred[known])
    assert figures["accuracy"] == pytest.approx(expected, abs=1e-9)
    right = (faces.gender == answers.y_pred)[known]
    likelihood = np.where(right, answers.confidence[known], 1 - answers.confidence[known])
    assert figures["cross_entropy"] == pytest.approx(-np.log(likelihood).mean())
    assert not predictions.are_hard(found.table, "gender")
    assert any(f"{(~known).sum()} of {COUNT} faces have no prediction" in n for n in found.notes)


def test_one_labels_probability_is_told_from_the_predicted_labels(faces, answers):
    male = np.where(answers.y_pred == "Man", answers.confidence, 1 - answers.confidence)
    theirs = answers.assign(confidence=male)
    found = external.understood(theirs, truth=faces)
    assert "confidence is taken for the probability of male" in found.notes
    same = external.understood(answers, truth=faces).table
    columns = ["gender_female", "gender_male"]
    np.testing.assert_allclose(found.table[columns], same[columns], atol=1e-12)
    percent = external.understood(theirs.assign(confidence=100 * male), truth=faces)
    np.testing.assert_allclose(percent.table[columns], same[columns], atol=1e-12)
    with pytest.raises(InputError, match="neither the probability of the predicted label"):
        external.understood(answers.assign(confidence=0.3), truth=faces)


def test_a_score_that_is_a_tie_is_of_the_predicted_label(faces, answers):
    """Of two labels a rounded 50% says nothing; the label does."""
    tied = external.understood(answers.dropna().assign(confidence=50), truth=faces).table
    hard = external.understood(answers.drop(columns="confidence"), truth=faces).table
    accuracies = [metrics.evaluate(table)["gender"]["accuracy"] for table in (tied, hard)]
    assert accuracies[0] == accuracies[1]


@pytest.mark.parametrize(
    "columns",
    [
        {"file": "file", "female": "p", "male": "q"},
        {"path": "file", "P(female)": "p", "P(male)": "q"},
        {"name": "file", "gender_Woman": "p", "gender_Man": "q"},
        {"Image Path": "file", "prob female": "p", "male_prob": "q"},
    ],
)
def test_columns_of_probabilities_are_found_by_many_names(faces, columns):
    p = np.random.default_rng(2).random(COUNT)
    source = {"file": [f"some/folder/{name}" for name in faces.file], "p": p, "q": 1 - p}
    theirs = pd.DataFrame({name: source[key] for name, key in columns.items()})
    found = external.understood(theirs, truth=faces)
    assert "faces are matched by the names of their files" in found.notes
    np.testing.assert_array_equal(found.table.gender_female, p)
    assert found.table.gender.tolist() == faces.gender.map(labels.gender).tolist()


def test_several_tasks_are_read_together(faces):
    """As deepface names them: six races, which are no one dataset's taxonomy."""
    theirs = pd.DataFrame(
        {
            "img_path": faces.file,
            "dominant_gender": faces.gender,
            "dominant_race": faces.race.replace("black", "middle eastern"),
            "age": faces.age + 3,
        }
    )
    found = external.understood(theirs, truth=faces)
    figures = metrics.evaluate(found.table)
    assert figures["gender"]["accuracy"] == 1 and figures["age"]["bias"] == 3
    assert predictions.are_hard(found.table, "race")
    expected = (faces.race != "black").mean()
    assert figures["race"]["accuracy"] == pytest.approx(expected)


def test_codes_need_a_meaning_and_take_it(faces):
    theirs = pd.DataFrame(
        {
            "id": faces.file,
            "y_true": (faces.gender == "Man").astype(int),
            "y_pred": (faces.gender == "Man").astype(float),
        }
    )
    with pytest.raises(InputError, match="no column is understood as a prediction"):
        external.understood(theirs)
    found = external.understood(theirs, values={"0": "female", "1": "male"})
    assert metrics.evaluate(found.table)["gender"]["accuracy"] == 1
    swapped = external.understood(
        theirs,
        columns={"gender": "y_true", "gender_predicted": "y_pred"},
        values={"0": "male", "1": "female"},
    )
    assert (swapped.table.gender == "female").sum() == (faces.gender == "Man").sum()


def test_what_predict_writes_is_never_its_own_truth(faces):
    """Its column `gender` is a prediction: without a table of true labels there are none."""
    answered = pd.DataFrame(
        {"photo": faces.file, "status": "ok", "gender": faces.gender, "made_by": "x"}
    ).assign(gender_female=0.9, gender_male=0.1)
    with pytest.raises(InputError, match="no face has a true label and a prediction"):
        external.understood(answered)
    found = external.understood(answered, truth=faces).table
    assert found.gender.tolist() == faces.gender.map(labels.gender).tolist()


def test_groups_are_any_columns_of_either_table(faces, answers):
    theirs = answers.assign(camera=["a", "b"] * (COUNT // 2))
    found = external.understood(
        theirs, truth=faces, grouped_by=["skin", "camera", "yaw", "gender x skin", "race"]
    )
    called = groups.names(found.table)
    assert called["skin"].isna().sum() == (faces.skin == "").sum()
    assert list(called["camera"].cat.categories) == ["a", "b"]
    assert called["yaw"].value_counts().tolist() == [COUNT // 4] * 4
    both = called["gender x skin"].dropna()
    assert set(both) == {f"{g}, {s}" for g in ("female", "male") for s in ("light", "dark")}
    figures = metrics.evaluate(found.table)["gender"]["groups"]["skin"]["dark"]
    chosen = (faces.skin == "dark") & answers.y_pred.notna()
    assert figures["count"] == chosen.sum()
    expected = (faces.gender == answers.y_pred)[chosen].mean()
    assert figures["accuracy"] == pytest.approx(expected)
    with pytest.raises(InputError, match="file has 200 values"):
        external.understood(theirs, truth=faces, grouped_by=["file"])
    with pytest.raises(InputError, match="no column 'hair' to group by"):
        external.understood(theirs, truth=faces, grouped_by=["hair"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.assign(y_pred=t.y_pred.where(t.index % 4 > 0, "bot")),
            "column y_pred: 'bot' is not a gender",
        ),
        (lambda t: t.assign(image="a.jpg"), "row 3: a.jpg is there twice"),
        (lambda t: t.assign(image=None), "row 2, column image: a face without a name"),
        (lambda t: t.assign(confidence="high"), "row 2, column confidence: 'high' is not a number"),
        (
            lambda t: t.assign(confidence=t.confidence.where(t.index > 3)),
            "a prediction without confidence",
        ),
        (lambda t: t.assign(confidence=170), "is not a probability"),
        (lambda t: t.drop(columns="image"), "no column names the faces"),
        (lambda t: t.assign(y_pred=t.y_pred.str[:0] + "?"), "no column is understood"),
        (lambda t: t.drop(columns="y_pred"), "no column is understood as a prediction"),
        (lambda t: t.assign(image=t.image + "x"), None),  # another ending is the same face
        (lambda t: t.assign(image="z" + t.image), "no face has a prediction: it calls the first"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(faces, answers, change, message):
    theirs = change(answers.dropna())
    if message is None:
        assert "without the endings" in "".join(external.understood(theirs, truth=faces).notes)
        return
    with pytest.raises(InputError) as refused:
        external.understood(theirs, truth=faces)
    assert message in str(refused.value) and "\n" not in str(refused.value)


def test_stated_labels_go_before_probabilities_that_say_otherwise(faces):
    """A threshold of one's own: the label is not always the likeliest."""
    p = np.random.default_rng(3).random(COUNT)
    predicted = np.where(p > 0.9, "Man", "Woman")
    theirs = pd.DataFrame({"file": faces.file, "gender_predicted": predicted, "gender_male": p})
    found = external.understood(theirs.assign(gender_female=1 - p), truth=faces)
    expected = (faces.gender == predicted).mean()
    assert metrics.evaluate(found.table)["gender"]["accuracy"] == pytest.approx(expected)
    assert predictions.are_hard(found.table, "gender")
    differ = ((p > 0.5) != (p > 0.9)).sum()
    assert any(f"is not the likeliest label of {differ} faces" in note for note in found.notes)
    one = external.understood(theirs.drop(columns="gender_predicted"), truth=faces)
    np.testing.assert_allclose(one.table.gender_female, 1 - p)


def test_what_spreadsheets_make_of_a_table_is_read(faces, tmp_path):
    lines = ["sep=;", "file;y_true;y_pred;score;;"]
    lines += [
        f"é{i}.jpg;F;{'F' if i % 4 else 'M'};{'0,75' if i % 2 else '80%'};;" for i in range(40)
    ]
    (tmp_path / "t.csv").write_bytes("\r\n".join(lines).encode("cp1252"))
    with pytest.raises(InputError, match="neither the probability"):
        external.read(tmp_path / "t.csv")  # one column is in percent, and isn't
    (tmp_path / "t.csv").write_bytes("\r\n".join(lines).replace("80%", "0,8").encode("cp1252"))
    found = external.read(tmp_path / "t.csv").table
    assert found.name[1] == "é1.jpg" and found.gender_female[1] == 0.75
    assert metrics.evaluate(found)["gender"]["accuracy"] == 0.75
    (tmp_path / "t.csv").write_text("\n".join(lines[1:3]).replace("80%", "0,8"), encoding="utf-16")
    assert external.read(tmp_path / "t.csv").table.name[0] == "é0.jpg"
    bare = pd.DataFrame({"y_true": [0, 1, 1.0, None], "y_pred": [0, 1, 0, 1], "score": 0.9})
    rows = external.understood(bare, values={"0": "female", "1": "male"})
    assert rows.table.name[0] == "row 2"
    assert metrics.evaluate(rows.table)["gender"]["accuracy"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(("separator", "ending"), [(",", "csv"), (";", "csv"), ("\t", "tsv")])
def test_files_of_any_usual_form_are_read(faces, answers, tmp_path, separator, ending):
    faces.to_csv(tmp_path / "faces.csv", index=False, encoding="utf-8-sig")
    answers.to_csv(tmp_path / f"theirs.{ending}", sep=separator, index=False)
    found = external.read(tmp_path / f"theirs.{ending}", truth=tmp_path / "faces.csv")
    wanted = external.understood(answers, truth=faces).table
    pd.testing.assert_frame_equal(found.table, wanted)


def test_parquet_is_read(faces, answers, tmp_path):
    pytest.importorskip("pyarrow", reason="Parquet takes the extra `parquet`")
    answers.to_parquet(tmp_path / "theirs.parquet")
    found = external.read(tmp_path / "theirs.parquet", truth=faces)
    pd.testing.assert_frame_equal(found.table, external.understood(answers, truth=faces).table)
    (tmp_path / "bad.parquet").write_text("no parquet")
    with pytest.raises(InputError, match="not a Parquet file"):
        external.read(tmp_path / "bad.parquet")


def test_files_that_are_no_tables_are_refused(tmp_path):
    for content, message in (
        ("", "no rows"),
        ("name,gender\n", "no rows"),
        ("name,gender\na\n", "row 2: 1 cells under 2"),
        ("name,name\na,b\n", "several columns are called 'name'"),
    ):
        (tmp_path / "t.csv").write_text(content)
        with pytest.raises(InputError, match=message):
            external.read(tmp_path / "t.csv")
    with pytest.raises(InputError, match="No such file"):
        external.read(tmp_path / "not_there.csv")


@pytest.fixture
def folder(faces, answers, tmp_path, monkeypatch):
    """A folder with the tables of two classifiers and of true labels."""
    monkeypatch.chdir(tmp_path)
    faces.to_csv("faces.csv", index=False)
    answers.to_csv("theirs.csv", index=False)
    pd.DataFrame({"file": faces.file, "y_pred": faces.gender}).to_csv("ours.csv", index=False)
    return tmp_path


def test_an_audit_names_whom_it_has_no_prediction_for(folder, faces, answers, capsys):
    audit.main(
        [
            *("--predictions", "theirs.csv", "--truth", "faces.csv", "--group-by", "skin"),
            *("--json", "out.json"),
        ]
    )
    said = capsys.readouterr().out
    read = "read image as name, y_pred as gender_predicted, confidence as gender_score"
    assert f"theirs.csv: {read}" in said
    found = pd.read_json("out.json", typ="series")["tasks"]["gender"]
    lacking = found["unpredicted"]["race"]["White"]
    chosen = faces.race == "white"
    assert lacking["count"] == chosen.sum()
    assert lacking["share"] == pytest.approx(answers.y_pred[chosen].isna().mean())
    assert "skin" in found["gaps"] and found["calibration"]["ece"] > 0
    audit.main(["--predictions", "ours.csv", "--truth", "faces.csv"])
    said = capsys.readouterr().out
    assert "labels alone" in said and "calibration error" not in said


def test_two_tables_are_compared_on_the_faces_that_both_predict(folder, faces, answers, capsys):
    compare.main(["theirs.csv", "ours.csv", "--truth", "faces.csv", "--json", "out.json"])
    found = pd.read_json("out.json", typ="series")["tasks"]["gender"]
    known = answers.y_pred.notna()
    (test,) = found["same_images"]
    assert test["count"] == known.sum() and found["unpredicted"] == (~known).sum()
    assert test["only_b"] == ((faces.gender != answers.y_pred) & known).sum()
    assert test["only_a"] == 0 and "cross_entropy" not in found["metrics"]
    line = ["theirs.csv", "ours.csv", "--truth", "faces.csv", "--columns"]
    compare.main([*line, "gender_score=confidence"])  # one of the tables has it
    with pytest.raises(InputError, match="no column 'nothing'"):
        compare.main([*line, "gender_score=nothing"])
    for arguments, message in (
        (["theirs.csv", "theirs.csv"], "given twice"),
        (["theirs.csv", "ours.csv"], "no face has a true label"),
    ):
        with pytest.raises(InputError, match=message):
            compare.main([*arguments, *(["--truth", "faces.csv"] * ("twice" in message))])


def test_a_report_of_tables_needs_no_tensorflow(folder):
    code = (
        "import sys; from vggface_gender import cross_evaluate as c; "
        "c.main(['--predictions', 'theirs.csv', 'ours.csv', '--truth', 'faces.csv', '--out', 'o']);"
        "print(sorted({'tensorflow', 'keras', 'tensorflow_datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    page = (folder / "o" / "report.html").read_text()
    assert "<li>On faces, in gender, ours beats theirs: " in page
    assert "faces have no prediction of gender, and are in none of its figures" in page
    rows = pd.read_csv(folder / "o" / "likely-wrong-labels.csv")
    assert set(rows.run) == {"theirs"} and rows.columns[3] == "name"


def test_a_command_of_runs_refuses_what_is_of_tables(folder):
    with pytest.raises(InputError, match="are of --predictions"):
        audit.main(["--run", "default", "--truth", "faces.csv"])
    with pytest.raises(InputError, match="are of tables"):
        compare.main(["a", "b", "--truth", "faces.csv"])
    with pytest.raises(InputError, match="are of --predictions"):
        cross_evaluate.main(["--runs", "a", "--truth", "faces.csv"])
    with pytest.raises(InputError, match="are of --runs"):
        cross_evaluate.main(["--predictions", "theirs.csv", "--datasets", "UTKFace"])
