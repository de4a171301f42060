"""Batched Levenberg-Marquardt in NumPy and in JAX: many small fits at once.

The law is E + A/N^alpha + B/D^beta, with residuals of logarithms and coordinates (log E, a, alpha, b, beta), where
a = log A - alpha*mean(log N) and b = log B - beta*mean(log D). A term is then exp(a - alpha*u) with the centred
logarithm u. With each term's fraction p of the prediction, the derivatives of log(prediction) are cheap:

    J = (p0, p1, -u*p1, p2, -v*p2),    second = sum_k p_k z_k z_k' - J J',    z_k the gradient of term k's logarithm.

The algorithm is sweepfit's, one lane per fit: damping by Nielsen (1999) with the metric of logarithms. A fit ends when
the decrease predicted for the undamped Newton step is below `tolerance` times the objective; this last step is taken
without another evaluation. Lanes whose fits have ended take the next tasks once an eighth of the lanes is idle. When no
tasks are left, the batch shrinks to the least power of two that holds the running lanes.
"""

import numpy as np

HUBER = 1e-3
MOST_ITERATIONS = 300
# The lower triangle of a 5x5 matrix by rows.
LOWER = np.tril_indices(5)


class Tasks:
    """Fits to be made. `u`, `v`, `y` are (sweeps, points), `weight` is (any, points) or None for ones; per task
    the row of each and the start (5)."""

    def __init__(self, u, v, y, weight, sweep, row, start):
        self.u, self.v, self.y, self.weight = u, v, y, weight
        self.sweep, self.row, self.start = sweep, row, np.ascontiguousarray(start, dtype=float)
        # The trust region's metric: sums of w, w*u^2, w*v^2, one column per task.
        u, v, _, w = self.data(slice(None) if not self.shared else slice(1))
        sums = [w.sum(1), np.einsum("ln,ln,ln->l", w, u, u), np.einsum("ln,ln,ln->l", w, v, v)]
        self.metric = np.array([np.resize(x, len(start)) for x in sums])

    def __len__(self):
        return len(self.start)

    @property
    def shared(self):
        """All tasks read the same points with the same weights."""
        return self.weight is None and len(self.u) == 1

    def data(self, tasks):
        """(u, v, y, weight), one row per task."""
        sweep = self.sweep[tasks]
        columns = self.u[sweep], self.v[sweep], self.y[sweep]
        weight = np.ones_like(columns[0]) if self.weight is None else self.weight[self.row[tasks]]
        return *columns, weight


def drop_zero_weights(u, v, y, weight):
    """A replicate's points with the weights that it drew; those it did not draw are left out. One row per
    replicate, all as long as the longest, padded by points of weight zero. `u`, `v`, `y` are (sweeps, points) and
    the replicates of a sweep are consecutive."""
    kept = weight > 0
    longest = int(kept.sum(1).max())
    # A stable sort puts the points that were drawn first.
    order = np.argsort(~kept, axis=1, kind="stable")[:, :longest]
    sweep = np.repeat(np.arange(len(u)), len(weight) // len(u))[:, None]
    rows = np.arange(len(weight))[:, None]
    return u[sweep, order], v[sweep, order], y[sweep, order], weight[rows, order].astype(float)


def cholesky_solve(xp, H, mu, metric, g):
    """Solves (H + mu*diag(metric)) x = g in every lane; H as its 15 lower entries by rows. Gives x and whether
    the matrix is positive definite. Unrolled: 5x5 is too small for library calls."""
    L, inverse, good = {}, [], True
    place = 0
    for i in range(5):
        for j in range(i + 1):
            x = H[place]
            place += 1
            if i == j:
                if mu is not None:
                    x = x + mu * metric[i]
                diagonal = x
            for k in range(j):
                x = x - L[i, k] * L[j, k]
            if i == j:
                # A pivot that rounding alone may have made is none.
                good = good & (x > 1e-14 * diagonal)
                inverse.append(1 / xp.sqrt(xp.where(x > 0, x, 1.0)))
            else:
                L[i, j] = x * inverse[j]
    z = []
    for i in range(5):
        x = g[i]
        for k in range(i):
            x = x - L[i, k] * z[k]
        z.append(x * inverse[i])
    for i in reversed(range(5)):
        x = z[i]
        for k in range(i + 1, 5):
            x = x - L[k, i] * z[k]
        z[i] = x * inverse[i]
    return xp.stack(z), good


def quadratic(H, d):
    """d' H d."""
    total, place = 0.0, 0
    for i in range(5):
        for j in range(i + 1):
            total = total + (1.0 if i == j else 2.0) * H[place] * d[i] * d[j]
            place += 1
    return total


def advance(xp, state, found, metric, tolerance, damping, huber):
    """One step of every lane: takes the evaluation at the trial point, gives the new state."""
    theta, trial, f, g, H, mu, growth, predicted, iterations = state
    f_new, g_new, H_new = found
    fresh = xp.isinf(f)
    finite = xp.isfinite(f_new) & xp.isfinite(g_new.sum(0)) & xp.isfinite(H_new.sum(0))
    gain = xp.where(fresh, 1.0, (f - f_new) / predicted)
    accept = finite & (fresh | ((f_new < f) & (gain > 1e-4)))
    if huber:
        # Where most residuals are in the loss's linear zone, all curvature is smaller by this much.
        level = f_new / metric[0]
        pull = xp.where(level <= 0.5 * HUBER**2, 1.0, HUBER / (level / HUBER + 0.5 * HUBER))
    else:
        pull = 1.0
    least = xp.where(gain > 0.9, 0.05, 1 / 3)
    shrunk = mu * xp.clip(1 - (2 * gain - 1) ** 3, least, 2.0)
    mu = xp.where(fresh, damping * pull, xp.where(accept, shrunk, mu * growth))
    growth = xp.where(accept, 2.0, 2 * growth)
    keep = lambda new, old: xp.where(accept, new, old)
    theta, f, g, H = keep(trial, theta), keep(f_new, f), keep(g_new, g), keep(H_new, H)

    newton, convex = cholesky_solve(xp, H, None, None, g)
    decrement = 0.5 * (newton * g).sum(0)
    iterations = iterations + 1
    converged = convex & (decrement <= tolerance * f)
    step, good = cholesky_solve(xp, H, mu, metric, g)
    # Where the matrix is not positive definite, more damping; the last resort is near steepest descent.
    for _ in range(3):
        if xp is np and good.all():
            break
        mu = xp.where(good, mu, xp.maximum(16 * mu, 1e-6))
        again, now = cholesky_solve(xp, H, mu, metric, g)
        step = xp.where(good, step, again)
        good = good | now
    # A lane where even that fails stays where it is, and is damped more by its failure to descend.
    step = xp.where(good, step, 0.0)
    predicted = xp.maximum((step * g).sum(0) - 0.5 * quadratic(H, step), 1e-300)
    # A fit that gives up, or has nothing left to win but rounding, ends where it stands.
    ended = converged | (good & (predicted <= 1e-16 * f)) | (iterations >= MOST_ITERATIONS) | ~xp.isfinite(f)
    trial = theta - xp.where(converged, newton, xp.where(ended, 0.0, step))
    return (theta, trial, f, g, H, mu, growth, predicted, iterations), ended


def fresh_state(tasks, chosen):
    """Lanes that are about to begin, as one array: theta (5), trial (5), f, g (5), H (15), damping, its growth,
    predicted decrease, iterations, metric (3); lanes last."""
    start = tasks.start[chosen].T
    state = np.zeros((38, len(chosen)))
    state[:5] = state[5:10] = start
    state[10] = np.inf
    state[32], state[33] = 2.0, 1.0
    state[35:] = tasks.metric[:, chosen]
    return state


def unpack(state):
    total, uu, vv = state[35], state[36], state[37]
    parts = state[:5], state[5:10], state[10], state[11:16], state[16:31], *(state[k] for k in range(31, 35))
    return parts, (total, total, uu, total, vv)


def pack(xp, state, metric):
    theta, trial, f, g, H, *rest = state
    row = lambda x: x[None]
    rest = [row(x) for x in rest]
    return xp.concatenate([theta, trial, row(f), g, H, *rest, row(metric[0]), row(metric[2]), row(metric[4])])


class NumpyBackend:
    """Buffers for `lanes` fits; arrays (lanes, 6, points) so that normal equations are one batched product."""

    lanes = 512
    smallest = 1

    def __init__(self, tasks, huber, tolerance, damping):
        self.tasks, self.huber, self.tolerance, self.damping = tasks, huber, tolerance, damping
        self.data = self.state = None

    def begin(self, chosen):
        self.data = [np.array(x) for x in self.tasks.data(chosen)]
        self.state = fresh_state(self.tasks, chosen)
        self._prepare()

    def _prepare(self):
        lanes, points = self.data[3].shape
        self.J = np.empty((lanes, 6, points))
        self.A = np.empty((lanes, 6, points))

    def refill(self, lanes, chosen):
        for mine, new in zip(self.data, self.tasks.data(chosen)):
            mine[lanes] = new
        self.state[:, lanes] = fresh_state(self.tasks, chosen)

    def shrink(self, lanes):
        self.data = [x[lanes] for x in self.data]
        self.state = self.state[:, lanes]
        self._prepare()

    def _evaluate(self, theta):
        u, v, y, w = self.data
        J, A = self.J, self.A
        e, a, alpha, b, beta = (t[:, None] for t in theta)
        p0, p1, ju, p2, jv, r = (J[:, k] for k in range(6))
        np.multiply(u, alpha, out=p1)
        np.subtract(a, p1, out=p1)
        np.exp(p1, out=p1)
        np.multiply(v, beta, out=p2)
        np.subtract(b, p2, out=p2)
        np.exp(p2, out=p2)
        floor = np.exp(e)
        np.add(p1, p2, out=r)
        r += floor
        q = A[:, 0]
        np.divide(1.0, r, out=q)
        np.multiply(floor, q, out=p0)
        p1 *= q
        p2 *= q
        np.log(r, out=r)
        r -= y
        np.multiply(p1, u, out=ju)
        np.negative(ju, out=ju)
        np.multiply(p2, v, out=jv)
        np.negative(jv, out=jv)
        if not self.huber:
            np.multiply(J, w[:, None], out=A)
            S = A @ J.transpose(0, 2, 1)
            return 0.5 * S[:, 5, 5], S[:, 5, :5].T, S[:, LOWER[0], LOWER[1]].T.copy()
        size = np.abs(r)
        near = size <= HUBER
        s = np.clip(r, -HUBER, HUBER)
        # Half of clip(r)*(2r - clip(r)) is the loss in both of its branches.
        f = 0.5 * np.einsum("ln,ln,ln->l", w, s, 2 * r - s)
        np.maximum(size, HUBER, out=size)
        c = np.where(near, w, (0.015 * HUBER) * w / size)
        s *= w
        g = (J[:, :5] @ s[:, :, None])[:, :, 0].T
        c -= s
        np.multiply(J[:, :5], c[:, None], out=A[:, :5])
        S = A[:, :5] @ J[:, :5].transpose(0, 2, 1)
        H = S[:, LOWER[0], LOWER[1]].T.copy()
        H[[0, 2, 4, 9, 13]] += g
        H[5] -= np.einsum("ln,ln,ln->l", s, u, ju)
        H[14] -= np.einsum("ln,ln,ln->l", s, v, jv)
        return f, g, H

    def step(self):
        with np.errstate(all="ignore"):
            state, metric = unpack(self.state)
            found = self._evaluate(state[1])
            state, ended = advance(np, state, found, metric, self.tolerance, self.damping, self.huber)
        self.state = pack(np, state, metric)
        return ended

    def result(self, lanes):
        """The last step, taken or promised, and the objective before it."""
        return self.state[5:10, lanes].T, self.state[10, lanes]


class JaxBackend(NumpyBackend):
    """The same on jitted functions. Shapes are few powers of two, so that little is compiled."""

    lanes = 2048
    smallest = 64
    _jitted = {}

    def __init__(self, *arguments):
        super().__init__(*arguments)
        import jax

        jax.config.update("jax_enable_x64", True)
        self.jax, self.jnp = jax, jax.numpy

    def _jit(self, name, function, **options):
        key = (name, self.huber, self.tasks.shared)
        if key not in self._jitted:
            self._jitted[key] = self.jax.jit(function, **options)
        return self._jitted[key]

    def begin(self, chosen):
        rows = chosen[:1] if self.tasks.shared else chosen
        self.data = tuple(self.jnp.array(x) for x in self.tasks.data(rows))
        self.state = self.jnp.array(fresh_state(self.tasks, chosen))

    def refill(self, lanes, chosen):
        size = 1 << (max(len(lanes), self.lanes // 8) - 1).bit_length()
        places = np.full(size, self.state.shape[1])
        places[: len(lanes)] = lanes
        chosen = np.resize(chosen, size)
        if not self.tasks.shared:
            new = self.tasks.data(chosen)
            put = lambda data, new, at: tuple(x.at[at].set(n, mode="drop") for x, n in zip(data, new))
            self.data = self._jit("data", put, donate_argnums=0)(self.data, new, places)
        put = lambda state, new, at: state.at[:, at].set(new, mode="drop")
        self.state = self._jit("state", put, donate_argnums=0)(self.state, fresh_state(self.tasks, chosen), places)

    def shrink(self, lanes):
        take = lambda x, at: x[at]
        if not self.tasks.shared:
            self.data = tuple(self._jit("take", take)(x, lanes) for x in self.data)
        self.state = self._jit("take state", lambda x, at: x[:, at])(self.state, lanes)

    def _evaluate_jax(self, theta, data):
        xp, lax = self.jnp, self.jax.lax
        u, v, y, w = data
        e, a, alpha, b, beta = (t[:, None] for t in theta)
        t0, t1, t2 = xp.exp(e), xp.exp(a - alpha * u), xp.exp(b - beta * v)
        prediction = t0 + t1 + t2
        q = 1 / prediction
        r = xp.log(prediction) - y
        J = [t0 * q, t1 * q, -u * (t1 * q), t2 * q, -v * (t2 * q)]
        if self.huber:
            size = xp.abs(r)
            s = xp.clip(r, -HUBER, HUBER)
            value = w * s * (2 * r - s)
            c = w * xp.where(size <= HUBER, 1.0, 0.015 * HUBER / xp.maximum(size, HUBER))
            s = w * s
            c = c - s
        else:
            s, c = w * r, w * xp.ones_like(r)
            value = s * r
        terms = [value, *(s * j for j in J)]
        for i in range(5):
            weighted = c * J[i]
            terms += [weighted * J[j] for j in range(i + 1)]
        if self.huber:
            terms += [s * u * J[2], s * v * J[4]]
        # One pass over the points for all sums: the fastest of the forms that were tried (separate sums, products
        # of stacked matrices, einsum).
        add = lambda x, y: tuple(i + j for i, j in zip(x, y))
        sums = lax.reduce(tuple(terms), (0.0,) * len(terms), add, (1,))
        f, g, H = 0.5 * sums[0], xp.stack(sums[1:6]), list(sums[6:21])
        if self.huber:
            for place, more in [(0, g[0]), (2, g[1]), (4, g[2]), (5, -sums[21]), (9, g[3]), (13, g[4]), (14, -sums[22])]:
                H[place] = H[place] + more
        return f, g, xp.stack(H)

    def step(self):
        def step(packed, data, tolerance, damping):
            state, metric = unpack(packed)
            found = self._evaluate_jax(state[1], data)
            state, ended = advance(self.jnp, state, found, metric, tolerance, damping, self.huber)
            return pack(self.jnp, state, metric), ended

        self.state, ended = self._jit("step", step, donate_argnums=0)(
            self.state, self.data, self.tolerance, self.damping
        )
        return np.asarray(ended)

    def result(self, lanes):
        state = np.asarray(self.state)
        return state[5:10, lanes].T, state[10, lanes]


def solve(backend, tasks, huber, tolerance, damping, lanes=None):
    """Fits all tasks; gives their coordinates (tasks, 5)."""
    lanes = min(lanes or backend.lanes, 1 << (len(tasks) - 1).bit_length())
    work = backend(tasks, huber, tolerance, damping)
    found = np.full((len(tasks), 5), np.nan)
    lane_task = np.arange(lanes) % len(tasks)
    running = np.arange(lanes) < len(tasks)
    work.begin(lane_task)
    following = lanes
    while running.any():
        ended = work.step() & running
        if not ended.any():
            continue
        at = np.flatnonzero(ended)
        found[lane_task[at]] = work.result(at)[0]
        running &= ~ended
        idle = np.flatnonzero(~running)
        left = len(tasks) - following
        if left > 0:
            # Refilling has a price of its own: it waits for an eighth of the lanes.
            if len(idle) * 8 >= len(running):
                idle = idle[:left]
                chosen = following + np.arange(len(idle))
                work.refill(idle, chosen)
                lane_task[idle] = chosen
                running[idle] = True
                following += len(idle)
            continue
        alive = int(running.sum())
        size = max(1 << (alive - 1).bit_length(), work.smallest) if alive else 0
        if 0 < size < len(running):
            chosen = np.concatenate([np.flatnonzero(running), idle])[:size]
            work.shrink(chosen)
            lane_task, running = lane_task[chosen], running[chosen]
    return found


def solve_from_afar(backend, tasks, huber, tolerance):
    """Fits from starts that may be far. With the Huber loss first by least squares: from there a search needs a
    quarter of the steps, and three times as many of the classic grid's starts reach the optimum."""
    start = tasks.start
    if huber:
        tasks.start = solve(backend, tasks, False, 1e-3, 1e-4)
    found = solve(backend, tasks, huber, tolerance, 1e-4)
    tasks.start = start
    return found
