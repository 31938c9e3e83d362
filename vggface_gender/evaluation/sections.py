"""What the report shows of a classifier on a dataset, task by task, from its predictions table."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from vggface_gender.base import labels
from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import CLASSIFICATION
from vggface_gender.evaluation import audit, groups, metrics, predictions, report, unseen
from vggface_gender.evaluation.metrics import Compared
from vggface_gender.photos import read

ERRORS, SUSPECTS = 8, 24  # faces that have a picture
WORST = 3  # groups whose errors are shown

Images = Callable[[str], np.ndarray | None]  # a face's crop by its name; None where it is not there


def of_table(
    table: pd.DataFrame,
    *,
    run: str,
    dataset: str,
    is_in_domain: bool | None = None,
    images: Images,
) -> list[dict]:
    """The report's sections of one table of predictions, one for each classification task.

    Args:
        table: see `predictions.table`.
        run, dataset: what to call the classifier and the faces.
        is_in_domain: whether the classifier was trained on this dataset; None: not known.
        images: the crops to show.

    Returns:
        See `report.page`.
    """
    found = []
    for task in CLASSIFICATION:
        if not predictions.has(table, task):
            continue
        compared = metrics.compared(unseen.faces(table), task)
        if compared.faces.empty:
            continue
        audited = audit.audit(table, task)
        found.append(
            {
                "run": run,
                "dataset": dataset,
                "task": task,
                "is_in_domain": is_in_domain,
                "audit": audited,
                "temperature": None,
                "robustness": None,
                "figures": [],
                "suspects": suspects(compared, task, images=images),
                "errors": errors(compared, audited, images=images),
            }
        )
    return found


def audits(found: Sequence[Mapping]) -> list[dict]:
    """The figures of sections, as JSON can hold them: no pictures."""
    kept = ("run", "dataset", "task", "temperature", "robustness")
    return [
        {"title": f"{section['run']} on {section['dataset']}: {section['task']}"}
        | {key: section[key] for key in kept}
        | section["audit"]
        for section in found
    ]


def no_image(name: str) -> None:
    """No crop of any face, where none is at hand."""


def in_folder(folder: Path) -> Images:
    """The crops in a folder, by name or by the name's last part.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the one that holds the faces' images")

    def found(name: str) -> np.ndarray | None:
        for path in (folder / name, folder / PurePosixPath(name.replace("\\", "/")).name):
            if path.is_file():
                try:
                    return read.read_photo(path)
                except InputError:
                    return None
        return None

    return found


def suspects(compared: Compared, task: str, *, images: Images) -> list[dict]:
    """The faces whose label is likely wrong, the likeliest first (see `audit.suspects`).

    Returns:
        For each `name`, `true`, `predicted`, `confidence`, `gender`, `race`, `age`; and of the
        first `SUSPECTS` a `picture`, where there is one. None where outputs are labels alone.
    """
    if predictions.are_hard(compared.faces, task):
        return []
    places = audit.suspects(compared.true, compared.probability)
    return [
        _face(compared, place, images if rank < SUSPECTS else None)
        for rank, place in enumerate(places)
    ]


def errors(compared: Compared, audited: Mapping, *, images: Images) -> list[dict]:
    """The most confident errors in the groups with the lowest accuracy.

    Returns:
        For each of `WORST` groups the `group`, its `accuracy`, the count of `errors`, and the
        first `faces` (see `suspects`).
    """
    members = audited["groups"]["gender x race"] or audited["groups"]["gender"]
    grouping = "gender x race" if audited["groups"]["gender x race"] else "gender"
    called = groups.names(compared.faces)[grouping].to_numpy()
    predicted, confidence = compared.probability.argmax(axis=1), compared.probability.max(axis=1)
    order = (-confidence).argsort(kind="stable")
    found = []
    for group in groups.ranked(members, score="accuracy", greater_is_better=True)[:WORST]:
        wrong = order[(predicted != compared.true)[order] & (called[order] == group)]
        if len(wrong):
            faces = [_face(compared, place, images) for place in wrong[:ERRORS]]
            accuracy = members[group]["accuracy"]
            about = {"group": group, "accuracy": accuracy, "errors": len(wrong)}
            found.append(about | {"faces": faces})
    return found


def _face(compared: Compared, place: int, images: Images | None) -> dict:
    row = compared.faces.iloc[place]
    image = images(row["name"]) if images else None
    likeliest = int(compared.probability[place].argmax())
    return {
        "name": row["name"],
        "true": compared.names[compared.true[place]],
        "predicted": compared.names[likeliest],
        "confidence": float(compared.probability[place, likeliest]),
        "gender": row.gender or "",
        "race": row.race or "",
        "age": "" if pd.isna(row.age) else labels.age(row.age),
        "picture": None if image is None else report.thumbnail(image),
    }


SUSPECT_COLUMNS = ("name", "true", "predicted", "confidence", "gender", "race", "age")


def suspects_csv(found: Sequence[Mapping]) -> str:
    """The likely wrong labels of sections as CSV, a row for each face and classifier."""
    written = io.StringIO()
    rows = csv.writer(written, lineterminator="\n")
    rows.writerow(["dataset", "task", "run", *SUSPECT_COLUMNS])
    for section in found:
        for face in section["suspects"]:
            about = [section["dataset"], section["task"], section["run"]]
            rows.writerow([*about, *(face[column] for column in SUSPECT_COLUMNS)])
    return written.getvalue()
