"""The second-largest eigenvalue modulus of sparse mixing matrices, including those of many peers."""

import cmath
import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import Complex, Float
from scipy.sparse import csgraph, csr_array
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigs, eigsh

from topologies.mixing import spectral_gap
from topologies.schedule import Round

MAX_RESTARTS = 60  # Lanczos restarts before it counts as stuck among clustered eigenvalues
WIDE, WIDE_RESTARTS, WIDE_RESIDUAL = 96, 60, 1e-9  # Lanczos vectors, restarts and residual where none is solved
BESIDE = 1e-8  # distance of the shift from [-1, 1], or from the unit circle, in shift-invert mode
WHOLE_PEERS = 1_000  # up to this many peers, all eigenvalues of an asymmetric W are computed, in seconds
MAX_STEPS = 24_000  # Arnoldi steps
NEAR = 16  # eigenvalues computed around each point of the unit circle
MAX_POINTS = 200  # points on the circle
MAX_WORK = 1e9  # peers times squared bandwidth, per point
RESIDUAL = 1e-9  # largest accepted ||W v - value v||, for v of norm 1
ALIKE = 1e-3  # largest accepted difference of two results for a gap, relative to it
ROUNDING = 1e-13  # the same, absolute


def group_eigenvalues(mixing: csr_array, digits: tuple[int, ...]) -> Complex[np.ndarray, " modes"]:
    """The eigenvalues of a translation-invariant matrix, except that of the mean.

    The eigenvectors are the characters of the group; the eigenvalues are a row's Fourier transform over the digits.
    """
    row = mixing[[0]].toarray().reshape(digits[::-1])
    values: Complex[np.ndarray, " modes"] = np.fft.fftn(row).ravel()[1:]
    return values


def group_moduli(mixing: csr_array, digits: tuple[int, ...]) -> Float[np.ndarray, " modes"]:
    """|eigenvalues| of a translation-invariant matrix, except that of the mean."""
    moduli: Float[np.ndarray, " modes"] = np.minimum(np.abs(group_eigenvalues(mixing, digits)), 1.0)
    return moduli


def second_modulus(rounds: Sequence[Round], symmetric: bool) -> float | None:
    """The second-largest |eigenvalue| of the rounds' product; symmetric: whether it is a single symmetric matrix.

    None if it is not known: no iteration converges, or two results imply different gaps. Without symmetry it is
    computed twice, for the matrix and for its transpose, because rounding and start vectors affect them differently:
    from all eigenvalues up to WHOLE_PEERS, else by Arnoldi iteration, else along the unit circle.
    """
    size = rounds[0].num_peers
    start = np.random.default_rng(0).standard_normal(size)
    if symmetric:
        operator = LinearOperator((size, size), matvec=lambda values: _without_mean(rounds, values), dtype=np.float64)
        try:
            value, vector = eigsh(operator, k=1, which="LM", v0=start, maxiter=MAX_RESTARTS)
            return _refined(rounds[0].mixing, float(value[0]), vector[:, 0])
        except ArpackNoConvergence:
            return _of_cluster(rounds[0].mixing, operator, start)
    if size <= WHOLE_PEERS:
        product = rounds[0].mixing.toarray()
        for round_ in rounds[1:]:
            product = round_.mixing @ product
        return whole_modulus(product)
    found = _by_arnoldi(rounds, start)
    if found is None and len(rounds) == 1 and is_narrow(rounds[0].mixing):
        return _along_circle(rounds[0].mixing, start)
    return found


def whole_modulus(product: Float[np.ndarray, "peers peers"]) -> float | None:
    """The second-largest |eigenvalue| from all eigenvalues; None if rounding makes the transpose yield another."""
    return _if_alike(1 - spectral_gap(product), 1 - spectral_gap(product.T))


def _without_mean(rounds: Sequence[Round], values: Float[np.ndarray, " peers"]) -> Float[np.ndarray, " peers"]:
    """(I - J) W @ values: removes the eigenvalue 1 of agreement and keeps the others."""
    for round_ in rounds:
        values = round_.mixing @ values
    away: Float[np.ndarray, " peers"] = values - values.mean()
    return away


def _without_mean_back(rounds: Sequence[Round], values: Float[np.ndarray, " peers"]) -> Float[np.ndarray, " peers"]:
    """The transpose of `_without_mean`."""
    values = values - values.mean()
    for round_ in reversed(rounds):
        values = round_.mixing.T @ values
    return values


def _if_alike(modulus: float, other: float) -> float | None:
    """The modulus, if another result for it implies the same gap; else None."""
    alike = abs(modulus - other) <= ALIKE * (1 - modulus) + ROUNDING
    return modulus if alike else None


def is_narrow(matrix: csr_array) -> bool:
    """Whether a linear system in the matrix is solved in about a second, judged by its bandwidth after reordering."""
    order = csgraph.reverse_cuthill_mckee(matrix)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    cells = matrix.tocoo()
    width = int(np.abs(place[cells.row] - place[cells.col]).max())
    return len(order) * width**2 <= MAX_WORK


def _by_arnoldi(rounds: Sequence[Round], start: Float[np.ndarray, " peers"]) -> float | None:
    """By Arnoldi iteration on the matrix and its transpose, as one alone may converge to a smaller eigenvalue.

    None if they disagree.
    """
    moduli = []
    for way, kept in ((_without_mean, 20), (_without_mean_back, 60)):
        operator = LinearOperator((len(start),) * 2, matvec=partial(way, rounds), dtype=np.float64)
        try:
            found = eigs(
                operator, 1, which="LM", v0=start, ncv=kept, maxiter=MAX_STEPS // kept, return_eigenvectors=False
            )
        except ArpackError:
            return None
        moduli.append(float(np.abs(found).max()))
    return _if_alike(*moduli)


def _along_circle(matrix: csr_array, start: Float[np.ndarray, " peers"]) -> float | None:
    """The second-largest modulus if many are clustered, from the eigenvalues nearest to points of the unit circle.

    The disc around a point that reaches to the farthest eigenvalue found contains no other eigenvalue. Once such discs
    cover the ring between the largest modulus found and the circle, no larger one can exist. Eigenvalues come in
    conjugate pairs, so half of the ring suffices, and of that only the angles that Gershgorin's discs allow.
    """
    own_weight = float(matrix.diagonal().min())
    largest, best, covered, step = 0.0, 0.0, 0.0, 0.0
    for _ in range(MAX_POINTS):
        angle = covered + step
        found = _nearest(matrix, angle, start)
        if found is None:
            return None
        modulus, radius = found
        if modulus > largest:
            largest, best = modulus, angle
        half = _half_width(radius, largest)
        if not half:
            return None
        if half >= step:  # the new arc touches the covered one
            covered, step = angle + half, half
        else:
            step /= 2
        if covered >= _widest(own_weight, largest):
            back = _nearest(matrix.T.tocsr(), best, start)
            return None if back is None else _if_alike(largest, back[0])
    return None


def _nearest(matrix: csr_array, angle: float, start: Float[np.ndarray, " peers"]) -> tuple[float, float] | None:
    """The NEAR eigenvalues around this point of the circle: their largest modulus except 1, and their largest distance.

    None if they are not found, or their residuals are too large.
    """
    point = (1 + BESIDE) * cmath.exp(1j * angle)
    shifted = matrix.astype(np.complex128).tocsc()
    try:
        values, vectors = eigs(shifted, NEAR, sigma=point, v0=start.astype(np.complex128), maxiter=MAX_RESTARTS)
    except (RuntimeError, MemoryError):  # raised by ARPACK and SuperLU on failure
        return None
    residuals = np.asarray(matrix @ vectors) - vectors * values
    if np.linalg.norm(residuals, axis=0).max() > RESIDUAL:
        return None
    moduli = np.abs(values)[np.abs(values - 1) > BESIDE / 10]
    return float(moduli.max(initial=0.0)), float(np.abs(values - point).max())


def _half_width(radius: float, inner: float) -> float:
    """The half angle in which a disc centred just outside the circle covers all moduli from `inner` to 1."""
    centre, radius = 1 + BESIDE, radius * (1 - BESIDE)
    cosines = [(edge**2 + centre**2 - radius**2) / (2 * edge * centre) for edge in (inner, 1.0) if edge]
    return math.acos(min(max(*cosines, -1.0), 1.0))


def _widest(own_weight: float, inner: float) -> float:
    """The widest angle of an eigenvalue of modulus >= inner, given that all are within 1 - w of w = own_weight."""
    if not own_weight:
        return math.pi
    edge = min(max(inner, math.sqrt(max(2 * own_weight - 1, 0.0))), 1.0)
    return math.acos(min(max((edge**2 - 1 + 2 * own_weight) / (2 * edge * own_weight), -1.0), 1.0)) if edge else math.pi


def _of_cluster(matrix: csr_array, operator: LinearOperator, start: Float[np.ndarray, " peers"]) -> float | None:
    """The second-largest modulus where many eigenvalues are close to it.

    Beside the ends of the spectrum where linear systems are cheap, as on long paths; else, as on random graphs of
    bounded degree, by more Lanczos vectors.
    """
    if is_narrow(matrix):
        return _beside(matrix, start)
    try:
        value, vector = wide(operator, 1, "LM", start)
    except ArpackNoConvergence:
        return None
    return _refined(matrix, float(value[0]), vector[:, 0])


def wide(
    matrix: LinearOperator, count: int, which: Literal["LM", "LA"], start: Float[np.ndarray, " peers"]
) -> tuple[Float[np.ndarray, " found"], Float[np.ndarray, "peers found"]]:
    """Eigenvalues and eigenvectors of a symmetric matrix by many Lanczos vectors. Raises: ArpackNoConvergence."""
    return eigsh(matrix, k=count, which=which, v0=start, ncv=WIDE, maxiter=WIDE_RESTARTS, tol=WIDE_RESIDUAL)


def _beside(matrix: csr_array, start: Float[np.ndarray, " peers"]) -> float | None:
    """The second-largest modulus if many eigenvalues cluster near 1 or -1, by shift-invert just beyond these ends.

    If this does not converge at an end, no eigenvalue is near it, and so not the second-largest modulus.
    """
    moduli = []
    for end, count in ((1 + BESIDE, 2), (-1 - BESIDE, 1)):
        try:
            values, vectors = eigsh(matrix.tocsc(), k=count, sigma=end, v0=start, maxiter=MAX_RESTARTS)
        except ArpackNoConvergence:
            continue
        place = int(np.argmax(np.abs(values - end)))
        moduli.append(_refined(matrix, float(values[place]), vectors[:, place]))
    return max(moduli, default=None)


def _refined(matrix: csr_array, value: float, vector: Float[np.ndarray, " peers"]) -> float:
    """|eigenvalue| from its eigenvector: 1 - |value| as a sum of squares, which stays accurate when it is small."""
    pairs = matrix.tocoo()
    other = vector[pairs.col] if value > 0 else -vector[pairs.col]
    return 1 - float(np.sum(pairs.data * (vector[pairs.row] - other) ** 2) / 2 / np.sum(vector**2))
