# sans-I/O
# hwsim: no-float
# ruff: noqa: F821 - uint, ptr8 and ptr32 are types that only viper knows
"""Move field elements in and out of their slots (`field_viper`), and table entries, in native code: the same steps, and
the same places in memory, for all values."""

import micropython


@micropython.viper
def load(memory: ptr32, slot: int, words: ptr32, slots: int):
    """Fill so many slots from here on, from 8 little-endian words each."""
    r = ptr32(uint(memory) + 80 * slot)
    while slots:
        r[0] = uint(words[0]) & 8191
        r[1] = uint(words[0]) >> 13 & 8191
        r[2] = (uint(words[0]) >> 26 | uint(words[1]) << 6) & 8191
        r[3] = uint(words[1]) >> 7 & 8191
        r[4] = (uint(words[1]) >> 20 | uint(words[2]) << 12) & 8191
        r[5] = uint(words[2]) >> 1 & 8191
        r[6] = uint(words[2]) >> 14 & 8191
        r[7] = (uint(words[2]) >> 27 | uint(words[3]) << 5) & 8191
        r[8] = uint(words[3]) >> 8 & 8191
        r[9] = (uint(words[3]) >> 21 | uint(words[4]) << 11) & 8191
        r[10] = uint(words[4]) >> 2 & 8191
        r[11] = uint(words[4]) >> 15 & 8191
        r[12] = (uint(words[4]) >> 28 | uint(words[5]) << 4) & 8191
        r[13] = uint(words[5]) >> 9 & 8191
        r[14] = (uint(words[5]) >> 22 | uint(words[6]) << 10) & 8191
        r[15] = uint(words[6]) >> 3 & 8191
        r[16] = uint(words[6]) >> 16 & 8191
        r[17] = (uint(words[6]) >> 29 | uint(words[7]) << 3) & 8191
        r[18] = uint(words[7]) >> 10 & 8191
        r[19] = uint(words[7]) >> 23 & 8191
        r = ptr32(uint(r) + 80)
        words = ptr32(uint(words) + 32)
        slots -= 1


@micropython.viper
def bits_of(octets: ptr8, at: int, step: int, n: int) -> int:
    """Return n bits, `step` apart, the lowest first."""
    found = 0
    k = 0
    while k < n:
        found |= (octets[at >> 3] >> (at & 7) & 1) << k
        at += step
        k += 1
    return found


@micropython.viper
def store(memory: ptr32, slot: int, octets: ptr8):
    """Write 33 octets, little-endian, from a slot."""
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
    """Set out[0:24] to entry `index` of a table whose entries are 24 words; every entry is read. out[24] is lost.

    The table may start anywhere, like the constants of a module that runs where it lies; the bracelet's processor reads
    words on word boundaries only. So the 25 words that hold an entry are taken, and the result is moved."""
    i = 0
    while i < 25:
        out[i] = 0
        i += 1
    shift = (uint(table) & 3) << 3
    table = ptr32(uint(table) - (uint(table) & 3))
    e = 0
    while e < entries:
        keep = ((e ^ index) - 1) >> 31  # all ones for the entry that is wanted (indices are small), else zero
        i = 0
        while i < 3:
            out[0] = out[0] | table[0] & keep
            out[1] = out[1] | table[1] & keep
            out[2] = out[2] | table[2] & keep
            out[3] = out[3] | table[3] & keep
            out[4] = out[4] | table[4] & keep
            out[5] = out[5] | table[5] & keep
            out[6] = out[6] | table[6] & keep
            out[7] = out[7] | table[7] & keep
            out = ptr32(uint(out) + 32)
            table = ptr32(uint(table) + 32)
            i += 1
        if shift:
            out[0] = out[0] | table[0] & keep
        out = ptr32(uint(out) - 96)
        e += 1
    if shift:
        i = 0
        while i < 24:
            out[0] = uint(out[0]) >> shift | uint(out[1]) << (32 - shift)
            out = ptr32(uint(out) + 4)
            i += 1


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


@micropython.viper
def clear(words: ptr32, n: int):
    i = 0
    while i < n:
        words[i] = 0
        i += 1
