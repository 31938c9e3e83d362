"""The whole way once, with nothing but this package: draw faces, train, test, read a real photo.

    python tools/demo.py

Trains a gender head on dlib's network with SyntheticFaces, then asks a classifier about a real
photograph: the public-domain portrait of the astronaut Eileen Collins that scikit-image ships. The
default classifier answers, or that of the demo where there is none.
"""

import sys

from vggface_gender.base import console, options

RUN = "demo"


def main() -> None:
    options.Parser(description=__doc__.splitlines()[0]).parse_args()

    from vggface_gender import predict, transfer
    from vggface_gender.base import runs

    transfer.main(["--dataset", "SyntheticFaces", "--run", RUN, "--overwrite"])

    from PIL import Image
    from skimage import data

    folder = runs.MODEL_FILES / RUN
    photo = folder / "astronaut.png"
    Image.fromarray(data.astronaut()).save(photo)
    if default := runs.default():
        run = runs.DEFAULT
        print(f"\na real photograph, read by the default classifier ({default}):")
    else:
        run = RUN
        print("\na real photograph, read by the demo's classifier, which has only seen drawings:")
    predict.main([str(photo), "--run", run, "--out", str(folder)])
    print(f"\nthe run: {folder}\nthe picture: {folder / 'astronaut-faces.jpg'}")
    print("watch the training: tensorboard --logdir model_files")


if __name__ == "__main__":
    sys.exit(console.run(main))
