"""Evaluate every classifier on every dataset: a matrix of figures, in-domain and cross-dataset.

    vggface-gender cross_evaluate --runs A B --datasets UTKFace FairFace --source path/to/faces

Writes report.html, one page that needs no network; matrix.csv, matrix.json and means.json (means
over a run's repeats); and matrix.png, a heat map. Every figure comes from the predictions tables,
which lie in the runs' folders and are made where they are missing or of another classifier or
other records. A dataset that a classifier was trained on (in-domain) is marked, and tested on the
split that was held out from it; test images that nevertheless are in its training data, exactly or
as near-duplicates, are counted, and figures given without them too.
"""

import argparse
import sys
from pathlib import Path

from vggface_gender.base import console, files, options, runs
from vggface_gender.datasets import catalogue

NOTES = """Labels are perceived: what annotators saw in a picture, not what a person is. Every
figure is computed from the predictions tables beside the classifiers. Intervals hold the figure
with 95% confidence as far as the sampling of these faces goes; another training differs by more.

For research on face classifiers and for finding whom they fail. Not for deciding anything about a
person."""


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = options.Parser("cross_evaluate", __doc__, extra="train")
    parser.add_argument(
        "--runs",
        nargs="+",
        required=True,
        metavar="RUN",
        help="runs' names under model_files, or their folders; of a run with repeats, each of them",
    )
    options.add_datasets_arguments(parser, catalogue.NAMED)
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
    return parser


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    for run in arguments.runs:
        runs.folder(run)

    from vggface_gender import datasets

    datasets.check_each(arguments.datasets, arguments.source, data_dir=arguments.data_dir)

    from vggface_gender.base import device

    device.start()
    from vggface_gender.evaluation import matrix, matrix_figure, matrix_report

    out = arguments.out
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
        detections = matrix.detections(tested, out / "detection", detector=arguments.detector)
    cells = matrix.cells(tested, detections)
    means = matrix.means(tested, cells)
    matrix.write(cells, means, folder=out)
    heat_map = matrix_figure.figure(means)
    matrix_figure.save(heat_map, out / "matrix.png")
    print(matrix_report.report(cells, means))
    print(f"\nmatrix: {out / 'matrix.csv'}\nheat map: {out / 'matrix.png'}")
    if not arguments.without_report:
        from vggface_gender.evaluation import report, sections

        found = sections.of(tested, robust=arguments.robustness)
        text = report.page(
            "Face classifiers by dataset and group",
            found,
            matrix=cells,
            heat_map=heat_map,
            notes=NOTES,
            detections=list(detections.values()),
        )
        with files.whole(out / "report.html") as part:
            part.write_text(text, encoding="utf-8")
        files.write_json(sections.audits(found), out / "audits.json")
        print(f"report: {out / 'report.html'}")


if __name__ == "__main__":
    sys.exit(console.run(main))
