"""Tell whether two runs differ, by tests that their repeats and their predictions allow.

    python tools/compare_runs.py A B
    python tools/compare_runs.py A B --dataset FairFace --split test --json comparison.json

A and B are runs that were evaluated on one dataset; B's figures are compared with A's. Two runs
with --repeats get a t-test over the repeats; any two get a test on the images that both classified.
Every figure is computed from the predictions tables.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vggface_gender.base import console, files, options, runs
from vggface_gender.base.errors import InputError

if TYPE_CHECKING:
    from vggface_gender.evaluation.comparison import Repeat

SINGLE = "run"  # what the one repeat of a run without repeats is called


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line's arguments."""
    parser = options.Parser(
        prog="python tools/compare_runs.py", description=__doc__.splitlines()[0]
    )
    for name in ("a", "b"):
        parser.add_argument(
            name,
            metavar=name.upper(),
            help="a run's name under model_files, its folder, or the folder of its repeats",
        )
    parser.add_argument(
        "--dataset",
        help="whose predictions to compare (default: the one that both runs have tables of)",
    )
    parser.add_argument("--split", default="test", help="train, validation or test")
    parser.add_argument(
        "--test-share",
        type=options.share,
        metavar="S",
        help="of folds or resplits whose config.json lacks the counts: test images as a share of "
        "test and training images",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    folders = {"A": repeats(arguments.a), "B": repeats(arguments.b)}
    dataset = choose_dataset(folders, arguments.split, arguments.dataset)

    from vggface_gender.evaluation import comparison

    a, b = (
        {key: read(folder, dataset, arguments.split) for key, folder in side.items()}
        for side in folders.values()
    )
    about = {
        "dataset": dataset,
        "split": arguments.split,
        "a": {"run": arguments.a, "repeats": list(a)},
        "b": {"run": arguments.b, "repeats": list(b)},
    }
    compared = comparison.compare(a, b, arguments.test_share)
    for letter in ("a", "b"):
        print(f"{letter.upper()}: {about[letter]['run']} ({', '.join(about[letter]['repeats'])})")
    print(f"{dataset} {arguments.split}\n\n{comparison.report(compared)}", end="")
    if arguments.json:
        files.write_json(about | compared, arguments.json)


def repeats(run: str) -> dict[str, Path]:
    """A run's repeats: `seed-<k>` or `fold-<k>` to folder, by number; else `run` to its own folder.

    Raises:
        InputError: there is no such folder, or it holds both seeds and folds.
    """
    candidates = [Path(run), runs.MODEL_FILES / run]
    if run == runs.DEFAULT and (path := runs.default()):
        candidates.append(path.parent)
    folder = next((path for path in candidates if path.is_dir()), None)
    if folder is None:
        raise InputError(f"no run {run}: neither a folder, nor one in {runs.MODEL_FILES}")
    found = {}
    for path in folder.iterdir():
        if (match := re.fullmatch(r"(seed|fold)-(-?\d+)", path.name)) and path.is_dir():
            found[match[1], int(match[2])] = path
    if len({kind for kind, _ in found}) > 1:
        raise InputError(f"{folder} holds both seeds and folds: give a folder of one kind")
    return {path.name: path for _, path in sorted(found.items())} or {SINGLE: folder}


def choose_dataset(
    folders: dict[str, dict[str, Path]], split: str, wanted: str | None = None
) -> str:
    """The label of the dataset that every repeat of both sides has predictions of.

    Args:
        folders: "A" and "B" to what `repeats` gives.
        wanted: the dataset as its label or as the commands take it; None for the only one.

    Raises:
        InputError: a repeat has no such table, the sides' are of different datasets, or there is
            more than one in common.
    """
    of_sides = {}
    for letter, side in folders.items():
        of_repeats = {key: set(tables(folder, split)) for key, folder in side.items()}
        if wanted is not None:
            names = {wanted, Path(wanted).resolve().stem}
            of_repeats = {key: there & names for key, there in of_repeats.items()}
        for key, there in of_repeats.items():
            if not there:
                raise InputError(
                    f"{side[key]} ({key} of {letter}) has no {split} predictions"
                    f"{f' of {wanted}' if wanted else ''}: finish its training, or evaluate it "
                    "with python -m vggface_gender.evaluate"
                )
        of_sides[letter] = set.intersection(*of_repeats.values())
    common = sorted(of_sides["A"] & of_sides["B"])
    if not common:
        have = ", ".join(
            f"{letter} has predictions of {' and '.join(sorted(there)) or 'no one dataset'}"
            for letter, there in of_sides.items()
        )
        raise InputError(f"{have} ({split} split): evaluate both on one dataset")
    if len(common) > 1:
        raise InputError(f"A and B have predictions of {', '.join(common)}: choose with --dataset")
    return common[0]


def tables(folder: Path, split: str) -> dict[str, Path]:
    """A run's predictions tables of a split, by their datasets' labels."""
    classifier = folder / runs.CLASSIFIER
    place = runs.results_folder(classifier) if classifier.is_file() else folder
    start, end = "predictions-", f"-{split}.csv"
    return {
        path.name.removeprefix(start).removesuffix(end): path
        for path in (place.iterdir() if place.is_dir() else ())
        if path.name.startswith(start) and path.name.endswith(end)
    }


def read(folder: Path, dataset: str, split: str) -> "Repeat":
    """One training: its predictions, its settings (none without a config.json), its checkpoint.

    Raises:
        InputError: a file is not what it should be.
    """
    from vggface_gender.evaluation import predictions
    from vggface_gender.evaluation.comparison import Repeat

    classifier = folder / runs.CLASSIFIER
    return Repeat(
        predictions.read(tables(folder, split)[dataset]),
        runs.settings(folder) if (folder / "config.json").is_file() else {},
        runs.digest(classifier) if classifier.is_file() else None,
    )


if __name__ == "__main__":
    sys.exit(console.run(main))
