"""Writes lanes.txt beside this file: correctly rounded values of the functions of `lanes`.

Run it with Python 3 and mpmath; it is deterministic. Every value is computed with growing precision
until its rounding to a double no longer changes, so that no double was rounded twice.
"""

import math
import pathlib
import random
import struct

from mpmath import mp, mpf
import mpmath as m

INF, NAN, TINY, MAX = math.inf, math.nan, 5e-324, 1.7976931348623157e308
MIN_NORMAL = 2.2250738585072014e-308
rng = random.Random(20240229)


def hexbits(x):
    return "7ff8000000000000" if x != x else struct.pack(">d", x).hex()


def to_double(v):
    """The double nearest to v, the even one of two; subnormal and overflow included."""
    if v == 0:
        return 0.0
    sign = -1.0 if v < 0 else 1.0
    v = abs(v)
    exponent = max(int(mp.floor(mp.log(v, 2))) - 52, -1074)
    if exponent > 971:
        return sign * INF
    q = mp.ldexp(v, -exponent)
    n = int(mp.floor(q))
    rest = q - n
    if rest > 0.5 or (rest == 0.5 and n % 2):
        n += 1
    try:
        return sign * math.ldexp(n, exponent)
    except OverflowError:
        return sign * INF


def rounded(f, *args):
    last, precision = None, 120
    while True:
        # Large arguments and near cancellation both need more bits than the result has.
        mp.prec = precision
        value = f(*(mpf(a) for a in args))
        now = to_double(value)
        if now == last and precision >= 480:
            return now
        last, precision = now, precision * 2 if precision < 4000 else precision + 4000
        if precision > 40000:
            return now


def around(x, steps=2):
    out = [x]
    up = down = x
    for _ in range(steps):
        up, down = math.nextafter(up, INF), math.nextafter(down, -INF)
        out += [up, down]
    return out


def both(xs):
    return [s for x in xs for s in (x, -x)]


def spread(low, high, count):
    """Signless numbers, even in the logarithm."""
    a, b = math.log2(low), math.log2(high)
    return [min(max(2.0 ** rng.uniform(a, b), low), high) for _ in range(count)]


def uniform(low, high, count):
    return [rng.uniform(low, high) for _ in range(count)]


def subnormal(count):
    return [TINY * rng.randrange(1, 2 ** rng.randrange(1, 53)) for _ in range(count)]


EDGES = both([0.0, INF, TINY, MIN_NORMAL, MAX, 1.0]) + [NAN]


def exp(x):
    return INF if x > 800 else 0.0 if x < -800 else rounded(m.exp, x)


def logarithm(f):
    def value(x):
        if x == 0:
            return -INF
        return NAN if x < 0 else x if x == INF else rounded(f, x)

    return value


def sigmoid(x):
    if x < -800:
        return 0.0
    return 1.0 if x > 800 else rounded(lambda v: 1 / (1 + m.exp(-v)), x)


def tanh(x):
    if abs(x) > 30:
        return math.copysign(1.0, x)
    if abs(x) < 1e-9:
        # The cube is below half an ulp; its sign decides nothing.
        return x
    return rounded(m.tanh, x)


def wave(f, odd):
    def value(x):
        if abs(x) == INF:
            return NAN
        return x if odd and abs(x) < 1e-9 else rounded(f, x)

    return value


def atan(x):
    if abs(x) == INF:
        return math.copysign(math.pi / 2, x)
    return x if abs(x) < 1e-9 else rounded(m.atan, x)


def power(x, y):
    if x == 1 or y == 0:
        return 1.0
    if x != x or y != y:
        return NAN
    whole = abs(y) == INF or y == math.floor(y)
    odd = whole and abs(y) < 2.0**53 and int(y) % 2 == 1
    if x < 0 and x != -INF and not whole:
        return NAN
    sign = -1.0 if odd and math.copysign(1.0, x) < 0 else 1.0
    a = abs(x)
    if abs(y) == INF:
        return 1.0 if a == 1 else INF if (a > 1) == (y > 0) else 0.0
    if a in (0.0, INF):
        return sign * (INF if (a == INF) == (y > 0) else 0.0)
    mp.prec = 200
    size = mpf(y) * m.log(mpf(a))
    if abs(size) > 800:
        return sign * (INF if size > 0 else 0.0)
    return sign * rounded(lambda u, v: m.power(u, v), a, y)


def log_add_exp(a, b):
    if a != a or b != b:
        return NAN
    if INF in (a, b):
        return INF
    high, low = max(a, b), min(a, b)
    if low == -INF or high - low > 2000 and abs(high) > TINY:
        # ln(e^-0) is ln 1, a positive zero.
        return high + 0.0
    mp.prec = 2200
    return rounded(lambda u, v: u + m.log1p(m.exp(v - u)), high, low)


def worst_near_multiples(count):
    """Doubles next to multiples of pi/2, where the reduction cancels most."""
    mp.prec = 2000
    out = [6381956970095103.0 * 2.0**797, 5.319372648326541e255, 1e22, 1e300]
    for _ in range(count):
        k = rng.randrange(1, 2 ** rng.randrange(2, 60))
        out.append(float(k * m.pi / 2))
    return out


TRIG = EDGES + both(
    spread(1e-12, 1.0, 40)
    + uniform(0, 10, 50)
    + spread(1.0, 1e9, 50)
    + spread(1e9, MAX, 30)
    + around(1e9, 1)
    + worst_near_multiples(60)
    + [k * math.pi / 4 for k in range(1, 9)]
)
LOGS = (
    EDGES
    + subnormal(30)
    + spread(MIN_NORMAL, MAX, 120)
    + around(1.0, 8)
    + [1 + s for s in both(spread(1e-16, 0.3, 60))]
    + uniform(0.4, 2.1, 60)
    + around(math.sqrt(0.5))
    + around(math.sqrt(2))
    + [2.0**k for k in (-1074, -1030, -3, -1, 1, 2, 10, 1023)]
    + [10.0**k for k in range(-8, 23)]
)

UNARY = {
    "exp": (
        exp,
        EDGES
        + uniform(-708, 709.7, 150)
        + uniform(-746, -707, 60)
        + both(spread(1e-18, 1.0, 40))
        + [k * math.log(2) / 2 for k in range(-31, 32, 2)]
        + around(709.782712893384)
        + around(-745.1332191019412)
        + around(708.0)
        + around(-708.0)
        + [-1e308, 1e4, -1e4, -744.4400719213812],
    ),
    "ln": (logarithm(m.log), LOGS),
    "log2": (logarithm(lambda v: m.log(v) / m.log(2)), LOGS),
    "log10": (logarithm(lambda v: m.log(v) / m.log(10)), LOGS),
    "sigmoid": (
        sigmoid,
        EDGES
        + both(spread(1e-18, 1.0, 30) + uniform(0, 45, 100))
        + uniform(-746, -36, 60)
        + around(-40.0)
        + around(-42.0)
        + around(-708.0)
        + both([750.0, 1e5]),
    ),
    "tanh": (
        tanh,
        EDGES
        + subnormal(10)
        + both(spread(1e-12, 1.0, 60) + uniform(0, 23, 100) + [19.06, 22.0, 23.0, 46.0, 800.0])
        + [k * math.log(2) / 4 for k in range(-15, 16, 2)],
    ),
    "sin": (wave(m.sin, True), TRIG),
    "cos": (wave(m.cos, False), TRIG),
    "tan": (wave(m.tan, True), TRIG),
    "atan": (
        atan,
        EDGES
        + subnormal(10)
        + both(spread(1e-12, 1.0, 60) + uniform(0, 4, 100) + spread(1.0, 1e20, 40))
        + [v for e in (0.4375, 0.6875, 1.1875, 2.4375) for v in around(e)],
    ),
}


def pow_points():
    points = [(x, y) for x in EDGES + [-2.0, 0.5, -0.5] for y in EDGES + [2.0, 3.0, -3.0, 0.5, 2.5]]
    points += [(-x, float(rng.randrange(-40, 41))) for x in spread(1e-5, 1e5, 60)]
    points += [(-2.0, y) for y in (2.0**53 - 1, 2.0**53, 2.0**60, 1023.0, -1074.0, -1073.0)]
    for x in spread(MIN_NORMAL, MAX, 200):
        points.append((x, rng.uniform(-745, 710) / math.log(x)))
    for x in subnormal(20):
        points.append((x, rng.uniform(-1, 1)))
    for e in both(spread(1e-15, 1e-2, 80)):
        points.append((1 + e, rng.uniform(-745, 710) / math.log1p(e)))
    points += [(x, rng.uniform(-20, 20)) for x in uniform(0, 10, 100)]
    for x in spread(1e-3, 1e3, 40):
        points.append((x, rng.uniform(-746, -707) / math.log(x)))
    points += [(10.0, float(k)) for k in range(-20, 23, 3)]
    return points


def log_add_exp_points():
    ends = [0.0, -0.0, INF, -INF, NAN, TINY, -TINY, MAX, -MAX, 1.0]
    points = [(a, b) for a in ends for b in ends]
    points += list(zip(uniform(-5, 5, 120), uniform(-5, 5, 120)))
    points += list(zip(uniform(-800, 800, 60), uniform(-800, 800, 60)))
    points += [(a, a + d) for a, d in zip(uniform(-50, 50, 40), both(spread(1e-10, 40, 20)))]
    points += [(x, -r) for x, r in zip(both(spread(1e-16, 1e-3, 30)), uniform(1, 40, 60))]
    points += [(x, rng.uniform(-745, -600)) for x in both(spread(1e-320, 1e-250, 20))]
    # Where the result passes through zero.
    mp.prec = 200
    for _ in range(60):
        a = rng.uniform(-3, -0.01)
        b = float(m.log(1 - m.exp(mpf(a)))) + rng.choice((-1, 1)) * 10 ** rng.uniform(-12, -0.5)
        points.append((a, b) if rng.random() < 0.5 else (b, a))
    points += [(-x, float(m.log(x))) for x in spread(1e-300, 1e-3, 20)]
    return points


def main():
    here = pathlib.Path(__file__)
    lines = [
        "# Correctly rounded values, written by lanes.py (Python, mpmath); do not edit.",
        "# Function, the bits of its argument or arguments, the bits of its value.",
    ]
    for name, (f, points) in UNARY.items():
        for x in points:
            lines.append(f"{name} {hexbits(x)} {hexbits(NAN if x != x else f(x))}")
    for name, f, points in (
        ("pow", power, pow_points()),
        ("log_add_exp", log_add_exp, log_add_exp_points()),
    ):
        for x, y in points:
            lines.append(f"{name} {hexbits(x)} {hexbits(y)} {hexbits(f(x, y))}")
    here.with_suffix(".txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
