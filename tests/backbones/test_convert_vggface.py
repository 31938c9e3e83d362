"""The conversion tool: what it writes, what it checks and what it refuses."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import keras
import matconvnet_files as files
import numpy as np
import pytest

from vggface_gender.backbones import vggface
from vggface_gender.base.errors import InputError
from vggface_gender.weights import matconvnet

SCRIPT = Path(__file__).resolve().parents[1] / "tools" / "convert_vggface.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("convert_vggface", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*arguments):
    """The script as a person runs it: exit status, standard output, standard error."""
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("output", vggface.OUTPUTS)
def test_converts_checks_and_reports(tmp_path, tool, capsys, output):
    mat = files.write(tmp_path / "vgg_face.mat", files.network(), layout="oxford")
    to = tmp_path / "made" / "vggface.keras"
    tool.convert(mat, to, output, 1e-4, **files.SMALL)

    report = capsys.readouterr().out
    rows = {line.split()[0]: line.split() for line in report.splitlines()}
    assert rows["conv3_2"][1:4] == ["conv", "3x3x20x21", f"{3 * 3 * 20 * 21 + 21:,}"]
    assert (rows["fc8"][-2:] == ["left", "out"]) == (output != "identities")
    assert list(to.parent.iterdir()) == [to]

    image = np.random.default_rng(8).integers(0, 256, (64, 64, 3)).astype(np.float32)
    last = dict(zip(vggface.OUTPUTS, ("pool5", "relu6", "relu7", "prob"), strict=True))[output]
    steps = matconvnet.forward(matconvnet.read(mat), image)
    expected = next(step for layer, step in steps if layer.name == last)
    found = vggface.load(to)(image[np.newaxis]).numpy().reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.max())
    assert vggface.identity_names(to) == (tuple(files.names(12)) if output == "identities" else ())


def test_both_layouts_convert_to_the_same(tmp_path, tool):
    models = []
    for layout, version in (("oxford", "7"), ("matconvnet", "7.3")):
        path = files.write(
            tmp_path / f"{layout}.mat", files.network(), layout=layout, version=version
        )
        tool.convert(path, tmp_path / "m.keras", "fc7", 1e-4, **files.SMALL)
        models.append(vggface.load(tmp_path / "m.keras"))
    for one, other in zip(models[0].get_weights(), models[1].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_above_tolerance_nothing_is_written(tmp_path, tool):
    """Single precision can't agree to 1e-12: the check sees it, and the earlier file stays."""
    mat = files.write(tmp_path / "vgg_face.mat", files.network())
    to = tmp_path / "vggface.keras"
    to.write_text("what was here before")
    with pytest.raises(SystemExit, match=r"differs by .*e-0"):
        tool.convert(mat, to, "pool5", 1e-12, **files.SMALL)
    assert to.read_text() == "what was here before"
    assert sorted(tmp_path.iterdir()) == [mat, to]


def rows_for_columns(kernel, bias):
    return kernel.swapaxes(0, 1), bias


def one_bias_infinite(kernel, bias):
    return kernel, np.where(np.arange(len(bias)) == 3, np.inf, bias)


def one_bias_lost(kernel, bias):
    return kernel, np.where(np.arange(len(bias)) == 3, 0, bias)


@pytest.mark.parametrize("fault", [rows_for_columns, one_bias_lost, one_bias_infinite])
@pytest.mark.parametrize("name", ["conv1_1", "conv5_3"])
def test_the_check_finds_a_fault_and_its_layer(tmp_path, tool, name, fault):
    network = matconvnet.read(files.write(tmp_path / "vgg.mat", files.network()))
    model = vggface.from_matconvnet(network, **files.SMALL)
    network = matconvnet.read(tmp_path / "vgg.mat")
    assert max(tool.compare(model, network).values()) < 1e-5

    layer = model.get_layer(name)
    layer.set_weights(fault(*layer.get_weights()))
    differences = tool.compare(model, network)
    assert next(layer for layer, value in differences.items() if not value <= 1e-4) == name


def test_the_check_finds_a_wrong_mean(tmp_path, tool):
    network = matconvnet.read(files.write(tmp_path / "vgg.mat", files.network()))
    model = vggface.build(**files.SMALL, mean=files.MEAN[::-1])  # BGR
    model.set_weights(vggface.from_matconvnet(network, **files.SMALL).get_weights())
    assert tool.compare(model, matconvnet.read(tmp_path / "vgg.mat"))["conv1_1"] > 1e-3


def test_a_missing_file_is_told_with_its_source(tmp_path, tool):
    with pytest.raises(InputError, match=r"none\.mat: no such file") as error:
        tool.main(["--mat", str(tmp_path / "none.mat"), "--to", str(tmp_path / "v.keras")])
    assert vggface.SOURCE in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_network_that_is_not_vgg_face_is_refused(tmp_path):
    mat = files.write(tmp_path / "small.mat", files.network())
    result = run("--mat", mat, "--to", tmp_path / "v.keras")
    assert result.returncode == 2
    [line] = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert "layer conv1_1: found conv 3x3x3x16" in line and "expected conv 3x3x3x64" in line
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == [mat]


def test_a_truncated_file_leaves_nothing(tmp_path, tool):
    mat = files.write(tmp_path / "cut.mat", files.network())
    mat.write_bytes(mat.read_bytes()[: mat.stat().st_size // 2])
    with pytest.raises(InputError, match=r"cut\.mat: not a whole MATLAB file"):
        tool.convert(mat, tmp_path / "v.keras", "pool5", 1e-4, **files.SMALL)
    assert list(tmp_path.iterdir()) == [mat]


def test_help_is_quick_and_names_the_choices():
    result = run("--help")
    assert result.returncode == 0
    assert ",".join(vggface.OUTPUTS) in result.stdout


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
        "import re, runpy, sys; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        # Not getrusage: a child's peak there begins with its parent's.
        "print('peak', re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    for output, shape in (("pool5", (7, 7, 512)), ("identities", (2622,))):
        to = tmp_path / f"{output}.keras"
        command = [sys.executable, "-c", measured, SCRIPT, "--mat", mat, "--to", to]
        result = subprocess.run([*command, "--output", output], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert int(result.stdout.split()[-1]) < 3e6  # in kB
        assert keras.models.load_model(to).output.shape[1:] == shape
        to.unlink()
    mat.unlink()  # pytest would keep them, run after run
