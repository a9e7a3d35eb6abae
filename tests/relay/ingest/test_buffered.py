"""The buffered socket on real sockets: no octet lost, none twice, and the end comes last."""

from __future__ import annotations

import socket

from relay.ingest.buffered import BufferedSocket


def test_the_buffer_keeps_every_octet_when_the_network_is_slow() -> None:
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        buffered = BufferedSocket(near)
        sent = bytes(range(256)) * 4000
        buffered.send(sent)
        got = b""
        while len(got) < len(sent):
            buffered.flush()
            try:
                got += far.recv(65536)
            except BlockingIOError:
                continue
        assert got == sent
        assert buffered.unsent == 0


def test_the_buffer_hands_out_what_was_read_before_it_says_that_the_end_is_here() -> None:
    near, far = socket.socketpair()
    with near:
        near.setblocking(False)
        buffered = BufferedSocket(near)
        with far:
            far.sendall(b"last words")
        buffered.fill()
        assert buffered.ended
        assert buffered.recv(4) + buffered.recv(100) == b"last words"
        assert buffered.recv(1) == b""
