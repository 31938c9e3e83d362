"""Audit a run on a dataset: whom it fails, how badly, and whether its confidence can be believed.

    vggface-gender audit --run RUN --dataset UTKFace
    vggface-gender audit --run RUN --dataset FairFace --split test --json audit.json

Reads the predictions table that `evaluate` wrote. Prints accuracy and recall by group, the largest
gaps between groups, the calibration error, and what is left if uncertain predictions are withheld.
"""

import argparse
import sys

from vggface_gender.base import console, files, options
from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import CLASSIFICATION


def parser() -> argparse.ArgumentParser:
    """The command line's parser."""
    parser = options.Parser("audit", __doc__.splitlines()[0])
    parser.add_argument(
        "--run", required=True, help="a run's name under model_files, or its folder"
    )
    parser.add_argument(
        "--dataset",
        required=True,
        metavar="NAME",
        help="the dataset whose predictions to audit, as their file's name has it",
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

    from vggface_gender.evaluation import audit, predictions, repeats

    folders = repeats.folders(arguments.run)
    if len(folders) > 1:
        raise InputError(f"{arguments.run} holds {', '.join(folders)}: give one of these folders")
    (folder,) = folders.values()
    found = predictions.tables(folder, arguments.split)
    if arguments.dataset not in found:
        there = f"; there is {', '.join(found)}" if found else ""
        raise InputError(
            f"{folder} has no {arguments.split} predictions of {arguments.dataset}{there}: "
            "make them with vggface-gender evaluate"
        )
    path = found[arguments.dataset]
    table = predictions.read(path)
    has = [task for task in CLASSIFICATION if predictions.has(table, task)]
    for task in arguments.tasks or ():
        if task not in has:
            raise InputError(f"{path} has no predictions of {task}")
    audited = {task: audit.audit(table, task) for task in arguments.tasks or has}
    for each in audited.values():
        print(audit.report(each))
    if arguments.json:
        about = {"run": arguments.run, "dataset": arguments.dataset, "split": arguments.split}
        files.write_json(about | {"tasks": audited}, arguments.json)


if __name__ == "__main__":
    sys.exit(console.run(main))
