"""What a picture is recognized by, as text and back."""

import numpy as np
import pytest

from vggface_gender.photos import prints


def test_a_text_holds_digest_and_hash():
    images = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), np.uint8)
    for image in images:
        digest, bits = prints.from_text(prints.to_text(image))
        assert digest == prints.digest(image)
        assert (bits == prints.difference_hash(image)).all() and bits.dtype == np.uint64
    assert prints.digest(images[0]) != prints.digest(images[1])
    assert prints.digest(images[0]) != prints.digest(images[0].reshape(30, 20, 3))


def test_what_is_no_text_of_it_is_an_error():
    with pytest.raises(ValueError, match="hexadecimal"):
        prints.from_text("no digits")
