"""Spans checked by several processes, each with a connection of its own; results come in the order of the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from sqlalchemy import Engine

from broch_core.audit.spans import Erasures, Head, SpanResult, check_span
from broch_core.proof import TrustFile
from broch_core.store.engine import make_engine

_AHEAD = 4
"""Spans under way for each process: enough to keep all busy, few enough to end soon after a change is found."""


class _Worker:
    """What a worker process keeps between spans."""

    engine: Engine
    trust: TrustFile
    erasures: Erasures
    given: Sequence[Head]


def check_spans(
    url: str,
    processes: int,
    spans: Sequence[tuple[int, int]],
    trust: TrustFile,
    erasures: Erasures,
    given: Sequence[Head],
) -> Iterator[SpanResult]:
    """Check spans; end early when nobody asks for more.

    Args:
        url: of the database, with its password; it goes through a pipe and is in no argument list.
        processes: how many.
        spans: first record and one past the last, in their order.
        trust: keys of checkpoints.
        erasures: recorded ones.
        given: heads from outside.
    """
    # Not forked: threads of a server may hold locks at that moment.
    pool = ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_open, initargs=(url, trust, erasures, given)
    )
    try:
        waiting = [pool.submit(_check, *span) for span in spans[: processes * _AHEAD]]
        for number in range(len(spans)):
            result = waiting.pop(0).result()
            if number + processes * _AHEAD < len(spans):
                waiting.append(pool.submit(_check, *spans[number + processes * _AHEAD]))
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _open(url: str, trust: TrustFile, erasures: Erasures, given: Sequence[Head]) -> None:
    _Worker.engine = make_engine(url)
    _Worker.trust, _Worker.erasures, _Worker.given = trust, erasures, given


def _check(first: int, end: int) -> SpanResult:
    with _Worker.engine.connect() as connection:
        return check_span(connection, first, end, _Worker.trust, _Worker.erasures, _Worker.given)
