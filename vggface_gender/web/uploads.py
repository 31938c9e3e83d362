"""The photos in a request's body, of bounded size and in memory alone."""

from collections.abc import AsyncGenerator
from typing import NamedTuple

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from vggface_gender.base.text import cut, printable
from vggface_gender.web.settings import MIB, Refusal

UNNAMED = "photo"
LONGEST_NAME = 255  # bytes
FIELDS = 16  # of a form that are no files; there should be none
DRAINED = 4  # times the limit of bytes are read from whoever sends too many


class Upload(NamedTuple):
    """A file as it came."""

    name: str
    content: bytes
    media_type: str  # in small letters, without parameters; "" where none is stated


async def photos(request: Request, *, max_bytes: int, most: int) -> list[Upload]:
    """The photos of a request: its body, or the files of a form.

    Args:
        max_bytes: of the body.
        most: files in a form.

    Raises:
        Refusal: the body is too large, is compressed, has another media type, or is no such form;
            a form has a field that is no file.
    """
    stated = _media_type(request.headers.get("content-type"))
    if stated == "multipart/form-data":
        return await _of_form(request, max_bytes=max_bytes, most=most)
    require_image(stated)
    content = await body(request, max_bytes)
    return [Upload(UNNAMED, content, stated)]


async def body(request: Request, max_bytes: int) -> bytes:
    """A request's whole body.

    Raises:
        Refusal: it has more bytes, or is compressed.
    """
    content = bytearray()
    async for chunk in limited(request, max_bytes):
        content += chunk
    return bytes(content)


async def limited(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """A request's body piece by piece.

    Raises:
        Refusal: it has more bytes, or is compressed.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(415, "compressed bodies are not read: send it as it is")
    too_large = Refusal(413, f"more than {max_bytes / MIB:.4g} MiB: send a smaller photo")
    length = request.headers.get("content-length", "")
    is_stated = length.isdecimal() and int(length) > max_bytes
    if is_stated and "expect" in request.headers:
        raise too_large  # the client waits to be told before it sends
    count = 0
    async for chunk in request.stream():
        count += len(chunk)
        if count > max_bytes or is_stated:
            # A client that still sends when the connection closes never sees why. So read on.
            if count > DRAINED * max_bytes:
                raise too_large
            continue
        yield chunk
    if count > max_bytes:
        raise too_large


def require_image(media_type: str) -> None:
    """Refuse what says of itself that it is no image.

    Raises:
        Refusal: with 415.
    """
    if media_type not in ("", "application/octet-stream") and not media_type.startswith("image/"):
        raise Refusal(415, f"{printable(media_type)[:80]} is no image: send a photo")


async def _of_form(request: Request, *, max_bytes: int, most: int) -> list[Upload]:
    parser = MultiPartParser(
        request.headers, limited(request, max_bytes), max_files=most, max_fields=FIELDS
    )
    parser.spool_max_size = max_bytes + 1  # larger ones would go to temporary files
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refusal(400, f"not a form as browsers send it: {error.message}") from None
    try:
        for name, field in form.multi_items():
            if not isinstance(field, UploadFile):
                shown = printable(cut(name, LONGEST_NAME))
                raise Refusal(422, f"{shown} is no file: options go into the address, as ?{shown}=")
        files = [file for _, file in form.multi_items() if isinstance(file, UploadFile)]
        if not files:
            raise Refusal(400, "no file in the form")
        return [
            Upload(
                cut(file.filename or UNNAMED, LONGEST_NAME),
                await file.read(),
                _media_type(file.content_type),
            )
            for file in files
        ]
    finally:
        await form.close()


def _media_type(header: str | None) -> str:
    return (header or "").partition(";")[0].strip().lower()
