"""What the server counts, for Prometheus."""

import contextlib
from collections.abc import Callable

import prometheus_client as prometheus

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
CROPS = (1, 2, 4, 8, 16, 32, 64, 128)


class Meters:
    """Counters of one server, in a registry of their own."""

    def __init__(self, *, taken: Callable[[], float]):
        """Set all to nought.

        Args:
            taken: says how many photos are worked on or waiting.
        """
        self.registry = prometheus.CollectorRegistry()
        name = "vggface_gender_"
        self.requests = prometheus.Counter(
            name + "requests",
            "Requests answered",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = prometheus.Histogram(
            name + "request_seconds",
            "From a request's header to the end of its answer",
            ("route",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.photos = prometheus.Counter(
            name + "photos",
            "Photos by the status of their answer",
            ("status",),
            registry=self.registry,
        )
        self.faces = prometheus.Counter(
            name + "faces", "Faces found in photos", registry=self.registry
        )
        self.batches = prometheus.Histogram(
            name + "batch_crops",
            "Crops classified together",
            buckets=CROPS,
            registry=self.registry,
        )
        queue = prometheus.Gauge(
            name + "queue", "Photos that are received, waiting or worked on", registry=self.registry
        )
        queue.set_function(taken)
        with contextlib.suppress(Exception):  # memory and time of the process, where /proc is
            prometheus.ProcessCollector(registry=self.registry)

    def text(self) -> tuple[bytes, str]:
        """The page that Prometheus reads, and its media type."""
        return prometheus.generate_latest(self.registry), prometheus.CONTENT_TYPE_LATEST
