# sans-I/O
# hwsim: no-float
"""Curve arithmetic, native where it loads: `base(k)` and `x25519(k, u)`. See `curve_plain` for what they compute."""


def _choose():
    # The reasons are those of `sha512`. The known answer is (L - 1) B = -B: B's y, and the sign bit of the opposite x.
    try:
        from tocsin.crypto import curve_viper as native

        if native.base(2**252 + 27742317777372353535851937790883648492) == b"\x58" + b"\x66" * 30 + b"\xe6":
            return native
    except (ImportError, SyntaxError, ValueError, NotImplementedError, MemoryError):
        pass
    from tocsin.crypto import curve_plain as plain

    return plain


implementation = _choose()
base = implementation.base
x25519 = implementation.x25519
