"""Audit a run on a dataset: accuracy, gaps and calibration by group.

    vggface-gender audit --run RUN --dataset UTKFace
    vggface-gender audit --run RUN --dataset FairFace --split test --json audit.json

Reads the predictions table that `evaluate` wrote. Prints accuracy and recall by group, the largest
gaps between groups, the calibration error, and what is left if uncertain predictions are withheld.
Faces that lack a group's label are a row of their own; copies of training images are left out.
"""

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from vggface_gender.base import console, files, options, runs
from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import CLASSIFICATION
from vggface_gender.datasets import catalogue


def parser() -> argparse.ArgumentParser:
    """The command line's parser."""
    parser = options.Parser("audit", __doc__, extra="report")
    parser.add_argument(
        "--run", required=True, help="a run's name under model_files, or its folder"
    )
    parser.add_argument(
        "--dataset",
        required=True,
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
    return parser


def main(argv: list[str] | None = None) -> None:
    """Audit each task of a predictions table, print the reports and write the figures."""
    arguments = parser().parse_args(argv)

    from vggface_gender.evaluation import audit, predictions, provenance, repeats

    folders = repeats.folders(arguments.run)
    if len(folders) > 1:
        raise InputError(f"{arguments.run} holds {', '.join(folders)}: give one of these folders")
    (folder,) = folders.values()
    found = predictions.tables(folder, arguments.split)
    dataset = _named(arguments.dataset, found)
    if dataset is None:
        there = f" (it has those of {', '.join(found)})" if found else ""
        raise InputError(
            f"{arguments.run} has no {arguments.split} predictions of {arguments.dataset}{there}: "
            f"make them with vggface-gender evaluate --run {arguments.run} --dataset "
            f"{arguments.dataset}"
        )
    path = found[dataset]
    provenance.check(path, folder / runs.CLASSIFIER)
    table = predictions.read(path)
    has = [task for task in CLASSIFICATION if predictions.has(table, task)]
    for task in arguments.tasks or ():
        if task not in has:
            raise InputError(f"{path} has no predictions of {task}")
    if not has:
        raise InputError(
            f"{path} has predictions of age alone, and an audit is of gender or race: "
            "`vggface-gender evaluate` gives age's errors by group"
        )
    audited = {task: audit.audit(table, task) for task in arguments.tasks or has}
    for each in audited.values():
        print(audit.report(each))
    if arguments.json:
        about = {"run": arguments.run, "dataset": dataset, "split": arguments.split}
        files.write_json(about | {"tasks": audited}, arguments.json)


def _named(wanted: str, found: Mapping[str, Path]) -> str | None:
    """What the run's files call a dataset; None if they have none of it.

    Raises:
        InputError: a folder or table was named, and there are predictions of several of its name.
    """
    from vggface_gender.evaluation import provenance

    if wanted in found:
        return wanted
    label = catalogue.label(wanted)
    # Tables of other records under one name have a hash in theirs (see `predictions.place`).
    alike = [name for name in found if re.fullmatch(re.escape(label) + "(-[0-9a-f]{8})?", name)]
    if Path(wanted).exists():
        alike = [name for name in alike if provenance.is_of_place(found[name], wanted)]
    if len(alike) > 1:
        raise InputError(
            f"{wanted}: the run has predictions of several datasets of that name: give one of "
            f"{', '.join(alike)}, as `vggface-gender evaluate` printed it"
        )
    return alike[0] if alike else None


if __name__ == "__main__":
    sys.exit(console.run(main))
