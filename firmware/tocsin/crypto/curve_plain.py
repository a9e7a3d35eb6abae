# sans-I/O
# hwsim: no-float
"""Edwards25519 and Curve25519 with big integers: the fallback where native code can't load, and signature checking.

For: multiples of the base point (`base`), the X25519 ladder, decompression and a sum of two multiples for `verify`.

Secrets select table entries and signs, but never a branch. Big integers themselves aren't constant-time: a product
takes a little longer when an operand happens to be longer. The native implementation hasn't this weakness.
"""

from tocsin.crypto.comb_table import COMBS, SPACING, TABLE, TEETH

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = 37095705934669439343138083508754565189542113879843219016388785533085940283555
D2 = 2 * D % P
_SQRT_MINUS_1 = 19681161376707505956807079304988542015446066515923890162744021073123829784752
_LOW = 2**255 - 1

# A point is (x, y, z, t) in extended coordinates (RFC 8032, 5.1.4). Sums and differences may be negative or a few bits
# too long between two products; `_fold` uses 2^255 = 19 (mod p) to shorten them, which is much cheaper than `% P`.
NEUTRAL = (0, 1, 1, 0)


def _fold(a):
    return (a & _LOW) + 19 * (a >> 255)


def _fold2(a):
    # twice: for what is about to be multiplied, so that it costs no extra digit
    a = (a & _LOW) + 19 * (a >> 255)
    return (a & _LOW) + 19 * (a >> 255)


def _product(e, f, g, h):
    """Do the common end of doubling and addition."""
    e = _fold2(e)
    f = _fold2(f)
    g = _fold2(g)
    h = _fold2(h)
    return _fold(e * f), _fold(g * h), _fold(f * g), _fold(e * h)


def double(point):
    x, y, z, _ = point
    xx = x * x
    yy = y * y
    h = xx + yy
    g = xx - yy
    x += y
    return _product(h - x * x, 2 * z * z + g, g, h)


def prepare(point):
    """Return the form in which `add` takes its second operand: y + x, y - x, 2dt, 2z."""
    x, y, z, t = point
    return y + x, y - x, t * D2 % P, 2 * z


def add(point, prepared):
    """Add two points by a complete formula: it is right for equal, opposite and neutral points too."""
    x, y, z, t = point
    plus, minus, t2, z2 = prepared
    a = (y - x) * minus
    b = (y + x) * plus
    c = _fold(t * t2)
    d = _fold(z * z2)
    return _product(b - a, d - c, d + c, b + a)


def encode(point):
    x, y, z, _ = point
    # Fermat's inverse takes the same steps for every z.
    inverse = pow(z % P, P - 2, P)
    return (y * inverse % P | (x * inverse % P & 1) << 255).to_bytes(32, "little")


def base(k):
    """Return the encoding of k times the base point, 0 <= k < L."""
    combs = COMBS
    teeth = TEETH
    spacing = SPACING
    table = TABLE
    half = 1 << (teeth - 1)
    bits = combs * teeth * spacing
    # Signed digits without zeros: k = sum of (2 b_i - 1) 2^i over all `bits`. That needs an odd k; k + L is as good.
    k += L * (1 - (k & 1))
    digits = ((k + (1 << bits) - 1) >> 1).to_bytes((bits + 7) >> 3, "little")
    point = NEUTRAL
    for column in range(spacing - 1, -1, -1):
        point = double(point)
        for comb in range(combs):
            i = column + spacing * teeth * comb
            index = 0
            for tooth in range(teeth - 1):
                index |= (digits[i >> 3] >> (i & 7) & 1) << tooth
                i += spacing
            positive = digits[i >> 3] >> (i & 7) & 1
            # The table holds the half with a positive top digit. The other half is its mirror image: all bits of the
            # index inverted, and the point negated, which swaps y + x with y - x and turns the sign of 2dt.
            index ^= (positive - 1) & (half - 1)
            at = 96 * (comb * half + index)
            swap = 32 * (1 - positive)
            plus = int.from_bytes(table[at + swap : at + swap + 32], "little")
            minus = int.from_bytes(table[at + 32 - swap : at + 64 - swap], "little")
            t2 = (2 * positive - 1) * int.from_bytes(table[at + 64 : at + 96], "little")
            point = add(point, (plus, minus, t2, 2))
    return encode(point)


def x25519(k, u):
    """Return the u-coordinate of k times the point with u-coordinate `u`, both 32 octets (RFC 7748, 5)."""
    k = int.from_bytes(k, "little") & ((1 << 254) - 8) | 1 << 254
    digits = k.to_bytes(32, "little")
    x1 = (int.from_bytes(u, "little") & _LOW) % P
    # The pairs (x2, x3) and (z2, z3) are lists so that a swap is an index, not a branch.
    x = [1, x1]
    z = [0, 1]
    swapped = 0
    for i in range(254, -1, -1):
        bit = digits[i >> 3] >> (i & 7) & 1
        first = swapped ^ bit
        swapped = bit
        x2 = x[first]
        z2 = z[first]
        x3 = x[1 - first]
        z3 = z[1 - first]
        aa = _fold((x2 + z2) * (x2 + z2))
        bb = _fold((x2 - z2) * (x2 - z2))
        e = aa - bb
        da = _fold((x3 - z3) * (x2 + z2))
        cb = _fold((x3 + z3) * (x2 - z2))
        s = _fold2(da + cb)
        d = _fold2(da - cb)
        x[0] = _fold2(aa * bb)
        z[0] = _fold2(e * (aa + 121665 * e))
        x[1] = _fold2(s * s)
        z[1] = _fold2(_fold2(d * d) * x1)
    return (x[swapped] * pow(z[swapped] % P, P - 2, P) % P).to_bytes(32, "little")


def decode(octets):
    """Return the point that `octets` encode, or None (RFC 8032, 5.1.3)."""
    y = int.from_bytes(octets, "little")
    sign = y >> 255
    y &= _LOW
    if y >= P:
        return None
    u = (y * y - 1) % P
    v = (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P) % P, (P - 5) // 8, P) % P
    if (v * x * x - u) % P:
        if (v * x * x + u) % P:
            return None
        x = x * _SQRT_MINUS_1 % P
    if not x and sign:
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def negate(point):
    x, y, z, t = point
    return -x, y, z, -t


def small(point):
    """Tell whether a point has order 1, 2, 4 or 8: eight times it is the neutral one."""
    x, y, z, _ = double(double(double(point)))
    return not x % P and not (y - z) % P


def sum_of_multiples(k, p, m, q):
    """Return the encoding of k p + m q."""
    return encode(sum_of(k, p, m, q))


def sum_of(k, p, m, q):
    """Return k p + m q. Only for public values: the time depends on them."""
    p2 = prepare(p)
    q2 = prepare(q)
    both = prepare(add(p, q2))
    choices = (None, p2, q2, both)
    result = NEUTRAL
    for i in range(252, -1, -1):
        result = double(result)
        chosen = choices[(k >> i & 1) | (m >> i & 1) << 1]
        if chosen:
            result = add(result, chosen)
    return result


BASE = decode(b"\x58" + b"\x66" * 31)
