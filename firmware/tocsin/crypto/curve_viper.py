# sans-I/O
# hwsim: no-float
"""Edwards25519 and Curve25519 on `field_viper`: multiples of the base point and the X25519 ladder.

Same results as `curve_plain`. A secret decides about values only: no branch, no address and no size depends on it.
"""

from tocsin.crypto.comb_table import COMBS, SPACING, TABLE, TEETH
from tocsin.crypto.field_viper import (
    ADD,
    MUL,
    MUL_121665,
    SQUARE,
    SUB,
    ZERO,
    execute,
    invert,
    number,
    program,
    put,
    slots,
    wipe,
)
from tocsin.crypto.limbs_viper import bits_of, load, select, swap

L = 2**252 + 27742317777372353535851937790883648493
_HALF = 1 << (TEETH - 1)

# The slots: a point in extended coordinates, a table entry, and the intermediate values of RFC 8032, 5.1.4.
X, Y, Z, T = 3, 4, 5, 6
PLUS, MINUS, T2, NEGATED = 7, 8, 9, 10
A, B, C, D, E, F, G, H = 11, 12, 13, 14, 15, 16, 17, 18

_PRODUCT = ((MUL, X, E, F), (MUL, Y, G, H), (MUL, Z, F, G), (MUL, T, E, H))
_DOUBLE = program(
    (SQUARE, A, X, 1),
    (SQUARE, B, Y, 1),
    (SQUARE, C, Z, 1),
    (ADD, C, C, C),
    (ADD, H, A, B),
    (ADD, E, X, Y),
    (SQUARE, E, E, 1),
    (SUB, E, H, E),
    (SUB, G, A, B),
    (ADD, F, C, G),
    *_PRODUCT,
)
_ADD = program(
    (SUB, A, Y, X),
    (MUL, A, A, MINUS),
    (ADD, B, Y, X),
    (MUL, B, B, PLUS),
    (MUL, C, T, T2),
    (ADD, D, Z, Z),
    (SUB, E, B, A),
    (SUB, F, D, C),
    (ADD, G, D, C),
    (ADD, H, B, A),
    *_PRODUCT,
)
# After the last comb comes a doubling or the end: neither uses T.
_ADD_ENTRY = [_ADD] * (COMBS - 1) + [_ADD[:-4]]
_NEGATE = program((SUB, NEGATED, ZERO, T2))

# The combs of the table; `select` leaves the three parts of an entry in the product's columns, in slots 0 and 1.
_COMBS = [memoryview(TABLE)[96 * _HALF * comb : 96 * _HALF * (comb + 1)] for comb in range(COMBS)]

_ONE = b"\x01" + bytes(31)


def base(k):
    """Return the encoding of k times the base point, 0 <= k < L. `curve_plain` explains the comb."""
    bits = COMBS * TEETH * SPACING
    k += L * (1 - (k & 1))
    digits = ((k + (1 << bits) - 1) >> 1).to_bytes((bits + 7) >> 3, "little")
    wipe()
    put(Y, _ONE)
    put(Z, _ONE)
    for column in range(SPACING - 1, -1, -1):
        execute(_DOUBLE)
        for comb in range(COMBS):
            index = bits_of(digits, column + SPACING * TEETH * comb, SPACING, TEETH)
            negative = 1 - (index >> TEETH - 1)
            select(slots, _COMBS[comb], _HALF, (index ^ 0 - negative) & _HALF - 1)
            load(slots, PLUS, slots, 3)  # PLUS, MINUS and T2
            execute(_NEGATE)
            swap(slots, PLUS, MINUS, negative)
            swap(slots, T2, NEGATED, negative)
            execute(_ADD_ENTRY[comb])
    invert(A, Z)
    execute(program((MUL, X, X, A), (MUL, Y, Y, A)))
    encoded = (number(Y) | (number(X) & 1) << 255).to_bytes(32, "little")
    wipe()
    return encoded


# The ladder's slots: the points (X : Z) and (X3 : Z3), and the u-coordinate it started from.
X3, Z3, U = Y, T, PLUS
_LADDER = program(
    (ADD, A, X, Z),
    (SUB, B, X, Z),
    (ADD, C, X3, Z3),
    (SUB, D, X3, Z3),
    (MUL, D, D, A),
    (MUL, C, C, B),
    (SQUARE, A, A, 1),
    (SQUARE, B, B, 1),
    (SUB, E, A, B),
    (ADD, X3, D, C),
    (SQUARE, X3, X3, 1),
    (SUB, Z3, D, C),
    (SQUARE, Z3, Z3, 1),
    (MUL, Z3, Z3, U),
    (MUL, X, A, B),
    (MUL_121665, F, E, E),
    (ADD, F, F, A),
    (MUL, Z, E, F),
)


def x25519(k, u):
    """Return the u-coordinate of k times the point with u-coordinate `u`, both 32 octets (RFC 7748, 5)."""
    digits = bytearray(k)
    digits[0] &= 248
    digits[31] = digits[31] & 127 | 64
    u = bytearray(u)
    u[31] &= 127
    wipe()
    put(X, _ONE)
    put(X3, u)
    put(Z3, _ONE)
    put(U, u)
    swapped = 0
    for i in range(254, -1, -1):
        bit = digits[i >> 3] >> (i & 7) & 1
        swap(slots, X, X3, swapped ^ bit)
        swap(slots, Z, Z3, swapped ^ bit)
        swapped = bit
        execute(_LADDER)
    swap(slots, X, X3, swapped)
    swap(slots, Z, Z3, swapped)
    invert(A, Z)
    execute(program((MUL, X, X, A)))
    result = number(X).to_bytes(32, "little")
    wipe()
    return result
