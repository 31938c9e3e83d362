"""Run the main job once on drawn faces, then read a real photo: train, test, predict.

    python tools/demo.py

Trains a gender head on dlib's network with SyntheticFaces, then asks a classifier about a real
photograph: the public-domain portrait of the astronaut Eileen Collins that scikit-image ships. The
default classifier answers, or that of the demo where there is none. Every command is printed before
it runs.
"""

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vggface_gender.base import console, options, runs

RUN = "demo"


def parser() -> argparse.ArgumentParser:
    """The command line's options: none but --help."""
    made = options.Parser("demo", __doc__)
    made.prog = "python tools/demo.py"
    return made


def main(argv: list[str] | None = None) -> None:
    parser().parse_args(argv)

    from vggface_gender import predict, transfer

    run(transfer.main, "transfer", "--dataset", "SyntheticFaces", "--run", RUN, "--overwrite")

    from PIL import Image
    from skimage import data

    folder = runs.MODEL_FILES / RUN
    photo = folder / "astronaut.png"
    Image.fromarray(data.astronaut()).save(photo)
    default = runs.default()
    whose = "the default classifier" if default else "the demo's, which has only seen drawings"
    print(f"\na real photograph; the classifier: {whose}")
    name = runs.DEFAULT if default else RUN
    run(predict.main, "predict", str(photo), "--run", name, "--out", str(folder))
    print(f"\nthe run: {folder}\nthe picture: {folder / 'astronaut-faces.jpg'}")
    print("watch the training: tensorboard --logdir model_files")


def run(command: Callable[[list[str]], int | None], name: str, *arguments: str) -> None:
    """Run a command as the command line does, once it is printed."""
    print(f"$ vggface-gender {shlex.join([name, *arguments])}", flush=True)
    command(list(arguments))


if __name__ == "__main__":
    sys.exit(console.run(main))
