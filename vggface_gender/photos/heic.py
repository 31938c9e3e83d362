"""HEIC photos, decoded in a process of their own: a damaged one can crash its decoder.

libheif 1.23 does so with one in a few hundred files that have some bytes changed.
"""

import importlib.util
import io
import subprocess
import sys

from vggface_gender.base.errors import InputError

# The brands of HEIF files coded in HEVC, which stand at bytes 8 to 12 (ISO/IEC 23008-12, annex B).
BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
TIMEOUT = 60  # seconds; a phone's photo takes one

# Upright, since libheif turns it; of several pictures the primary one; 8 bits a channel.
_CHILD = """
import io, sys
from PIL import Image
import pi_heif

pi_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
Image.MAX_IMAGE_PIXELS = int(sys.argv[1]) // 2  # Pillow refuses twice as many
image = Image.open(io.BytesIO(sys.stdin.buffer.read()), formats=["HEIF"])
plain = Image.frombytes(image.mode, image.size, image.tobytes())  # without any metadata
plain.save(sys.stdout.buffer, "PPM" if image.mode in ("L", "RGB") else "PNG")
"""


def is_heic(head: bytes) -> bool:
    """Whether a file is HEIC, by its first 64 bytes (ISO/IEC 14496-12: a box of brands)."""
    return head[4:8] == b"ftyp" and head[8:12] in BRANDS and b"avif" not in head


def is_readable() -> bool:
    """Whether the package that decodes HEIC is installed."""
    return importlib.util.find_spec("pi_heif") is not None


def decode(content: bytes, *, max_pixels: int) -> io.BytesIO:
    """A HEIC photo as a file in a format that Pillow reads by itself, its pixels unchanged.

    Raises:
        InputError: the decoder is not installed, can't read the photo, crashes or does not end.
    """
    if not is_readable():
        raise InputError('a HEIC photo; pip install "vggface-gender[heif]", or save it as JPEG')
    command = [sys.executable, "-P", "-c", _CHILD, str(max_pixels)]
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise InputError(f"not decoded within {TIMEOUT} s; replace the file") from None
    if done.returncode < 0:
        raise InputError("damaged, and crashes the HEIC decoder; replace the file")
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        if "DecompressionBomb" in reason:
            raise InputError(f"more than {max_pixels // 10**6} megapixels; make it smaller")
        raise InputError(f"damaged or incomplete ({reason}); replace the file")
    return io.BytesIO(done.stdout)
