"""The names of this module before it was divided; goes when nothing imports it any more."""

from vggface_gender.photos import align as _align
from vggface_gender.photos import detect as _detect
from vggface_gender.photos.detect import Face, whole
from vggface_gender.photos.read import FORMATS, SUFFIXES, decode, read_photo

__all__ = ["FORMATS", "SUFFIXES", "Face", "align", "decode", "detect", "read_photo", "whole"]


def detect(photo, upsample=1, threshold=0.0):
    """`detect.detect` by position."""
    return _detect.detect(photo, upsample=upsample, threshold=threshold)


def align(photo, faces, size=150, padding=0.25):
    """`align.align` by position."""
    return _align.align(photo, faces, size=size, padding=padding)
