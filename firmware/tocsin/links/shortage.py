"""Tell whether a connection failed for want of memory, which says nothing of the network or the other side.

TLS takes its memory from ESP-IDF's heap and not from MicroPython's, some 33 KB until it is connected.
"""

NEED = 34816  # mbedTLS: 16,717 and 4,429 octets, and some 12 KB for the handshake (micropython issues 5303, 8940)

# ENOMEM; ENOBUFS of lwIP; of mbedTLS, which MicroPython turns into small numbers: MPI_ALLOC_FAILED, ASN1_ALLOC_FAILED
# and PSA_ERROR_INSUFFICIENT_MEMORY
_SMALL = (12, 105, 16, 106, 141)
# The high parts of mbedTLS's errors that say so by themselves: PEM, X.509, DHM, PK, ECP, MD, CIPHER, SSL (error.h)
_HIGH = (0x1180, 0x2880, 0x3400, 0x3F80, 0x4D80, 0x5180, 0x6180, 0x7F00)
_LOW = (0x10, 0x6A)  # the low parts: MPI, ASN1, in whatever they made fail


def room():
    """Tell whether there is as much memory as TLS needs."""
    import esp32  # here, so that the rest runs anywhere

    return sum([piece[1] for piece in esp32.idf_heap_info(esp32.HEAP_DATA)]) >= NEED


def short(error):
    """Tell whether an exception says that there was no memory."""
    if isinstance(error, MemoryError):
        return True
    code = error.args[0] if isinstance(error, OSError) and error.args else 0
    if not isinstance(code, int):
        return code == "WiFi Out of Memory"  # network_common.c, ESP_ERR_NO_MEM
    return code in _SMALL or -code & 0x7F80 in _HIGH or (code < -1000 and -code & 0x7F in _LOW)
