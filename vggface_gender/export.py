"""Write a classifier in another framework's form, and check that it still answers the same.

    vggface-gender export --run RUN
    vggface-gender export --run RUN --format litert-int8 --dataset FairFace

The forms: `onnx`, which `predict` and `serve` run without TensorFlow; `saved_model`, laid out for
TensorFlow Serving; `litert`, and `litert-int8` in 8-bit integers; `triton`, a model repository for
Triton Inference Server; `hub`, a folder that a model hub takes. The classifier's contract (tasks,
labels, the crops' frame) is in the file or beside it, in `<name>.json`, with the comparison.

Both classifiers then answer a dataset's split. The export is kept if no label changed and no
probability by more than 1e-4; of 8-bit integers the accuracy by group is shown, before and after.
"""

import argparse
import contextlib
import sys
from pathlib import Path

from vggface_gender.base import console, contract, files, options, runs, state
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import catalogue

FORMATS = {  # to the name of what is written, in the run's folder
    "onnx": runs.ONNX,
    "saved_model": "saved_model",
    "litert": "classifier.tflite",
    "litert-int8": "classifier-int8.tflite",
    "triton": "triton",
    "hub": "hub",
}
DRAWN = "SyntheticFaces"  # to check on where nothing else is here: drawings, not people


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = options.Parser("export", __doc__, extra="export")
    options.add_run_argument(parser)
    parser.add_argument(
        "--format", choices=FORMATS, default="onnx", help="the form that is written"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="PATH",
        help="the file or folder to write (default: in the run's folder, of the form's own name)",
    )
    options.add_dataset_arguments(
        parser, catalogue.NAMED, split_seed=None, title="faces to check on", required=False
    )
    options.add_split_argument(parser)
    return parser


def main(argv: list[str] | None = None) -> None:
    """Export, compare with Keras's answers, and keep it if they agree."""
    arguments = parser().parse_args(argv)
    path = runs.find(arguments.run)
    about = contract.read(path)["about"]
    out = arguments.out or runs.results_folder(path) / FORMATS[arguments.format]
    beside = out.with_name(f"{out.name}.json")
    _require_free(out, beside)

    from vggface_gender import datasets

    named = arguments.dataset or _own(about, arguments)
    if named is None and arguments.format == "litert-int8":
        raise InputError("8-bit integers are set by real crops: name a --dataset")
    arguments.dataset = named or DRAWN
    datasets.check(arguments.dataset, arguments.source, data_dir=arguments.data_dir)

    from vggface_gender.base import device

    device.start()
    from vggface_gender.evaluation import held_out
    from vggface_gender.exports import cost, formats
    from vggface_gender.inference import classifier

    trained = classifier.load(path, precision="float32")
    dataset = held_out.prepare(path, **options.dataset_arguments(arguments))
    dataset.require(arguments.split)
    with files.whole(out, replace=True) as part:
        exported = formats.write(arguments.format, trained, path=path, out=part, dataset=dataset)
        found = cost.compared(trained, exported, dataset=dataset, split=arguments.split)
        print(cost.report(found))
        if arguments.format != "litert-int8":
            formats.require_parity(found)
    about = {"dataset": dataset.name, "split": arguments.split, "tasks": found}
    files.write_json({"contract": classifier.described(trained), "checked": about}, beside)
    print(f"{arguments.format}: {out}\ncontract and check: {beside}")


def _require_free(out: Path, beside: Path) -> None:
    """Refuse to replace anything but an earlier export.

    Args:
        beside: the file that says what an export holds.

    Raises:
        InputError: something else is at `out`.
    """
    is_empty = out.is_dir() and not any(out.iterdir())
    if not out.exists() or is_empty:
        return
    try:
        state.read(beside, {"contract": dict, "checked": dict})
    except InputError:
        raise InputError(
            f"{out} is there, and no earlier export (there is no {beside.name} of one beside it): "
            "give another --out"
        ) from None


def _own(about: dict, arguments: argparse.Namespace) -> str | None:
    """The dataset that a classifier was trained on, if its records or files are here."""
    from vggface_gender import datasets
    from vggface_gender.evaluation import card_sources

    for name in card_sources.names(about.get("dataset", "")):
        with contextlib.suppress(InputError):
            datasets.check(name, arguments.source, data_dir=arguments.data_dir)
            return name
    return None


if __name__ == "__main__":
    sys.exit(console.run(main))
