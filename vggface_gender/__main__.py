"""`vggface-gender COMMAND`, also `python -m vggface_gender COMMAND`."""

import difflib
import importlib
import sys

from vggface_gender import __version__
from vggface_gender.base import console

# A module each, by what they are for.
GROUPS = {
    "train": {
        "transfer": "train a head on a frozen backbone's features",
        "multitask": "learn several tasks with one network, backbone and all",
        "finetune": "continue from a classifier on another dataset",
    },
    "use": {
        "predict": "find, align and classify the faces in photos",
        "serve": "answer photos over HTTP, and by a page in the browser",
    },
    "evaluate": {
        "evaluate": "test a classifier on a dataset's split",
        "audit": "compare groups: gaps, fairness metrics, calibration",
        "mitigate": "treat groups more alike, and see what it costs",
        "compare": "compare two runs on the same faces, with intervals",
        "cross_evaluate": "test runs on several datasets: a matrix and a report",
        "gradcam": "show what in a face a prediction depends on",
        "robustness": "measure how image quality changes predictions",
        "detection": "measure which faces the detector misses",
    },
    "prepare": {
        "records": "write a dataset's TFRecords",
        "duplicates": "find copies and near-duplicates among images, of many by Beam",
        "convert": "convert VGG-Face's MatConvNet weights to Keras, and check them",
        "embed": "write the embeddings of faces, for other programs",
        "cluster": "cluster features without labels, and compare the clusters with them",
        "export": "write a classifier as ONNX, SavedModel, LiteRT, or for a model hub",
        "pseudo_label": "label unlabelled photos or videos with a classifier",
        "show_batches": "draw augmented training crops to look at",
    },
}
COMMANDS = {name: does for group in GROUPS.values() for name, does in group.items()}
ALIASES = {
    "compare_runs": "compare",
    "convert_vggface": "convert",
    "write_tfrecords": "records",
}


def main() -> int:
    """Run the command that the command line names; without one, list them."""
    given, *rest = sys.argv[1:] or ["--help"]
    if given in ("-h", "--help"):
        return console.run(lambda: print(_overview()))
    if given == "--version":
        return console.run(lambda: print(__version__))
    name = given.replace("-", "_")
    name = ALIASES.get(name, name)
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"give one of {', '.join(COMMANDS)}"
        print(f"error: no command {given}: {hint}", file=sys.stderr)
        return 2
    return console.run(lambda: importlib.import_module(f"vggface_gender.{name}").main(rest))


def _overview() -> str:
    lines = [
        f"vggface_gender {__version__}: perceived gender, race and age from faces",
        "",
        "usage: vggface-gender COMMAND ...   (COMMAND --help says more)",
    ]
    for title, commands in GROUPS.items():
        lines += ["", f"{title}:"]
        lines += [f"  {name:16}{does}" for name, does in commands.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
