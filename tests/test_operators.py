"""Linear operators against their matrices, sparse matrices, and outside solvers that take them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse.linalg

import swath
from oracles_linalg import layer_matrix
from swath.testing import assert_close, check_adjoint, check_vjp

linalg = swath.linalg


def gaussian(rng, shape, kind="real"):
    # Values that float32 holds exactly, so that every row sees the same data.
    x, y = (rng.standard_normal(shape).astype("float32").astype(float) for _ in range(2))
    return x + 1j * y if kind == "complex" else x


LAYER = {"stride": (2, 1), "padding": ((1, 0), (2, 1)), "dilation": (1, 2), "groups": 2}


def layer(w):
    return layer_matrix(w, (5, 4), (2, 1), [(1, 0), (2, 1)], (1, 2), 2)


def kinds(xp, rng, kind):
    """Every operator with its matrix from SciPy or from loops."""
    c, r, a = (gaussian(rng, n, kind) for n in (5, 3, 3))
    h = gaussian(rng, 4, kind)
    h[0] = h[0].real
    w = gaussian(rng, (4, 2, 3, 2), kind)
    give = xp.asarray
    yield linalg.ToeplitzOperator(give(c), give(r)), scipy.linalg.toeplitz(c, r)
    yield linalg.ToeplitzOperator(give(h)), scipy.linalg.toeplitz(h)
    for n in (5, 2):
        for mode in ("full", "same", "valid"):
            matrix = scipy.linalg.convolution_matrix(a, n, mode)
            yield linalg.ConvolutionOperator(give(a), n, mode), matrix
    yield linalg.ConvOperator(give(w), (5, 4), **LAYER), layer(w)


def made(xp, rng):
    """Operators made of others, with their matrices."""
    (a, one), *_, (b, two) = kinds(xp, rng, "complex")
    c = linalg.ToeplitzOperator(xp.asarray(gaussian(rng, 5)), xp.asarray(gaussian(rng, 3)))
    three = xp.numpy(c.to_dense())
    yield a.T, one.T
    yield a.H, one.conj().T
    yield b.T, two.T
    yield b.H.T.H, two.T
    yield a @ a.H, one @ one.conj().T
    yield a + c, one + three
    yield a - 3 * c, one - 3 * three
    yield 2j * c, 2j * three
    yield -(a / 4), -one / 4
    yield a.gram(), one.conj().T @ one
    yield a.gram(ridge=0.5), one.conj().T @ one + 0.5 * np.eye(3)
    yield b.H.gram(ridge=2).T, (two @ two.conj().T + 2 * np.eye(len(two))).T
    full = linalg.ConvolutionOperator(xp.asarray(gaussian(rng, 3, "complex")), 2)
    four = xp.numpy(full.to_dense())
    gram = full.gram(ridge=1)
    assert isinstance(gram, linalg.ToeplitzOperator)
    yield gram, four.conj().T @ four + np.eye(2)


@pytest.mark.on("numpy", "numpy-readonly", "torch", "strict", "strict-device1", "dpnp")
@pytest.mark.parametrize("which", ["real", "complex", "made"])
def test_products_equal_those_of_the_matrix(xp, rng, which):
    pairs = made(xp, rng) if which == "made" else kinds(xp, rng, which)
    for op, matrix in pairs:
        compare(xp, rng, op, matrix)


@pytest.mark.on("jax-jit", "jax-x32")
@pytest.mark.parametrize("which", [0, 1, 3, -1, "gram"])
def test_products_of_traced_operators(xp, rng, which):
    """Operators go into a compiled function and come out of one."""
    import jax

    if which == "gram":
        base, matrix = next(kinds(xp, rng, "complex"))
        op, matrix = base.gram(ridge=0.5), matrix.conj().T @ matrix + 0.5 * np.eye(3)
    else:
        op, matrix = list(kinds(xp, rng, "complex"))[which]
    m, n = matrix.shape
    x, y = xp.asarray(gaussian(rng, (n, 2), "complex")), xp.asarray(gaussian(rng, m, "complex"))
    run = jax.jit(lambda a, x, y: (a @ x, a.rmatvec(y), a.to_dense(), a.diagonal(), a.H))
    ahead, back, dense, diagonal, turned = run(op, x, y)
    assert_close(ahead, matrix @ xp.numpy(x), rtol=200 * xp.eps)
    assert_close(back, matrix.conj().T @ xp.numpy(y), rtol=200 * xp.eps)
    assert_close(dense, matrix, rtol=64 * xp.eps)
    assert_close(diagonal, np.diagonal(matrix), rtol=64 * xp.eps)
    assert_close(turned.to_dense(), matrix.conj().T, rtol=64 * xp.eps)


def compare(xp, rng, op, matrix):
    m, n = matrix.shape
    tol = 200 * xp.eps
    assert op.shape == (m, n)
    assert op.ndim == 2
    given = {
        v: xp.asarray(gaussian(rng, v, "complex"))
        for v in ((n,), (n, 1), (2, n, 3), (m,), (m, 1), (2, m, 3), (2, 3, m))
    }
    host = {v: xp.numpy(x) for v, x in given.items()}
    hermitian = matrix.conj().T
    for v in ((n,), (2, n, 3)):
        assert_close(op @ given[v], matrix @ host[v], rtol=tol)
        assert_close(op(given[v]), matrix @ host[v], rtol=tol)
        assert_close(op.dot(given[v]), matrix @ host[v], rtol=tol)
    for v in ((n,), (n, 1)):
        assert_close(op.matvec(given[v]), matrix @ host[v], rtol=tol)
    for v in ((m,), (m, 1)):
        assert_close(op.rmatvec(given[v]), hermitian @ host[v], rtol=tol)
    assert_close(op.matmat(given[(2, n, 3)]), matrix @ host[(2, n, 3)], rtol=tol)
    assert_close(op.rmatmat(given[(2, m, 3)]), hermitian @ host[(2, m, 3)], rtol=tol)
    for v in ((m,), (2, 3, m)):
        # array-api-strict's arrays do not leave `@` to their right neighbour.
        assert_close(op.__rmatmul__(given[v]), host[v] @ matrix, rtol=tol)
    assert_close(op.to_dense(), matrix, rtol=tol)
    assert_close(op.T.to_dense(), matrix.T, rtol=tol)
    assert_close(op.H.to_dense(), hermitian, rtol=tol)
    assert_close(op.conj().to_dense(), matrix.conj(), rtol=tol)
    assert_close(op.diagonal(), np.diagonal(matrix), rtol=tol)
    gram = op.gram()
    assert_close(gram.diagonal(), np.diagonal(hermitian @ matrix), rtol=tol)
    assert_close(gram @ given[(n,)], hermitian @ (matrix @ host[(n,)]), rtol=10 * tol)
    check_adjoint(op)
    check_adjoint(op.T)
    check_adjoint(gram)


@pytest.mark.on("numpy", "torch")
@pytest.mark.parametrize("kind", ["real", "complex"])
def test_pullbacks_of_products(xp, rng, kind):
    for op, matrix in kinds(xp, rng, kind):
        m, n = matrix.shape
        x, y = (xp.asarray(gaussian(rng, k, kind)) for k in (n, m))
        check_vjp(op.matvec, x)
        check_adjoint(op.rmatvec, y)
        _, pullback = swath.vjp(op.matvec, x)
        assert_close(pullback(y)[0], matrix.T @ xp.numpy(y), rtol=200 * xp.eps)


@pytest.mark.on("jax", "torch")
def test_gradients_with_respect_to_what_an_operator_holds(xp, rng):
    """Of <y, A x>, by the library, against the entries of y xᵀ."""
    c, r, a = (gaussian(rng, k) for k in (4, 3, 2))
    w = gaussian(rng, (2, 1, 2))
    x, y = gaussian(rng, 3), gaussian(rng, 4)
    build = {
        "toeplitz": lambda c, r, a, w: linalg.ToeplitzOperator(c, r),
        "convolution": lambda c, r, a, w: linalg.ConvolutionOperator(a, 3),
        "layer": lambda c, r, a, w: linalg.ConvOperator(w, 3),
    }
    outer = np.outer(y, x)
    want = {
        "toeplitz": [
            [np.trace(outer, -k) for k in range(4)],
            [0.0, np.trace(outer, 1), np.trace(outer, 2)],
        ],
        "convolution": [[np.trace(outer, 0), np.trace(outer, -1)]],
        "layer": [[[[outer[o * 2, j] + outer[o * 2 + 1, j + 1] for j in (0, 1)]] for o in (0, 1)]],
    }
    places = {"toeplitz": (0, 1), "convolution": (2,), "layer": (3,)}
    arrays = [xp.asarray(v) for v in (c, r, a, w)]
    x, y = xp.asarray(x), xp.asarray(y)
    for name, make in build.items():

        def loss(*arrays, make=make):
            return (make(*arrays).matvec(x) * y).sum()

        if xp.backend == "jax":
            import jax

            found = jax.grad(loss, argnums=places[name])(*arrays)
        else:
            import torch

            leaves = [v.detach().clone().requires_grad_() for v in arrays]
            found = torch.autograd.grad(loss(*leaves), [leaves[i] for i in places[name]])
        for got, wanted in zip(found, want[name], strict=True):
            assert_close(got, wanted, rtol=64 * xp.eps)


@pytest.mark.on("jax")
def test_operators_are_pytrees(xp, rng):
    import jax

    w, x = xp.asarray(gaussian(rng, (1, 1, 3))), xp.asarray(gaussian(rng, 6))
    op = linalg.ConvOperator(w, 6, padding="same")
    leaves, form = jax.tree_util.tree_flatten(op.gram(ridge=0.5))
    assert [v.shape for v in leaves] == [(1, 1, 3), ()]
    again = jax.tree_util.tree_unflatten(form, leaves)
    assert_close(again @ x, xp.numpy(op.gram(ridge=0.5) @ x), rtol=0)
    # A batch of operators, and the gradient as an operator.
    both = jax.tree.map(lambda v: jax.numpy.stack([v, 2 * v]), op)
    got = jax.vmap(lambda a: a @ x)(both)
    assert_close(got, np.stack([xp.numpy(op @ x), 2 * xp.numpy(op @ x)]), rtol=64 * xp.eps)
    slope = jax.grad(lambda a: (a @ x).sum())(op)
    padded = np.pad(xp.numpy(x), 1)
    want = [padded[j : j + 6].sum() for j in range(3)]
    assert_close(slope.weight[0, 0], want, rtol=64 * xp.eps)
    placeholder = jax.tree.map(lambda v: None, op, is_leaf=lambda v: v is w)
    assert repr(placeholder) == "<ConvOperator of [None]>"


FORMATS = {"numpy": "csr", "jax": "bcoo", "torch": "sparse_csr"}


@pytest.mark.op("linalg.conv_matrix")
@pytest.mark.on("numpy", "jax", "torch", "strict", "dpnp")
@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
@pytest.mark.parametrize("groups", [1, 2])
def test_sparse_layer_matrix(xp, rng, groups):
    w = gaussian(rng, (4, 4 // groups, 3, 2))
    w[0, 0, 0, 0] = 0.0  # stays in the pattern, which depends on shapes alone
    settings = {**LAYER, "groups": groups}
    make = lambda w: linalg.conv_matrix(w, (5, 4), format="csr", **settings)  # noqa: E731
    if xp.backend in ("strict", "dpnp"):
        name = xp.namespace.__name__
        with pytest.raises(NotImplementedError, match=f"{name} has no sparse matrices; there are"):
            make(xp.asarray(w))
        return
    got = make(xp.asarray(w))
    want = layer_matrix(w, (5, 4), (2, 1), [(1, 0), (2, 1)], (1, 2), groups)
    pattern = layer_matrix(np.ones_like(w), (5, 4), (2, 1), [(1, 0), (2, 1)], (1, 2), groups)
    x = gaussian(rng, want.shape[1])
    assert_close(got @ xp.asarray(x), want @ x, rtol=64 * xp.eps)
    if xp.backend == "numpy":
        got.check_format(full_check=True)
        assert isinstance(got, scipy.sparse.csr_array)
        assert got.has_canonical_format
        assert_close(got.toarray(), want, rtol=0)
        count = got.nnz
    elif xp.backend == "jax":
        assert type(got).__name__ == "BCOO"
        assert_close(got.todense(), want, rtol=0)
        count = got.nse
    else:
        assert str(got.layout) == "torch.sparse_csr"
        assert_close(got.to_dense(), want, rtol=0)
        count = got.values().shape[0]
    assert count == np.count_nonzero(pattern)


@pytest.mark.op("linalg.conv_matrix")
@pytest.mark.on("jax", "torch")
@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
def test_values_of_sparse_matrices_are_differentiable(xp, rng):
    w, x, y = gaussian(rng, (2, 1, 3)), gaussian(rng, 6), gaussian(rng, 8)
    outer = np.outer(y, x).reshape(2, 4, 6)
    want = [[[np.trace(part, j) for j in range(3)]] for part in outer]

    def loss(w):
        product = linalg.conv_matrix(w, 6, format="csr") @ xp.asarray(x)
        return (product * xp.asarray(y)).sum()

    if xp.backend == "jax":
        import jax

        got = jax.jit(jax.grad(loss))(xp.asarray(w))
    else:
        import torch

        leaf = xp.asarray(w).requires_grad_()
        (got,) = torch.autograd.grad(loss(leaf), leaf)
    assert_close(got, want, rtol=64 * xp.eps)


@pytest.mark.op("linalg.conv_matrix")
def test_other_formats_of_a_layer_matrix(rng):
    w = rng.standard_normal((2, 1, 3))
    assert_close(linalg.conv_matrix(w, 7, format="operator").to_dense(), linalg.conv_matrix(w, 7))
    for name in ("csr", "operator"):
        with pytest.raises(NotImplementedError, match='take format="dense", or the products of an'):
            swath.vjp(linalg.conv_matrix, w, 7, format=name)
    with pytest.raises(NotImplementedError, match="SciPy's sparse matrices have no float16"):
        linalg.conv_matrix(w.astype("float16"), 7, format="csr")
    # Several kernels stack: the rows of kernel o are the matrix of kernel o alone.
    whole = linalg.conv_matrix(w, 7, format="csr").toarray()
    for o in range(2):
        assert_close(
            whole[5 * o : 5 * o + 5], linalg.correlation_matrix(w[o, 0], 7, "valid"), rtol=0
        )


def blur(xp, size):
    """A blur that is well conditioned, on size × size points."""
    w = np.array([[0.05, 0.1, 0.05], [0.1, 1.0, 0.1], [0.05, 0.2, 0.05]])
    op = linalg.ConvOperator(xp.asarray(w[None, None]), (size, size), padding="same")
    return op, layer_matrix(w[None, None], (size, size), (1, 1), [(1, 1)] * 2, (1, 1), 1)


@pytest.mark.on("numpy", "numpy-readonly")
def test_scipy_solvers_take_operators(xp, rng):
    solvers = scipy.sparse.linalg
    op, matrix = blur(xp, 8)
    b = xp.asarray(rng.standard_normal(64))
    want = np.linalg.solve(matrix, b)
    assert_close(solvers.lsqr(op, b, atol=1e-14, btol=1e-14)[0], want, rtol=1e-10)
    assert_close(solvers.lsmr(op, b, atol=1e-14, btol=1e-14)[0], want, rtol=1e-10)
    x, info = solvers.gmres(op, b, rtol=1e-12)
    assert info == 0
    assert_close(x, want, rtol=1e-10)
    gram = op.gram(ridge=0.1)
    x, info = solvers.cg(gram, b, rtol=1e-13)
    assert info == 0
    assert_close(x, np.linalg.solve(matrix.T @ matrix + 0.1 * np.eye(64), b), rtol=1e-10)
    largest = np.sort(solvers.svds(op, k=3, random_state=0)[1])[::-1]
    assert_close(largest, np.linalg.svd(matrix)[1][:3], rtol=1e-10)
    values = solvers.eigsh(gram, k=2, return_eigenvectors=False, v0=np.ones(64))
    want = np.linalg.eigvalsh(matrix.T @ matrix + 0.1 * np.eye(64))[-2:]
    assert_close(np.sort(values), want, rtol=1e-10)
    wrapped = solvers.aslinearoperator(op)
    assert_close((2 * wrapped.H) @ b, 2 * matrix.T @ b, rtol=1e-12)
    c = gaussian(rng, 5, "complex")
    t = linalg.ToeplitzOperator(c, gaussian(rng, 3, "complex"))
    check_adjoint(solvers.aslinearoperator(t))
    b = gaussian(rng, 5, "complex")
    want = np.linalg.lstsq(t.to_dense(), b)[0]
    assert_close(solvers.lsqr(t, b, atol=1e-14, btol=1e-14)[0], want, rtol=1e-10)


@pytest.mark.on("numpy")
@pytest.mark.needs("pylops")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pylops_takes_operators(xp, rng, monkeypatch):
    # An installed CuPy without a GPU would stop PyLops' import.
    monkeypatch.setenv("CUPY_PYLOPS", "0")
    import pylops

    op, matrix = blur(xp, 6)
    b = rng.standard_normal(36)
    want = np.linalg.solve(matrix, b)
    assert pylops.utils.dottest(op, 36, 36)
    x = pylops.optimization.basic.cgls(op, b, np.zeros(36), niter=200, tol=1e-26)[0]
    assert_close(x, want, rtol=1e-9)
    inside = pylops.aslinearoperator(op)
    stacked = pylops.VStack([inside, 0.1 * pylops.Identity(36)])
    assert_close(stacked @ b, np.concatenate([matrix @ b, 0.1 * b]), rtol=1e-12)
    assert pylops.utils.dottest(stacked, 72, 36)
    x = pylops.optimization.basic.lsqr(inside, b, np.zeros(36), niter=200, atol=0, btol=0)[0]
    assert_close(x, want, rtol=1e-9)


@pytest.mark.on("jax")
def test_jax_solvers_take_operators(xp, rng):
    import jax
    import jax.scipy.sparse.linalg as solvers

    op, matrix = blur(xp, 6)
    b = xp.asarray(rng.standard_normal(36))

    @jax.jit
    def solve(op, b):
        x, _ = solvers.cg(op.gram(ridge=0.1), b, tol=1e-13)
        y, _ = solvers.gmres(op, b, tol=1e-12)
        return x, y

    x, y = solve(op, b)
    normal = matrix.T @ matrix + 0.1 * np.eye(36)
    assert_close(x, np.linalg.solve(normal, xp.numpy(b)), rtol=1e-10)
    assert_close(y, np.linalg.solve(matrix, xp.numpy(b)), rtol=1e-9)


@pytest.mark.on("jax")
@pytest.mark.needs("lineax")
def test_lineax_takes_operators(xp, rng):
    """The operator itself is the function; the derivative of the solution goes through it."""
    import jax
    import lineax

    op, matrix = blur(xp, 6)
    b = xp.asarray(rng.standard_normal(36))
    normal = matrix.T @ matrix + 0.1 * np.eye(36)

    def solve(op, b):
        given = lineax.FunctionLinearOperator(
            op.gram(ridge=0.1), jax.ShapeDtypeStruct(b.shape, b.dtype),
            lineax.positive_semidefinite_tag,
        )  # fmt: skip
        x = lineax.linear_solve(given, b, lineax.CG(1e-13, 1e-13)).value
        return x.sum(), x

    want = np.linalg.solve(normal, xp.numpy(b))
    (_, x), slopes = jax.jit(jax.value_and_grad(solve, has_aux=True))(op, b)
    assert_close(x, want, rtol=1e-10)
    slope = slopes.weight
    # d(sum N⁻¹ b)/dw = −zᵀ (dN/dw) x with N z = 1, by differences of the dense normal matrix.
    h = 1e-6
    z = np.linalg.solve(normal, np.ones(36))
    for place in ((0, 0), (1, 1), (2, 1)):
        step = np.zeros((1, 1, 3, 3))
        step[0, 0][place] = h
        d = layer_matrix(step, (6, 6), (1, 1), [(1, 1)] * 2, (1, 1), 1) / h
        expected = -z @ (d.T @ matrix + matrix.T @ d) @ want
        assert abs(float(slope[0, 0][place]) - expected) < 1e-8 * abs(z @ z)


def test_an_operator_holds_integers_exactly(rng):
    w = rng.integers(-9, 9, (2, 1, 3)).astype("int32")
    op = linalg.ConvOperator(w, 6)
    x = rng.integers(-9, 9, 6).astype("int32")
    assert_close(op @ x, op.to_dense() @ x, dtype="int32")
    assert_close(op @ x.astype("float32"), op.to_dense() @ x, dtype="float32", rtol=0)
    assert op.dtype == np.int32
    assert (2 * op).dtype == np.int32
    assert (0.5 * op).dtype == np.float64
    assert_close(0.5 * op @ x, 0.5 * op.to_dense() @ x, rtol=1e-15)
    check_adjoint(op)


@pytest.mark.on("numpy", "jax", "torch", "strict", "cupy")
def test_an_operator_is_divided_by_an_integer_in_an_array(xp):
    two = xp.asarray(np.array(2, "int32"))
    op = linalg.ToeplitzOperator(xp.asarray([1.0, 2.0]))
    assert_close((op / two) @ xp.asarray([1.0, 1.0]), [1.5, 1.5], dtype=xp.float)
    op = linalg.ToeplitzOperator(xp.asarray(np.array([1, 2], "int32")))
    assert_close((op / two) @ xp.asarray([1.0, 1.0]), [1.5, 1.5], dtype=xp.float)
    with pytest.raises(TypeError, match="factor must be numeric"):
        op / xp.asarray(np.array(True))


def test_products_of_nothing():
    op = linalg.ConvOperator(np.ones((2, 1, 3)), 6)
    assert_close(op @ np.ones((6, 0)), np.ones((8, 0)), dtype="float64")
    assert_close(op.rmatmat(np.ones((3, 8, 0))), np.ones((3, 6, 0)), dtype="float64")


def test_operators_are_immutable_and_say_what_they_are():
    op = linalg.ToeplitzOperator(np.ones(3), np.ones(2))
    with pytest.raises(AttributeError, match="ToeplitzOperator is immutable; make a new one"):
        op.c = np.zeros(3)
    with pytest.raises(AttributeError, match="ToeplitzOperator is immutable"):
        del op.c
    assert repr(op) == "<ToeplitzOperator 3 × 2, float64>"
    assert repr(op.gram()) == "<Gram 2 × 2, float64>"
    assert np.ones(3) @ op is not None
    assert_close(np.ones(3) @ op, [3.0, 3.0])
    assert_close((np.float64(2) * op) @ np.ones(2), [4.0, 4.0, 4.0])
    assert_close([1.0, 1.0] @ op.T, [2.0, 2.0, 2.0])
    assert op.T.T.shape == op.shape
    assert op.conj() is op


def test_check_adjoint_catches_a_forgotten_conjugate(rng):
    class Forgets:
        def __init__(self, matrix):
            self.matrix, self.shape, self.dtype = matrix, matrix.shape, matrix.dtype

        def matvec(self, x):
            return self.matrix @ x

        def rmatvec(self, x):
            return self.matrix.T @ x

    check_adjoint(Forgets(rng.standard_normal((3, 2))))
    with pytest.raises(AssertionError, match="adjoint, rmatvec: <y, Ax> = "):
        check_adjoint(Forgets(gaussian(rng, (3, 2), "complex")))


def test_bound_library_makes_operators_of_lists():
    sw = swath.bind("numpy")
    op = sw.linalg.ToeplitzOperator([1.0, 2.0], r=[1.0, 3.0])
    assert_close(op @ [1.0, 1.0], [4.0, 3.0])
    assert_close(sw.linalg.ConvOperator([[[1.0, 2.0]]], 3) @ [1.0, 1.0, 1.0], [3.0, 3.0])


T = linalg.ToeplitzOperator(np.ones(3), np.ones(2))
BAD = [
    (lambda: linalg.ToeplitzOperator(np.ones((2, 2))), ValueError,
     r"ToeplitzOperator: c must be one vector of at least one entry, got .*matmul_toeplitz takes"),
    (lambda: linalg.ToeplitzOperator(np.ones(2), np.ones(0)), ValueError, "r must be one vector"),
    (lambda: linalg.ToeplitzOperator(None), TypeError, "c must be an array, a number or a nested"),
    (lambda: linalg.ToeplitzOperator(np.array([True])), TypeError, "c must be numeric"),
    (lambda: linalg.ConvolutionOperator(np.ones(2), 0), ValueError, "n must be at least 1, got 0"),
    (lambda: linalg.ConvolutionOperator(np.ones(0), 2), ValueError, "a must be one vector of at"),
    (lambda: linalg.ConvolutionOperator(np.ones(2), 2, "x"), ValueError, "mode must be one of"),
    (lambda: linalg.ConvOperator(np.ones((2, 2)), 2), ValueError, "ConvOperator: weight must be"),
    (lambda: linalg.ConvOperator(np.ones((2, 1, 3)), 2), ValueError, "kernel spans 3 points"),
    (lambda: T @ np.ones(3), ValueError,
     r"ToeplitzOperator.__matmul__: x must be \(2,\) or \(\.\.\., 2, k\) for an operator of shape "
     r"\(3, 2\), got ndarray of shape \(3,\)"),
    (lambda: T @ 2.0, ValueError, r"x must be \(2,\) or"),
    (lambda: T.matvec(np.ones((2, 2))), ValueError,
     r"matvec: x must be \(2,\) or \(2, 1\) for an operator of shape \(3, 2\), got"),
    (lambda: T.rmatvec(np.ones(2)), ValueError, r"rmatvec: x must be \(3,\) or \(3, 1\)"),
    (lambda: T.matmat(np.ones(2)), ValueError, r"matmat: x must be \(\.\.\., 2, k\)"),
    (lambda: np.ones((3, 2)) @ T, ValueError, r"x must be \(\.\.\., 3\) to stand before an"),
    (lambda: T @ np.array([True, True]), TypeError, "x must be numeric"),
    (lambda: T @ T, ValueError, r"shapes \(3, 2\) and \(3, 2\) do not compose: 2 columns meet 3"),
    (lambda: T + T.T, ValueError, r"operators of shapes \(3, 2\) and \(2, 3\) cannot be added"),
    (lambda: T * np.ones(2), TypeError, r"factor must be one number, got ndarray of shape \(2,\)"),
    (lambda: T * T, TypeError, "factor must be a number; A @ B composes operators"),
    (lambda: T * "two", TypeError, "factor must be an array, a number or a nested list"),
    (lambda: T.gram(ridge=np.ones(2)), TypeError, "ridge must be one number"),
    (lambda: T.dot("x"), TypeError, "dot: x must be an array or an operator"),
    (lambda: T + 1, TypeError, "unsupported operand"),
]  # fmt: skip


@pytest.mark.parametrize("call,error,text", BAD)
def test_bad_input_says_what_is_wrong(call, error, text):
    with pytest.raises(error, match=text):
        call()


@pytest.mark.needs("torch")
def test_mixed_libraries_are_refused():
    import torch

    with pytest.raises(TypeError, match="c is an array of numpy and x of torch"):
        T @ torch.ones(2)
    other = linalg.ToeplitzOperator(torch.ones(2), torch.ones(3))
    with pytest.raises(TypeError, match=r"left\.c is an array of numpy and right\.c of torch"):
        T @ other
