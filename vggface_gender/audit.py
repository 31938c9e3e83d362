"""Audit a run on a dataset: whom it fails, how badly, and whether its confidence can be believed.

    python tools/audit.py --run RUN --dataset UTKFace
    python tools/audit.py --run RUN --dataset FairFace --split test --json audit.json

Reads the predictions table that `evaluate` wrote. Where there is one of the validation split too, a
temperature is fitted on it, and the calibration error after it is told.
"""

import argparse
import sys
from pathlib import Path

import compare_runs

from vggface_gender.base import console, files, options
from vggface_gender.base.errors import InputError


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line's arguments."""
    parser = options.Parser(prog="python tools/audit.py", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--run", required=True, help="a run's name under model_files, or its folder"
    )
    parser.add_argument(
        "--dataset", required=True, help="whose predictions, as evaluate named them"
    )
    parser.add_argument("--split", default="test", help="train, validation or test")
    parser.add_argument(
        "--tasks", nargs="+", choices=("gender", "race"), help="(default: those of the table)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    folders = compare_runs.repeats(arguments.run)
    if len(folders) > 1:
        raise InputError(f"{arguments.run} holds {', '.join(folders)}: give one of these folders")
    folder = next(iter(folders.values()))
    found = compare_runs.tables(folder, arguments.split)
    if arguments.dataset not in found:
        there = f"; there is {', '.join(found)}" if found else ""
        raise InputError(
            f"{folder} has no {arguments.split} predictions of {arguments.dataset}{there}: "
            "make them with python -m vggface_gender.evaluate"
        )

    from vggface_gender.evaluation import audit, calibration, metrics, predictions

    table = predictions.read(found[arguments.dataset])
    fitted_on = compare_runs.tables(folder, "validation").get(arguments.dataset)
    audited = {}
    for task in arguments.tasks or predictions.CLASSIFICATION_TASKS:
        if not predictions.output_labels(table, task):
            if arguments.tasks:
                raise InputError(f"{found[arguments.dataset]} has no predictions of {task}")
            continue
        audited[task] = audit.audit(table, task)
        print(audit.report(audited[task]))
        if fitted_on and arguments.split != "validation":
            known = metrics.compared(predictions.read(fitted_on), task)
            told = metrics.compared(table, task)
            temperature = calibration.temperature(known.true, known.probability)
            after = calibration.tempered(told.probability, temperature)
            error = calibration.calibration(told.true, after)["ece"]
            audited[task]["temperature"] = {"temperature": temperature, "ece": error}
            print(
                f"with the temperature {temperature:.3f}, fitted on validation: expected "
                f"calibration error {error:.4f}\n"
            )
    if arguments.json:
        about = {"run": arguments.run, "dataset": arguments.dataset, "split": arguments.split}
        files.write_json(about | {"tasks": audited}, arguments.json)


if __name__ == "__main__":
    sys.exit(console.run(main))
