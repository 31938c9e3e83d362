"""export from end to end: every form is written, read back, and refused where it differs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from vggface_gender import export
from vggface_gender.base import console, runs
from vggface_gender.base.errors import InputError
from vggface_gender.exports import onnx
from vggface_gender.inference import backends, classifier, onnx_classifier

CROPS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)


@pytest.fixture
def run(tiny_run, tmp_path, monkeypatch) -> Path:
    """A copy of the tiny run, in a working directory of its own."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_run, tmp_path / "model_files" / "tiny")
    return tmp_path / "model_files" / "tiny"


def exported(run, drawn, *options) -> dict:
    """Export, and give what was checked."""
    records = ["--dataset", str(drawn.table), "--data-dir", str(drawn.records)]
    export.main(["--run", "tiny", *records, *options])
    form = options[-1] if options else "onnx"
    return json.loads((run / f"{export.FORMATS[form]}.json").read_text())


def test_onnx_is_what_predictions_are_made_with_then(run, drawn, capsys):
    said = exported(run, drawn)
    assert said["contract"]["tasks"]["gender"] == ["female", "male"]
    assert set(said["checked"]["tasks"]) == {"gender", "race", "age"}
    gender = said["checked"]["tasks"]["gender"]
    assert gender["relabelled"] == 0 and gender["largest"] < 1e-4 and gender["faces"] == 20
    assert gender["before"]["accuracy"] == gender["after"]["accuracy"]
    assert "gender: outputs differ by at most" in capsys.readouterr().out
    loaded = backends.load(run / runs.CLASSIFIER)
    assert isinstance(loaded, onnx_classifier.OnnxClassifier)
    assert "owner's terms" in loaded.licence
    (run / runs.CLASSIFIER).unlink()  # the exported file alone is a run's classifier
    assert runs.find("tiny", onnx=True) == Path("model_files/tiny") / runs.ONNX
    with pytest.raises(InputError, match="no run tiny"):
        runs.find("tiny")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["saved_model", "litert", "litert-int8"])
def test_tensorflows_forms_answer_as_keras_does(run, drawn, form):
    said = exported(run, drawn, "--format", form)
    off = said["checked"]["tasks"]["gender"]["largest"]
    assert (0 if form != "litert-int8" else 1e-6) <= off < (1e-4 if form != "litert-int8" else 0.5)
    assert said["checked"]["tasks"]["age"]["after"]["mae"] > 0
    if form == "saved_model":
        assert (run / "saved_model" / "1" / "saved_model.pb").is_file()
        assert (run / "saved_model" / "1" / "assets.extra" / "classifier.json").is_file()


@pytest.mark.slow
def test_folders_hold_what_tritons_and_hubs_ask_for(run, drawn):
    exported(run, drawn, "--format", "triton")
    config = (run / "triton" / "tiny" / "config.pbtxt").read_text()
    for line in ('name: "tiny"', "dims: [ 32, 32, 3 ]", 'name: "age" data_type: TYPE_FP32'):
        assert line in config
    served = onnx_classifier.load(run / "triton" / "tiny" / "1" / "model.onnx")
    expected = classifier.load(run / runs.CLASSIFIER, precision="float32").predict(CROPS)
    np.testing.assert_allclose(served.predict(CROPS)["race"], expected["race"], atol=1e-5)
    exported(run, drawn, "--format", "hub")
    readme = (run / "hub" / "README.md").read_text()
    _, header, page = readme.split("---\n", 2)
    found = yaml.safe_load(header)
    assert found["license"] == "other" and found["license_name"] == "see-card"
    assert "perceived-race" in found["tags"] and page == "\n" + (run / "model_card.md").read_text()
    assert (run / "hub" / runs.ONNX).is_file() and (run / "hub" / runs.CLASSIFIER).is_file()


@pytest.mark.slow
def test_an_export_that_differs_is_not_kept(run, drawn, monkeypatch, capsys):
    """A fault in the exporter: another classifier's weights."""
    save = onnx.save

    def wrongly(trained, path, **options):
        for weight in trained.model.weights:
            weight.assign(weight * 1.5)
        save(trained, path, **options)
        for weight in trained.model.weights:
            weight.assign(weight / 1.5)

    monkeypatch.setattr(onnx, "save", wrongly)
    records = ["--dataset", str(drawn.table), "--data-dir", str(drawn.records)]
    status = console.run(lambda: export.main(["--run", "tiny", *records]))
    error = capsys.readouterr().err.splitlines()[-1]
    assert status == 2 and "nothing is kept" in error
    assert not list(run.glob("*.onnx*"))


@pytest.mark.slow
def test_only_an_earlier_export_is_replaced(run, drawn, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("all of it")
    for out in (mine, mine / "thesis.txt"):
        with pytest.raises(InputError, match="no earlier export"):
            export.main(["--run", "tiny", "--dataset", str(drawn.table), "--out", str(out)])
    assert (mine / "thesis.txt").read_text() == "all of it"
    exported(run, drawn)
    exported(run, drawn)  # in the place of its own


def test_bad_input_is_one_line(run, capsys):
    for options, said in (
        (["--run", "none"], "no run none"),
        (["--run", "tiny", "--format", "litert-int8", "--dataset", "none.csv"], "no dataset none"),
    ):
        assert console.run(lambda options=options: export.main(options)) == 2
        line = capsys.readouterr().err
        assert said in line and line.count("\n") == 1
