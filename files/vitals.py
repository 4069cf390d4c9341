"""What machines ask of the site: whether the process lives, whether it is ready, and what Prometheus collects.

They ask by whatever address they know, without TLS, often every second. So they are answered before anything asks for a Host
that is ours, sends them to https, opens a session or counts their address. What they get is the same for every address and
quotes nothing of the request, so that a forged Host gains nothing.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from http import HTTPStatus

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from . import documents, metrics, worker
from .documents import File, Status

NOT_KEPT = {"Cache-Control": "no-store"}
COUNTED_TO = 10_000  # files that wait; beyond that it does not matter how many


class Vitals:
    """First of all middleware."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        answer = ASKED.get(request.path_info)
        return (answer and answer(request)) or self.get_response(request)


@require_safe
def alive(request: HttpRequest) -> HttpResponse:
    """That this process answers, whatever else does not."""
    return HttpResponse("ok\n", content_type="text/plain", headers=NOT_KEPT)


@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """What each server answers; 503 where one does not that is needed."""
    from . import health  # 3 MB, for processes that are asked

    answers = health.look()
    down = [answer.name for answer in answers if answer.problem and answer.needed]
    said = {
        "ready": not down,
        "down": down,
        "servers": {
            answer.name: {
                "ok": answer.problem is None,
                "needed": answer.needed,
                "ms": answer.ms,
                **({"problem": answer.problem} if answer.problem else {}),
            }
            for answer in answers
        },
    }
    status = HTTPStatus.SERVICE_UNAVAILABLE if down else HTTPStatus.OK
    return JsonResponse(said, status=status, headers=NOT_KEPT, json_dumps_params={"indent": 2})


def metrics_for_a_token(request: HttpRequest) -> HttpResponse | None:
    """None: there is none, or a wrong one, and whoever asks may be staff."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    given, ours = token.strip().encode(), settings.METRICS_TOKEN.encode()
    if not ours or scheme.lower() != "bearer" or not hmac.compare_digest(given, ours):
        return None
    return exposition(request)


@never_cache
def metrics_for_staff(request: HttpRequest) -> HttpResponse:
    if not (request.user.is_active and request.user.is_staff):
        raise Http404
    return exposition(request)


ASKED: dict[str, Callable[[HttpRequest], HttpResponse | None]] = {
    "/healthz": alive,
    "/readyz": ready,
    "/metrics": metrics_for_a_token,
}


@require_safe
def exposition(request: HttpRequest) -> HttpResponse:
    registry = CollectorRegistry()
    metrics.counts(registry)
    registry.register(Now())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4, headers=NOT_KEPT)


class Now(Collector):
    """What is not counted but looked up. Of what does not answer nothing is said but that."""

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        from . import health

        answers = health.look()
        up = GaugeMetricFamily("uploadkit_server_up", "Whether it answers.", labels=["server"])
        seconds = GaugeMetricFamily("uploadkit_server_seconds", "Time to its answer, or to giving up.", labels=["server"])
        for answer in answers:
            up.add_metric([answer.name], float(answer.problem is None))
            seconds.add_metric([answer.name], answer.ms / 1000)
        yield from (up, seconds)
        yield from queue()
        if any(answer.name == "mongodb" and answer.problem is None for answer in answers):
            yield from waiting()


def queue() -> Iterator[Metric]:
    said = "Tasks that wait for a worker, or that one has taken from whichever queue."
    tasks = GaugeMetricFamily("uploadkit_queue_tasks", said, labels=["state", "queue"])
    try:
        for queue, number in worker.waiting().items():
            tasks.add_metric(["waiting", queue], number)
        tasks.add_metric(["taken", ""], worker.taken())
    except RedisError:
        return
    yield tasks


def waiting() -> Iterator[Metric]:
    files = GaugeMetricFamily("uploadkit_files", f"Files that wait, counted to {COUNTED_TO}.", labels=["status"])
    try:
        for status in (Status.PENDING, Status.CHECKING, Status.TRASHED, Status.DELETING):
            files.add_metric([status], File.count(status, COUNTED_TO))
    except documents.Error:
        return
    yield files
