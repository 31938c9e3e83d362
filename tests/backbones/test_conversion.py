"""Converting VGG-Face: what is written, what is checked and what is refused."""

import subprocess
import sys

import keras
import matconvnet_files as files
import numpy as np
import pytest

from vggface_gender import convert
from vggface_gender.backbones import conversion, faceres, vggface
from vggface_gender.base import console
from vggface_gender.base.errors import InputError
from vggface_gender.weights import matconvnet
from vggface_gender.weights.network import forward


@pytest.mark.parametrize("output", vggface.OUTPUTS)
def test_converts_checks_and_reports(tmp_path, output):
    mat = files.write(tmp_path / "vgg_face.mat", files.network(), layout="oxford")
    to = tmp_path / "made" / "vggface.keras"
    done = conversion.convert(
        mat, to, read=matconvnet.parse, output=output, architecture=files.SMALL
    )
    assert list(to.parent.iterdir()) == [to]
    assert done.worst == max(done.differences.values()) < 1e-5
    assert done.original.parameters["conv3_2"] == 3 * 3 * 20 * 21 + 21
    assert ("fc8" in done.differences) == (output == "identities")
    assert done.total == sum(
        count for layer, count in done.original.parameters.items() if layer in done.differences
    )

    rows = {line.split()[0]: line.split() for line in conversion.report(done).splitlines()}
    assert rows["conv3_2"][1:4] == ["conv", "3x3x20x21", f"{3 * 3 * 20 * 21 + 21:,}"]
    assert (rows["fc8"][-2:] == ["left", "out"]) == (output != "identities")

    image = np.random.default_rng(8).integers(0, 256, (64, 64, 3)).astype(np.float32)
    last = dict(zip(vggface.OUTPUTS, ("pool5", "relu6", "relu7", "prob"), strict=True))[output]
    steps = forward(matconvnet.parse(mat), image)
    expected = next(step for layer, step in steps if layer.name == last)
    found = vggface.load(to)(image[np.newaxis]).numpy().reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.max())
    assert vggface.identity_names(to) == (tuple(files.names(12)) if output == "identities" else ())


def test_both_layouts_convert_to_the_same(tmp_path):
    models = []
    for layout, version in (("oxford", "7"), ("matconvnet", "7.3")):
        path = files.write(
            tmp_path / f"{layout}.mat", files.network(), layout=layout, version=version
        )
        conversion.convert(
            path,
            tmp_path / "m.keras",
            read=matconvnet.parse,
            output="fc7",
            architecture=files.SMALL,
        )
        models.append(vggface.load(tmp_path / "m.keras"))
    for one, other in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_above_tolerance_nothing_is_written(tmp_path):
    """Single precision can't agree to 1e-12: the check sees it, and the earlier file stays."""
    mat = files.write(tmp_path / "vgg_face.mat", files.network())
    to = tmp_path / "vggface.keras"
    to.write_text("what was here before")
    with pytest.raises(conversion.DifferenceError, match=r"layer conv1_1 .*e-0") as error:
        conversion.convert(
            mat, to, read=matconvnet.parse, tolerance=1e-12, architecture=files.SMALL
        )
    assert error.value.conversion.worst > 1e-12 and "\n" not in str(error.value)
    assert to.read_text() == "what was here before"
    assert sorted(tmp_path.iterdir()) == [mat, to]


@pytest.mark.slow
def test_above_tolerance_the_command_reports_and_ends_with_2(tmp_path, monkeypatch, capsys):
    mat = files.write(tmp_path / "vgg_face.mat", files.network())
    whole = conversion.convert
    small = {"architecture": files.SMALL}
    monkeypatch.setattr(conversion, "convert", lambda *a, **options: whole(*a, **options, **small))
    command = ["--mat", str(mat), "--to", str(tmp_path / "v.keras"), "--tolerance"]
    assert console.run(lambda: convert.main([*command, "1e-12"])) == 2
    shown = capsys.readouterr()
    assert "conv5_3" in shown.out and shown.err.splitlines()[-1].startswith("error: ")
    assert console.run(lambda: convert.main([*command, "1e-4"])) == 0
    assert vggface.load(tmp_path / "v.keras").output_shape == (None, 2, 2, 28)


def rows_for_columns(kernel, bias):
    return kernel.swapaxes(0, 1), bias


def one_bias_infinite(kernel, bias):
    return kernel, np.where(np.arange(len(bias)) == 3, np.inf, bias)


def one_bias_lost(kernel, bias):
    return kernel, np.where(np.arange(len(bias)) == 3, 0, bias)


@pytest.mark.parametrize("fault", [rows_for_columns, one_bias_lost, one_bias_infinite])
@pytest.mark.parametrize("name", ["conv1_1", "conv5_3"])
def test_the_check_finds_a_fault_and_its_layer(tmp_path, name, fault):
    network = matconvnet.parse(files.write(tmp_path / "vgg.mat", files.network()))
    model = vggface.from_network(network, **files.SMALL)
    network = matconvnet.parse(tmp_path / "vgg.mat")
    original = conversion.of_network(network)
    assert max(conversion.compare(model, original).values()) < 1e-5

    layer = model.get_layer(name)
    layer.set_weights(fault(*layer.get_weights()))
    differences = conversion.compare(model, original)
    assert next(layer for layer, value in differences.items() if not value <= 1e-4) == name


def test_the_check_finds_a_wrong_mean(tmp_path):
    network = matconvnet.parse(files.write(tmp_path / "vgg.mat", files.network()))
    model = vggface.build(**files.SMALL, mean=files.MEAN[::-1])  # BGR
    model.set_weights(vggface.from_network(network, **files.SMALL).get_weights())
    original = conversion.of_network(matconvnet.parse(tmp_path / "vgg.mat"))
    assert conversion.compare(model, original)["conv1_1"] > 1e-3


def test_a_missing_file_is_told_with_its_source(tmp_path):
    with pytest.raises(InputError, match=r"none\.mat: no such file") as error:
        convert.main(["--mat", str(tmp_path / "none.mat"), "--to", str(tmp_path / "v.keras")])
    assert vggface.SOURCE in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_network_that_is_not_vgg_face_is_refused(tmp_path):
    mat = files.write(tmp_path / "small.mat", files.network())
    with pytest.raises(InputError, match=r"conv1_1: found conv 3x3x3x16.*expected conv 3x3x3x64"):
        convert.main(["--mat", str(mat), "--to", str(tmp_path / "v.keras")])
    assert list(tmp_path.iterdir()) == [mat]


def test_a_truncated_file_leaves_nothing(tmp_path):
    mat = files.write(tmp_path / "cut.mat", files.network())
    mat.write_bytes(mat.read_bytes()[: mat.stat().st_size // 2])
    with pytest.raises(InputError, match=r"cut\.mat: not a whole MATLAB file"):
        conversion.convert(mat, tmp_path / "v.keras", architecture=files.SMALL)
    assert list(tmp_path.iterdir()) == [mat]


def test_the_commands_choices_are_the_networks_outputs():
    assert convert.OUTPUTS == vggface.OUTPUTS
    defaults = convert.parser().parse_args([])
    assert (convert.TO["mat"], defaults.tolerance) == (vggface.PATH, conversion.TOLERANCE)
    assert convert.TO["tfjs"] == faceres.PATH


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["oxford", "matconvnet"])
def test_a_full_size_file_converts_below_3_gb(tmp_path, layout):
    """145 million parameters, 580 MB, in a process of its own, whose memory is then known."""
    full = {
        "channels": vggface.CHANNELS,
        "size": vggface.SIZE,
        "dense": vggface.DENSE,
        "identities": vggface.IDENTITIES,
    }
    mat = files.write(
        tmp_path / "vgg_face.mat",
        files.network(**full),
        layout=layout,
        version="5",
        identities=files.names(vggface.IDENTITIES),
    )
    measured = (
        "import re, sys\n"
        "from vggface_gender import convert\n"
        "convert.main(sys.argv[1:])\n"
        # Not getrusage: a child's peak there begins with its parent's.
        "print('peak', re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    for output, shape in (("pool5", (7, 7, 512)), ("identities", (2622,))):
        to = tmp_path / f"{output}.keras"
        options = ["--mat", str(mat), "--to", str(to), "--output", output]
        command = [sys.executable, "-c", measured, *options]
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert int(result.stdout.split()[-1]) < 3e6  # in kB
        assert keras.models.load_model(to).output.shape[1:] == shape
        to.unlink()
    mat.unlink()  # pytest would keep them, run after run
