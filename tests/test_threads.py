"""Work shared among threads on NumPy: results, errors and settings as in one."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest

import swath
from swath import _backends, nn
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


@pytest.mark.op("nn.conv")
@pytest.mark.parametrize("channels", ["first", "last"])
@pytest.mark.parametrize(
    ("x", "w", "options"),
    [
        ((4, 64, 40, 40), (64, 8, 3, 3), {"groups": 8}),
        ((2, 64, 33, 31), (96, 8, 5, 3), {"groups": 8, "stride": (2, 1), "dilation": (1, 2)}),
        ((2, 32, 15, 16, 17), (32, 4, 3, 3, 3), {"groups": 8}),
        ((16, 4, 40, 40), (4, 4, 3, 3), {}),
        # Taps of the first axis are views of the columns.
        ((3, 64, 48, 50), (8, 32, 3, 3), {"groups": 2}),
    ],
)
def test_gathered_windows_are_the_same_in_any_number_of_threads(
    xp, rng, monkeypatch, x, w, options, channels
):
    x, w = (rng.integers(-4, 5, shape).astype(np.float32) for shape in (x, w))
    if channels == "last":
        x, w = np.moveaxis(x, 1, -1), np.moveaxis(w, (0, 1), (-1, -2))
    options = {**options, "padding": 1, "channels": channels}
    shared, found = [], []
    each = threads.each
    monkeypatch.setattr(
        threads, "each", lambda items, *rest: shared.append(len(items)) or each(items, *rest)
    )
    for method, count in (("im2col", 1), ("im2col", 3), ("direct", 1)):
        monkeypatch.setattr(threads, "count", lambda count=count: count)
        shared.clear()
        y, pullback = swath.vjp(nn.conv, x, w, method=method, **options)
        # Sums of few whole numbers, which no order of summation changes.
        found.append([y, *pullback(np.round(y / 64))])
        # Channels first, all in one group, the product is most of the work.
        alone = channels == "first" and "groups" not in options
        assert method == "direct" or alone or max(shared, default=0) > 1
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))


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


ENDING = """
import atexit
import numpy as np
from swath import nn
from swath._backends import threads

threads.count = lambda: 3
x = np.random.default_rng(0).standard_normal((1, 8, 512, 300))
if {earlier}:
    nn.max_pool(x, (5, 3), stride=1)
atexit.register(lambda: print(nn.max_pool(x, (5, 3), stride=1).shape))
"""


@pytest.mark.op("nn.max_pool")
@pytest.mark.parametrize("earlier", [False, True])
def test_work_is_done_while_the_interpreter_ends(earlier):
    code = [sys.executable, "-c", ENDING.format(earlier=earlier)]
    done = subprocess.run(code, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "(1, 8, 508, 298)", done.stderr


def test_work_is_done_where_no_more_threads_are_to_be_had(xp, three, monkeypatch):
    def refused(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "_pool", lambda count: threads.ThreadPoolExecutor(count))
    monkeypatch.setattr(threading.Thread, "start", refused)
    seen = []
    threads.each(range(20), list, lambda state, item: seen.append(item))
    assert seen == list(range(20))


def test_an_adapter_is_made_once_by_threads_that_meet_its_library_first(xp, monkeypatch):
    made = []

    class Slow(_backends.Backend):
        def register_result(self, cls, *rest):
            time.sleep(0.01)
            made.append(cls)

    monkeypatch.setattr(_backends, "_BY_NAMESPACE", {})
    monkeypatch.setattr(_backends, "_RESULTS", [(int, (), (), None), (str, (), (), None)])
    monkeypatch.setattr(_backends, "_ADAPTERS", {})
    monkeypatch.setattr(_backends, "Backend", Slow)
    meet, found = threading.Barrier(8, timeout=30), []

    def ask():
        meet.wait()
        found.append((_backends.backend_named("numpy"), list(made)))

    askers = [threading.Thread(target=ask) for _ in range(8)]
    for t in askers:
        t.start()
    for t in askers:
        t.join()
    assert len({id(backend) for backend, _ in found}) == 1
    # And nobody has it before it knows every result.
    assert [known for _, known in found] == [[int, str]] * 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform does not fork")
def test_forked_and_fresh_processes_share_work_of_their_own():
    """In a process of its own: others of this one's libraries start threads that a fork breaks."""
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["fork", "True", "spawn", "True"], done.stderr


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


def _pooled(seed):
    threads.count = lambda: 2  # on one core too
    x = np.random.default_rng(seed).standard_normal((1, 8, 512, 300))
    return float(nn.max_pool(x, (5, 3), stride=(1, 2)).sum())


if __name__ == "__main__":
    here = [_pooled(seed) for seed in range(3)]
    assert threads._pool.cache_info().currsize == 1
    for how in ("fork", "spawn"):
        with multiprocessing.get_context(how).Pool(2) as pool:
            print(how, pool.map_async(_pooled, range(3)).get(60) == here)
