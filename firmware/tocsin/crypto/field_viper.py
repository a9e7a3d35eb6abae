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

MUL = const(0)
ADD = const(1)
SUB = const(2)
MUL_121665 = const(3)  # by the ladder's constant (486662 - 2) / 4

P = 2**255 - 19
ZERO = 2  # a slot that is always zero; 0 and 1 are the product's 40 columns, free between two operations
slots = bytearray(25 * 80)


@micropython.viper
def run(t: ptr32, x: uint, program: ptr8, size: int):
    """Execute a program of `size` octets on the slots at `t`.

    `x` brings nothing in. The first arguments are the only locals that viper keeps in registers on the bracelet, so the
    two busiest names of this function have their places: the running pointer to the product, and the carry.
    """
    base = uint(t)
    i = 0
    while i < size:
        op = program[i]
        r = ptr32(base + 80 * program[i + 1])
        a = ptr32(base + 80 * program[i + 2])
        b = ptr32(base + 80 * program[i + 3])
        j = 0
        if op == MUL:
            # Schoolbook: add limb a[j] times all limbs of b to the columns j .. j + 19; column j + 19 is new in row j.
            # A column gets at most 20 products of at most 8195^2: below 2^31.
            t = ptr32(base)
            while j < 19:
                t[j] = 0
                j += 1
            j = 0
            while j < 20:
                x = uint(a[j])
                t[0] = b[0] * x + t[0]
                t[1] = b[1] * x + t[1]
                t[2] = b[2] * x + t[2]
                t[3] = b[3] * x + t[3]
                t[4] = b[4] * x + t[4]
                t[5] = b[5] * x + t[5]
                t[6] = b[6] * x + t[6]
                t[7] = b[7] * x + t[7]
                t[8] = b[8] * x + t[8]
                t[9] = b[9] * x + t[9]
                t[10] = b[10] * x + t[10]
                t[11] = b[11] * x + t[11]
                t[12] = b[12] * x + t[12]
                t[13] = b[13] * x + t[13]
                t[14] = b[14] * x + t[14]
                t[15] = b[15] * x + t[15]
                t[16] = b[16] * x + t[16]
                t[17] = b[17] * x + t[17]
                t[18] = b[18] * x + t[18]
                t[19] = b[19] * x
                t = ptr32(uint(t) + 4)
                j += 1
            # The upper 19 columns, and a 20th for their carry, become limbs (t points at column 20 now). The last one
            # keeps all of its carry.
            t[19] = 0
            x = uint(0)
            j = 0
            while j < 19:
                x += uint(t[j])
                t[j] = x & 8191
                x >>= 13
                j += 1
            t[19] = x
            # 2^260 = 608 (mod p): fold the upper half onto the lower.
            t = ptr32(base)
            x = uint(0)
            j = 0
            while j < 20:
                x += uint(t[j + 20]) * 608 + uint(t[j])
                r[j] = x & 8191
                x >>= 13
                j += 1
        elif op == ADD:
            x = uint(0)
            while j < 20:
                x += uint(a[j]) + uint(b[j])
                r[j] = x & 8191
                x >>= 13
                j += 1
        elif op == SUB:
            # a - b + 2 (2^260 - 608), whose limbs are 15168 and then 16382: no limb gets negative.
            x = uint(0) - 1214
            while j < 20:
                x += uint(a[j]) + 16382 - uint(b[j])
                r[j] = x & 8191
                x >>= 13
                j += 1
        else:
            x = uint(0)
            while j < 20:
                x += uint(a[j]) * 121665
                r[j] = x & 8191
                x >>= 13
                j += 1
        # What was carried out of the top is below 2^18. It is folded too, and its carry ends in limb 2.
        x = x * 608 + uint(r[0])
        r[0] = x & 8191
        x = (x >> 13) + uint(r[1])
        r[1] = x & 8191
        r[2] = uint(r[2]) + (x >> 13)
        i += 4


@micropython.viper
def load(memory: ptr32, slot: int, words: ptr32):
    """A slot from 8 little-endian words."""
    r = ptr32(uint(memory) + 80 * slot)
    k = 0
    while k < 20:
        i = 13 * k
        shift = i & 31
        i >>= 5
        v = uint(words[i]) >> shift
        if shift > 19 and i < 7:  # the limb reaches into the next word
            v |= uint(words[i + 1]) << (32 - shift)
        r[k] = v & 8191
        k += 1


@micropython.viper
def store(memory: ptr32, slot: int, octets: ptr8):
    """33 octets, little-endian, from a slot."""
    r = ptr32(uint(memory) + 80 * slot)
    x = uint(0)
    bits = 0
    at = 0
    k = 0
    while k < 20:
        x += uint(r[k]) << bits
        bits += 13
        while bits >= 8:
            octets[at] = x
            at += 1
            x >>= 8
            bits -= 8
        k += 1
    octets[at] = x


@micropython.viper
def select(out: ptr32, table: ptr32, entries: int, index: int):
    """out[0:24] = entry `index` of a table whose entries are 24 words; every entry is read."""
    i = 0
    while i < 24:
        out[i] = 0
        i += 1
    e = 0
    while e < entries:
        keep = ((e ^ index) - 1) >> 31  # all ones for the entry that is wanted (indices are small), else zero
        i = 0
        while i < 24:
            out[i] = out[i] | table[i] & keep
            i += 1
        table = ptr32(uint(table) + 96)
        e += 1


@micropython.viper
def swap(memory: ptr32, one: int, other: int, condition: int):
    """Exchange two slots when `condition` is 1; touch both in any case."""
    mask = 0 - condition
    p = ptr32(uint(memory) + 80 * one)
    q = ptr32(uint(memory) + 80 * other)
    i = 0
    while i < 20:
        d = (p[i] ^ q[i]) & mask
        p[i] = p[i] ^ d
        q[i] = q[i] ^ d
        i += 1


def program(*operations):
    """The octets that `run` takes, from tuples (operation, result, left, right)."""
    return b"".join([bytes(operation) for operation in operations])


def execute(code):
    run(slots, 0, code, len(code))


@micropython.viper
def _clear(words: ptr32, n: int):
    i = 0
    while i < n:
        words[i] = 0
        i += 1


def wipe():
    _clear(slots, len(slots) >> 2)


def put(slot, octets):
    """A slot from 32 octets, little-endian."""
    load(slots, slot, bytearray(octets))  # a bytearray starts on a word boundary


def number(slot):
    """The value of a slot, reduced."""
    octets = bytearray(33)
    store(slots, slot, octets)
    return int.from_bytes(octets, "little") % P


def invert(result, z):
    """result = z^(p - 2) = 1 / z. Uses slots 21 to 24."""
    ones, power, eleven, kept = 21, 22, 23, 24  # `ones` holds z^(2^n - 1); n is noted behind each step

    def raised(n, left):
        """power = ones^(2^n), then ones = power * left"""
        execute(program((ADD, power, ones, ZERO)) + bytes((MUL, power, power, power)) * n)
        execute(program((MUL, ones, power, left)))

    keep = program((ADD, kept, ones, ZERO))
    execute(
        program(
            (MUL, eleven, z, z),  # z^2
            (MUL, power, eleven, eleven),
            (MUL, power, power, power),
            (MUL, power, power, z),  # z^9
            (MUL, eleven, power, eleven),  # z^11
            (MUL, ones, eleven, eleven),
            (MUL, ones, ones, power),  # z^31: n = 5
        )
    )
    raised(5, ones)  # 10
    execute(keep)
    raised(10, ones)  # 20
    raised(20, ones)  # 40
    raised(10, kept)  # 50
    execute(keep)
    raised(50, ones)  # 100
    raised(100, ones)  # 200
    raised(50, kept)  # 250
    raised(5, eleven)  # 2^255 - 32 + 11 = p - 2
    execute(program((ADD, result, ones, ZERO)))
