# sans-I/O
# hwsim: no-float
# ruff: noqa: F821 - uint, ptr8 and ptr32 are types that only viper knows
"""SHA-512 (FIPS 180-4) in native code: every 64-bit word is two 32-bit halves, high first.

A viper integer is a machine word: 32 bits on the bracelet, 64 on a desktop. Each half is masked to 32 bits before it is
shifted right or compared, so the same source is right on both. Work memory is allocated once; a call allocates
only its message and its result. Not reentrant.
"""

import micropython

from tocsin.crypto.sha512_constants import H, K

# Words of the work memory: K (160), the state (16), and the last 16 words of the message schedule (32).
_work = bytearray(4 * (160 + 16 + 32))


@micropython.viper
def _load(words: ptr32, octets: ptr8, at: int, n: int):
    """Fill words[0:n] from big-endian octets, from octet `at` on."""
    i = 0
    while i < n:
        words[i] = octets[at] << 24 | octets[at + 1] << 16 | octets[at + 2] << 8 | octets[at + 3]
        at += 4
        i += 1


@micropython.viper
def _store(words: ptr32, octets: ptr8, n: int):
    """Write big-endian octets from words[0:n]."""
    i = 0
    while i < n:
        x = words[i]
        at = i << 2
        octets[at] = x >> 24
        octets[at + 1] = x >> 16
        octets[at + 2] = x >> 8
        octets[at + 3] = x
        i += 1


@micropython.viper
def _compress(work: ptr32):
    """Mix the 16 words of the schedule into the state."""
    m = (uint(2) << 31) - 1  # 32 ones, whatever the width of a machine word
    state = ptr32(uint(work) + 640)
    w = ptr32(uint(work) + 704)
    ah = uint(state[0])
    al = uint(state[1])
    bh = uint(state[2])
    bl = uint(state[3])
    ch = uint(state[4])
    cl = uint(state[5])
    dh = uint(state[6])
    dl = uint(state[7])
    eh = uint(state[8])
    el = uint(state[9])
    fh = uint(state[10])
    fl = uint(state[11])
    gh = uint(state[12])
    gl = uint(state[13])
    hh = uint(state[14])
    hl = uint(state[15])
    i = 0  # index of the round's high half in K
    while i < 160:
        j = i & 31
        # (th, tl) accumulates. A low half that came out smaller than what was added to it has overflowed: carry one.
        th = uint(w[j]) & m
        tl = uint(w[j + 1]) & m
        if i >= 32:
            # the schedule: w[t] += sigma0(w[t - 15]) + w[t - 7] + sigma1(w[t - 2])
            xh = uint(w[i + 2 & 31]) & m
            xl = uint(w[i + 3 & 31]) & m
            s = ((xl >> 1 | xh << 31) ^ (xl >> 8 | xh << 24) ^ (xl >> 7 | xh << 25)) & m
            tl = tl + s & m
            th += ((xh >> 1 | xl << 31) ^ (xh >> 8 | xl << 24) ^ xh >> 7) + uint(tl < s)
            s = uint(w[i + 19 & 31]) & m
            tl = tl + s & m
            th += uint(w[i + 18 & 31]) + uint(tl < s)
            xh = uint(w[i + 28 & 31]) & m
            xl = uint(w[i + 29 & 31]) & m
            s = ((xl >> 19 | xh << 13) ^ (xh >> 29 | xl << 3) ^ (xl >> 6 | xh << 26)) & m
            tl = tl + s & m
            th += ((xh >> 19 | xl << 13) ^ (xl >> 29 | xh << 3) ^ xh >> 6) + uint(tl < s)
            w[j] = th
            w[j + 1] = tl
        # T1 = h + Sigma1(e) + Ch(e, f, g) + K[t] + w[t]
        s = uint(work[i + 1]) & m
        tl = tl + s & m
        th += uint(work[i]) + uint(tl < s)
        tl = tl + hl & m
        th += hh + uint(tl < hl)
        s = ((el >> 14 | eh << 18) ^ (el >> 18 | eh << 14) ^ (eh >> 9 | el << 23)) & m
        tl = tl + s & m
        th += ((eh >> 14 | el << 18) ^ (eh >> 18 | el << 14) ^ (el >> 9 | eh << 23)) + uint(tl < s)
        s = gl ^ el & (fl ^ gl)
        tl = tl + s & m
        th += (gh ^ eh & (fh ^ gh)) + uint(tl < s)
        hh = gh
        hl = gl
        gh = fh
        gl = fl
        fh = eh
        fl = el
        el = dl + tl & m
        eh = dh + th + uint(el < tl) & m
        # T2 = Sigma0(a) + Maj(a, b, c), on top of T1
        s = ((al >> 28 | ah << 4) ^ (ah >> 2 | al << 30) ^ (ah >> 7 | al << 25)) & m
        tl = tl + s & m
        th += ((ah >> 28 | al << 4) ^ (al >> 2 | ah << 30) ^ (al >> 7 | ah << 25)) + uint(tl < s)
        s = al & bl | cl & (al | bl)
        tl = tl + s & m
        th += (ah & bh | ch & (ah | bh)) + uint(tl < s)
        dh = ch
        dl = cl
        ch = bh
        cl = bl
        bh = ah
        bl = al
        ah = th & m
        al = tl
        i += 2
    # The schedule is used up: its place takes the working variables, for the addition to the state.
    w[0] = ah
    w[1] = al
    w[2] = bh
    w[3] = bl
    w[4] = ch
    w[5] = cl
    w[6] = dh
    w[7] = dl
    w[8] = eh
    w[9] = el
    w[10] = fh
    w[11] = fl
    w[12] = gh
    w[13] = gl
    w[14] = hh
    w[15] = hl
    i = 0
    while i < 16:
        s = uint(w[i + 1]) & m
        tl = uint(state[i + 1]) + s & m
        state[i + 1] = tl
        state[i] = uint(state[i]) + uint(w[i]) + uint(tl < s)
        i += 2


_view = memoryview(_work)
_state = _view[640:704]
_schedule = _view[704:832]
_WIPED = bytes(192)
_load(_work, K, 0, 160)


def sha512(*parts):
    """Return the digest of the parts, one after another."""
    n = sum([len(part) for part in parts])
    msg = b"".join(parts + (b"\x80", bytes((111 - n) % 128), (8 * n).to_bytes(16, "big")))
    _load(_state, H, 0, 16)
    for at in range(0, len(msg), 128):
        _load(_schedule, msg, at, 32)
        _compress(_work)
    digest = bytearray(64)
    _store(_state, digest, 16)
    _view[640:] = _WIPED  # parts may be secret: nothing of them stays behind
    return bytes(digest)
