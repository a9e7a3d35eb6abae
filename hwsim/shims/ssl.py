"""`ssl`: the interpreter's own TLS over the simulated sockets.

Certificates are valid or not by the board's RTC, as on the ESP32 (its build checks dates against its own clock). The
host's library also checks against the host's clock and can't be told otherwise, so a certificate must be valid by both.
The library takes the host's memory; world/memory.py tells what it would take on the chip, and whether that is there.
"""

import gc
import io
from time import mktime

import _hw
import tls
import uerrno
import uselect

CERT_NONE = tls.CERT_NONE
CERT_OPTIONAL = tls.CERT_OPTIONAL
CERT_REQUIRED = tls.CERT_REQUIRED
PROTOCOL_TLS_CLIENT = tls.PROTOCOL_TLS_CLIENT
PROTOCOL_TLS_SERVER = tls.PROTOCOL_TLS_SERVER
MBEDTLS_VERSION = tls.MBEDTLS_VERSION


_opened = 0


def _raise(code):
    # Raise an error of mbedTLS as the port does (extmod/modtls_mbedtls.c, mbedtls_raise_error).
    if code == 1:
        raise ValueError("The certificate is not correctly signed by the trusted CA\n")
    if code:
        raise OSError(code)


def _element(der, at):
    # Return the DER element at an offset: (tag, start of its content, end).
    tag = der[at]
    length = der[at + 1]
    at += 2
    if length & 0x80:
        n = length & 0x7F
        length = 0
        for _ in range(n):
            length = length << 8 | der[at]
            at += 1
    return tag, at, at + length


def _seconds(der, at):
    # Return a UTCTime or GeneralizedTime in seconds since 2000, and the end of its element.
    tag, start, end = _element(der, at)
    text = bytes(der[start:end]).decode()
    if tag == 0x17:
        text = ("19" if text[:2] >= "50" else "20") + text
    fields = [int(text[:4])] + [int(text[i : i + 2]) for i in range(4, 14, 2)]
    return mktime(fields), end


def validity(der):
    # Return (not before, not after) of an X.509 certificate (RFC 5280, 4.1).
    _, at, _ = _element(der, 0)
    _, at, _ = _element(der, at)  # tbsCertificate
    tag, _, end = _element(der, at)
    if tag == 0xA0:  # version
        at = end
    for _ in range(3):  # serial number, algorithm, issuer
        at = _element(der, at)[2]
    _, at, _ = _element(der, at)
    not_before, at = _seconds(der, at)
    return not_before, _seconds(der, at)[0]


class SSLContext:
    def __init__(self, protocol):
        self._own = tls.SSLContext(protocol)
        self._own.verify_callback = self._check
        self._user_callback = None
        self._complaint = None

    def _check(self, cert, depth):
        now = _hw.rtc() // 1000000
        not_before, not_after = validity(cert)
        if now > not_after:
            self._complaint = "The certificate validity has expired\n"
        elif now < not_before:
            self._complaint = "The certificate validity starts in the future\n"
        if self._complaint and self._own.verify_mode == CERT_REQUIRED:
            return -1
        return self._user_callback(cert, depth) if self._user_callback else 0

    @property
    def verify_mode(self):
        return self._own.verify_mode

    @verify_mode.setter
    def verify_mode(self, mode):
        self._own.verify_mode = mode

    @property
    def verify_callback(self):
        return self._user_callback

    @verify_callback.setter
    def verify_callback(self, callback):
        self._user_callback = callback

    def _der(self, data):
        if isinstance(data, str):
            with open(data, "rb") as f:
                return f.read()
        return data

    def load_verify_locations(self, cafile=None, cadata=None):
        self._own.load_verify_locations(self._der(cafile) if cadata is None else cadata)

    def load_cert_chain(self, certfile, keyfile):
        self._own.load_cert_chain(self._der(certfile), self._der(keyfile))

    def get_ciphers(self):
        return self._own.get_ciphers()

    def set_ciphers(self, ciphers):
        self._own.set_ciphers(ciphers)

    def wrap_socket(self, sock, *, server_side=False, do_handshake_on_connect=True, server_hostname=None):
        _hw.driver("tls")
        self._complaint = None
        if do_handshake_on_connect and sock._timeout == 0:
            # The library would spin on a non-blocking socket, and the world would stand still.
            raise OSError(uerrno.EINPROGRESS)
        return _SSLSocket(self, sock, server_side, do_handshake_on_connect, server_hostname)


class _Stream(io.IOBase):
    # The stream under the TLS library. Errors are negative numbers, because an exception must not cross the library.
    def __init__(self, sock):
        self._sock = sock

    def readinto(self, buf):
        try:
            return self._sock.readinto(buf)
        except OSError as e:
            return -e.errno

    def write(self, data):
        try:
            return self._sock.send(data)
        except OSError as e:
            return -e.errno

    def ioctl(self, request, argument):
        return self._sock.ioctl(request, argument)


class _SSLSocket(io.IOBase):
    def __init__(self, context, sock, server_side, handshake, hostname):
        global _opened
        _opened += 1
        self._memory = "tls%d" % _opened  # its name in world/memory.py
        self._shaking = None
        gc.collect()
        _raise(_hw.call("memory", "wrap", self._memory, gc.mem_alloc()))
        self._context = context
        self._sock = sock
        self._closed = False
        self._poll = uselect.poll()
        self._own = None
        try:
            if handshake:
                self._begin()
            self._own = self._guard(
                context._own.wrap_socket,
                _Stream(sock),
                server_side=server_side,
                do_handshake_on_connect=handshake,
                server_hostname=hostname,
            )
        except BaseException:
            _hw.post("memory", "give", self._memory)
            raise
        if handshake:
            self._shaken()
        self._poll.register(self._own, 0)
        # The host's poll sleeps for a millisecond of wall time before it looks at objects that are no file descriptors,
        # unless a descriptor is ready: the link always is.
        self._poll.register(_hw.link(), uselect.POLLOUT)

    def _begin(self):
        # The handshake takes memory of its own, from its first octet until it is through.
        self._shaking = True
        code = _hw.call("memory", "shake", self._memory, 0)
        if code:
            self.close()
            _raise(code)

    def _shaken(self):
        self._shaking = False
        _hw.post("memory", "shaken", self._memory)

    def _pass(self, function, *args):
        if self._shaking is None:
            self._begin()
        done = self._guard(function, *args)
        if self._shaking and done is not None:
            self._shaken()
        return done

    def _guard(self, function, *args, **kw):
        try:
            return function(*args, **kw)
        except (OSError, ValueError):
            if self._context._complaint:
                raise ValueError(self._context._complaint)
            raise
        finally:
            _hw.changes += 1  # the library may now hold octets that it read, or need to be asked again

    def _sim_ready(self, mask):
        self._poll.modify(self._own, mask)
        for obj, state in self._poll.poll(0):
            if obj is self._own:
                return state
        return 0

    def ioctl(self, request, argument):
        if request == 3:
            return self._sim_ready(argument)
        if request == 4:
            self.close()
        return 0

    def setblocking(self, on):
        self._sock.setblocking(on)

    def settimeout(self, seconds):
        self._sock.settimeout(seconds)

    def read(self, n=-1):
        return self._pass(self._own.read, n)

    recv = read

    def readinto(self, *args):
        return self._pass(self._own.readinto, *args)

    def readline(self):
        return self._pass(self._own.readline)

    def write(self, data):
        return self._pass(self._own.write, data)

    send = write

    def cipher(self):
        return self._own.cipher()

    def getpeercert(self, binary=False):
        return self._own.getpeercert(binary)

    def close(self):
        if not self._closed:
            self._closed = True
            _hw.post("memory", "give", self._memory)
            if self._own is not None:
                self._own.close()
                self._sock.close()


def wrap_socket(
    sock,
    server_side=False,
    key=None,
    cert=None,
    cert_reqs=CERT_NONE,
    cadata=None,
    server_hostname=None,
    do_handshake=True,
):
    context = SSLContext(PROTOCOL_TLS_SERVER if server_side else PROTOCOL_TLS_CLIENT)
    if cert or key:
        context.load_cert_chain(cert, key)
    if cadata:
        context.load_verify_locations(cadata=cadata)
    context.verify_mode = cert_reqs
    return context.wrap_socket(
        sock, server_side=server_side, do_handshake_on_connect=do_handshake, server_hostname=server_hostname
    )
