"""Test whether two runs differ, by their repeats and by the images that both classified.

    vggface-gender compare A B
    vggface-gender compare A B --dataset FairFace --split test --json comparison.json

A and B are runs that were evaluated on one dataset; B's figures are compared with A's. Two runs
with --repeats get a t-test over the repeats; any two get a test on the images that both classified.
Every figure is computed from the predictions tables.
"""

import argparse
import sys

from vggface_gender.base import console, files, options


def parser() -> argparse.ArgumentParser:
    """The command line's parser."""
    parser = options.Parser("compare", __doc__, extra="report")
    for name in ("a", "b"):
        parser.add_argument(
            name,
            metavar=name.upper(),
            help="a run's name under model_files, its folder, or the folder of its repeats",
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
    return parser


def main(argv: list[str] | None = None) -> None:
    """Compare two runs, print the report and write the figures."""
    arguments = parser().parse_args(argv)
    split = arguments.split

    from vggface_gender.evaluation import comparison, comparison_notes, comparison_report, repeats

    folders = [repeats.folders(run) for run in (arguments.a, arguments.b)]
    if len(folders[0]) == 1 and folders[0].keys() == folders[1].keys():
        # Two folders of one name are told apart by what was given.
        names = (arguments.a, arguments.b)
        folders = [
            dict.fromkeys([name], *side.values()) for name, side in zip(names, folders, strict=True)
        ]
    dataset = repeats.choose_dataset(*folders, split=split, wanted=arguments.dataset)
    a, b = (
        {key: repeats.read(folder, dataset, split=split) for key, folder in side.items()}
        for side in folders
    )
    compared = comparison.compare(a, b, test_share=arguments.test_share)
    about = {
        "dataset": dataset,
        "split": split,
        "a": {"run": arguments.a, "repeats": list(a)},
        "b": {"run": arguments.b, "repeats": list(b)},
    }
    for letter, side in (("A", a), ("B", b)):
        print(f"{letter}: {comparison_notes.describe(about[letter.lower()]['run'], side)}")
    print(f"{dataset} {split}\n\n{comparison_report.report(compared)}", end="")
    if arguments.json:
        files.write_json(about | compared, arguments.json)


if __name__ == "__main__":
    sys.exit(console.run(main))
