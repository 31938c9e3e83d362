"""Backbones by name: whether one can be had, checked in an instant, without Keras."""

import zipfile
from pathlib import Path

from vggface_gender.base.errors import InputError

PAGE = "https://www.robots.ox.ac.uk/~vgg/software/vgg_face/"  # of VGG-Face's authors
SOURCE = PAGE + "src/vgg_face_matconvnet.tar.gz"
VGGFACE = Path("model_files/vggface.keras")  # where the converted network is looked for


def check(backbone: str) -> None:
    """Refuse a backbone whose file is not there, or is of another kind; see `backbones.load`.

    Raises:
        InputError: it can't be loaded, as far as its name and place show.
    """
    kind, _, file = backbone.partition(":")
    if backbone in ("dlib", "resnet50"):
        return
    if backbone == "vggface":
        converted(VGGFACE)
    elif kind == "resnet50":
        if not Path(file).is_file():
            raise InputError(
                f"{file}: no such file; give ResNet-50's weights, .weights.h5 or .keras"
            )
    elif not Path(backbone).is_file():
        raise InputError(
            f"no backbone {backbone}: give dlib, vggface, resnet50 or a .keras file that exists"
        )


def converted(path: Path) -> Path:
    """The place of VGG-Face's converted network, once it is known to be a whole file.

    Raises:
        InputError: it is missing or cut.
    """
    if not Path(path).is_file():
        raise InputError(
            f"{path}: no such file. It holds VGG-Face's weights, which are not ours to pass on:"
            f" read their licence at {PAGE}, download and unpack {SOURCE}, then run"
            " `vggface-gender convert --mat vgg_face_matconvnet/data/vgg_face.mat`"
        )
    if not zipfile.is_zipfile(path):
        raise InputError(
            f"{path}: not a whole .keras file; write it again with `vggface-gender convert`"
        )
    return Path(path)
