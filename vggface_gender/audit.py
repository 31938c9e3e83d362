"""Audit a classifier on a dataset: accuracy, gaps and calibration by group.

    vggface-gender audit --run RUN --dataset UTKFace
    vggface-gender audit --run RUN --dataset FairFace --split test --json audit.json
    vggface-gender audit --predictions theirs.csv --truth faces.csv --group-by skin 'gender x skin'

A folder of such files, a pattern and a large file are read in chunks, and so is any table with
--runner or --shards, by whom parts of it are counted.

Reads the predictions table that `evaluate` wrote, or anybody's: CSV or Parquet, a row a face, with
its name, true labels (there or in a table of their own), and predicted labels, with probabilities
or without. What its columns are is guessed and said.

Prints accuracy and recall by group, the largest gaps between groups, the calibration error, and
what is left if uncertain predictions are withheld. Faces that lack a group's label are a row of
their own; copies of training images are left out.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from vggface_gender.base import console, files, options, parts
from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import CLASSIFICATION

if TYPE_CHECKING:
    from vggface_gender.evaluation.tally import Tally


def parser() -> argparse.ArgumentParser:
    """The command line's parser."""
    parser = options.Parser("audit", __doc__, extra="report")
    audited = parser.add_mutually_exclusive_group(required=True)
    audited.add_argument("--run", help="a run's name under model_files, or its folder")
    audited.add_argument(
        "--predictions",
        type=Path,
        metavar="FILE",
        help="a table of predictions, by whatever classifier; or a folder of tables, or a quoted "
        "pattern",
    )
    parser.add_argument(
        "--dataset",
        metavar="NAME",
        help="the dataset that the run was evaluated on: its name, folder or table",
    )
    options.add_split_argument(parser)
    parser.add_argument(
        "--tasks",
        nargs="+",
        choices=CLASSIFICATION,
        help="what to audit the predictions of (default: all that the table has)",
    )
    options.add_json_argument(parser)
    options.add_external_arguments(parser)
    options.add_engine_arguments(parser)
    return parser


def main(argv: list[str] | None = None) -> None:
    """Audit each task of a predictions table, print the reports and write the figures."""
    arguments = parser().parse_args(argv)

    from vggface_gender.evaluation import audit, predictions, tables, tally

    if arguments.predictions:
        path, about = arguments.predictions, {"predictions": str(arguments.predictions)}
        counted = _counted(arguments)
    else:
        given = options.external_arguments(arguments)
        if any(given.values()) or arguments.runner or arguments.shards:
            raise InputError(
                "--truth, --columns, --values, --group-by, --runner and --shards are of "
                "--predictions, not of a run"
            )
        if not arguments.dataset:
            raise InputError("--run takes a --dataset, which the run was evaluated on")
        path, dataset = tables.of_run(arguments.run, arguments.dataset, split=arguments.split)
        table = predictions.read(path)
        about = {"run": arguments.run, "dataset": dataset, "split": arguments.split}
        counted = tally.of_all(table)
    has = list(counted)
    for task in arguments.tasks or ():
        if task not in has:
            raise InputError(f"{path} has no predictions of {task}")
    if not has:
        raise InputError(
            f"{path} has predictions of age alone, and an audit is of gender or race: "
            "`vggface-gender evaluate` gives age's errors by group"
        )
    audited = {task: audit.of_tally(counted[task], task) for task in arguments.tasks or has}
    for each in audited.values():
        print(audit.report(each))
    if arguments.json:
        files.write_json(about | {"tasks": audited}, arguments.json)


def _counted(arguments: argparse.Namespace) -> "dict[str, Tally]":
    """The tallies of a table that somebody made; how it was understood is printed."""
    from vggface_gender.evaluation import external, external_files, large, tally
    from vggface_gender.scale import engine

    table, out, given = arguments.predictions, arguments.json, options.external_arguments(arguments)
    has_engine = bool(arguments.runner or arguments.shards)
    is_begun = out is not None and parts.is_begun(out)
    if not (has_engine or is_begun or external_files.is_large(table)):
        return tally.of_all(external.read_all([table], **given)[0].table)
    if has_engine and out is None:
        raise InputError("--runner and --shards take --json FILE: what is done is kept beside it")
    does = engine.chosen(**options.engine_arguments(arguments))
    with tempfile.TemporaryDirectory() as folder:
        found = large.counted(table, out=out or Path(folder) / "audit", engine=does, **given)
    print("".join(f"{table}: {note}\n" for note in found.notes), end="")
    return found.tallies


if __name__ == "__main__":
    sys.exit(console.run(main))
