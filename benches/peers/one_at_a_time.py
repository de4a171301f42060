"""Fits one sweep with SciPy's methods, one fit after the other, with analytic derivatives.

Coordinates are the centred coordinates of `problem.py`. Terms that residuals and Jacobian share are computed once.
"""

import numpy as np
from scipy import optimize

from problem import HUBER, huber


class Curve:
    def __init__(self, u, v, y):
        self.u, self.v, self.y = u, v, y
        self.at = None
        self.rows = np.empty((5, len(y)))

    def residuals(self, x):
        e, a, alpha, b, beta = x
        floor, first, second = np.exp(e), np.exp(a - alpha * self.u), np.exp(b - beta * self.v)
        prediction = floor + first + second
        self.at, self.terms = x.tobytes(), (floor, first, second, prediction)
        return np.log(prediction) - self.y

    def jacobian_rows(self, x):
        """(5, points)."""
        if self.at != x.tobytes():
            self.residuals(x)
        floor, first, second, prediction = self.terms
        rows = self.rows
        np.divide(floor, prediction, out=rows[0])
        np.divide(first, prediction, out=rows[1])
        np.divide(second, prediction, out=rows[3])
        np.multiply(rows[1], self.u, out=rows[2])
        np.multiply(rows[3], self.v, out=rows[4])
        np.negative(rows[2], out=rows[2])
        np.negative(rows[4], out=rows[4])
        return rows

    def jacobian(self, x):
        return self.jacobian_rows(x).T

    def value_and_gradient(self, x):
        """Of the Huber objective, a sum."""
        r = self.residuals(x)
        return huber(r).sum(), self.jacobian_rows(x) @ np.clip(r, -HUBER, HUBER)


def leastsq(curve, start, tolerance):
    return optimize.leastsq(
        curve.residuals, start, Dfun=curve.jacobian_rows, col_deriv=True, ftol=tolerance, xtol=tolerance, gtol=0.0,
        maxfev=2000,
    )[0]


def least_squares(method, **options):
    def fit(curve, start, tolerance):
        return optimize.least_squares(
            curve.residuals, start, jac=curve.jacobian, method=method, ftol=tolerance, xtol=tolerance, gtol=1e-15,
            max_nfev=2000, **options,
        ).x

    return fit


def lbfgsb(curve, start, tolerance):
    return optimize.minimize(
        curve.value_and_gradient, start, jac=True, method="L-BFGS-B",
        options={"ftol": tolerance, "gtol": 1e-14, "maxiter": 5000, "maxfun": 10000},
    ).x


# Name: losses and the fit.
FITTERS = {
    "scipy leastsq": ("l2", leastsq),
    "scipy least_squares lm": ("l2", least_squares("lm")),
    "scipy least_squares trf": ("l2", least_squares("trf")),
    "scipy least_squares trf, huber": ("huber", least_squares("trf", loss="huber", f_scale=HUBER)),
    "scipy L-BFGS-B": ("huber", lbfgsb),
}


def classic_grid():
    """The 4,500 starts of the published Chinchilla fits: (log E, log A, alpha, log B, beta), not centred."""
    exponents, floors, amplitudes = np.arange(5) / 2, np.arange(5) / 2 - 1, np.arange(6) * 5.0
    mesh = np.meshgrid(floors, amplitudes, exponents, amplitudes, exponents, indexing="ij")
    return np.stack([m.ravel() for m in mesh], 1)


def published_fit(raw, mean):
    """L-BFGS-B with default tolerances as in the published fits: raw logarithms, Huber 1e-3, and the objective
    as a mean or as a sum."""
    curve = Curve(*raw)
    scale = 1 / len(curve.y) if mean else 1.0

    def objective(x):
        value, gradient = curve.value_and_gradient(x)
        return scale * value, scale * gradient

    def fit(start):
        with np.errstate(all="ignore"):
            return optimize.minimize(objective, start, jac=True, method="L-BFGS-B").x

    return fit
