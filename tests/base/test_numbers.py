"""Numbers as people write them."""

import pytest

from vggface_gender.base import numbers


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (numbers.positive, {"1": 1, "12": 12}, ["0", "-1", "1.5", "x", ""]),
        (numbers.count, {"0": 0, "3": 3}, ["-1", "0.5", "x"]),
        (numbers.seed, {"0": 0, "4294967295": 2**32 - 1}, ["-1", "4294967296", "x"]),
        (numbers.amount, {"0": 0, "1e-3": 0.001}, ["-1", "inf", "nan", "x"]),
        (numbers.positive_real, {".5": 0.5}, ["0", "-1", "inf", "nan", "x"]),
        (numbers.share, {"0": 0, "1": 1, "0.3": 0.3}, ["1.1", "-0.1", "nan", "x"]),
        (numbers.score, {"-1": -1, "0.2": 0.2, "10": 10}, ["-1.1", "11", "nan", "inf", "-inf"]),
    ],
)
def test_what_is_none_is_named(kind, good, bad):
    assert {text: kind(text) for text in good} == good
    for text in bad:
        with pytest.raises(ValueError, match=f"^{text} is not a "):
            kind(text)
