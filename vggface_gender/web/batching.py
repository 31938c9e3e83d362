"""Crops of several requests, classified together.

No request waits for others to come: while one batch is classified, the next gathers. So a lone
request is answered at once, and under load batches grow by themselves.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np

from vggface_gender.inference import arrays
from vggface_gender.inference.interface import Predictor

BATCH_CROPS = 32  # from so many on, a batch takes in no more requests

Outputs = dict[str, np.ndarray]


class _Waiting(NamedTuple):
    crops: np.ndarray
    answer: "Future[Outputs]"


class Batcher:
    """A thread that classifies what it is given, in order."""

    def __init__(self, classifier: Predictor, *, on_batch: Callable[[int], None] = lambda _: None):
        """Start the thread.

        Args:
            on_batch: called with the number of crops of every batch.
        """
        self._classifier = classifier
        self._on_batch = on_batch
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="classifier", daemon=True)
        self._thread.start()

    def submit(self, crops: np.ndarray) -> "Future[Outputs]":
        """The answers that `Predictor.predict` gives for crops, as soon as they are there.

        Args:
            crops: (n, h, w, 3) RGB in `[0, 255]`.

        Raises:
            InputError: they are not such.
        """
        waiting = _Waiting(arrays.crops(crops), Future())
        self._queue.put(waiting)
        return waiting.answer

    def close(self) -> None:
        """Answer what is waiting, then end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while self._answer_next():
            pass

    def _answer_next(self) -> bool:
        """Answer a batch; false when the thread is to end. Nothing of it is held afterwards."""
        batch = self._gather()
        by_form: dict[tuple, list[_Waiting]] = {}
        for waiting in batch:
            if waiting.answer.set_running_or_notify_cancel():
                form = (waiting.crops.shape[1:], waiting.crops.dtype)
                by_form.setdefault(form, []).append(waiting)
        for alike in by_form.values():
            self._answer(alike)
        return bool(batch)

    def _gather(self) -> list[_Waiting]:
        """What is classified next; empty when the thread is to end."""
        first = self._queue.get()
        if first is None:
            return []
        batch, count = [first], len(first.crops)
        while count < BATCH_CROPS:
            try:
                following = self._queue.get_nowait()
            except queue.Empty:
                break
            if following is None:
                self._queue.put(None)  # the end comes after this batch
                break
            batch.append(following)
            count += len(following.crops)
        return batch

    def _answer(self, alike: list[_Waiting]) -> None:
        """Classify crops of one form, and tell each request its own answers."""
        try:
            joined = np.concatenate([waiting.crops for waiting in alike])
            outputs = self._classifier.predict(joined, batch_size=BATCH_CROPS)
        except Exception as error:
            if len(alike) == 1:
                alike[0].answer.set_exception(error)
                return
            for waiting in alike:  # the fault of one is not that of the others
                self._answer([waiting])
            return
        self._on_batch(len(joined))
        start = 0
        for waiting in alike:
            end = start + len(waiting.crops)
            waiting.answer.set_result({task: all[start:end] for task, all in outputs.items()})
            start = end
