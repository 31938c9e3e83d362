"""Evaluate every classifier on every dataset: a matrix of figures, in-domain and cross-dataset.

    vggface-gender cross_evaluate --runs A B --datasets UTKFace FairFace --source path/to/faces
    vggface-gender cross_evaluate --predictions theirs.csv ours.csv --truth faces.csv --images faces

Writes report.html, one page that needs no network; matrix.csv, matrix.json and means.json (means
over a run's repeats); matrix.png, a heat map; and likely-wrong-labels.csv. Every figure comes from
predictions tables. Those of runs lie in their folders and are made where they are missing or of
another classifier or other records; those that others made are read as they are, without
TensorFlow. A dataset that a classifier was trained on (in-domain) is marked, and tested on the
split that was held out from it; test images that nevertheless are in its training data, exactly or
as near-duplicates, are counted, and figures given without them too.
"""

import argparse
import datetime
import importlib.metadata
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vggface_gender.base import console, extras, files, options, runs
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import catalogue

if TYPE_CHECKING:
    import pandas as pd

NOTES = """Labels are perceived: what annotators saw in a picture, not what a person is. Every
figure is computed from the predictions tables beside the classifiers. Intervals hold the figure
with 95% confidence as far as the sampling of these faces goes; another training differs by more.

For research on face classifiers and for finding whom they fail. Not for deciding anything about a
person."""


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = options.Parser("cross_evaluate", __doc__, extra="report")
    tested = parser.add_mutually_exclusive_group(required=True)
    tested.add_argument(
        "--predictions",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="tables of predictions of the same faces, each by whatever classifier",
    )
    tested.add_argument(
        "--runs",
        nargs="+",
        metavar="RUN",
        help="runs' names under model_files, or their folders; of a run with repeats, each of them",
    )
    options.add_datasets_arguments(parser, catalogue.NAMED, required=False)
    parser.add_argument(
        "--out",
        type=Path,
        default=runs.MODEL_FILES / "cross-evaluation",
        metavar="DIR",
        help="the folder that the matrix and the report are written to",
    )
    parser.add_argument(
        "--detect",
        action="store_true",
        help="also measure how many faces of each group the face detector misses",
    )
    parser.add_argument(
        "--detector",
        choices=("auto", "cnn", "hog"),
        default="auto",
        help="the face detector that --detect measures",
    )
    parser.add_argument(
        "--robustness",
        action="store_true",
        help="also measure, for the report, how predictions change as the crops are rotated, "
        "reframed or of low resolution",
    )
    parser.add_argument(
        "--without-report", action="store_true", help="write the matrix alone, which is quicker"
    )
    options.add_external_arguments(parser)
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="with --predictions: the folder of the faces' images, some of which the report shows",
    )
    return parser


def main(argv: list[str] | None = None) -> None:
    """Evaluate runs, or read others' predictions, and write the matrix and the report."""
    command = parser()
    arguments = command.parse_args(argv)
    made_by = shlex.join([command.prog, *(sys.argv[1:] if argv is None else argv)])
    if arguments.predictions:
        _of_tables(arguments, made_by)
    else:
        _of_runs(arguments, made_by)


def _of_tables(arguments: argparse.Namespace, made_by: str) -> None:
    """The matrix and the report of predictions that others made."""
    if arguments.datasets or arguments.detect or arguments.robustness:
        raise InputError("--datasets, --detect and --robustness are of --runs, not of predictions")
    names = [path.stem for path in arguments.predictions]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"two tables are called {twice[0]}: rename one")

    from vggface_gender.evaluation import cells, external, sections

    given = options.external_arguments(arguments)
    images = sections.in_folder(arguments.images) if arguments.images else sections.no_image
    dataset = arguments.truth.stem if arguments.truth else "these tables' faces"
    read = external.read_all(arguments.predictions, **given)
    tables = {(name, dataset): one.table for name, one in zip(names, read, strict=True)}
    made = [cells.of(table, run=run, dataset=dataset) for (run, _), table in tables.items()]
    shown = [
        section
        for (run, _), table in tables.items()
        for section in sections.of_table(table, run=run, dataset=dataset, images=images)
    ]
    _write(arguments, made, names, shown=lambda: shown, tables=tables, made_by=made_by)


def _of_runs(arguments: argparse.Namespace, made_by: str) -> None:
    """The matrix and the report of runs."""
    if any(options.external_arguments(arguments).values()) or arguments.images:
        raise InputError(
            "--truth, --columns, --values, --group-by and --images are of --predictions, not of "
            "runs"
        )
    if not arguments.datasets:
        raise InputError("--runs takes --datasets to evaluate them on")
    if module := extras.missing("train"):
        raise InputError(extras.absence(module))
    for run in arguments.runs:
        runs.folder(run)

    from vggface_gender import datasets

    datasets.check_each(arguments.datasets, arguments.source, data_dir=arguments.data_dir)

    from vggface_gender.base import device

    device.start()
    from vggface_gender.evaluation import matrix

    tested = matrix.tests(
        matrix.trainings(arguments.runs),
        arguments.datasets,
        source=arguments.source,
        data_dir=arguments.data_dir,
        seed=arguments.split_seed,
        keep_going=arguments.keep_going,
        align=arguments.align,
    )
    detections = {}
    if arguments.detect:
        detections = matrix.detections(
            tested, arguments.out / "detection", detector=arguments.detector
        )

    def shown() -> list[dict]:
        from vggface_gender.evaluation import sections_of_runs

        return sections_of_runs.of(tested, robust=arguments.robustness)

    _write(
        arguments,
        matrix.cells(tested, detections),
        [test.run for test in tested],
        shown=shown,
        tables={(test.name, test.label): test.table for test in tested},
        made_by=made_by,
        detections=list(detections.values()),
    )


def _write(
    arguments: argparse.Namespace,
    made: Sequence[Mapping],
    names: Sequence[str],
    *,
    shown: Callable[[], list[dict]],
    tables: "Mapping[tuple[str, str], pd.DataFrame]",
    made_by: str,
    detections: Sequence[Mapping] = (),
) -> None:
    """Write the matrix, and the report unless it isn't wanted.

    Args:
        made: the cells (see `matrix.cells`).
        names: the run that each cell is of.
        shown: makes the report's sections, which takes a while.
        tables: by classifier and dataset.
        made_by: the command.
    """
    from vggface_gender.evaluation import cells, matrix_figure, matrix_report

    out = arguments.out
    means = cells.means(made, names)
    cells.write(made, means, folder=out)
    heat_map = matrix_figure.figure(means)
    matrix_figure.save(heat_map, out / "matrix.png")
    print(matrix_report.report(made, means))
    print(f"\nmatrix: {out / 'matrix.csv'}\nheat map: {out / 'matrix.png'}")
    if arguments.without_report:
        return
    from vggface_gender.evaluation import findings, report, sections

    found = shown()
    suspects = sections.suspects_csv(found)
    text = report.page(
        "Face classifiers by dataset and group",
        found,
        compared=findings.differences(tables),
        matrix=made,
        about={"date": _today(), "command": made_by, "versions": _versions()},
        notes=NOTES,
        suspects_csv=suspects if any(section["suspects"] for section in found) else "",
        heat_map=heat_map,
        detections=detections,
    )
    for name, content in (("report.html", text), ("likely-wrong-labels.csv", suspects)):
        with files.whole(out / name) as part:
            part.write_text(content, encoding="utf-8", errors="surrogateescape")
    files.write_json(sections.audits(found), out / "audits.json")
    print(f"report: {out / 'report.html'}")


def _today() -> str:
    return f"{datetime.date.today():%-d %B %Y}"


def _versions() -> str:
    """What computed the figures, each with its version."""
    used = ("fairlearn", "scikit-learn", "statsmodels", "pandas", "numpy")
    from vggface_gender import __version__

    every = [("vggface-gender", __version__)]
    every += [(name, importlib.metadata.version(name)) for name in used]
    return ", ".join(map(" ".join, every))


if __name__ == "__main__":
    sys.exit(console.run(main))
