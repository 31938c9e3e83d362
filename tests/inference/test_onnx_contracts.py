"""ONNX files whose contract does not fit their model: refused at load, in one line."""

from pathlib import Path

import pytest

from vggface_gender.base.errors import InputError
from vggface_gender.inference import onnx_classifier

DEFAULT = Path(__file__).parents[2] / "model_files" / "default" / "classifier.onnx"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"size": 150', '"size": 0', "size is 0"),
        ('"size": 150', '"size":-150', "size is -150"),
        ('"size": 150', '"size":9999', "size is 9999"),
        ('"padding": 0.25', '"padding": NaN', "padding is nan"),
        ('"padding": 0.25', '"padding": 1e99', "padding is 1e\\+99"),
        ('"padding": 0.25', '"padding": -0.1', "padding is -0.1"),
        ('"female", "male"', '"male", "male"', "a label twice"),
        ('"Indian", ', "", "output race is of shape .* 6 labels"),
        ("crop", "krop", "its inputs are krop, not crop"),
    ],
)
def test_an_odd_contract_is_refused_in_a_line(tmp_path, old, new, said):
    content = DEFAULT.read_bytes()
    assert old.encode() in content
    path = tmp_path / "odd.onnx"
    path.write_bytes(content.replace(old.encode(), new.ljust(len(old)).encode()))  # of its length
    with pytest.raises(InputError, match=said) as caught:
        onnx_classifier.load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
