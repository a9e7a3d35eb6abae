# sans-I/O
# hwsim: no-float
"""SHA-512 of the concatenation of its arguments: `sha512(*parts)`."""


def _choose():
    # Native code may fail to load (no emitter for this processor, no executable memory left), and a compiler's mistake
    # on a processor we never tried must not become signatures that nobody accepts: hence a known answer, that of b"".
    try:
        from tocsin.crypto.sha512_viper import sha512 as native

        if native()[:8] == b"\xcf\x83\xe1\x35\x7e\xef\xb8\xbd":
            return native
    except (ImportError, SyntaxError, ValueError, NotImplementedError, MemoryError):
        pass
    from tocsin.crypto.sha512_plain import sha512 as plain

    return plain


sha512 = _choose()
