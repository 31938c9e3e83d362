"""A test's figures as TensorBoard shows them: numbers, tables by group, confusion matrices."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import tensorflow as tf

from vggface_gender.base import files, text
from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation import groups, metrics, report_charts
from vggface_gender.evaluation.intervals import CONFIDENCE


@contextlib.contextmanager
def anew(folder: Path) -> Iterator[None]:
    """Where `tf.summary` writes, at step 0, what replaces a folder of events, whole or not at all.

    So that what is written again, by a command that was resumed or given twice, is there once.
    """
    with files.whole(folder, replace=True) as part:
        writer = tf.summary.create_file_writer(str(part))
        try:
            with writer.as_default(step=0):
                yield
        finally:
            writer.close()


def write(figures: Mapping, folder: Path) -> None:
    """Write a test's figures in place of what the folder holds.

    Args:
        figures: the content of a metrics file (see `results.publish`).
        folder: of these figures alone.
    """
    with anew(folder):
        called = figures["split"]
        shown = scalars(figures, called=called) | by_group(figures, called=called)
        for name, value in shown.items():
            tf.summary.scalar(name, value)
        for task, its in figures["tasks"].items():
            if not its["count"]:
                continue
            tf.summary.text(f"{task} by group", _groups(task, its))
            if "confusion" in its:
                title = f"{task}, {figures['dataset']} {figures['split']}"
                drawn = report_charts.pixels(report_charts.confusion_figure(its, title))
                tf.summary.image(f"{task} confusion matrix", drawn[None])


def scalars(figures: Mapping, *, called: str) -> dict[str, float]:
    """A test's figures of every task by name, such as "test/gender_accuracy".

    Args:
        figures: see `write`.
        called: what was tested on, such as "test".
    """
    return {
        f"{called}/{task}_{metric}": its[metric]
        for task, its in figures["tasks"].items()
        for metric in metrics.SCALARS
        if metric in its
    }


def by_group(figures: Mapping, *, called: str) -> dict[str, float]:
    """Every task's score in every group, such as "test by race/gender_accuracy/White".

    Args:
        figures, called: see `scalars`.
    """
    return {
        f"{called} by {grouping}/{task}_{TASKS[task].score}/{group}": one[TASKS[task].score]
        for task, its in figures["tasks"].items()
        for grouping, members in _grouped(its).items()
        for group, one in members.items()
    }


def _grouped(its: Mapping) -> dict[str, dict[str, Mapping]]:
    """A task's figures by grouping and group; the faces that are in none are a group, too."""
    return groups.with_unknown(its.get("groups", {}), its.get("ungrouped", {}))


def _groups(task: str, its: Mapping) -> str:
    """A task's score in every group as a table in Markdown."""
    kind = TASKS[task]
    header = ["by", "group", "faces", kind.score_name, f"{CONFIDENCE:.0%} interval", ""]
    rows: list[tuple[str, str, Mapping]] = [("all", "", its)]
    for grouping, members in _grouped(its).items():
        rows += [(grouping, group, one) for group, one in members.items()]
    lines = [header, ["---"] * len(header)]
    for grouping, group, one in rows:
        interval = text.interval(one["interval"], kind.format)
        small = f"under {groups.SMALL} faces" if one.get("small") else ""
        score = kind.format(one[kind.score])
        lines.append([grouping, group, f"{one['count']:,}", score, interval, small])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
