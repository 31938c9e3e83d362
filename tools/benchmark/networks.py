"""The two networks' forward passes: in this machine's precision, and against dlib's own code."""

from collections.abc import Sequence
from pathlib import Path

from benchmark import faces
from benchmark.report import Row
from benchmark.timing import few, forward, in_turns, vgg16


def measure_precision(paths: Sequence[Path], *, repeats: int) -> list[Row]:
    """Forward passes in this machine's precision against float32.

    Args:
        paths: image files.
    """
    from vggface_gender import backbones
    from vggface_gender.base import device

    precision = device.precision()
    rows = []
    for name, model, images, goal in (
        ("VGG-16", vgg16("float32"), few(paths), "6 with AMX, 2 with AVX512-BF16"),
        ("dlib", backbones.load("dlib"), paths, "3 with AMX"),
    ):
        crops = faces.crops(images, model.input_shape[1])
        title = f"precision, {name}"
        sides = forward(model, crops), forward(backbones.with_precision(model, precision), crops)
        rows.append(
            Row(
                name=title,
                ours=f"{name} in {precision}, {len(crops):,} crops",
                reference="the same in float32",
                unit="images/s",
                goal=goal,
                pairs=[
                    (len(crops) / theirs, len(crops) / ours)
                    for theirs, ours in in_turns(title, sides, repeats=repeats)
                ],
            )
        )
    return rows


def measure_dlib(paths: Sequence[Path], *, repeats: int) -> list[Row]:
    """dlib's face descriptors from the Keras network against those from dlib itself.

    Args:
        paths: image files.
    """
    import dlib

    from vggface_gender import backbones
    from vggface_gender.backbones import dlib_resnet
    from vggface_gender.base import device
    from vggface_gender.weights import dlib_dat

    precision = device.precision()
    crops = faces.crops(paths, dlib_dat.SIZE)
    some = list(faces.crops(few(paths), dlib_dat.SIZE))
    ours = backbones.with_precision(dlib_resnet.load(), precision)
    theirs = dlib.face_recognition_model_v1(str(dlib_dat.find()))
    sides = (lambda: theirs.compute_face_descriptor(some), forward(ours, crops))
    return [
        Row(
            name="dlib",
            ours=f"dlib's network in Keras, {precision}: descriptors of {len(crops):,} crops",
            reference=f"dlib's own, {len(some)} crops in one call",
            unit="images/s",
            goal="over 30",
            pairs=[
                (len(some) / seconds, len(crops) / our_seconds)
                for seconds, our_seconds in in_turns("dlib", sides, repeats=repeats)
            ],
        )
    ]
