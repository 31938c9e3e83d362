"""Many clients at once, one request in five broken or hostile: the server stays right and up."""

import json

import pytest

from benchmark import serving


@pytest.mark.slow
def test_of_many_requests_a_fifth_hostile_each_gets_its_status_and_answer(start, faces_dir, model):
    server = start("--max-bytes", str(serving.MAX_BYTES), "--queue", "64")
    paths = sorted((faces_dir / "UTKFace").glob("*.jpg"))[::200]
    requests = serving.mixed(paths, 400, broken=0.2)
    photo = (faces_dir / "photos" / "kit_with_rose.jpg").read_bytes()
    requests[7::80] = [serving.Request(photo, path="/predict")] * len(requests[7::80])
    answers = serving.ask(server.url, requests, clients=32)

    assert [one.status for one in answers] == [one.expected for one in requests]
    assert 60 < sum(one.status != 200 for one in answers) < 110
    expected: dict[bytes, list] = {}
    for request, answer in zip(requests, answers, strict=True):
        said = json.loads(answer.content)
        if answer.status != 200:
            assert said["error"] and "\n" not in said["error"]
            continue
        if request.content not in expected:
            how = "auto" if request.path == "/predict" else "none"
            found = model.predict(request.content, detector=how)
            expected[request.content] = found.to_dict()["faces"]
        assert said["faces"] == expected[request.content]
    assert server.process.poll() is None and "failed" not in server.log.read_text()
    assert " 500 " not in server.log.read_text()
    assert server.stop() == 0


@pytest.mark.slow
def test_the_mix_is_what_it_says():
    class Path:
        def read_bytes(self):
            return b"\xff\xd8" * 50

    requests = serving.mixed([Path()], 1000, broken=0.2)
    bad = [request for request in requests if request.expected != 200]
    assert 150 < len(bad) < 250
    assert {request.expected for request in bad} == {400, 413, 415, 422}
    assert requests == serving.mixed([Path()], 1000, broken=0.2)
