"""KServe's Open Inference Protocol: by hand as JSON and as bytes, and by Triton's own client."""

import base64
import json
import struct
import time
import warnings

import numpy as np
import pytest
from PIL import Image

from vggface_gender.web import tensors
from vggface_gender.web.settings import Refusal

httpx = pytest.importorskip("httpx")

MODEL = "/v2/models/default"
TIMEOUT = 120


@pytest.fixture(scope="module")
def crops(faces_dir) -> np.ndarray:
    """(3, 200, 200, 3) uint8."""
    paths = sorted((faces_dir / "UTKFace").glob("*.jpg"))[:3]
    return np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])


def infer(server, *inputs: dict, **more) -> httpx.Response:
    content = json.dumps({"inputs": list(inputs)} | more)  # with NaN, which httpx's refuses
    return httpx.post(f"{server.url}{MODEL}/infer", content=content, timeout=TIMEOUT)


def outputs(response: httpx.Response) -> dict[str, np.ndarray]:
    assert response.status_code == 200, response.text
    return {
        each["name"]: np.array(each["data"]).reshape(each["shape"])
        for each in response.json()["outputs"]
    }


def tensor(name: str, datatype: str, shape: list[int], data: list) -> dict:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def test_health_and_metadata(server, model):
    for path in ("/v2", "/v2/health/live", "/v2/health/ready", f"{MODEL}/ready"):
        assert httpx.get(server.url + path).status_code == 200
    about = httpx.get(server.url + MODEL).json()
    assert about["name"] == "default"
    assert [one["name"] for one in about["inputs"]] == ["image", "crop"]
    by_name = {one["name"]: one for one in about["outputs"]}
    assert by_name["gender"]["parameters"]["labels"] == list(model.tasks["gender"])
    assert by_name["gender"]["shape"] == [-1, 2] and by_name["age"]["shape"] == [-1]
    for path in ("/v2/models/other", "/v2/models/other/ready"):
        missing = httpx.get(server.url + path)
        assert missing.status_code == 404 and "default" in missing.json()["error"]


@pytest.mark.parametrize("datatype", ["UINT8", "FP32"])
def test_crops_as_json_are_answered_as_the_classifier_does(server, model, crops, datatype):
    expected = model.classifier.predict(crops)
    small = crops[:2, ::4, ::4]
    given = small.tolist() if datatype == "FP32" else small.ravel().tolist()  # nested or flat
    response = infer(server, tensor("crop", datatype, list(small.shape), given), id="7")
    assert response.json()["id"] == "7" and response.json()["model_name"] == "default"
    found = outputs(response)
    assert list(found) == ["gender", "age"]
    expected = model.classifier.predict(small)
    np.testing.assert_allclose(found["gender"], expected["gender"], atol=1e-6)
    np.testing.assert_allclose(found["age"], expected["age"], atol=1e-4)


@pytest.mark.slow
def test_images_as_json_give_their_faces(server, model, photos_dir):
    contents = [
        (photos_dir / name).read_bytes() for name in ("rose_leslie.jpg", "kit_with_rose.jpg")
    ]
    data = [base64.b64encode(content).decode() for content in contents]
    found = outputs(infer(server, tensor("image", "BYTES", [2, 1], [[one] for one in data])))
    expected = [face for content in contents for face in model.predict(content).faces]
    assert found["photo"].tolist() == [0, 1, 1]
    assert found["box"].tolist() == [list(face.box) for face in expected]
    np.testing.assert_allclose(found["score"], [face.score for face in expected], rtol=1e-5)
    np.testing.assert_allclose(found["age"], [face.age.years for face in expected], atol=1e-4)


def test_bytes_after_the_json_are_the_tensors(server, model, crops):
    raw = crops.tobytes()
    asked = {
        "inputs": [
            {
                "name": "crop",
                "datatype": "UINT8",
                "shape": list(crops.shape),
                "parameters": {"binary_data_size": len(raw)},
            }
        ],
        "outputs": [{"name": "age", "parameters": {"binary_data": True}}, {"name": "gender"}],
    }
    head = json.dumps(asked).encode()
    response = httpx.post(
        f"{server.url}{MODEL}/infer",
        content=head + raw,
        headers={"Inference-Header-Content-Length": str(len(head))},
        timeout=TIMEOUT,
    )
    length = int(response.headers["Inference-Header-Content-Length"])
    said = json.loads(response.content[:length])
    age, gender = said["outputs"]
    assert age["parameters"]["binary_data_size"] == 12 == len(response.content) - length
    expected = model.classifier.predict(crops)
    np.testing.assert_allclose(struct.unpack("<3f", response.content[length:]), expected["age"])
    np.testing.assert_allclose(gender["data"], expected["gender"].ravel(), atol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "why"),
    [
        ([], "one input"),
        ([tensor("picture", "BYTES", [0], [])], "one input"),
        ([tensor("crop", "BYTES", [1], ["YQ=="])], "one input"),
        ([tensor("image", "BYTES", [2], ["YQ=="])], "1 elements"),
        ([tensor("image", "BYTES", [1], ["no base64!"])], "base64"),
        ([tensor("crop", "UINT8", [1, 2, 2, 3], [300] * 12)], "not all of it is UINT8"),
        ([tensor("crop", "UINT8", [1, 2, 2, 3], [1] * 11)], "reshape"),
        ([tensor("crop", "UINT8", [1, 1, 1, 3], ["1", "2", "3"])], "not of numbers"),
        ([tensor("crop", "UINT8", [1, 1, 1, 3], [float("nan")] * 3)], "not all of it is UINT8"),
        ([tensor("image", "BYTES", [2**64], [])], "whole numbers"),
        ([tensor("crop", "FP64", [1, 2, 2, 3], [1] * 12)], "FP64"),
        ([tensor("crop", "UINT8", [1, -2, 2, 3], [1] * 12)], "whole numbers"),
        ([tensor("crop", "UINT8", [1, 2, 2, 3], {"a": 1})], "not an inference request"),
        ([{"name": "crop", "datatype": "UINT8", "shape": [1]}], "no 'data'"),
        ([7], "not an inference request"),
    ],
)
def test_what_is_no_request_is_400_and_says_why(server, inputs, why):
    response = infer(server, *inputs)
    assert response.status_code == 400 and why in response.json()["error"]


def test_no_shape_and_no_nesting_takes_long():
    """Each of these took minutes, and the whole server with it."""
    nested = []
    for _ in range(900):
        nested = [nested, "a" * 10]
    nested[1] = "a" * 1_000_000
    for asked in (
        tensor("image", "BYTES", [999999937] * 100_000, []),
        tensor("image", "BYTES", [1, 1], nested),
    ):
        start = time.monotonic()
        with pytest.raises(Refusal):
            tensors.read(json.dumps({"inputs": [asked]}).encode(), None)
        assert time.monotonic() - start < 2


def test_nan_as_uint8_is_refused_and_nothing_is_warned_of():
    asked = tensor("crop", "UINT8", [1, 1, 1, 3], [float("nan"), 1, 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Refusal, match="not all of it is UINT8"):
            tensors.read(json.dumps({"inputs": [asked]}).encode(), None)


def test_what_cant_be_classified_is_422(server):
    nan = infer(server, tensor("crop", "FP32", [1, 1, 1, 3], [float("nan")] * 3))
    assert nan.status_code == 422 and "hold NaN" in nan.json()["error"]
    dark = infer(server, tensor("crop", "FP32", [1, 2, 2, 3], [0.5] * 12))
    assert dark.status_code == 422 and "as if in [0, 1]" in dark.json()["error"]
    empty = infer(server, tensor("image", "BYTES", [1], [""]))
    assert empty.status_code == 422 and "image 0: the file is empty" in empty.json()["error"]
    many = infer(server, tensor("crop", "UINT8", [101, 1, 1, 3], [9] * 303))
    assert many.status_code == 413
    unknown = infer(
        server, tensor("crop", "UINT8", [1, 1, 1, 3], [9] * 3), outputs=[{"name": "race"}]
    )
    assert unknown.status_code == 400 and "no output race" in unknown.json()["error"]


@pytest.mark.parametrize("length", ["9" * 30, "-1", "x", "5"])
def test_a_header_that_lies_about_the_json_is_400(server, length):
    response = httpx.post(
        f"{server.url}{MODEL}/infer",
        content=b'{"inputs": []}',
        headers={"Inference-Header-Content-Length": length},
    )
    assert response.status_code == 400 and response.json()["error"]


@pytest.mark.parametrize(
    "content", [b"", b"[" * 100_000, b"null", b"{}", b"\xff", b'{"inputs": 5}']
)
def test_what_is_no_json_is_400(server, content):
    response = httpx.post(f"{server.url}{MODEL}/infer", content=content)
    assert response.status_code == 400 and "\n" not in response.json()["error"]


@pytest.mark.parametrize("is_binary", [True, False])
def test_tritons_client_is_answered(server, model, crops, photos_dir, is_binary):
    triton = pytest.importorskip("tritonclient.http")
    client = triton.InferenceServerClient(server.url.removeprefix("http://"))
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("default")
    assert client.get_model_metadata("default")["name"] == "default"
    small = np.ascontiguousarray(crops[:, ::4, ::4])
    given = triton.InferInput("crop", small.shape, "UINT8")
    given.set_data_from_numpy(small, binary_data=is_binary)
    wanted = [triton.InferRequestedOutput(name, binary_data=is_binary) for name in model.tasks]
    wanted = [one for one in wanted if one.name() != "race"]
    expected = model.classifier.predict(small)
    for asked in (wanted, None):
        found = client.infer("default", [given], outputs=asked)
        np.testing.assert_allclose(found.as_numpy("gender"), expected["gender"], atol=1e-6)
        np.testing.assert_allclose(found.as_numpy("age"), expected["age"], atol=1e-4)
    content = (photos_dir / "rose_leslie.jpg").read_bytes()
    if is_binary:
        photo = triton.InferInput("image", [1], "BYTES")
        photo.set_data_from_numpy(np.array([content], np.object_))
        found = client.infer("default", [photo])
        [face] = model.predict(content).faces
        assert found.as_numpy("box").tolist() == [list(face.box)]
    with pytest.raises(triton.InferenceServerException, match="no model of this name"):
        client.infer("other", [given])
    client.close()
