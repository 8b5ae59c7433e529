"""The second-largest eigenvalue of sparse mixing matrices, with many peers too."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_array
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs, eigsh

from topologies.schedule import Round

MAX_RESTARTS = 60  # of Lanczos before it counts as stuck among eigenvalues that lie close together
BESIDE = 1e-8  # how far outside of [-1, 1] those are looked for then


def group_moduli(mixing: csr_array, digits: tuple[int, ...]) -> Float[np.ndarray, " modes"]:
    """|eigenvalues| of a matrix that translations leave as it is, but for the one of the mean.

    Their eigenvectors are the characters of the group: the eigenvalues are a row's Fourier transform over the digits.
    """
    row = mixing[[0]].toarray().reshape(digits[::-1])
    moduli: Float[np.ndarray, " modes"] = np.minimum(np.abs(np.fft.fftn(row)).ravel()[1:], 1.0)
    return moduli


def second_modulus(rounds: Sequence[Round], symmetric: bool) -> float | None:
    """The second-largest |eigenvalue| of the rounds' product; symmetric: it is one symmetric matrix.

    None where the iteration does not settle, which one matrix that is not symmetric is spared by a look beside 1, where
    slow averaging has its eigenvalues.
    """
    size = len(rounds[0].teachers)
    start = np.random.default_rng(0).standard_normal(size)

    def apart(values: Float[np.ndarray, " peers"]) -> Float[np.ndarray, " peers"]:
        """(I - J) W: without the eigenvalue 1 of agreement, the others as they are."""
        for round_ in rounds:
            values = round_.mixing @ values
        away: Float[np.ndarray, " peers"] = values - values.mean()
        return away

    operator = LinearOperator((size, size), matvec=apart, dtype=np.float64)
    try:
        if symmetric:
            value, vector = eigsh(operator, k=1, which="LM", v0=start, maxiter=MAX_RESTARTS)
            return _refined(rounds[0].mixing, float(value[0]), vector[:, 0])
        found = eigs(operator, k=1, which="LM", v0=start, maxiter=20 * MAX_RESTARTS, return_eigenvectors=False)
        return float(np.abs(found).max())
    except ArpackNoConvergence as error:
        if symmetric:
            return _beside(rounds[0].mixing, start)
        if len(rounds) > 1:
            return None
        matrix = rounds[0].mixing.tocsc()
        near = eigs(matrix, k=2, sigma=1 + BESIDE, v0=start, return_eigenvectors=False)
        return float(max(np.sort(np.abs(near))[0], *np.abs(error.eigenvalues), 0.0))


def _beside(matrix: csr_array, start: Float[np.ndarray, " peers"]) -> float | None:
    """The same where many eigenvalues crowd at an end: by solving with the matrix shifted just beyond 1 and -1.

    An end where this does not settle has no eigenvalue near it, and so not the second-largest.
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
    """|eigenvalue| from its eigenvector: 1 - |value| is a sum of squares, which keeps its digits when it is small."""
    pairs = matrix.tocoo()
    other = vector[pairs.col] if value > 0 else -vector[pairs.col]
    return 1 - float(np.sum(pairs.data * (vector[pairs.row] - other) ** 2) / 2 / np.sum(vector**2))
