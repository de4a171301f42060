"""Prints the tables and the coefficients of lanes/exp.rs and lanes/ln.rs, and their errors.

Run it with Python 3 and mpmath; it is deterministic.
"""

import struct

from mpmath import mp, mpf
import mpmath as m

mp.prec = 200


def minimax(f, weight, degree, a, b):
    """The polynomial with the least maximum of |weight (f - p)|, by the Remez exchange; its logarithmic error."""
    n = degree + 2
    grid = [a + (b - a) * mpf(i) / (60 * n) for i in range(60 * n + 1)]
    nodes = [(a + b) / 2 - (b - a) / 2 * m.cos(m.pi * (2 * i + 1) / (2 * n)) for i in range(n)]
    for _ in range(12):
        matrix = m.matrix(n, n)
        for i, x in enumerate(nodes):
            for j in range(degree + 1):
                matrix[i, j] = x**j
            matrix[i, degree + 1] = (-1) ** i / weight(x)
        solution = m.lu_solve(matrix, m.matrix([f(x) for x in nodes]))
        c = list(solution)[: degree + 1]
        # The largest error between each change of its sign and the next.
        error = [weight(x) * (f(x) - m.polyval(c[::-1], x)) for x in grid]
        peaks = []
        for x, e in zip(grid, error):
            if not peaks or e * peaks[-1][1] < 0:
                peaks.append((x, e))
            elif abs(e) > abs(peaks[-1][1]):
                peaks[-1] = (x, e)
        while len(peaks) > n:
            peaks.pop(0 if abs(peaks[0][1]) < abs(peaks[-1][1]) else -1)
        nodes = [x for x, _ in peaks]
    c = [float(v) for v in c]
    worst = max(abs(weight(x) * (f(x) - m.polyval([mpf(v) for v in c[::-1]], x))) for x in grid)
    return c, m.log(worst, 2)


def show(name, values):
    print(name, *map(repr, values), sep="\n    ")


def exponential():
    def f(r):
        return (m.expm1(r) - r) / r**2 if abs(r) > mpf(2) ** -60 else mpf(1) / 2

    # A little wider than half a step: the nearest step is found in rounded arithmetic.
    half = m.log(2) / 32 * (1 + mpf(2) ** -20)
    c, error = minimax(f, lambda r: r * r + mpf(10) ** -30, 4, -half, half)
    show(f"exp, error 2^{m.nstr(error, 5)}", c)
    show("2^(j/16)", [float(mpf(2) ** (mpf(j) / 16)) for j in range(16)])


LEAST_MANTISSA = 0x3FE6555500000000
ONE = 9
# Beside the one, reciprocals so short that r is exact, and whose logarithms happen to lie next to a double.
SHORT = {8: mpf(33) / 32, 9: mpf(1), 10: mpf(61) / 64}
# Steps of this size can be summed up to the largest logarithm without rounding.
GRAIN = mpf(2) ** -43


def double(bits):
    return mpf(struct.unpack(">d", struct.pack(">Q", bits))[0])


def logarithm():
    step = m.log(2) / 16
    high = m.nint(step / GRAIN) * GRAIN
    show("ln 2 / 16", [float(high), float(step - high)])
    reciprocals, rest, least, most = [], [], mpf(0), mpf(0)
    for j in range(16):
        low, up = double(LEAST_MANTISSA + (j << 48)), double(LEAST_MANTISSA + ((j + 1) << 48))
        steps = (j - ONE) * step
        if j in SHORT:
            c = SHORT[j]
            h = mpf(float(-m.log(c) - (j - ONE) * (step - high))) - (j - ONE) * high
        else:
            # Of the reciprocals near the middle the one whose logarithm is nearest to a whole number of grains.
            middle = m.nint((-m.log(2 / (low + up)) - steps) / GRAIN)
            c, h = None, None
            for d in range(-3000, 3001):
                candidate = (middle + d) * GRAIN
                exact = m.exp(-(candidate + steps))
                off = abs(mpf(float(exact)) / exact - 1)
                if c is None or off < best:
                    best, c, h = off, mpf(float(exact)), candidate
        assert mpf(float(h)) == h
        least, most = min(least, c * low - 1), max(most, c * up - 1)
        off = abs(-m.log(c) - steps - h)
        print(f"cell {j}: off by 2^{m.nstr(m.log(off, 2), 4) if off else '-inf'}")
        reciprocals.append(float(c))
        rest.append(float(h))
    show("reciprocals", reciprocals)
    show("rest", rest)
    print("r from", m.nstr(least, 5), "to", m.nstr(most, 5))

    def f(r):
        return (m.log1p(r) - r) / r**2 if abs(r) > mpf(2) ** -60 else -mpf(1) / 2

    reach = double(LEAST_MANTISSA + ((ONE + 1) << 48)) - 1

    def weight(r):
        # r^2 over the least logarithm that goes with this r: within reach of the one it is r itself; below, that of
        # the cell above, and further up nothing is as small as the end of that cell.
        if abs(r) <= reach:
            return abs(r) + mpf(10) ** -12
        return r * r / (r - m.log(SHORT[ONE + 1])) if r < 0 else mpf("0.014")

    c, error = minimax(f, weight, 7, mpf("-0.02805"), mpf("0.03256"))
    show(f"ln, error 2^{m.nstr(error, 5)}", c)


exponential()
logarithm()
