"""The journal: torn at every octet, damaged, full."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tocsin import journal
from tocsin.journal import Journal, Record, decode


def record():
    r = Record([20, bytes(32)], [40, bytes(range(32))], (3, b"k" * 32, {1: b"a" * 29, 2: b"b" * 29}))
    r.alarm = [17, 1767225600, 0, 1]
    r.messages = [[17, 17, 0, bytes(140)], [18, 17, 1, b"x"]]
    r.time, r.acked = 1767225601, 17
    return r


def book(folder):
    return Journal((str(folder / "a"), str(folder / "b")))


def test_record_round_trip():
    assert vars(decode(b"".join(record().encode()))) == vars(record())


def test_a_full_record_fits():
    r = record()
    r.messages = [[1 << 24, 1 << 24, 1, bytes(140)]] * 40
    r.down = (5000, bytes(32), {n: bytes(29) for n in range(64)})
    content = b"".join(r.encode())
    assert len(content) < journal.SIZE_MAX - 100
    assert len(decode(content).messages) == 40


def test_a_full_record_needs_no_long_stretch_of_the_heap():
    r = record()
    r.messages = [[1 << 24, 1 << 24, 1, bytes(140)]] * 40
    r.down = (5000, bytes(32), {n: bytes(29) for n in range(64)})
    assert max(map(len, r.encode())) <= 300


@given(st.binary(max_size=200))
def test_garbage_is_a_value_error(data):
    with pytest.raises(ValueError):
        decode(data)


def test_writes_in_turn_and_loads_the_newest(tmp_path):
    for n in range(5):
        book_n = book(tmp_path)
        book_n.load()
        book_n.save([b"state %d" % n])
        assert book(tmp_path).load() == b"state %d" % n
    assert (tmp_path / "a").exists()
    assert (tmp_path / "b").exists()


def test_torn_at_any_octet_the_state_before_is_found(tmp_path):
    b = book(tmp_path)
    b.save([b"first"])
    b.save([b"second"])
    b.save([b"third, which is longer"])
    newest = max(("a", "b"), key=lambda name: int.from_bytes((tmp_path / name).read_bytes()[4:8], "big"))
    whole = (tmp_path / newest).read_bytes()
    for cut in range(len(whole)):
        (tmp_path / newest).write_bytes(whole[:cut])
        again = book(tmp_path)
        assert again.load() == b"second"
        assert again._slots[again._next].endswith(newest)  # the torn slot is the one to write
    for at in range(len(whole)):
        (tmp_path / newest).write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        assert book(tmp_path).load() == b"second"


def test_erase_leaves_nothing_of_the_former_content(tmp_path):
    b = book(tmp_path)
    b.save([b"secret octets"])
    b.save([b"secret octets and more"])
    b.save([b"nothing"], erase=True)
    assert b"secret" not in (tmp_path / "a").read_bytes() + (tmp_path / "b").read_bytes()


def test_nothing_there(tmp_path):
    assert book(tmp_path).load() is None


def test_an_overlong_file_is_not_read(tmp_path):
    (tmp_path / "a").write_bytes(bytes(journal.SIZE_MAX + 1))
    assert book(tmp_path).load() is None


def test_a_write_that_fails_says_so_and_the_former_state_stays(tmp_path):
    b = book(tmp_path)
    b.save([b"first"])
    (tmp_path / "b").mkdir()
    with pytest.raises(OSError):
        b.save([b"second"])
    assert book(tmp_path).load() == b"first"


SPOILT = [lambda data: data + b"x", lambda data: data[:-1], lambda data: data[:300] + b"!" + data[301:]]


@pytest.mark.parametrize("spoil", SPOILT)
def test_what_was_written_is_read_back_to_its_last_octet(tmp_path, monkeypatch, spoil):
    kept = book(tmp_path)
    kept.save([b"before"])

    class Flash:
        """A file that is other than what was written as soon as it is closed."""

        def __init__(self, path, mode):
            self.path, self.mode = path, mode

        def __enter__(self):
            self.file = open(self.path, self.mode)
            return self.file

        def __exit__(self, *error):
            self.file.close()
            if self.mode == "wb":
                with open(self.path, "rb") as file:
                    data = file.read()
                with open(self.path, "wb") as file:
                    file.write(spoil(data))

    monkeypatch.setattr(journal, "open", Flash, raising=False)
    with pytest.raises(OSError):
        kept.save([bytes(range(256))] * 3)
    monkeypatch.undo()
    assert book(tmp_path).load() == b"before"
