"""A relay whose own clock is wrong, at its start or from some moment on: certificates, keys and commands."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import pytest
from cryptography import x509

from relay import initial, log, pki
from relay.assembly import RENEW_BEFORE, Relay
from relay.broker import BrokerError
from relay.datadir import DataDir
from relay.ingest.endpoint import client_tls, hint_for
from relay.verify.ratchet import SKIPPED_AGE_S, ChainState, advance

NOW = datetime.now(UTC)
YEAR = timedelta(days=365)
WRONG = [datetime(1970, 1, 2, tzinfo=UTC), datetime(2000, 1, 1, tzinfo=UTC), NOW + 3 * YEAR, NOW + 30 * YEAR]


class Clock:
    """The machine's clock, to be set."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    made = DataDir(tmp_path / "data")
    initial.init(made, initial.Options(listen="127.0.0.1", port=8883))
    return made


def certificate(data: DataDir) -> x509.Certificate:
    return x509.load_pem_x509_certificate(data.server_cert.read_bytes())


def authority(data: DataDir) -> pki.Authority:
    return pki.load_ca(data.ca_cert.read_bytes(), data.ca_key.read_bytes())


def fit(data: DataDir, moment: datetime) -> bool:
    return pki.is_valid(certificate(data), moment, moment) and pki.is_valid(authority(data).certificate, moment, moment)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_clock_that_is_wrong_at_one_start_leaves_no_unfit_certificate(data: DataDir, wrong: datetime) -> None:
    clock = Clock(wrong)
    Relay(data, clock).renew_certificate()
    assert fit(data, NOW), "bracelets, whose time is right, take it meanwhile"
    clock.now = NOW
    Relay(data, clock).renew_certificate()
    assert fit(data, NOW)
    assert fit(data, NOW + RENEW_BEFORE)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_clock_that_is_stepped_while_the_relay_runs(data: DataDir, wrong: datetime) -> None:
    clock = Clock(NOW)
    relay = Relay(data, clock)
    for clock.now in (wrong, NOW, wrong, NOW + YEAR, NOW):
        relay.renew_certificate()
        assert fit(data, NOW)
    assert not relay.renew_certificate(), "what is fit stays"


def test_expiry_is_seen_while_the_relay_runs(data: DataDir) -> None:
    clock = Clock(NOW)
    relay = Relay(data, clock)
    assert not relay.renew_certificate()
    before = certificate(data).serial_number
    clock.now = certificate(data).not_valid_after_utc - RENEW_BEFORE + timedelta(hours=1)
    assert relay.renew_certificate()
    assert certificate(data).serial_number != before
    assert fit(data, clock.now + RENEW_BEFORE)


def test_a_certificate_of_the_future_is_replaced(data: DataDir) -> None:
    """As relays before this rule made it under a clock that was ahead."""
    ahead = NOW + 9 * YEAR
    made, key = pki.issue_server(authority(data), ["localhost", "127.0.0.1"], ahead, ahead + YEAR)
    data.server_cert.write_bytes(made)
    data.server_key.write_bytes(key)
    assert not Relay(data).vouches_for("localhost")
    assert Relay(data).renew_certificate()
    assert fit(data, NOW)


@pytest.mark.parametrize("start", [NOW + 9 * YEAR, NOW - 30 * YEAR])
def test_an_authority_that_was_made_under_a_wrong_clock_is_made_valid(data: DataDir, start: datetime) -> None:
    """By name and key the same, so that a certificate of before is still its own."""
    old = pki.create_ca(not_before=start, not_after=start + 20 * YEAR)
    before, key = pki.issue_server(old, ["localhost", "127.0.0.1"])
    replace_tls(data, old, before, key)
    assert Relay(data).renew_certificate()
    new = authority(data)
    assert new.certificate.subject == old.certificate.subject
    assert new.certificate.public_key() == old.certificate.public_key()
    assert fit(data, NOW)
    assert new.certificate.not_valid_after_utc >= NOW + 10 * YEAR


@pytest.mark.parametrize("wrong", [datetime(1970, 1, 1, tzinfo=UTC), NOW + 15 * YEAR])
def test_a_new_folder_made_under_a_wrong_clock_serves_when_it_is_right(tmp_path: Path, wrong: datetime) -> None:
    data = DataDir(tmp_path / "wrong")
    initial.init(data, initial.Options(listen="127.0.0.1", port=8883), wrong)
    assert fit(data, NOW)
    Relay(data, Clock(NOW)).renew_certificate()
    assert fit(data, NOW + RENEW_BEFORE)


def connects(context: ssl.SSLContext, folder: Path, cert: bytes, key: bytes) -> ssl.SSLError | None:
    """What a client says of a server with this certificate."""
    (folder / "server.pem").write_bytes(cert + key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "server.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                connection, _ = listener.accept()
                with server.wrap_socket(connection, server_side=True):
                    pass
            except OSError:
                pass  # refused by the client

        thread = Thread(target=serve)
        thread.start()
        try:
            with (
                socket.create_connection(listener.getsockname(), 10) as plain,
                context.wrap_socket(plain, server_hostname="localhost"),
            ):
                return None
        except ssl.SSLError as error:
            return error
        finally:
            thread.join()


@pytest.mark.parametrize("start", [NOW - 3 * YEAR, NOW + 3 * YEAR])
def test_a_wrong_clock_does_not_part_the_relay_from_its_own_broker(tmp_path: Path, start: datetime) -> None:
    """For OpenSSL a clock that is wrong by years is a certificate that is."""
    ca = pki.create_ca(not_before=start, not_after=start + YEAR)
    cert, key = pki.issue_server(ca, ["localhost"], start, start + YEAR)
    (tmp_path / "ca.pem").write_bytes(ca.cert_pem)
    error = connects(client_tls(tmp_path / "ca.pem"), tmp_path, cert, key)
    assert error is not None
    assert "this machine's clock" in hint_for(error)
    own = client_tls(tmp_path / "ca.pem", check_time=False)
    assert connects(own, tmp_path, cert, key) is None
    other, other_key = pki.issue_server(pki.create_ca(), ["localhost"])
    assert connects(own, tmp_path, other, other_key) is not None, "only the time is not looked at"


@pytest.mark.parametrize("years", [1, 5, 50])
def test_a_clock_wrong_by_years_costs_no_skipped_key(years: int) -> None:
    now = int(NOW.timestamp())
    wrong = years * 365 * 86400
    for passed_over, later, arrived in ((now, now + wrong, now), (now - wrong, now, now), (now + wrong, now, now)):
        _, state = advance(ChainState(0, bytes(32)), 2, passed_over)
        _, state = advance(state, 4, later)
        assert not state.is_used(0, arrived)
        key, _ = advance(state, 0, arrived)
        assert key
    _, state = advance(ChainState(0, bytes(32)), 2, now)
    assert state.is_used(0, now + SKIPPED_AGE_S), "with a clock that is right they age as before"


EXTREMES = [datetime(1, 1, 1, tzinfo=UTC), datetime(2100, 3, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, tzinfo=UTC)]


@pytest.mark.parametrize("wrong", EXTREMES)
def test_no_clock_is_wrong_enough_to_stop_a_relay(tmp_path: Path, wrong: datetime) -> None:
    data = DataDir(tmp_path / "wrong")
    initial.init(data, initial.Options(listen="127.0.0.1", port=8883), wrong)
    assert fit(data, NOW)
    clock = Clock(NOW)
    relay = Relay(data, clock)
    for clock.now in (wrong, NOW, wrong, NOW):
        relay.renew_certificate()
        assert fit(data, NOW)


def replace_tls(data: DataDir, ca: pki.Authority, served: bytes, key: bytes) -> None:
    for file, content in (
        (data.ca_cert, ca.cert_pem),
        (data.ca_key, ca.key_pem),
        (data.server_cert, served),
        (data.server_key, key),
    ):
        file.write_bytes(content)


def test_a_certificate_is_not_fit_while_its_authority_is_not(data: DataDir) -> None:
    """The CA was made under a clock that was ahead, the certificate after it was put right."""
    old = pki.create_ca(not_before=NOW + 9 * YEAR, not_after=NOW + 29 * YEAR)
    replace_tls(data, old, *pki.issue_server(old, ["localhost", "127.0.0.1"], NOW - YEAR, NOW + YEAR))
    assert Relay(data).renew_certificate()
    assert fit(data, NOW)
    assert authority(data).certificate.public_key() == old.certificate.public_key()


def test_a_certificate_of_another_authority_is_replaced(data: DataDir) -> None:
    replace_tls(data, pki.create_ca(), data.server_cert.read_bytes(), data.server_key.read_bytes())
    assert Relay(data).renew_certificate()
    assert not Relay(data).renew_certificate()


def test_whose_authority_is_kept_elsewhere_is_left_alone(data: DataDir) -> None:
    data.ca_key.unlink()
    assert not Relay(data).renew_certificate()


@pytest.mark.parametrize("file", ["server_cert", "server_key"])
@pytest.mark.parametrize("content", [None, b"", b"noise"])
def test_a_certificate_that_is_lost_or_damaged_is_made_anew(data: DataDir, file: str, content: bytes | None) -> None:
    path: Path = getattr(data, file)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert Relay(data).renew_certificate()
    assert fit(data, NOW)


class Refusing:
    """A broker that can't take up a new certificate the first time. Of `relay.broker.Broker` what is used here."""

    tries = 0

    def renew(self) -> None:
        self.tries += 1
        if self.tries == 1:
            raise BrokerError("its port is taken")

    def stop(self) -> None:
        pass


def test_a_broker_that_did_not_take_up_a_certificate_is_told_again(data: DataDir) -> None:
    service = Relay(data).service(log.get())
    broker = Refusing()
    service.broker = broker  # type: ignore[assignment]
    made = iter([True, False, False])
    service._renew = lambda: next(made)
    try:
        for now in (0.0, 60.0, 120.0):
            service._renew_certificate(now)
        assert broker.tries == 2
    finally:
        service.close()
