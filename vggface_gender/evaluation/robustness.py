"""How a classifier's predictions change as its crops are perturbed: rotated, framed otherwise, or
of low resolution.

The classifier reads the same faces unchanged and after each perturbation, so a change in accuracy
is a paired one (see `evaluation.paired`).
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from vggface_gender.base import labels, runs, text
from vggface_gender.base.tasks import TASKS
from vggface_gender.data import records
from vggface_gender.datasets import Dataset
from vggface_gender.evaluation import (
    metrics,
    paired,
    perturbations,
    predictions,
    provenance,
    same_images,
    trained_on,
    unseen,
)
from vggface_gender.evaluation.groups import SMALL
from vggface_gender.evaluation.intervals import CONFIDENCE
from vggface_gender.evaluation.perturbations import UNCHANGED, Perturbation
from vggface_gender.inference.classifier import Classifier
from vggface_gender.photos import crops

BATCH_SIZE = 64
HELD = 2**30  # bytes of decoded images kept: each is decoded once if all find room


def measure(
    path: Path,
    classifier: Classifier,
    *,
    dataset: Dataset,
    split: str,
    perturbed: Sequence[Perturbation],
    count: int | None = None,
) -> dict:
    """The figures of a classifier after each perturbation.

    Args:
        path: the classifier's file; its tables are kept in `folder`.
        perturbed: `UNCHANGED` is one of them.
        count: of so many faces, the split's first (TFDS shuffles records as it writes them).

    Returns:
        See `summarize`.
    """
    found = tables(path, classifier, dataset=dataset, split=split, perturbed=perturbed, count=count)
    frame = records.frame_of(dataset, classifier.padding)
    return summarize(found, perturbed, frame=frame, size=classifier.size)


def folder(path: Path) -> Path:
    """The folder of a classifier's tables: beside it, its own where it is one file of several."""
    name = "robustness" + ("" if path.name == runs.CLASSIFIER else f"-{path.stem}")
    return runs.results_folder(path) / name


def tables(
    path: Path,
    classifier: Classifier,
    *,
    dataset: Dataset,
    split: str,
    perturbed: Sequence[Perturbation],
    count: int | None = None,
) -> dict[str, pd.DataFrame]:
    """What a classifier predicts for a split's crops after each perturbation.

    The tables are kept in `folder`, as `predictions-<dataset>-<split>-<perturbation>.csv`, each
    written as soon as it is whole. One that is there already is read if the classifier, the records
    and the perturbation are those that made it.

    Args:
        count: of so many faces, the split's first.

    Returns:
        The tables, as read from their files, by the perturbations' names.
    """
    truth = records.labels(dataset, split)[:count]
    # Figures of part of a split do not replace those of the whole.
    part = "" if count is None or count >= dataset.count(split) else f"-{len(truth)}"
    keys = {
        one: provenance.made_by(path, dataset, split=split, count=len(truth), perturbation=one.name)
        for one in perturbed
    }
    places = {}
    for one, key in keys.items():
        there = predictions.current(
            folder(path), dataset, split=f"{split}{part}-{one.name}", made_by=key
        )
        if there:
            places[one] = there
    missing = [one for one in perturbed if one not in places]
    if missing:
        marks = trained_on.marks(path, dataset, split=split)
        images = _images(records.jpegs(dataset, split)[: len(truth)])
        frame = records.frame_of(dataset, classifier.padding)
        with tqdm(total=len(missing) * len(truth), desc=dataset.label, unit=" crops") as bar:
            for one in missing:
                bar.set_postfix_str(one.name)
                outputs = _outputs(classifier, images, len(truth), frame, one, bar.update)
                table = predictions.table(
                    truth.name,
                    truth[list(labels.TASKS)],
                    outputs=outputs,
                    tasks=classifier.tasks,
                    overlap=marks and marks[: len(truth)],
                )
                places[one] = predictions.place(
                    folder(path),
                    dataset,
                    split=f"{split}{part}-{one.name}",
                    made_by=keys[one],
                    table=table,
                )
                predictions.write(table, places[one], made_by=keys[one])
    return {one.name: predictions.read(places[one]) for one in perturbed}


def compare(table: pd.DataFrame, unchanged: pd.DataFrame) -> dict[str, dict]:
    """The figures of a table of perturbed crops, and how they differ from the unchanged ones'.

    Args:
        table, unchanged: see `predictions.table`; of the same faces in the same order.

    Returns:
        By task that can be scored: `count`; the score (`accuracy`, or for age `mae` in years); its
        `interval`; `change`: the `difference` of the scores, its paired `interval`, and `p` of
        McNemar's exact test, or of Wilcoxon's for age; `by_gender`, each with `count`, `small`, the
        score, its `interval` and `change`; and `gap` (see `paired.gap`).
    """
    before = metrics.evaluate(unchanged)
    found = {}
    for task, figures in metrics.evaluate(table).items():
        if not figures["count"]:
            continue
        score = TASKS[task].score
        values = [paired.values(each, task) for each in (unchanged, table)]
        gender = table.gender[values[0].index]
        by_gender = {
            name: {key: group[key] for key in ("count", "small", score, "interval")}
            | {"change": paired.change(*(each[gender == name] for each in values))}
            for name, group in figures["groups"]["gender"].items()
        }
        old = {name: group[score] for name, group in before[task]["groups"]["gender"].items()}
        found[task] = {key: figures[key] for key in ("count", score, "interval")} | {
            "change": paired.change(*values) | {"p": _p(unchanged, table, task)},
            "by_gender": by_gender,
            "gap": paired.gap(old, by_gender, task=task),
        }
    return found


def summarize(
    found: Mapping[str, pd.DataFrame],
    perturbed: Sequence[Perturbation],
    *,
    frame: float,
    size: int,
) -> dict:
    """The figures of all perturbations, as JSON can hold them.

    Args:
        found: what `tables` gives, with `UNCHANGED` among them.
        perturbed: those to report, in order.
        frame: of the unchanged crops, as `crops.fit` takes it.
        size: the network's side in pixels.

    Returns:
        `count` of faces, without copies of training images; their `overlap` with these (see
        `unseen.overlap`), `size`, and `changes`: for each its `name`, `kind`, `amount`,
        `own_share` (see `perturbations.own_share`) and `tasks` (see `compare`).
    """
    overlap = unseen.overlap(found[UNCHANGED.name])
    found = {name: unseen.faces(table) for name, table in found.items()}
    return {
        "count": len(found[UNCHANGED.name]),
        "overlap": overlap,
        "size": size,
        "changes": [
            {
                "name": one.name,
                **one._asdict(),
                "own_share": perturbations.own_share(frame, one),
                "tasks": compare(found[one.name], found[UNCHANGED.name]),
            }
            for one in perturbed
        ],
    }


def report(summary: Mapping) -> str:
    """A plain-text report of what `summarize` gives: a table for each task."""
    tasks = [task for task in labels.TASKS if task in summary["changes"][0]["tasks"]]
    return "\n\n".join(_describe(summary["changes"], task) for task in tasks)


def _describe(rows: Sequence[Mapping], task: str) -> str:
    """The table of one task."""
    its = TASKS[task]
    unit = "percentage points" if its.is_classification else "years"
    interval = f"{CONFIDENCE:.0%} interval"
    header = ["perturbation", "own", its.score, interval, "change", interval, *labels.GENDERS]
    header += ["gap", "widens by", interval, ""]
    first = rows[0]["tasks"][task]
    counts = ", ".join(f"{name} {group['count']:,}" for name, group in first["by_gender"].items())
    notes = [f"change, gap: in {unit}"]
    if first["gap"]:
        notes.append(f"gap: how much worse the score is for {first['gap']['worse']} faces")
    if any(group["small"] for group in first["by_gender"].values()):
        notes.append(f"small: of a gender there are under {SMALL} faces")
    return (
        f"{task}, {its.score_name}: {first['count']:,} faces{f' ({counts})' if counts else ''}\n\n"
        + text.table(header, [_row(row, task) for row in rows])
        + "".join(f"\n  {note}" for note in notes)
    )


def _row(row: Mapping, task: str) -> list[str]:
    its, one = TASKS[task], row["tasks"][task]
    groups, gap, change = one["by_gender"], one["gap"], one["change"]
    is_perturbed = row["kind"] != UNCHANGED.kind
    differs = its.format_difference
    widens = ["", ""]
    if gap and is_perturbed:
        widens = [differs(gap["difference"]), text.interval(gap["interval"], differs)]
    return [
        _name(row),
        f"{row['own_share']:.0%}",
        its.format(one[its.score]),
        text.interval(one["interval"], its.format),
        differs(change["difference"]) if is_perturbed else "",
        text.interval(change["interval"], differs) if is_perturbed else "",
        *(its.format(groups[g][its.score]) if g in groups else "-" for g in labels.GENDERS),
        differs(gap["changed"]).removeprefix("+") if gap else "-",
        *widens,
        "small" if any(group["small"] for group in groups.values()) else "",
    ]


def _name(row: Mapping) -> str:
    if row["kind"] == UNCHANGED.kind:
        return row["name"]
    return f"{row['kind']} {row['amount']:{'+' if row['kind'] == 'rotation' else ''}g}"


def _p(unchanged: pd.DataFrame, table: pd.DataFrame, task: str) -> float | None:
    if TASKS[task].is_classification:
        return same_images.mcnemar(unchanged, table, task=task).get("p")
    return same_images.wilcoxon(unchanged, table).get("p")


def _images(jpegs: Sequence[bytes]) -> Callable[[int], np.ndarray]:
    """A reader of images by their place, which decodes each once as long as it has room."""
    held: dict[int, np.ndarray] = {}
    room = HELD

    def read(place: int) -> np.ndarray:
        nonlocal room
        if place in held:
            return held[place]
        image = crops.decode(jpegs[place])
        if image.nbytes <= room:
            held[place] = image
            room -= image.nbytes
        return image

    return read


def _outputs(
    classifier: Classifier,
    images: Callable[[int], np.ndarray],
    count: int,
    frame: float,
    perturbation: Perturbation,
    advance: Callable[[int], object],
) -> dict[str, np.ndarray]:
    """The outputs for all images' perturbed crops; `advance` is called with each batch's size."""
    parts = []
    for start in range(0, count, BATCH_SIZE):
        batch = np.stack(
            [
                perturbations.crop(
                    images(place), classifier.size, frame=frame, perturbation=perturbation
                )
                for place in range(start, min(start + BATCH_SIZE, count))
            ]
        )
        parts.append(classifier.predict(batch, batch_size=BATCH_SIZE))
        advance(len(batch))
    return {task: np.concatenate([part[task] for part in parts]) for task in classifier.tasks}
