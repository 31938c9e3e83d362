"""Our figures: read from the runs' predictions, and set beside the published ones."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from reproduce import trainings
from reproduce.request import Request
from vggface_gender.base import runs, text
from vggface_gender.evaluation import (
    cells,
    held_out,
    matrix,
    matrix_figure,
    matrix_report,
    metrics,
    testing,
)


class Compared(NamedTuple):
    """A published figure beside ours."""

    what: str
    published: float | None  # None where it is not known
    ours: Mapping  # see `spread`
    form: str = ".2%"  # in which it was published; shares are compared in points


def tested(request: Request, run: str, dataset: str, *, split: str = matrix.SPLIT) -> list[dict]:
    """A run's metrics on a dataset's split (see `metrics.evaluate`), one for each repeat."""
    found = []
    for folder in runs.repeats(runs.folder(run)).values():
        path = folder / runs.CLASSIFIER
        prepared = held_out.prepare(
            path,
            dataset,
            source=request.source_of(dataset),
            data_dir=request.data_dir,
        )
        found.append(metrics.evaluate(testing.predicted(path, prepared, split=split)))
    return found


def spread(values: Iterable[float]) -> dict:
    """Mean, standard deviation (None of one), number and values."""
    values = list(values)
    return {
        "mean": statistics.fmean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else None,
        "n": len(values),
        "values": values,
    }


def side_by_side(rows: Sequence[Compared]) -> str:
    """A table of what was published beside the spread of ours."""
    header = ["", "published", "ours", "sd of n", "difference"]
    return text.table(header, [_cells(row) for row in rows])


def _cells(row: Compared) -> list[str]:
    is_share = row.form.endswith("%")
    form, scale, unit = (".2%", 100, " points") if is_share else (row.form, 1, "")
    digits = ".2f" if is_share else row.form
    mean, sd = row.ours["mean"], row.ours["sd"]
    published, difference = "-", "-"
    if row.published is not None:
        published = format(row.published, row.form)
        difference = f"{(mean - row.published) * scale:+{digits}}{unit}"
    return [
        row.what,
        published,
        format(mean, form),
        "n = 1" if sd is None else f"{sd * scale:{digits}} of {row.ours['n']}",
        difference,
    ]


def cross_evaluated(request: Request, trained: Sequence[str], names: Sequence[str]) -> list[dict]:
    """Every run on every dataset, printed and written as `cross_evaluate` does: `matrix.cells`."""
    found = matrix.tests(
        matrix.trainings(trained), names, source=request.source, data_dir=request.data_dir
    )
    figures = matrix.cells(found)
    means = cells.means(figures, [test.run for test in found])
    folder = runs.MODEL_FILES / trainings.name(request, "matrix")
    cells.write(figures, means, folder=folder)
    matrix_figure.save(matrix_figure.figure(means), folder / "matrix.png")
    print(f"\n{matrix_report.report(figures, means)}\n\nmatrix: {folder / 'matrix.csv'}")
    return figures
