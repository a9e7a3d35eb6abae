# sans-I/O
# hwsim: no-float
# ruff: noqa: F821 - uint, ptr8 and ptr32 are types that only viper knows
"""Arithmetic modulo p = 2^255 - 19 in native code, without allocation and with the same steps for all values.

A field element is 20 limbs of 13 bits (radix 2^13, 260 bits) in a slot of 20 words. 13 bits, because 20 products of
two limbs then add up within an unsigned 32-bit word, which is all that viper has on the bracelet. Calling native code
costs more than an addition, so `run` takes a whole program of field operations, each of four octets: operation, slot
of the result, slots of the left and the right operand. A result may be its own operand.

Limbs after every operation: at most 8191, except limb 2, at most 8195. Values are not reduced below p; `number` is.

Not reentrant: there is one set of slots. `wipe` it when it held secrets.
"""

import micropython
from micropython import const

from tocsin.crypto.limbs_viper import clear, load, store

MUL = const(0)
ADD = const(1)
SUB = const(2)
MUL_121665 = const(3)  # by the ladder's constant (486662 - 2) / 4
SQUARE = const(4)  # of the left operand, as often in a row as the fourth octet says

P = 2**255 - 19
ZERO = 2  # a slot that is always zero; 0 and 1 are the product's 40 columns, free between two operations
slots = bytearray(25 * 80)


@micropython.viper
def run(t: ptr32, x: uint, program: ptr8, size: int):
    """Execute a program of `size` octets on the slots at `t`.

    `x` brings nothing in. The first arguments are the only locals that viper keeps in registers on the bracelet, so the
    two busiest names of this function have their places: the running pointer to the product, and the carry. An index
    that is a constant costs nothing, any other up to seven instructions: hence the long rows and the moved pointers.
    """
    base = uint(t)
    i = 0
    while i < size:
        op = program[i]
        r = ptr32(base + 80 * program[i + 1])
        a = ptr32(base + 80 * program[i + 2])
        b = ptr32(base + 80 * program[i + 3])
        y = uint(0)
        j = 0
        if not op & 3:  # MUL or SQUARE
            # A column gets at most 20 products of at most 8195^2, or half as many twice as large: below 2^31.
            n = int(program[i + 3]) if op else 1
            while n:
                t = ptr32(base)
                while j < 4:
                    t[0] = 0
                    t[1] = 0
                    t[2] = 0
                    t[3] = 0
                    t[4] = 0
                    t[5] = 0
                    t[6] = 0
                    t[7] = 0
                    t[8] = 0
                    t[9] = 0
                    t = ptr32(uint(t) + 40)
                    j += 1
                j = 0
                t = ptr32(base)
                if op:
                    # Blocks of 4 limbs: each twice with all that follow it, then with itself.
                    while j < 5:
                        x = uint(a[0]) << 1
                        y = uint(a[1]) << 1
                        z = uint(a[2]) << 1
                        w = uint(a[3])
                        t[0] = a[0] * a[0] + t[0]
                        t[1] = a[1] * x + t[1]
                        t[2] = a[2] * x + a[1] * a[1] + t[2]
                        t[3] = w * x + a[2] * y + t[3]
                        t[4] = w * y + a[2] * a[2] + t[4]
                        t[5] = w * z + t[5]
                        t[6] = w * w + t[6]
                        w <<= 1
                        b = a
                        a = ptr32(uint(a) + 16)
                        k = j
                        while k < 4:
                            b = ptr32(uint(b) + 16)
                            t = ptr32(uint(t) + 16)
                            t[0] = b[0] * x + t[0]
                            t[1] = b[1] * x + b[0] * y + t[1]
                            t[2] = b[2] * x + b[1] * y + b[0] * z + t[2]
                            t[3] = b[3] * x + b[2] * y + b[1] * z + b[0] * w + t[3]
                            t[4] = b[3] * y + b[2] * z + b[1] * w + t[4]
                            t[5] = b[3] * z + b[2] * w + t[5]
                            t[6] = b[3] * w + t[6]
                            k += 1
                        # The next block begins two blocks of columns after this one.
                        j += 1
                        t = ptr32(base + 32 * j)
                else:
                    # Four rows of the schoolbook at once: a[4 j] to a[4 j + 3] times one half of b, then the other.
                    while j < 5:
                        x = uint(a[0])
                        y = uint(a[1])
                        z = uint(a[2])
                        w = uint(a[3])
                        k = 0
                        while k < 2:
                            t[0] = b[0] * x + t[0]
                            t[1] = b[1] * x + b[0] * y + t[1]
                            t[2] = b[2] * x + b[1] * y + b[0] * z + t[2]
                            t[3] = b[3] * x + b[2] * y + b[1] * z + b[0] * w + t[3]
                            t[4] = b[4] * x + b[3] * y + b[2] * z + b[1] * w + t[4]
                            t[5] = b[5] * x + b[4] * y + b[3] * z + b[2] * w + t[5]
                            t[6] = b[6] * x + b[5] * y + b[4] * z + b[3] * w + t[6]
                            t[7] = b[7] * x + b[6] * y + b[5] * z + b[4] * w + t[7]
                            t[8] = b[8] * x + b[7] * y + b[6] * z + b[5] * w + t[8]
                            t[9] = b[9] * x + b[8] * y + b[7] * z + b[6] * w + t[9]
                            t[10] = b[9] * y + b[8] * z + b[7] * w + t[10]
                            t[11] = b[9] * z + b[8] * w + t[11]
                            t[12] = b[9] * w + t[12]
                            b = ptr32(uint(b) + 40)
                            t = ptr32(uint(t) + 40)
                            k += 1
                        b = ptr32(uint(b) - 80)
                        t = ptr32(uint(t) - 64)
                        a = ptr32(uint(a) + 16)
                        j += 1
                # 2^260 = 608 (mod p): the upper 20 columns, carried (x), are folded onto the lower ones, carried (y).
                t = ptr32(base)
                a = r
                x = uint(0)
                y = uint(0)
                j = 0
                while j < 4:
                    x += uint(t[20])
                    y += (x & 8191) * 608 + uint(t[0])
                    a[0] = y & 8191
                    x >>= 13
                    y >>= 13
                    x += uint(t[21])
                    y += (x & 8191) * 608 + uint(t[1])
                    a[1] = y & 8191
                    x >>= 13
                    y >>= 13
                    x += uint(t[22])
                    y += (x & 8191) * 608 + uint(t[2])
                    a[2] = y & 8191
                    x >>= 13
                    y >>= 13
                    x += uint(t[23])
                    y += (x & 8191) * 608 + uint(t[3])
                    a[3] = y & 8191
                    x >>= 13
                    y >>= 13
                    x += uint(t[24])
                    y += (x & 8191) * 608 + uint(t[4])
                    a[4] = y & 8191
                    x >>= 13
                    y >>= 13
                    t = ptr32(uint(t) + 20)
                    a = ptr32(uint(a) + 20)
                    j += 1
                # The rest of the upper columns, below 2^6, is worth 608^2; that of the lower ones, below 2^18, 608.
                x = x * 369664 + y * 608 + uint(r[0])
                r[0] = x & 8191
                x = (x >> 13) + uint(r[1])
                r[1] = x & 8191
                r[2] = uint(r[2]) + (x >> 13)
                a = r
                j = 0
                n -= 1
        else:
            t = r
            x = uint(0)
            if op == ADD:
                while j < 4:
                    x += uint(a[0]) + uint(b[0])
                    t[0] = x & 8191
                    x >>= 13
                    x += uint(a[1]) + uint(b[1])
                    t[1] = x & 8191
                    x >>= 13
                    x += uint(a[2]) + uint(b[2])
                    t[2] = x & 8191
                    x >>= 13
                    x += uint(a[3]) + uint(b[3])
                    t[3] = x & 8191
                    x >>= 13
                    x += uint(a[4]) + uint(b[4])
                    t[4] = x & 8191
                    x >>= 13
                    t = ptr32(uint(t) + 20)
                    a = ptr32(uint(a) + 20)
                    b = ptr32(uint(b) + 20)
                    j += 1
            elif op == SUB:
                # a - b + 2 (2^260 - 608), whose limbs are 15168 and then 16382: no limb gets negative.
                x -= 1214
                while j < 4:
                    x += uint(a[0]) + 16382 - uint(b[0])
                    t[0] = x & 8191
                    x >>= 13
                    x += uint(a[1]) + 16382 - uint(b[1])
                    t[1] = x & 8191
                    x >>= 13
                    x += uint(a[2]) + 16382 - uint(b[2])
                    t[2] = x & 8191
                    x >>= 13
                    x += uint(a[3]) + 16382 - uint(b[3])
                    t[3] = x & 8191
                    x >>= 13
                    x += uint(a[4]) + 16382 - uint(b[4])
                    t[4] = x & 8191
                    x >>= 13
                    t = ptr32(uint(t) + 20)
                    a = ptr32(uint(a) + 20)
                    b = ptr32(uint(b) + 20)
                    j += 1
            else:
                while j < 20:
                    x += uint(a[j]) * 121665
                    r[j] = x & 8191
                    x >>= 13
                    j += 1
            # The carry out of the top is below 2^18. It is folded too, and the carry of that ends in limb 2.
            x = x * 608 + uint(r[0])
            r[0] = x & 8191
            x = (x >> 13) + uint(r[1])
            r[1] = x & 8191
            r[2] = uint(r[2]) + (x >> 13)
        i += 4


def program(*operations):
    """Return the octets that `run` takes, from tuples (operation, result, left, right)."""
    return b"".join([bytes(operation) for operation in operations])


def execute(code):
    run(slots, 0, code, len(code))


def wipe():
    clear(slots, len(slots) >> 2)


def put(slot, octets):
    """Fill a slot from 32 octets, little-endian."""
    load(slots, slot, bytearray(octets), 1)  # a bytearray starts on a word boundary


def number(slot):
    """Return the value of a slot, reduced."""
    octets = bytearray(33)
    store(slots, slot, octets)
    return int.from_bytes(octets, "little") % P


# z^(p - 2) in slot 22 from z in slot 24, by way of z^(2^n - 1); n is noted behind each step.
_ONES, _POWER, _KEPT, _Z = const(21), const(22), const(23), const(24)
_INVERT = program(
    (SQUARE, _KEPT, _Z, 1),
    (SQUARE, _POWER, _KEPT, 2),
    (MUL, _POWER, _POWER, _Z),  # z^9
    (MUL, _Z, _POWER, _KEPT),  # z^11
    (SQUARE, _ONES, _Z, 1),
    (MUL, _ONES, _ONES, _POWER),  # z^31: n = 5
    (SQUARE, _POWER, _ONES, 5),
    (MUL, _KEPT, _POWER, _ONES),  # 10
    (SQUARE, _POWER, _KEPT, 10),
    (MUL, _ONES, _POWER, _KEPT),  # 20
    (SQUARE, _POWER, _ONES, 20),
    (MUL, _ONES, _POWER, _ONES),  # 40
    (SQUARE, _POWER, _ONES, 10),
    (MUL, _KEPT, _POWER, _KEPT),  # 50
    (SQUARE, _POWER, _KEPT, 50),
    (MUL, _ONES, _POWER, _KEPT),  # 100
    (SQUARE, _POWER, _ONES, 100),
    (MUL, _ONES, _POWER, _ONES),  # 200
    (SQUARE, _POWER, _ONES, 50),
    (MUL, _ONES, _POWER, _KEPT),  # 250
    (SQUARE, _POWER, _ONES, 5),
    (MUL, _POWER, _POWER, _Z),  # 2^255 - 32 + 11 = p - 2
)


def invert(result, z):
    """Compute result = 1 / z. Uses slots 21 to 24."""
    execute(program((ADD, _Z, z, ZERO)))
    execute(_INVERT)
    execute(program((ADD, result, _POWER, ZERO)))
