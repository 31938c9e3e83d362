"""How a classifier's answers change with its crops: turned, framed otherwise, or made coarse.

Every change is made to the record's own image on its way to the network's side, so what it shows
beyond the crop are real pixels as far as the record has them. Beyond the record's border its pixels
are repeated, as for an unchanged crop in a frame wider than the record's (`own_share` tells how
much of a crop is the record's own).

The same faces are told before and after, so a change in accuracy is a paired one: its interval is
narrower than the intervals of the two accuracies suggest.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import matplotlib.figure
import matplotlib.ticker
import numpy as np
import pandas as pd
from scipy import stats
from tqdm import tqdm

from vggface_gender.base import labels
from vggface_gender.data import records
from vggface_gender.datasets import Dataset
from vggface_gender.evaluation import comparison, metrics, predictions
from vggface_gender.evaluation.metrics import CONFIDENCE, SMALL
from vggface_gender.inference.classifier import Classifier
from vggface_gender.photos import crops

# By kind of change, what its amount is.
KINDS = {
    "rotation": "rotation, degrees counter-clockwise",
    "margin": "a crop's side, 1 as framed",
    "resolution": "pixels a side",
}
BATCH = 64
HELD = 2**30  # bytes of decoded images kept: each is decoded once if all find room
_ALL, _BY_GENDER = "#222222", ("#d55e00", "#0072b2")  # as Okabe and Ito 2008 have the two


class Change(NamedTuple):
    """One change of a crop.

    `rotation`: degrees, counter-clockwise. `margin`: the crop's side as a share of the framed one,
    over 1 for more around the face. `resolution`: pixels a side, before the crop is enlarged again.
    """

    kind: str
    amount: float

    @property
    def name(self) -> str:
        """Of its tables: `rotation+15`, `margin1.25`, `resolution32`, `unchanged`."""
        if self == UNCHANGED:
            return self.kind
        return f"{self.kind}{self.amount:{'+' if self.kind == 'rotation' else ''}g}"


UNCHANGED = Change("unchanged", 0)


def crop(image: np.ndarray, size: int, frame: float, change: Change = UNCHANGED) -> np.ndarray:
    """A crop of an image, changed.

    Args:
        image: (h, w, 3) `uint8` RGB, a record's.
        size: the side in pixels that the network takes.
        frame: how much of the image to show, as `crops.fit` takes it.

    Returns:
        (size, size, 3) `uint8` RGB; with `UNCHANGED` what `crops.fit` gives, and so with a rotation
        by 0, a margin of 1 and a resolution of `size`.
    """
    if change.kind == "rotation":
        return _turned(image, size, frame, change.amount)
    if change.kind == "margin":
        return crops.fit(image, size, frame * change.amount)
    if change.kind == "resolution":
        return crops.fit(crops.fit(image, int(change.amount), frame), size)
    return crops.fit(image, size, frame)


def own_share(frame: float, change: Change = UNCHANGED) -> float:
    """How much of a crop's area shows a square record's own pixels; the rest repeats its border."""
    side = frame * (change.amount if change.kind == "margin" else 1)
    angle = math.radians(change.amount if change.kind == "rotation" else 0)
    steps = ((np.arange(1000) + 0.5) / 1000 - 0.5) * side  # from the middle, in sides of the record
    across, down = np.meshgrid(steps, steps)
    x = math.cos(angle) * across - math.sin(angle) * down
    y = math.sin(angle) * across + math.cos(angle) * down
    return float(((abs(x) <= 0.5) & (abs(y) <= 0.5)).mean())


def tables(
    trained: Classifier,
    dataset: Dataset,
    split: str,
    changes: Sequence[Change],
    folder: Path,
    since: float = 0.0,
    count: int | None = None,
) -> dict[str, pd.DataFrame]:
    """What a classifier says of a split's crops after each of the changes.

    Args:
        changes: each gives a predictions table; `UNCHANGED` is one of them if it is to be compared.
        folder: where the tables are kept, `predictions-<dataset>-<split>-<change>.csv`. One that is
            there already is read if it is of the same faces and labels and not older than the
            records, nor than `since`. Each is written as soon as it is whole.
        since: when the classifier was made, in seconds as `st_mtime` has them.
        count: of so many faces, the split's first (TFDS shuffles records as it writes them).

    Returns:
        The tables, as read from their files, by the changes' names.
    """
    truth = records.labels(dataset, split)[:count]
    # Figures of part of a split do not replace those of the whole.
    part = "" if count is None or count >= dataset.counts[split] else f"-{len(truth)}"
    places = {
        change.name: folder / f"predictions-{dataset.label}-{split}{part}-{change.name}.csv"
        for change in changes
    }
    since = max(since, (dataset.directory / "metadata.json").stat().st_mtime)
    missing = [change for change in changes if not _is_there(places[change.name], truth, since)]
    if missing:
        images = _images(records.jpegs(dataset, split)[: len(truth)])
        frame = records.frame_of(dataset, trained.padding)
        with tqdm(total=len(missing) * len(truth), desc=dataset.label, unit=" crops") as bar:
            for change in missing:
                bar.set_postfix_str(change.name)
                outputs = _outputs(trained, images, len(truth), frame, change, bar.update)
                table = predictions.table(
                    truth.name, truth[list(labels.TASKS)], outputs, trained.tasks
                )
                predictions.write(table, places[change.name])
    return {name: predictions.read(place) for name, place in places.items()}


def compare(table: pd.DataFrame, unchanged: pd.DataFrame) -> dict[str, dict]:
    """The figures of a table of changed crops, and how they differ from the unchanged ones'.

    Args:
        table, unchanged: see `predictions.table`; of the same faces in the same order.

    Returns:
        By task that can be scored: `count`; `accuracy`, or for age `mae` in years; its `interval`;
        `change`: the `difference` of the scores, its paired `interval`, and `p` of McNemar's exact
        test, or of Wilcoxon's for age; `by_gender`, each with `count`, `small`, the score, its
        `interval` and `change`; and `gap` (see there).
    """
    before = metrics.evaluate(unchanged)
    found = {}
    for task, figures in metrics.evaluate(table).items():
        if not figures["count"]:
            continue
        score, test = ("accuracy", comparison.mcnemar)
        if task == "age":
            score, test = ("mae", lambda a, b, _: comparison.wilcoxon(a, b))
        values = [_values(each, task) for each in (unchanged, table)]
        gender = table.gender[values[0].index]
        by_gender = {
            name: {key: group[key] for key in ("count", "small", score, "interval")}
            | {"change": change(*(each[gender == name] for each in values), task)}
            for name, group in figures["groups"]["gender"].items()
        }
        old = {name: group[score] for name, group in before[task]["groups"]["gender"].items()}
        found[task] = {key: figures[key] for key in ("count", score, "interval")} | {
            "change": change(*values, task) | {"p": test(unchanged, table, task).get("p")},
            "by_gender": by_gender,
            "gap": gap(old, by_gender, score),
        }
    return found


def change(before: pd.Series, after: pd.Series, task: str) -> dict:
    """The change of a mean over the same faces.

    Args:
        before, after: (n,), whether each face was told rightly; of age, by how many years wrongly.

    Returns:
        `difference` of the means and its `interval`: `paired_interval`, or of age Student's t, None
        where there is one face or the differences don't vary.
    """
    if task != "age":
        lost, won = int((before & ~after).sum()), int((~before & after).sum())
        interval = paired_interval(lost, won, len(before))
        return {"difference": (won - lost) / len(before), "interval": interval}
    if len(before) < 2:
        return {"difference": float((after - before).mean()), "interval": None}
    test = comparison.paired(before, after)
    return {key: test[key] for key in ("difference", "interval")}


def paired_interval(lost: int, won: int, count: int) -> list[float]:
    """The interval of a difference of two shares of the same faces, at all figures' confidence.

    That of D. G. Bonett and R. M. Price (Journal of Educational and Behavioral Statistics 37,
    2012): Wald's, with one face added to those lost and one to those won.

    Args:
        lost: faces right before and not after.
        won: faces right after and not before.
        count: all faces.
    """
    lost_share, won_share = (lost + 1) / (count + 2), (won + 1) / (count + 2)
    middle = won_share - lost_share
    error = math.sqrt((lost_share + won_share - middle**2) / (count + 2))
    margin = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) * error
    return [max(-1.0, middle - margin), min(1.0, middle + margin)]


def gap(before: Mapping[str, float], after: Mapping[str, Mapping], score: str) -> dict | None:
    """How the gap between the genders changes; None unless both have enough faces.

    Args:
        before: by gender, its score on the unchanged crops.
        after: by gender, `small`, the score and its `change` (see `change`) on the changed ones.
        score: "accuracy", or "mae", of which less is better.

    Returns:
        The gender told `worse` before, by how much it is `unchanged` and `changed`, and the
        `difference` of the two (above 0: the gap has widened) with its `interval`, made of the two
        genders' paired ones by adding the squares of their arms (G. Y. Zou and A. Donner,
        Statistics in Medicine 27, 2008); None where one of them is.
    """
    if len(after) < 2 or any(group["small"] for group in after.values()):
        return None
    # The gap is the greater of two scores less the lesser: of years off, the worse is the greater.
    lesser, greater = sorted(before, key=before.get)
    changes = [after[name]["change"] for name in (greater, lesser)]
    difference = changes[0]["difference"] - changes[1]["difference"]
    interval = None
    if all(one["interval"] for one in changes):
        (x, (low_x, high_x)), (y, (low_y, high_y)) = (
            (one["difference"], one["interval"]) for one in changes
        )
        interval = [
            difference - math.hypot(x - low_x, high_y - y),
            difference + math.hypot(high_x - x, y - low_y),
        ]
    return {
        "worse": greater if score == "mae" else lesser,
        "unchanged": before[greater] - before[lesser],
        "changed": after[greater][score] - after[lesser][score],
        "difference": difference,
        "interval": interval,
    }


def summarize(
    found: Mapping[str, pd.DataFrame], changes: Sequence[Change], frame: float, size: int
) -> dict:
    """The figures of all changes, as JSON can hold them.

    Args:
        found: what `tables` gives, with `UNCHANGED` among them.
        changes: those to tell of, in order.
        frame: of the unchanged crops, as `crops.fit` takes it.
        size: the network's side in pixels.

    Returns:
        `count` of faces, `size`, and `changes`: for each its `name`, `kind`, `amount`, `own_share`
        (see there) and `tasks` (see `compare`).
    """
    return {
        "count": len(found[UNCHANGED.name]),
        "size": size,
        "changes": [
            {
                "name": one.name,
                **one._asdict(),
                "own_share": own_share(frame, one),
                "tasks": compare(found[one.name], found[UNCHANGED.name]),
            }
            for one in changes
        ],
    }


def figure(summary: Mapping, task: str) -> matplotlib.figure.Figure:
    """A chart of one task: a panel a kind of change, the score with its interval by the amount.

    The unchanged crops stand in every panel: at 0 degrees, a margin of 1, the network's own side.

    Args:
        summary: what `summarize` gives.
    """
    score = "mae" if task == "age" else "accuracy"
    rows = summary["changes"]
    neutral = {"rotation": 0.0, "margin": 1.0, "resolution": summary["size"]}
    kinds = [kind for kind in KINDS if any(row["kind"] == kind for row in rows)]
    # Not pyplot, which keeps figures and asks for a display.
    drawn = matplotlib.figure.Figure((3.4 * len(kinds), 3.2), dpi=150, layout="constrained")
    panels = drawn.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axes, kind in zip(panels, kinds, strict=True):
        points = [
            (row["amount"] if row["kind"] == kind else neutral[kind], row["tasks"][task])
            for row in rows
            if row["kind"] in (kind, UNCHANGED.kind)
        ]
        points.sort(key=lambda point: point[0])
        amounts = [amount for amount, _ in points]
        for gender, colour in zip(labels.GENDERS, _BY_GENDER, strict=True):
            if gender not in points[0][1]["by_gender"]:
                continue
            axes.plot(
                amounts,
                [one["by_gender"][gender][score] for _, one in points],
                color=colour,
                linewidth=1.2,
                linestyle="--",
                label=gender,
            )
        scores = np.array([one[score] for _, one in points])
        low, high = np.array([one["interval"] or [one[score]] * 2 for _, one in points]).T
        axes.errorbar(
            amounts,
            scores,
            np.clip([scores - low, high - scores], 0, None),
            color=_ALL,
            linewidth=1.6,
            marker="o",
            markersize=4,
            capsize=3,
            label="all",
        )
        axes.axvline(neutral[kind], color="#cccccc", linewidth=1, zorder=0)
        if kind == "resolution":
            axes.set_xscale("log", base=2)
        axes.set_xticks(amounts, [f"{amount:g}" for amount in amounts])
        axes.minorticks_off()
        axes.set_xlabel(KINDS[kind], fontsize=8)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#eeeeee")
    if task != "age":
        panels[0].yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0, decimals=0))
    of = "age, years off" if task == "age" else f"{task}, accuracy"
    panels[0].set_ylabel(f"{of}, {CONFIDENCE:.0%} interval", fontsize=8)
    panels[0].legend(frameon=False, fontsize=8)
    return drawn


def report(summary: Mapping) -> str:
    """A plain-text report of what `summarize` gives."""
    tasks = [task for task in labels.TASKS if task in summary["changes"][0]["tasks"]]
    return "\n\n".join(_describe(summary["changes"], task) for task in tasks)


def _describe(rows: Sequence[Mapping], task: str) -> str:
    """The table of one task."""
    is_age = task == "age"
    form = "{:.2f}".format if is_age else "{:.1%}".format
    signed = "{:+.2f}".format if is_age else "{:+.1%}".format
    score = "mae" if is_age else "accuracy"
    interval = f"{CONFIDENCE:.0%} interval"
    heading = ["changed", "own", score, interval, "change", interval, *labels.GENDERS]
    lines = [[*heading, "gap", "widens by", interval, ""]]

    def span(ends: Sequence[float] | None, form: Callable[[float], str]) -> str:
        return f"{form(ends[0])} to {form(ends[1])}" if ends else "-"

    for row in rows:
        one = row["tasks"][task]
        is_changed = row["kind"] != UNCHANGED.kind
        groups, gap = one["by_gender"], one["gap"]
        lines.append(
            [
                row["name"] if row["kind"] == UNCHANGED.kind else _words(row),
                f"{row['own_share']:.0%}",
                form(one[score]),
                span(one["interval"], form),
                signed(one["change"]["difference"]) if is_changed else "",
                span(one["change"]["interval"], signed) if is_changed else "",
                *(form(groups[g][score]) if g in groups else "-" for g in labels.GENDERS),
                form(gap["changed"]) if gap else "-",
                signed(gap["difference"]) if gap and is_changed else "",
                span(gap["interval"], signed) if gap and is_changed else "",
                "small" if any(group["small"] for group in groups.values()) else "",
            ]
        )
    first = rows[0]["tasks"][task]
    counts = ", ".join(f"{name} {group['count']:,}" for name, group in first["by_gender"].items())
    title = f"{task}{', years off' if is_age else ''}: {first['count']:,} faces"
    notes = [f"gap: how much worse {first['gap']['worse']} faces are told"] if first["gap"] else []
    if lines[1][-1]:
        notes.append(f"small: of a gender there are under {SMALL} faces")
    return (
        f"{title}{f' ({counts})' if counts else ''}\n\n"
        + metrics.aligned(lines, text_columns=(0, len(lines[0]) - 1))
        + "".join(f"\n  {note}" for note in notes)
    )


def _words(row: Mapping) -> str:
    sign = "+" if row["kind"] == "rotation" else ""
    return f"{row['kind']} {row['amount']:{sign}g}"


def _turned(image: np.ndarray, size: int, frame: float, degrees: float) -> np.ndarray:
    """`crops.fit` of an image turned about its middle."""
    height, width = image.shape[:2]
    # Room for what a frame wider than the image shows, so that borders repeated turn with it.
    down, across = (round(side * max(frame - 1, 0) / 2) for side in (height, width))
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    matrix[:, 2] += across, down
    turned = cv2.warpAffine(
        image,
        matrix,
        (width + 2 * across, height + 2 * down),
        flags=cv2.INTER_CUBIC,  # sharper than linear: what is measured is turning, not blur
        borderMode=cv2.BORDER_REPLICATE,
    )
    return crops.fit(turned, size, min(frame, 1.0))


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
    trained: Classifier,
    images: Callable[[int], np.ndarray],
    count: int,
    frame: float,
    change: Change,
    advance: Callable[[int], object],
) -> dict[str, np.ndarray]:
    """What a classifier says of all images' changed crops; `advance` is told of every batch."""
    parts = []
    for start in range(0, count, BATCH):
        places = range(start, min(start + BATCH, count))
        batch = np.stack([crop(images(place), trained.size, frame, change) for place in places])
        parts.append(trained.predict(batch, BATCH))
        advance(len(batch))
    return {task: np.concatenate([part[task] for part in parts]) for task in trained.tasks}


def _is_there(place: Path, truth: pd.DataFrame, since: float) -> bool:
    """Whether there is a table, of these faces and labels, and not older than what it is of."""
    if not place.is_file() or place.stat().st_mtime < since:
        return False
    expected = predictions.table(truth.name, truth[list(labels.TASKS)], {}, {})
    return predictions.read(place)[expected.columns].equals(expected)


def _values(table: pd.DataFrame, task: str) -> pd.Series:
    """What a score is the mean of, by the rows of the faces that can be scored."""
    if task == "age":
        return (table[predictions.AGE_OUTPUT] - table["age"]).abs().dropna()
    compared = metrics.compared(table, task)
    right = compared.probability.argmax(axis=1) == compared.true
    return pd.Series(right, index=compared.faces.index)
