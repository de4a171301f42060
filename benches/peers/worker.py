"""Runs one process of one Python peer: prints `ready` when prepared, works at every line `go`, and prints `done`.

    worker.py FOLDER WORKLOAD PEER LOSS SHARE OF COUNT

Preparation (reading, compiling, finding the loosest tolerance that reaches the optimum) is not timed. The last line
of output is JSON with the file of the estimates in centred coordinates.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np

import lm
import one_at_a_time
from problem import Many, Single

# A relative excess over the best objective that counts as the optimum.
OPTIMUM = 1e-12


def loosest(run, objective, candidates, best=None):
    """The loosest tolerance whose fits all reach the optimum, as found with the tightest; that one where none
    does."""
    values = {t: objective(run(t)) for t in candidates}
    best = np.minimum.reduce([v for v in values.values()] + ([] if best is None else [best]))
    for t in candidates:
        if np.all(values[t] <= best * (1 + OPTIMUM)):
            return t
    # None reaches it everywhere: the one that reaches it most often.
    return max(candidates, key=lambda t: (np.mean(values[t] <= best * (1 + OPTIMUM)), t))


TOLERANCES = [10.0**-k for k in range(3, 16)]
# Of the batched fits, whose tolerance bounds the decrease that is left: below this there is only rounding.
DECREASES = TOLERANCES[3:11]
# Sweeps of a multi-start that tell the tolerances.
TELLING = 200
BACKENDS = {"numpy": lm.NumpyBackend, "jax": lm.JaxBackend}


def one_fit(folder, peer, loss, share, of, count):
    single = Single(folder)
    points = single.points
    objective = lambda theta: points.objective(theta, loss)
    if peer in one_at_a_time.FITTERS:
        fit = one_at_a_time.FITTERS[peer][1]
        curve = one_at_a_time.Curve(points.u[0], points.v[0], points.y[0])
        best = objective(single.estimate[loss])
        tolerance = loosest(lambda t: fit(curve, single.start, t), objective, TOLERANCES, best)
        run = lambda: [fit(curve, single.start, tolerance) for _ in range(count)][-1:]
    else:


        def tasks(n):
            zeros = np.zeros(n, int)
            return lm.Tasks(points.u, points.v, points.y, None, zeros, zeros, np.tile(single.start, (n, 1)))

        solve = lambda n, t: lm.solve_from_afar(BACKENDS[peer], tasks(n), loss == "huber", t)
        # All fits are the same: a few tell the tolerance.
        tolerance = loosest(lambda t: solve(8, t)[:1], objective, DECREASES)
        run = lambda: solve(count, tolerance)[-1:]
    return run, f"tolerance {tolerance:.0e}", count


def part(n, share, of):
    return slice(n * share // of, n * (share + 1) // of)


def replicates(folder, peer, loss, share, of, count):
    single = Single(folder)
    weight = single.weight[part(single.replicates, share, of)]
    points = single.points
    u, v, y, w = lm.drop_zero_weights(points.u, points.v, points.y, weight)
    rows = np.arange(len(weight))
    tasks = lm.Tasks(u, v, y, w, rows, rows, np.tile(single.estimate[loss], (len(weight), 1)))
    damping = 1e-6 if loss == "l2" else 1e-4
    solve = lambda t: lm.solve(BACKENDS[peer], tasks, loss == "huber", t, damping)
    objective = lambda theta: points.objective(theta, loss, weight)
    tolerance = loosest(solve, objective, DECREASES)
    return lambda: solve(tolerance), f"tolerance {tolerance:.0e}", len(weight)


def multi_start(folder, peer, loss, share, of, count):
    """Starts are searched to a loose end, the best of each sweep to a tight one, and the replicates from there."""
    many = Many(folder)
    mine = part(many.sweeps, share, of)
    points, huber, backend = many.points, loss == "huber", BACKENDS[peer]
    u, v, y = points.u[mine], points.v[mine], points.y[mine]
    n = len(u)
    sweep = np.arange(n)
    weight = many.weight[mine].reshape(-1, u.shape[1])
    starts = many.start[mine].reshape(-1, 5)
    per_start = np.repeat(sweep, many.starts)
    per_replicate = np.repeat(sweep, many.replicates)
    ru, rv, ry, rw = lm.drop_zero_weights(u, v, y, weight)
    rows = np.arange(len(weight))
    searches = lm.Tasks(u, v, y, None, per_start, per_start, starts)
    own = slice(mine.start, mine.stop)
    local = lambda theta, at, w=None: points.objective(theta, loss, w, at + own.start)

    def search():
        found = lm.solve_from_afar(backend, searches, huber, 1e-6)
        values = local(found, per_start).reshape(n, -1)
        return found.reshape(n, -1, 5)[sweep, values.argmin(1)]

    def polish(best, tolerance):
        tasks = lm.Tasks(u, v, y, None, sweep[: len(best)], sweep[: len(best)], best)
        return lm.solve(backend, tasks, huber, tolerance, 1e-6)

    def refit(estimates, tolerance):
        k = rows[: len(estimates) * many.replicates]
        start = np.repeat(estimates, many.replicates, axis=0)
        return lm.solve(backend, lm.Tasks(ru, rv, ry, rw, k, k, start), huber, tolerance, 1e-4 if huber else 1e-6)

    # Some of the sweeps tell the tolerances.
    some = min(n, TELLING)
    few = slice(some * many.replicates)
    best = search()[:some]
    tight = loosest(lambda t: polish(best, t), lambda theta: local(theta, sweep[:some]), DECREASES)
    estimates = polish(best, tight)
    tolerance = loosest(
        lambda t: refit(estimates, t), lambda theta: local(theta, per_replicate[few], weight[few]), DECREASES
    )

    def run():
        estimates = polish(search(), tight)
        return np.concatenate([estimates, refit(estimates, tolerance)])

    return run, f"tolerance {tight:.0e}, replicates {tolerance:.0e}", n


def quality(folder, peer, loss, share, of, count):
    single = Single(folder)
    points = single.points
    grid = one_at_a_time.classic_grid()
    # A stride prime to all sides of the grid: a regular sample of all of it.
    chosen = grid[(np.arange(count) * (len(grid) // count) + (np.arange(count) * 7) % 30) % len(grid)]
    if count >= len(grid):
        chosen = grid
    shift = np.array([points.means[0][0], points.means[1][0]])

    def centred(x):
        x = np.array(x)
        x[:, 1] -= x[:, 2] * shift[0]
        x[:, 3] -= x[:, 4] * shift[1]
        return x

    if peer in BACKENDS:
        zeros = np.zeros(len(chosen), int)
        tasks = lm.Tasks(points.u, points.v, points.y, None, zeros, zeros, centred(chosen))
        run = lambda: lm.solve_from_afar(BACKENDS[peer], tasks, True, 1e-10)
        return run, "", len(chosen)
    if peer == "scipy L-BFGS-B, sum, centred":
        fit = one_at_a_time.published_fit((points.u[0], points.v[0], points.y[0]), False)
        return lambda: np.array([fit(x) for x in centred(chosen)]), "", len(chosen)
    fit = one_at_a_time.published_fit(single.raw, "mean" in peer)
    return lambda: centred([fit(x) for x in chosen]), "", len(chosen)


WORKLOADS = {"one-fit": one_fit, "replicates": replicates, "multi-start": multi_start, "quality": quality}


def main():
    folder, workload, peer, loss, share, of, count = sys.argv[1:]
    warnings.simplefilter("ignore")
    run, note, count = WORKLOADS[workload](folder, peer, loss, int(share), int(of), int(count))
    if workload == "quality":
        # Nothing to compile but in the batched fits; and L-BFGS-B takes long.
        found = run() if peer in BACKENDS else None
    else:
        found = run()
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() != "go":
            break
        begun = time.perf_counter()
        found = run()
        print("done", time.perf_counter() - begun, flush=True)
    path = Path(folder) / f"{workload}-{peer}-{loss}-{share}-of-{of}.npy".replace(" ", "_").replace(",", "")
    np.save(path, np.asarray(found))
    print(json.dumps({"note": note, "count": count, "estimates": str(path)}), flush=True)


if __name__ == "__main__":
    main()
