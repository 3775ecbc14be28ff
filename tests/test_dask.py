"""Dask: nothing is computed before it is asked for, piece by piece, whoever computes.

What operations give is tested with all others on the row `dask`; here is what Dask alone has.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import scipy.signal

import swath
from swath import linalg, nn, signal
from swath._backends import backend_of
from swath.testing import assert_close

pytestmark = pytest.mark.needs("dask")
if find_spec("dask") is not None:
    import dask
    import dask.array as da


def never(*_, **__):
    raise AssertionError("a chunk was computed")


def unread(*shape, chunks):
    """An array whose chunks fail when they are computed."""
    return da.map_blocks(never, da.zeros(shape, chunks=chunks), dtype=float, meta=np.empty((0,)))


LAZY = {
    "convolve": lambda x, k: signal.convolve(x, k, "same", axes=1),
    "resample_poly": lambda x, k: signal.resample_poly(x, 3, 2, axis=1),
    "stft": lambda x, k: signal.stft(x, nperseg=16)[2],
    "filtfilt": lambda x, k: signal.filtfilt(k, 1.0, x),
    "max_pool": lambda x, k: nn.max_pool(x, (3,), axes=1, return_indices=True)[1],
    "unpool": lambda x, k: nn.max_unpool(x[:, None, :], da.zeros((6, 1, 40), dtype=int), (2,)),
    "lstsq": lambda x, k: linalg.lstsq(x.T, x[0], weights=abs(x[1])).x,
    "solve_toeplitz": lambda x, k: linalg.solve_toeplitz(x[0], x[1]),
    "identify_fir": lambda x, k: linalg.identify_fir(x[0], x[1], 3),
}


@pytest.mark.parametrize("name", LAZY)
def test_nothing_is_read_before_the_result_is_asked_for(name):
    y = LAZY[name](unread(6, 40, chunks=(4, 11)), unread(5, chunks=3))
    assert isinstance(y, da.Array)
    with pytest.raises(AssertionError, match="a chunk was computed"):
        y.compute(scheduler="synchronous")


def test_a_pullback_is_lazy_too():
    x, w = unread(2, 3, 9, 8, chunks=(1, 3, 4, 5)), unread(4, 3, 3, 3, chunks=4)
    y, pullback = swath.vjp(nn.conv, x, w, padding=1)
    for part in pullback(y)[:2]:
        with pytest.raises(AssertionError, match="a chunk was computed"):
            part.compute(scheduler="synchronous")


def test_chunks_of_the_result_follow_the_data(rng):
    x = da.from_array(rng.standard_normal((5, 100)), chunks=((2, 3), (40, 35, 25)))
    k = da.from_array(rng.standard_normal(7))
    assert signal.convolve(x, k, "same", axes=1).chunks == ((2, 3), (40, 35, 25))
    # A full convolution's tail goes in chunks of no other length.
    assert signal.convolve(x[:, :80], x[0, :60], axes=1).chunks[1] == (40, 35, 40, 24)
    assert signal.upfirdn(k, x, 2, 5).chunks[1] == (16, 14, 11)
    pooled = nn.max_pool(x, (2,), axes=1)
    assert pooled.chunks == ((2, 3), (20, 17, 13))
    _, pullback = swath.vjp(nn.avg_pool, x, (2,), axes=1)
    assert pullback(pooled)[0].chunks == ((2, 3), (40, 34, 26))


def test_a_piece_reads_its_own_neighbourhood_alone(rng):
    """A chunk far away may fail: it is not looked at."""
    good = da.from_array(rng.standard_normal(60), chunks=20)
    x = da.concatenate([good, unread(20, chunks=20)])
    y = signal.convolve(x, da.from_array(rng.standard_normal(9)), "same")
    assert np.isfinite(y[:40].compute(scheduler="synchronous")).all()
    with pytest.raises(AssertionError, match="a chunk was computed"):
        y[40:].compute(scheduler="synchronous")


def test_every_scheduler_gives_the_same_bits(rng):
    x = da.from_array(rng.standard_normal((2, 3, 40, 30)).astype("float32"), chunks=(1, 3, 16, 30))
    w = da.from_array(rng.standard_normal((4, 3, 5, 5)).astype("float32"))
    a, b = da.from_array(rng.standard_normal((90, 4)), chunks=(30, 4)), da.ones(90, chunks=30)

    def run():
        y = nn.conv(x, w, padding="same", stride=2)
        return *swath.vjp(nn.conv, x, w, padding="same", stride=2)[1](y)[:2], linalg.lstsq(a, b).x

    results = [dask.compute(*run(), scheduler=s) for s in ("synchronous", "threads", "processes")]
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            assert np.array_equal(one, two)


@pytest.mark.needs("distributed")
@pytest.mark.filterwarnings("ignore")  # its servers warn of sockets left open when they end
def test_a_cluster_computes_what_one_process_does(rng):
    from distributed import Client

    x = da.from_array(rng.standard_normal((2, 4000)), chunks=(1, 1500))
    taps = da.from_array(signal.firwin(57, 0.2))
    y = nn.lp_pool(signal.lfilter(taps, 1.0, x), (100,), axes=1)
    sums = linalg.GramAccumulator(2)
    sums.update(x.T, x[0])
    wanted = (y, signal.resample_poly(x, 3, 2, axis=1), sums.solve().x)
    here = dask.compute(*wanted, scheduler="synchronous")
    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with Client(**settings, worker_dashboard_address=None):
        there = dask.compute(*wanted)
    for one, two in zip(here, there, strict=True):
        assert np.array_equal(one, two)


def test_the_same_call_has_the_same_name_and_others_have_others(rng):
    x, k = da.from_array(rng.standard_normal(50), chunks=20), da.from_array(rng.standard_normal(5))
    name = signal.convolve(x, k).name
    assert signal.convolve(x, k).name == name
    with swath.workspace(2**20):
        names = {name, signal.convolve(x, k).name}
    names |= {signal.convolve(x, k, "same").name, signal.correlate(x, k).name}
    names.add(signal.convolve(x, k, method="direct").name)
    assert len(names) == 5


def test_settings_are_those_of_the_call(rng, monkeypatch):
    """Those that held when the graph was made, in whichever thread it runs."""
    seen = []
    be = backend_of(np.zeros(1))
    call = type(be).call
    from swath.settings import current_workspace

    def spy(self, core, geometry, arrays):
        seen.append((current_workspace(0), self.fast))
        return call(self, core, geometry, arrays)

    monkeypatch.setattr(type(be), "call", spy)
    x = da.from_array(rng.standard_normal(50), chunks=20)
    with swath.workspace(12345678), swath.precision("fast"):
        y = signal.convolve(x, x[:5])
    y.compute(scheduler="threads")
    assert set(seen) == {(12345678, True)}


def test_sums_over_chunks_of_rows_equal_those_of_the_whole(rng):
    a, b = rng.standard_normal((500, 4)), rng.standard_normal(500)
    weights = rng.random(500)
    sums = linalg.GramAccumulator(4)
    pieces = [da.from_array(v, chunks=(61, *v.shape[1:])) for v in (a, b, weights)]
    sums.update(*(v[:300] for v in pieces))
    sums.update(*(v[300:] for v in pieces))
    later = sums.step(sums.state, unread(9, 4, chunks=4), unread(9, chunks=4))
    with pytest.raises(AssertionError, match="a chunk was computed"):
        later.high.compute(scheduler="synchronous")
    (got,) = dask.compute(sums.solve())
    want = linalg.lstsq(a, b, weights=weights, accuracy="full")
    assert_close(got.x, want.x, rtol=4 * np.finfo(float).eps)
    assert_close(got.stderr, want.stderr, rtol=1e-13)
    assert int(got.rows) == 500


def test_a_batch_of_problems_goes_chunk_by_chunk(rng):
    a = da.from_array(rng.standard_normal((6, 9, 3)), chunks=(2, 4, 3))
    b = da.from_array(rng.standard_normal((6, 9, 1)), chunks=(3, 9, 1))
    g = linalg.gram_extended(a)[0]
    assert g.chunks[0] == (2, 2, 2)
    assert_close(g, np.einsum("bij,bik->bjk", a.compute(), a.compute()), rtol=1e-14)
    (got,) = dask.compute(linalg.lstsq(a, b))
    want = np.stack([np.linalg.lstsq(*p, rcond=None)[0] for p in zip(*dask.compute(a, b))])
    assert_close(got.x, want, rtol=1e-12)
    assert got.success.all()


def test_what_cannot_be_found_when_values_are_unknown_is_nan_or_refused():
    a = da.ones((5, 2), chunks=(3, 2))
    got = linalg.lstsq(a, da.ones(5), on_deficient="raise")
    assert np.isnan(got.x.compute(scheduler="synchronous")).all()
    assert not bool(got.success.compute(scheduler="synchronous"))
    for refused, match in (
        (lambda: linalg.gram_report(a), "traced.* or lazy; call it on concrete arrays"),
        (lambda: signal.minimum_phase(a[:, 0]), r"h is traced or lazy.*h\.compute\(\)"),
        (lambda: linalg.lstsq(a, a[:, 0], on_deficient="drop"), "cannot be traced"),
    ):
        with pytest.raises(NotImplementedError, match=match):
            refused()


def test_errors_come_when_the_call_is_made():
    x = da.ones((4, 20), chunks=5)
    unknown = x[x[:, 0] > 0]
    with pytest.raises(ValueError, match=r"in1 has chunks of unknown sizes .*compute_chunk_sizes"):
        signal.convolve(unknown, x[0], axes=1)
    with pytest.raises(TypeError, match=r"in1 is .* of dask and in2 of numpy.*bind\(.dask.\)"):
        signal.convolve(x, np.ones(3), axes=1)
    with pytest.raises(ValueError, match="weight has 3 input channels"):
        nn.conv(x[None], da.ones((2, 3, 3)))
    with pytest.raises(NotImplementedError, match="dask has no sparse matrices"):
        linalg.conv_matrix(da.ones((2, 1, 3)), (10,), format="csr")


HOLES = {
    "match_template": lambda x, k: signal.match_template(x, k, axes=1),
    "global_max_pool": lambda x, k: nn.global_max_pool(x[None, ...]),
    "project": lambda x, k: linalg.project(x.T, x[0, :]).projection,
    "filtfilt": lambda x, k: signal.filtfilt(k, k[:1], x, axis=1),
}


@pytest.mark.parametrize("name", HOLES)
def test_chunks_may_be_empty(rng, name):
    """What is selected by values, chunk by chunk, leaves such; Dask cannot reduce them."""
    table, taps = rng.standard_normal((3, 40)), rng.standard_normal(5)
    kept = np.arange(40) // 10 != 1
    x = da.from_array(table, chunks=(3, 10))[:, da.from_array(kept, chunks=10)]
    x, k = x.compute_chunk_sizes(), da.from_array(taps).rechunk(((0, 2, 3),))
    assert 0 in x.chunks[1]
    got, want = HOLES[name](x, k), HOLES[name](table[:, kept], taps)
    assert_close(got, want, rtol=1e-12, atol=1e-12)


def test_pullbacks_take_empty_chunks(rng):
    x = rng.standard_normal((2, 3, 8))
    holes = da.from_array(x, chunks=-1).rechunk(((0, 2), (3, 0), (4, 0, 4)))
    ct = rng.standard_normal((2, 3, 1))
    _, pullback = swath.vjp(nn.global_max_pool, holes)
    want = swath.vjp(nn.global_max_pool, x)[1](ct)[0]
    found = pullback(da.from_array(ct, chunks=-1).rechunk(((2, 0), 3, 1)))[0]
    assert_close(found, want, rtol=1e-12)


def test_a_bound_library_moves_arrays_in_and_out(rng):
    sw, x = swath.bind("dask.array"), rng.standard_normal((3, 40))
    y = sw.signal.lfilter([0.5, 0.5], 1.0, x)
    assert isinstance(y, da.Array)
    assert_close(sw.to_numpy(y), scipy.signal.lfilter([0.5, 0.5], 1.0, x))
    assert isinstance(sw.signal.firwin(21, 0.3), da.Array)
    assert "dask" in swath.available_backends()
