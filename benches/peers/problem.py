"""Reads the data for the peers, and computes the objective by which all peers are compared."""

import json
from pathlib import Path

import numpy as np

HUBER = 1e-3


class Points:
    """Sweeps in centred logarithms: `u`, `v`, `y` are (sweeps, points)."""

    def __init__(self, N, D, loss):
        logs = [np.log(np.atleast_2d(x)) for x in (N, D)]
        self.means = [x.mean(1) for x in logs]
        self.u, self.v = (np.ascontiguousarray(x - m[:, None]) for x, m in zip(logs, self.means))
        self.y = np.log(np.atleast_2d(loss))

    def coordinates(self, natural, sweep=0):
        """(…, 5) natural E, A, B, alpha, beta to log E, a, alpha, b, beta; `sweep` says whose means."""
        E, A, B, alpha, beta = np.moveaxis(np.asarray(natural, dtype=float), -1, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            a = np.log(A) - alpha * self.means[0][sweep]
            b = np.log(B) - beta * self.means[1][sweep]
            return np.stack([np.log(E), a, alpha, b, beta], -1)

    def objective(self, theta, loss, weight=None, sweep=0):
        """Σ w·ρ(residual) of fits (m, 5); `sweep` (m) or one, `weight` (m, points) or None for ones."""
        theta = np.atleast_2d(theta)
        sweep = np.broadcast_to(sweep, len(theta))
        total = np.empty(len(theta))
        for i in range(0, len(theta), 4096):
            part = slice(i, i + 4096)
            e, a, alpha, b, beta = (x[:, None] for x in theta[part].T)
            u, v, y = (x[sweep[part]] for x in (self.u, self.v, self.y))
            with np.errstate(all="ignore"):
                r = np.log(np.exp(e) + np.exp(a - alpha * u) + np.exp(b - beta * v)) - y
                rho = 0.5 * r * r if loss == "l2" else huber(r)
            total[part] = (rho if weight is None else rho * weight[part]).sum(1)
        return np.where(np.isfinite(total), total, np.inf)


def huber(r):
    s = np.clip(r, -HUBER, HUBER)
    return 0.5 * s * (2 * r - s)


def read(folder, name, shape, kind=np.float64):
    return np.fromfile(Path(folder) / name, dtype=kind).reshape(shape)


class Single:
    """The 240 points: start, estimates and weights of the replicates."""

    def __init__(self, folder):
        meta = json.loads((Path(folder) / "points.json").read_text())
        self.source = meta["source"]
        self.points = Points(meta["N"], meta["D"], meta["loss"])
        self.start = self.points.coordinates(meta["start"])
        self.estimate = {k: self.points.coordinates(v) for k, v in meta["estimate"].items()}
        self.replicates = meta["replicates"]
        self.weight = read(folder, "weights.u8", (self.replicates, -1), np.uint8)
        # Raw logarithms, for the coordinates of the published refit.
        self.raw = np.log(meta["N"]), np.log(meta["D"]), np.log(meta["loss"])


class Many:
    """The generated sweeps with their starts and weights."""

    def __init__(self, folder):
        meta = json.loads((Path(folder) / "batch.json").read_text())
        self.sweeps, points = meta["sweeps"], meta["points"]
        self.starts, self.replicates = meta["starts"], meta["replicates"]
        columns = [read(folder, f"batch_{c}.f64", (self.sweeps, points)) for c in ("N", "D", "loss")]
        self.points = Points(*columns)
        natural = read(folder, "batch_starts.f64", (self.sweeps, self.starts, 5))
        # A start whose floor is zero has no logarithm: a thousandth of the smallest loss instead.
        natural[..., 0] = np.maximum(natural[..., 0], 1e-3 * columns[2].min(1)[:, None])
        self.start = self.points.coordinates(natural, np.arange(self.sweeps)[:, None])
        self.weight = read(folder, "batch_weights.u8", (self.sweeps, self.replicates, points), np.uint8)
