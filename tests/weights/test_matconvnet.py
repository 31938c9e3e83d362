"""Reading MatConvNet files: every published layout, and every way in which one can be wrong."""

import shutil

import matconvnet_files as files
import numpy as np
import pytest
import scipy.io
import scipy.signal
import scipy.special

from vggface_gender.base.errors import InputError
from vggface_gender.weights import matconvnet
from vggface_gender.weights.network import Layer, Network, forward

WEIGHTED = [f"conv{b}_{n}" for b in (1, 2, 3, 4, 5) for n in range(1, 3 + (b > 2))]
WEIGHTED += ["fc6", "fc7", "fc8"]


def assert_read(path, layers):
    """What was read is what was written, layer for layer and number for number."""
    network = matconvnet.parse(path)
    assert [layer.name for layer in network.layers] == [layer["name"] for layer in layers]
    assert [layer.type for layer in network.layers] == [layer["type"] for layer in layers]
    assert list(network.weights) == WEIGHTED
    for name, (kernel, bias) in network.weights.items():
        fields = files.layer(layers, name)
        tensors = fields["weights"].flat if "weights" in fields else None
        written, written_bias = tensors or (fields["filters"], fields["biases"])
        assert kernel.dtype == written.dtype
        np.testing.assert_array_equal(kernel, written)
        np.testing.assert_array_equal(bias, written_bias.ravel())
    for layer in network.layers:
        convolution = layer.type == "conv" and layer.name.startswith("conv")
        assert layer.stride == ((2, 2) if layer.type == "pool" else (1, 1))
        assert layer.window == ((2, 2) if layer.type == "pool" else (1, 1))
        assert layer.rate == (0.5 if layer.type == "dropout" else 0.0)
        if layer.type != "pool":
            assert layer.pad == ((1, 1, 1, 1) if convolution else (0, 0, 0, 0))
    assert network.identities == tuple(files.names(12))
    return network


@pytest.mark.parametrize("version", ["5", "7", "7.3"])
@pytest.mark.parametrize("layout", ["oxford", "matconvnet"])
@pytest.mark.parametrize(
    "form",
    [
        {},
        {"dropout": False, "older": True, "bias_axis": 1, "vectors": False},
        {"dtype": np.float64, "bias_axis": 1},
    ],
    ids=["weights", "filters", "double"],
)
def test_every_layout_reads_back(tmp_path, layout, version, form):
    layers = files.network(**form)
    path = files.write(tmp_path / "vgg.mat", layers, layout=layout, version=version)
    network = assert_read(path, layers)
    np.testing.assert_array_equal(network.mean, np.float32(files.MEAN).reshape(1, 1, 3))


@pytest.mark.parametrize("flag", ["-v6", "-v7"])
@pytest.mark.parametrize("layout", ["oxford", "matconvnet"])
@pytest.mark.skipif(not shutil.which("octave-cli"), reason="Octave is not installed")
def test_what_octave_writes_reads_back(tmp_path, layout, flag):
    layers = files.network(older=layout == "oxford")
    path = files.write_with_octave(tmp_path / "vgg.mat", layers, layout=layout, flag=flag)
    assert_read(path, layers)


@pytest.mark.parametrize("version", ["7", "7.3"])
def test_a_mean_image_keeps_its_axes(tmp_path, version):
    # (rows, columns, channels), all different: a mirrored or turned image would show.
    mean = np.arange(64 * 64 * 3, dtype=np.float32).reshape(64, 64, 3)
    path = files.write(tmp_path / "vgg.mat", files.network(), version=version, mean=mean)
    np.testing.assert_array_equal(matconvnet.parse(path).mean, mean)


def test_fields_are_found_by_name_in_any_order(tmp_path):
    layers = files.network()
    turned = [dict(reversed(layer.items())) for layer in layers]
    assert_read(files.write(tmp_path / "vgg.mat", turned), layers)


def test_left_out_is_left_out_and_told(tmp_path):
    layers = files.network()
    conv = files.layer(layers, "conv2_1")
    conv["momentum"] = files.cell([np.zeros_like(tensor) for tensor in conv["weights"].flat])
    conv["learningRate"] = [1.0, 2.0]
    network = assert_read(files.write(tmp_path / "vgg.mat", layers), layers)
    assert network.left_out == ("conv2_1.momentum{1}", "conv2_1.momentum{2}")


def test_forward_agrees_with_scipys_correlation(tmp_path):
    path = files.write(tmp_path / "vgg.mat", files.network(size=32), layout="oxford")
    network = matconvnet.parse(path)
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3))
    outputs = {layer.name: output for layer, output in forward(network, image)}

    def correlated(x, name, mode):
        kernel, bias = (tensor.astype(np.float64) for tensor in network.weights[name])
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0))) if mode == "same" else x
        each = [
            scipy.signal.correlate(padded, kernel[..., i], "valid")[..., 0]
            for i in range(len(bias))
        ]
        return np.stack(each, axis=-1) + bias

    first = correlated(image - np.float32(files.MEAN).astype(float), "conv1_1", "same")
    np.testing.assert_allclose(outputs["conv1_1"], first, rtol=1e-9, atol=1e-9)
    for before, name in (("relu3_1", "conv3_2"), ("pool4", "conv5_1")):
        expected = correlated(outputs[before], name, "same")
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-9, atol=1e-9)
    for before, name in (("pool5", "fc6"), ("dropout6", "fc7")):
        expected = correlated(outputs[before], name, "valid")
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-9, atol=1e-9)
    blocks = outputs["relu2_2"].reshape(8, 2, 8, 2, 19)
    np.testing.assert_array_equal(outputs["pool2"], blocks.max(axis=(1, 3)))
    np.testing.assert_array_equal(outputs["relu1_1"], outputs["conv1_1"].clip(min=0))
    np.testing.assert_allclose(outputs["prob"], scipy.special.softmax(outputs["fc8"], axis=-1))


def test_forward_pads_and_strides_each_side_on_its_own():
    x = np.random.default_rng(2).standard_normal((7, 6, 2))
    kernel = np.random.default_rng(3).standard_normal((3, 2, 2, 4)).astype(np.float32)
    layer = Layer("c", "conv", kernel.shape, stride=(2, 3), pad=(1, 0, 2, 1))
    network = Network(
        path=None,
        layers=(layer,),
        weights={"c": (kernel, np.zeros(4))},
        mean=np.zeros((1, 1, 2)),
        identities=(),
        left_out=(),
    )
    [(_, found)] = forward(network, x)
    padded = np.zeros((8, 9, 2))
    padded[1:, 2:8] = x
    expected = np.empty((3, 3, 4))
    for row, column, channel in np.ndindex(expected.shape):
        window = padded[2 * row : 2 * row + 3, 3 * column : 3 * column + 2]
        expected[row, column, channel] = (window * kernel[..., channel]).sum()
    np.testing.assert_allclose(found, expected)


def broken(change):
    layers = files.network()
    change(layers)
    return layers


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n: files.layer(n, "relu2_1").update(type="lrn"), "relu2_1: unknown type 'lrn'"),
        (lambda n: files.layer(n, "pool3").update(method="avg"), "pool3: pools by 'avg'"),
        (lambda n: files.layer(n, "relu2_1").update(leak=0.1), "relu2_1: the ReLU leaks"),
        (lambda n: files.layer(n, "conv1_1").update(dilate=2.0), "conv1_1: the kernel is dilated"),
        (lambda n: files.layer(n, "conv1_1").update(pad=[1.0, 1.0, 1.0]), "conv1_1: pad is"),
        (lambda n: files.layer(n, "fc7").pop("weights"), "fc7: 0 arrays of weights"),
        (lambda n: files.layer(n, "fc7").pop("name"), "layer number 35: no `name`"),
        (lambda n: files.layer(n, "fc7").update(name="fc6"), "fc6: two layers have this name"),
        (
            lambda n: files.layer(n, "conv4_2")["weights"].__setitem__((0, 1), np.zeros(5, "f4")),
            "conv4_2: the bias has 5 values; expected one for each of the kernel's 24 channels",
        ),
        (
            lambda n: files.layer(n, "conv4_2")["weights"][0, 0].__setitem__(0, np.nan),
            "conv4_2: weights that are infinite or no number",
        ),
        (
            lambda n: files.layer(n, "conv4_2").update(gain=np.ones((24, 1), np.float32)),
            "layers{20}.gain: an array of 24 in a field that we do not know",
        ),
    ],
)
def test_a_wrong_layer_is_named_in_one_line(tmp_path, change, message):
    path = files.write(tmp_path / "vgg.mat", broken(change))
    with pytest.raises(InputError) as error:
        matconvnet.parse(path)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value) and "expected" in str(error.value)


@pytest.mark.parametrize("version", ["5", "7", "7.3"])
@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.7, 0.999])
def test_a_truncated_file_is_refused_in_one_line(tmp_path, version, share):
    path = files.write(tmp_path / "vgg.mat", files.network(), version=version, layout="oxford")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match=r"expected|truncated") as error:
        matconvnet.parse(path)
    assert "\n" not in str(error.value)


def test_files_of_something_else_are_refused(tmp_path):
    path = tmp_path / "other.mat"
    path.write_text("not MATLAB at all\n" * 100)
    with pytest.raises(InputError, match="not a whole MATLAB file"):
        matconvnet.parse(path)
    scipy.io.savemat(path, {"x": np.ones(3)})
    with pytest.raises(InputError, match="no cell array `layers`"):
        matconvnet.parse(path)
    scipy.io.savemat(path, {"layers": files.cell(files.network())})
    with pytest.raises(InputError, match=r"no `normalization\.averageImage`"):
        matconvnet.parse(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n: files.layer(n, "conv1_1").update(stride=np.nan), "conv1_1: stride is nan"),
        (lambda n: files.layer(n, "conv1_1").update(stride=1.5), "conv1_1: stride is 1.5"),
        (lambda n: files.layer(n, "pool2").update(stride=0.0), "pool2: stride is 0; expected"),
        (lambda n: files.layer(n, "conv1_1").update(pad=[1.0, -1.0, 1.0, 1.0]), "pad is 1, -1,"),
        (lambda n: files.layer(n, "dropout6").update(rate="half"), "dropout6: rate is 'half'"),
        (lambda n: files.layer(n, "dropout6").update(rate=np.nan), "dropout6: rate is nan"),
    ],
)
def test_settings_that_are_no_numbers_are_refused(tmp_path, change, message):
    path = files.write(tmp_path / "vgg.mat", broken(change))
    with pytest.raises(InputError) as error:
        matconvnet.parse(path)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("mean", "message"),
    [
        (np.full((64, 64, 3), np.nan), "averageImage is infinite or no number"),
        (np.float32(120).reshape(1, 1), "averageImage is a single value"),
        (np.ones((64, 64)), "averageImage is 64x64"),
    ],
)
@pytest.mark.parametrize("version", ["7", "7.3"])
def test_a_mean_that_is_no_colour_or_image_is_refused(tmp_path, mean, message, version):
    path = files.write(tmp_path / "vgg.mat", files.network(), mean=mean, version=version)
    with pytest.raises(InputError, match=message):
        matconvnet.parse(path)


def test_a_loss_at_the_end_is_a_softmax(tmp_path):
    path = files.write(
        tmp_path / "vgg.mat",
        broken(lambda n: files.layer(n, "prob").update(type="softmaxloss", name="loss")),
    )
    assert matconvnet.parse(path).layers[-1] == Layer("loss", "softmax")


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"# Created by Octave 8.4.0, Mon Jan 01 2024\n# name: net\n", "Octave's text form; in"),
        (b"Octave-1-L\0", "Octave's binary form; in Octave, save it with `save -v7`"),
        (b"\x89HDF\r\n\x1a\n", "HDF5 without MATLAB's header: .* `save -v7`.* --h5"),
        (b"\x1f\x8b\x08\0", "a gzip archive; unpack it"),
        (b"PK\x03\x04", "a zip archive"),
        (b"<!DOCTYPE html>", "a web page"),
    ],
)
def test_other_forms_are_named_with_what_to_do(tmp_path, start, message):
    path = tmp_path / "vgg.mat"
    path.write_bytes(start + bytes(200))
    with pytest.raises(InputError, match=message) as error:
        matconvnet.parse(path)
    assert "truncated" not in str(error.value)


def test_a_child_process_reads_what_this_one_would(tmp_path):
    path = files.write(tmp_path / "vgg.mat", files.network(), layout="oxford", version="5")
    here, there = matconvnet.parse(path), matconvnet.read(path)
    assert (there.layers, there.identities) == (here.layers, here.identities)
    np.testing.assert_array_equal(there.mean, here.mean)
    assert list(there.weights) == list(here.weights)
    for name, arrays in here.weights.items():
        for one, other in zip(arrays, there.weights[name], strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
