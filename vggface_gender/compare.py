"""Test whether two classifiers differ, by their repeats and by the images that both classified.

    vggface-gender compare A B
    vggface-gender compare A B --dataset FairFace --split test --json comparison.json
    vggface-gender compare theirs.csv A --dataset FairFace
    vggface-gender compare theirs.csv ours.csv --truth faces.csv

A and B are runs that were evaluated on one dataset, or tables of predictions by whatever
classifier; B's figures are compared with A's. A table beside a run takes its true labels from that
run's dataset. Two runs with --repeats get a t-test over the repeats; any two get a test on the
images that both classified. Every figure is computed from the predictions tables.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vggface_gender.base import console, files, options
from vggface_gender.base.errors import InputError

if TYPE_CHECKING:
    from vggface_gender.evaluation.repeats import Side


def parser() -> argparse.ArgumentParser:
    """The command line's parser."""
    parser = options.Parser("compare", __doc__, extra="report")
    for name in ("a", "b"):
        parser.add_argument(
            name,
            metavar=name.upper(),
            help="a run's name under model_files, its folder, or the folder of its repeats; or a "
            "table of predictions, CSV or Parquet",
        )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="whose predictions to compare (default: the one that both runs have tables of)",
    )
    options.add_split_argument(parser)
    parser.add_argument(
        "--test-share",
        type=options.share,
        metavar="S",
        help="of folds or resplits whose config.json lacks the counts: test images as a share of "
        "test and training images",
    )
    options.add_json_argument(parser)
    options.add_external_arguments(parser)
    return parser


def main(argv: list[str] | None = None) -> None:
    """Compare two runs, print the report and write the figures."""
    arguments = parser().parse_args(argv)
    from vggface_gender.evaluation import comparison, comparison_notes, comparison_report, external

    given = options.external_arguments(arguments)
    tables = [name for name in (arguments.a, arguments.b) if external.is_table(name)]
    if tables:
        dataset, (a, b) = _with_tables(arguments, given)
    elif any(given.values()):
        raise InputError("--truth, --columns, --values and --group-by are of tables, not of runs")
    else:
        dataset, (a, b) = _of_runs(arguments)
    compared = comparison.compare(a, b, test_share=arguments.test_share)
    split = "" if len(tables) == 2 else arguments.split
    about = {
        "dataset": dataset,
        "split": split,
        "a": {"run": arguments.a, "repeats": list(a)},
        "b": {"run": arguments.b, "repeats": list(b)},
    }
    for letter, run, side in (("A", arguments.a, a), ("B", arguments.b, b)):
        print(f"{letter}: {comparison_notes.describe(run, side)}")
    print(f"{dataset} {split}".strip())
    print(f"\n{comparison_report.report(compared)}", end="")
    if arguments.json:
        files.write_json(about | compared, arguments.json)


def _of_runs(arguments: argparse.Namespace) -> tuple[str, list["Side"]]:
    """The dataset that two runs are compared on, and their sides."""
    from vggface_gender.evaluation import repeats

    folders = [repeats.folders(run) for run in (arguments.a, arguments.b)]
    if len(folders[0]) == 1 and folders[0].keys() == folders[1].keys():
        # Two folders of one name are told apart by what was given.
        names = (arguments.a, arguments.b)
        folders = [
            dict.fromkeys([name], *side.values()) for name, side in zip(names, folders, strict=True)
        ]
    split = arguments.split
    dataset = repeats.choose_dataset(*folders, split=split, wanted=arguments.dataset)
    return dataset, [
        {key: repeats.read(folder, dataset, split=split) for key, folder in side.items()}
        for side in folders
    ]


def _with_tables(arguments: argparse.Namespace, given: dict) -> tuple[str, list["Side"]]:
    """What tables of others are of, and the sides of a comparison of which one at least is such.

    The faces of both sides are those that both have.
    """
    from vggface_gender.evaluation import comparison_notes, external, repeats

    names = (arguments.a, arguments.b)
    if names[0] == names[1]:
        raise InputError(f"{names[0]} is given twice: give two tables")
    sides: dict[str, Side] = {}
    dataset = "" if given["truth"] is None else given["truth"].stem
    for name in names:
        if not external.is_table(name):
            folders = repeats.folders(name)
            dataset = repeats.choose_dataset(
                folders, folders, split=arguments.split, wanted=arguments.dataset
            )
            sides[name] = {
                key: repeats.read(folder, dataset, split=arguments.split)
                for key, folder in folders.items()
            }
            # Faces, true labels and groups are the run's, unless a table of them is given.
            given = given | {"truth": given["truth"] or next(iter(sides[name].values())).table}
    tables = [name for name in names if name not in sides]
    for name, found in zip(tables, external.read_all(tables, **given), strict=True):
        sides[name] = {Path(name).stem: repeats.Repeat(found.table)}
    return dataset, list(comparison_notes.in_common(sides[names[0]], sides[names[1]]))


if __name__ == "__main__":
    sys.exit(console.run(main))
