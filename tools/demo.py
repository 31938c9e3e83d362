"""Run the main job once on drawn faces, then read a real photo: train, test, predict.

    python tools/demo.py

Trains a gender head on dlib's network with SyntheticFaces, then asks a classifier about a real
photograph, in three lines of Python: the public-domain portrait of the astronaut Eileen Collins
that scikit-image ships. The default classifier answers, or that of the demo where there is none.
Every command is printed before it runs.
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

    from PIL import Image
    from skimage import data

    from vggface_gender import transfer

    folder = runs.MODEL_FILES / RUN
    run(transfer.main, "transfer", "--dataset", "SyntheticFaces", "--run", RUN, "--overwrite")
    photo = folder / "astronaut.png"
    Image.fromarray(data.astronaut()).save(photo)
    default = runs.default()
    whose = "the default classifier" if default else "the demo's, which has only seen drawings"
    print(f"\na real photograph; the classifier: {whose}")
    answer(photo, None if default else RUN, folder / "astronaut-faces.jpg")
    print(f"\nthe run: {folder}\nthe picture: {folder / 'astronaut-faces.jpg'}")
    print("watch the training: tensorboard --logdir model_files")


def answer(photo: Path, name: str | None, drawn: Path) -> None:
    """Read a photo in three lines of Python, printed before they run.

    Args:
        name: the run's; None for the default classifier.
        drawn: where the drawn copy goes.
    """
    lines = (
        "import vggface_gender as vg",
        f"model = vg.load({name!r})" if name else "model = vg.load()",
        f"result = model.predict({str(photo)!r})",
    )
    known: dict = {}
    for line in lines:
        print(f">>> {line}", flush=True)
        exec(line, known)
    result = known["result"]
    for line in result.describe():
        print(line)
    result.draw().save(drawn)


def run(command: Callable[[list[str]], int | None], name: str, *arguments: str) -> None:
    """Run a command as the command line does, once it is printed."""
    print(f"$ vggface-gender {shlex.join([name, *arguments])}", flush=True)
    command(list(arguments))


if __name__ == "__main__":
    sys.exit(console.run(main))
