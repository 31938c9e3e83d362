"""`python -m vggface_gender COMMAND`, also installed as `vggface-gender COMMAND`."""

import importlib
import sys

from vggface_gender import __version__
from vggface_gender.base import console

COMMANDS = {
    "transfer": "train a head on a frozen backbone's features",
    "multitask": "learn several tasks with one network, backbone and all",
    "finetune": "continue from a classifier on another dataset",
    "evaluate": "test a classifier on a dataset's split",
    "predict": "find, align and classify the faces in photos",
}


def main() -> int:
    """Run the command that the command line names; without one, list them."""
    name, *rest = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(f"vggface_gender {__version__}: perceived gender, race and age from faces\n")
        print("usage: python -m vggface_gender COMMAND ...   (COMMAND --help says more)\n")
        for known, does in COMMANDS.items():
            print(f"  {known:11}{does}")
        return 0
    if name == "--version":
        print(__version__)
        return 0
    if name not in COMMANDS:
        print(f"error: no command {name}: give one of {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"vggface_gender.{name}")
    return console.run(lambda: module.main(rest))


if __name__ == "__main__":
    sys.exit(main())
