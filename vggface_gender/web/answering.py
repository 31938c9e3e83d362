"""From the bytes of a photo to its answer: read and searched in threads, classified in batches.

The answers are `inference.pipeline`'s, made of the same functions.
"""

import asyncio
import contextlib
import io
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from vggface_gender.base.errors import InputError
from vggface_gender.inference import pipeline
from vggface_gender.inference.answers import PhotoAnswer
from vggface_gender.inference.interface import Predictor
from vggface_gender.photos import THRESHOLD, detect, read
from vggface_gender.photos.align import align
from vggface_gender.photos.detect import Face
from vggface_gender.web.batching import Batcher
from vggface_gender.web.settings import Refusal, Settings

RETRY_AFTER = 2  # seconds, about what a photo takes

Received = TypeVar("Received")
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a request wants: see `api.model.Model.predict`."""

    tasks: tuple[str, ...] | None = None
    min_confidence: float = 0.0
    detector: str = "auto"
    upsample: int = 1
    threshold: float = THRESHOLD


class Looked(NamedTuple):
    """A photo's faces, without the photo: it is not held while they wait to be classified."""

    width: int
    height: int
    faces: list[Face]
    crops: np.ndarray  # (faces, size, size, 3) uint8


class Answerer:
    """A classifier with its threads, and the places for photos that are worked on.

    Its coroutines belong to one event loop.
    """

    def __init__(
        self,
        classifier: Predictor,
        settings: Settings,
        *,
        on_batch: Callable[[int], None] = lambda _: None,
    ):
        """Start the threads.

        Args:
            on_batch: called with the number of crops of every batch.
        """
        self.classifier = classifier
        self.settings = settings
        self.taken = 0  # of `settings.queue` places
        self.batcher = Batcher(classifier, on_batch=on_batch)
        self._pool = ThreadPoolExecutor(settings.threads, thread_name_prefix="photo")

    def close(self) -> None:
        """End the threads, once what they have begun is done."""
        self._pool.shutdown(cancel_futures=True)
        self.batcher.close()

    @property
    def tasks(self) -> dict[str, tuple[str, ...]]:
        """What may be asked for: task to the names of its labels; () for age."""
        off = frozenset() if self.settings.race else pipeline.ON_REQUEST
        return {task: labels for task, labels in self.classifier.tasks.items() if task not in off}

    def chosen(self, tasks: tuple[str, ...] | None) -> dict[str, tuple[str, ...]]:
        """The tasks to answer with their labels; all by default.

        Raises:
            Refusal: the classifier does not predict one, or the server does not answer it.
        """
        if unknown := sorted({*(tasks or ())} - self.tasks.keys()):
            if unknown[0] in self.classifier.tasks:
                raise Refusal(
                    403, f"{unknown[0]} is not answered here: start the server with --race"
                )
            raise Refusal(422, f"no task {unknown[0]}: there is {', '.join(self.tasks)}")
        wanted = self.tasks if tasks is None else tasks
        return {task: labels for task, labels in self.tasks.items() if task in wanted}

    @contextlib.contextmanager
    def places(self, count: int) -> Iterator[None]:
        """Hold places for so many photos while they are worked on.

        Raises:
            Refusal: there are not so many free.
        """
        if self.taken + count > self.settings.queue:
            raise Refusal(503, "busy: try again in a moment", retry_after=RETRY_AFTER)
        self.taken += count
        try:
            yield
        finally:
            self.taken -= count

    async def in_time(
        self,
        receive: Callable[[], Awaitable[Received]],
        answer: Callable[[Received], Awaitable[Result]],
    ) -> Result:
        """What `answer` makes of what `receive` receives, if both end in time; one place is held.

        Raises:
            Refusal: they do not, or no place is free.
        """
        seconds = self.settings.timeout
        end = asyncio.get_running_loop().time() + seconds
        with self.places(1):
            try:
                async with asyncio.timeout_at(end):
                    received = await receive()
            except TimeoutError:
                raise Refusal(408, f"the body did not come within {seconds:g} s") from None
            try:
                async with asyncio.timeout_at(end):
                    return await answer(received)
            except TimeoutError:
                raise Refusal(
                    504, f"not answered within {seconds:g} s: send a smaller photo"
                ) from None

    async def photo(self, content: bytes, name: str, *, asked: Asked) -> PhotoAnswer:
        """The answer for one photo; what can't be read has one that says why.

        Args:
            content: the file's.
            name: what the photo is called.

        Raises:
            Refusal: see `chosen`.
        """
        tasks = self.chosen(asked.tasks)
        try:
            looked = await self.look(content, name, asked=asked)
        except InputError as error:
            return PhotoAnswer(photo=name, width=None, height=None, faces=[], error=str(error))
        faces = []
        if looked.faces:
            faces = pipeline.face_answers(
                looked.faces,
                looked.crops,
                outputs=await self.classify(looked.crops),
                tasks=tasks,
                min_confidence=asked.min_confidence,
            )
        return PhotoAnswer(photo=name, width=looked.width, height=looked.height, faces=faces)

    async def look(self, content: bytes, name: str, *, asked: Asked) -> Looked:
        """A photo's faces.

        Raises:
            InputError: it can't be read, or has more pixels or faces than is allowed.
        """
        find = detect.finder(asked.detector, upsample=asked.upsample, threshold=asked.threshold)
        return await self._in_thread(lambda: self._looked(content, name, find=find))

    async def classify(self, crops: np.ndarray) -> dict[str, np.ndarray]:
        """What `Predictor.predict` answers for crops (n, h, w, 3).

        Raises:
            InputError: they are not such.
        """
        return await asyncio.wrap_future(self.batcher.submit(crops))

    def _looked(self, content: bytes, name: str, *, find: detect.Finder) -> Looked:
        photo = read.decode(io.BytesIO(content), name, max_pixels=self.settings.max_pixels)
        faces = find(photo)
        if len(faces) > self.settings.max_faces:
            raise InputError(
                f"{name}: {len(faces):,} faces, and at most {self.settings.max_faces:,} are "
                "answered; give a part of the photo, or a higher threshold"
            )
        crops = align(photo, faces, size=self.classifier.size, padding=self.classifier.padding)
        return Looked(photo.shape[1], photo.shape[0], faces, crops)

    async def _in_thread(self, function: Callable[[], Result]) -> Result:
        """What a function returns in a thread of the pool.

        Who stops waiting for it leaves its place taken until it is done: a thread can't be stopped.
        """
        future: Future[Result] = self._pool.submit(function)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if not future.cancel():
                self.taken += 1
                loop = asyncio.get_running_loop()
                future.add_done_callback(lambda _: _soon(loop, self._leave))
            raise

    def _leave(self) -> None:
        self.taken -= 1


def _soon(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody counts places
        loop.call_soon_threadsafe(function)
