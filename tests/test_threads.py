"""Work shared among threads on NumPy: results, errors and settings as in one."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

import swath
from swath import nn
from swath._backends import threads

pytestmark = pytest.mark.on("numpy")


@pytest.fixture
def three(monkeypatch):
    monkeypatch.setattr(threads, "count", lambda: 3)


@pytest.mark.op("nn.max_pool", "nn.avg_pool")
@pytest.mark.parametrize("shape", [(1, 8, 512, 300), (1, 1, 2048, 700)])
def test_pooling_is_the_same_in_any_number_of_threads(xp, rng, monkeypatch, shape):
    x = rng.standard_normal(shape)
    found = []
    for count in (1, 3):
        monkeypatch.setattr(threads, "count", lambda count=count: count)
        for op in (nn.max_pool, nn.avg_pool):
            y, pullback = swath.vjp(op, x, (5, 3), stride=(1, 2), padding=1)
            found.append((y, pullback(y)[0]))
    for one, many in zip(found[:2], found[2:], strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, many, strict=True))


def test_work_is_shared_and_every_item_done_once(xp, three):
    meet, seen, names = threading.Barrier(3, timeout=30), [], set()

    def work(state, item):
        if item < 3:
            meet.wait()  # passes only if three threads work at once
        seen.append(item)
        names.add(threading.current_thread().name)

    threads.each(range(100), list, work)
    assert sorted(seen) == list(range(100))
    assert len(names) == 3


def test_a_share_of_the_work_is_shared_no_further(xp, three, monkeypatch):
    pool, asked, seen = threads._pool, [], []

    def counted(count):
        asked.append(count)
        return pool(count)

    monkeypatch.setattr(threads, "_pool", counted)

    def outer(state, item):
        threads.each(range(20), list, lambda state, inner: seen.append((item, inner)))

    threads.each(range(3), list, outer)
    assert asked == [2, 2]
    assert len(set(seen)) == len(seen) == 60


@pytest.mark.op("linalg.lstsq")
def test_batches_of_least_squares_are_the_same_in_any_number_of_threads(xp, rng, monkeypatch):
    # Some MB, of which every thread has a share.
    a, b = rng.standard_normal((5000, 64, 8)), rng.standard_normal((5000, 64))
    found = []
    for count in (1, 3):
        monkeypatch.setattr(threads, "count", lambda count=count: count)
        found.append(swath.linalg.lstsq(a, b))
    for name in ("x", "residuals", "condition", "stderr"):
        assert np.array_equal(getattr(found[0], name), getattr(found[1], name))


def test_errors_and_warning_settings_reach_and_leave_the_threads(xp, three):
    meet = threading.Barrier(3, timeout=30)

    def divide(state, item):
        meet.wait()
        np.divide(np.ones(4), 0)

    with np.errstate(divide="ignore"):
        threads.each(range(3), list, divide)
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        threads.each(range(3), list, divide)


def test_one_of_many_threads_starts_no_others(xp, three):
    names = set()

    def outer():
        threads.each(range(20), list, lambda s, i: names.add(threading.current_thread().name))

    worker = threading.Thread(target=outer, name="own")
    worker.start()
    worker.join()
    assert names == {"own"}


@pytest.mark.op("nn.max_pool")
def test_a_pullback_keeps_nothing_once_dropped(xp, rng):
    x = rng.standard_normal((1, 2, 8, 8))
    gc.disable()
    try:
        y, pullback = swath.vjp(nn.max_pool, x, (2, 2))
        gradient = weakref.ref(pullback(y)[0])
        value = weakref.ref(y)
        assert gradient() is None
        del y, pullback
        assert value() is None
    finally:
        gc.enable()
