"""Run a broker as the relay's child process: one for a folder, which ends when the relay ends, and counts as ready only
when it has accepted a user over TLS. This module does not know the configuration of any particular broker.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import socket
import ssl
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from relay.broker import BrokerError, MqttUser

STOP_TIMEOUT = 10.0
# The child's shell leaves a watcher behind and becomes the program. The watcher reads a pipe whose other end only this
# process has: a line means that the child was stopped in good order, end of file that this process died, however it
# died. The pipe comes as standard input, because dash knows no file descriptor beyond 9 by number.
LIFELINE = 'exec 3<&0 </dev/null; child=$$; (read -r _ <&3 || kill -TERM "$child") 2>/dev/null & exec "$@" 3<&-'


class ChildBroker(ABC):
    """A broker as a child process; relay.broker.Broker describes its methods."""

    def __init__(self, folder: Path, host: str, port: int, cert: Path, key: Path, users: Iterable[MqttUser]) -> None:
        self.folder = folder.absolute()
        self.host = host
        self.port = port or free_port(host)
        self.cert = cert.absolute()
        self.key = key.absolute()
        self.users = list(users)
        if not self.users:
            raise ValueError("a broker without users serves nobody")
        self._child: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None
        self._lock: int | None = None
        self._last_start = 0.0

    @property
    def log_file(self) -> Path:
        return self.folder / "log"

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child else None

    def start(self) -> None:
        if self.poll() is None and self._child:
            return
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._take_lock()
        self._end_orphan()
        self._check_port()
        self.write_configuration()
        try:
            with self.log_stream() as log:
                self._child, self._lifeline = spawn(self.command(), stdout=log, stderr=log)
        except OSError as error:
            raise BrokerError(f"the broker can't be started: {error}") from error
        self._last_start = time.monotonic()
        self._pid_file.write_text(f"{self._child.pid}\n")

    def wait_ready(self, timeout: float = 15.0) -> None:
        deadline = time.monotonic() + timeout
        reason = "it does not listen"
        while time.monotonic() < deadline:
            status = self.poll()
            if status is not None or self._child is None:
                raise BrokerError(f"the broker ended with status {status}: {self._last_words()}")
            try:
                if self._accepts(self.ready_user):
                    return
                reason = "it refuses its own user"
            except (OSError, ValueError) as error:
                reason = str(error)
            time.sleep(0.02)
        raise BrokerError(f"the broker was not ready in {timeout:g} s: {reason}; {self._last_words()}")

    def serves(self) -> bool:
        return True

    def poll(self) -> int | None:
        if self._child is None:
            return None
        status = self._child.poll()
        if status is not None:
            self._release()
        return status

    def ensure_running(self) -> bool:
        if self._child is None or self.poll() is None or time.monotonic() - self._last_start < 1.0:
            return False
        self.start()
        return True

    def renew(self) -> None:
        if self._child is None or self.poll() is not None:
            return  # the broker takes the new one when it is started
        with suppress(BrokerError, OSError, ValueError):
            self.take_certificate()
            if self._accepts(self.ready_user):
                return  # some brokers take up a new certificate with their users
        self._halt()
        self.start()  # should that fail, `ensure_running` makes up for it

    def stop(self) -> None:
        self._halt()
        self._child = None
        self._pid_file.unlink(missing_ok=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _halt(self) -> None:
        if self._child:
            if self.poll() is None:
                self._child.terminate()
                try:
                    self._child.wait(STOP_TIMEOUT)
                except subprocess.TimeoutExpired:
                    self._child.kill()
                    self._child.wait()
            self._release()

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Return the program and its arguments."""

    @abstractmethod
    def write_configuration(self) -> None:
        """Write everything the program reads at its start and on SIGHUP."""

    @property
    def ready_user(self) -> MqttUser:
        """Return the account that is tried to see whether the broker serves."""
        return self.users[0]

    @abstractmethod
    def reload(self, users: Iterable[MqttUser]) -> None:
        """See relay.broker.Broker."""

    @abstractmethod
    def take_certificate(self) -> None:
        """Have the running program read its certificate again, if it can."""

    @contextmanager
    def log_stream(self) -> Iterator[int | IO[bytes]]:
        """Yield the place for the program's log while the program is started."""
        with self.log_file.open("ab") as log:
            os.chmod(self.log_file, 0o600)
            yield log

    def ended(self) -> None:  # noqa: B027  # most have nothing to do
        """Clean up after the program, which has ended."""

    # -- inside

    @property
    def _pid_file(self) -> Path:
        return self.folder / "pid"

    def _take_lock(self) -> None:
        """Allow one relay for one folder. The kernel frees the lock when the relay dies."""
        if self._lock is None:
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(lock)
                raise BrokerError("another relay is running the broker of this data folder") from error
            self._lock = lock

    def _end_orphan(self) -> None:
        """End the broker of an earlier relay that was killed, should the lifeline have failed or not yet acted."""
        try:
            pid = int(self._pid_file.read_text())
        except (OSError, ValueError):
            return
        for number, patience in ((signal.SIGTERM, STOP_TIMEOUT), (signal.SIGKILL, 2.0)):
            deadline = time.monotonic() + patience
            # The number may have gone to another process since: ours has this folder in its command line.
            while self._is_ours(pid) and time.monotonic() < deadline:
                os.kill(pid, number)
                time.sleep(0.05)
        self._pid_file.unlink(missing_ok=True)

    def _is_ours(self, pid: int) -> bool:
        try:
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return any(os.fsencode(self.folder) in argument for argument in arguments)

    def _check_port(self) -> None:
        """Check that the port is free, before the start, because a broker of another data folder on our port may even
        have our certificate."""
        with socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.host, self.port))
            except OSError as error:
                raise BrokerError(
                    f"the broker can't listen on {self.host} port {self.port}: {error.strerror}; end the program that "
                    "uses it, or change mqtt.port and broker.listen in relay.toml"
                ) from error

    def _release(self) -> None:
        if self._lifeline is not None:
            let_go(self._lifeline)
            self._lifeline = None
            self.ended()

    def _last_words(self) -> str:
        try:
            lines = [line for line in self.log_file.read_text(errors="replace").splitlines() if line.strip()]
        except OSError:
            lines = []
        return lines[-1] if lines else "its log is empty"

    def _accepts(self, user: MqttUser) -> bool:
        """Make a real MQTT connection, and tell whether the broker accepts this user. The certificate must be ours:
        another program may be listening on the port."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        own = ssl.PEM_cert_to_DER_cert(_first_certificate(self.cert.read_text()))
        with socket.create_connection((self.host, self.port), timeout=5) as plain, context.wrap_socket(plain) as tls:
            if tls.getpeercert(binary_form=True) != own:
                raise ValueError("another program listens on its port")
            tls.sendall(connect_packet(f"ready-{secrets.token_hex(8)}", user.name, user.password))
            answer = b""
            while len(answer) < 4:
                octets = tls.recv(4 - len(answer))
                if not octets:
                    return False
                answer += octets
            return answer[0] == 0x20 and answer[3] == 0


class Child:
    """A helper program beside the broker. It ends when this process does, and its owner starts it again."""

    def __init__(self, command: Sequence[str], **streams: Any) -> None:
        self._process, self._lifeline = spawn(command, **streams)
        self._started = time.monotonic()

    @property
    def pid(self) -> int:
        return self._process.pid

    def has_ended(self, after: float) -> bool:
        """Tell whether the program has ended by itself, and was started long enough ago to be started again."""
        return self._process.poll() is not None and time.monotonic() - self._started >= after

    def send(self, number: int) -> bool:
        """Send the program a signal; return False when it has ended."""
        if self._process.poll() is not None:
            return False
        self._process.send_signal(number)
        return True

    def stop(self) -> None:
        if self.send(signal.SIGTERM):
            try:
                self._process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        let_go(self._lifeline)


def spawn(command: Sequence[str], **streams: Any) -> tuple[subprocess.Popen[Any], int]:
    """Start a program that is told to end (SIGTERM) when this process dies; returns it and its lifeline.

    The program gets a session of its own: Ctrl-C in this process's terminal must not end it before this process is done
    with it.
    """
    reading, writing = os.pipe()
    try:
        arguments = ["/bin/sh", "-c", LIFELINE, "lifeline", *command]
        return subprocess.Popen(arguments, stdin=reading, start_new_session=True, **streams), writing
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)


def let_go(lifeline: int) -> None:
    """Release the lifeline of a program of `spawn` that has ended."""
    with suppress(BrokenPipeError):  # the watcher is gone already
        os.write(lifeline, b"\n")
    os.close(lifeline)


def _first_certificate(pem: str) -> str:
    end = "-----END CERTIFICATE-----"
    return pem[: pem.index(end) + len(end)]


def connect_packet(client_id: str, user: str, password: str) -> bytes:
    """Make the CONNECT of MQTT 3.1.1 with a clean session (3.1)."""

    def text(value: str) -> bytes:
        return len(value).to_bytes(2, "big") + value.encode()

    body = text("MQTT") + bytes([4, 0b1100_0010, 0, 30]) + text(client_id) + text(user) + text(password)
    length = bytes([len(body)]) if len(body) < 128 else bytes([len(body) % 128 | 128, len(body) // 128])
    return b"\x10" + length + body


def free_port(host: str) -> int:
    """Return a port that was free a moment ago."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step; only its owner may read it."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
