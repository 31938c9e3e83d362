"""Treat groups more alike by changing predictions, and see what it costs.

    vggface-gender mitigate --run RUN --dataset FairFace --by race
    vggface-gender mitigate --predictions test.csv --validation validation.csv --truth faces.csv
    vggface-gender mitigate --run RUN --dataset FairFace --by race --beside RUN-group-loss

Fits on the validation split and measures on test, before and after: accuracy, what it costs,
and every group's accuracy with intervals. Thresholds by group (fairlearn's ThresholdOptimizer, of
gender) have to know each face's group where they are used; reweighing doesn't. --beside takes runs
that were trained to mitigate (--balance, --group-loss), evaluated on the same test faces.

With --out the changed predictions are written as tables, to audit, compare and report. Mitigation
makes figures more alike. Whether that is just, for whom, it can't say.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vggface_gender.base import console, files, options
from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import CLASSIFICATION

if TYPE_CHECKING:
    import pandas as pd


def parser() -> argparse.ArgumentParser:
    """The command line's parser."""
    parser = options.Parser("mitigate", __doc__, extra="report")
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--run", help="a run's name under model_files, or its folder")
    given.add_argument(
        "--predictions", type=Path, metavar="FILE", help="a test split's predictions, anybody's"
    )
    parser.add_argument(
        "--validation",
        type=Path,
        metavar="FILE",
        help="with --predictions: the same classifier's of other faces, to fit on",
    )
    parser.add_argument(
        "--dataset", metavar="NAME", help="with --run: the dataset, whose two splits were evaluated"
    )
    parser.add_argument(
        "--task", choices=CLASSIFICATION, default="gender", help="what is predicted"
    )
    parser.add_argument(
        "--by",
        default="race",
        metavar="GROUPING",
        help="the groups to treat alike: race, age, 'gender x race', or one of --group-by",
    )
    parser.add_argument(
        "--constraint",
        choices=("equalized_odds", "true_positive_rate_parity", "demographic_parity"),
        default="equalized_odds",
        help="what thresholds by group make equal",
    )
    parser.add_argument(
        "--beside",
        nargs="+",
        default=[],
        metavar="RUN",
        help="with --run: further runs, evaluated on the same test faces",
    )
    parser.add_argument("--seed", type=options.seed, default=0, metavar="N", help="of the draws")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write the changed predictions, a table each"
    )
    options.add_json_argument(parser)
    options.add_external_arguments(parser)
    return parser


def main(argv: list[str] | None = None) -> None:
    """Mitigate, print what it comes to, and write what is asked for."""
    arguments = parser().parse_args(argv)

    from vggface_gender.evaluation import mitigation, predictions

    validation, test, beside = _tables(arguments)
    task, by = arguments.task, arguments.by
    for where, table in (("validation", validation), ("test", test), *beside.items()):
        if not predictions.has(table, task):
            raise InputError(f"{where}: no predictions of {task}")
    after = mitigation.mitigate(
        validation, test, task=task, by=by, constraint=arguments.constraint, seed=arguments.seed
    )
    names = set(after[mitigation.BEFORE]["name"])
    for name, table in beside.items():
        after[name] = table[table["name"].isin(names)].reset_index(drop=True)
        if set(after[name]["name"]) != names:
            raise InputError(f"{name} was not evaluated on the same test faces")
    found = mitigation.figures(after, task=task, by=by)
    print(mitigation.report(found, task=task, by=by), end="")
    if arguments.json:
        about = {"task": task, "by": by, "constraint": arguments.constraint}
        files.write_json(about | {"after": found}, arguments.json)
    if arguments.out:
        for name in [name for name in after if name not in beside]:
            path = arguments.out / f"predictions-{name}.csv"
            predictions.write(after[name], path)
            print(f"{name}: {path}")


def _tables(
    arguments: argparse.Namespace,
) -> "tuple[pd.DataFrame, pd.DataFrame, dict[str, pd.DataFrame]]":
    """The validation and the test table, and those of the runs beside."""
    given = options.external_arguments(arguments)
    if arguments.predictions:
        from vggface_gender.evaluation import external, groups

        if not arguments.validation:
            raise InputError("--predictions takes --validation, the predictions to fit on")
        if arguments.beside or arguments.dataset:
            raise InputError("--beside and --dataset are of --run, not of --predictions")
        if arguments.by not in groups.GROUPINGS:
            given["grouped_by"] = [*given["grouped_by"], arguments.by]
        found = external.read_all((arguments.validation, arguments.predictions), **given)
        both = [one.table for one in found]
        if shared := set(both[0]["name"]) & set(both[1]["name"]):
            raise InputError(
                f"{arguments.validation} and {arguments.predictions} have {len(shared):,} faces in "
                "common: fit on others than are tested"
            )
        return both[0], both[1], {}
    if any(given.values()) or arguments.validation:
        raise InputError("--validation, --truth and the like are of --predictions, not of a run")
    if not arguments.dataset:
        raise InputError("--run takes a --dataset, which the run was evaluated on")

    from vggface_gender.evaluation import predictions, tables

    def read(run: str, split: str) -> "pd.DataFrame":
        return predictions.read(tables.of_run(run, arguments.dataset, split=split)[0])

    beside = {run: read(run, "test") for run in arguments.beside}
    return read(arguments.run, "validation"), read(arguments.run, "test"), beside


if __name__ == "__main__":
    sys.exit(console.run(main))
