"""The memory of an ESP32 beside MicroPython's heap: ESP-IDF's own heap, from which Wi-Fi, lwIP, PPP and mbedTLS take.

The chip's free memory is in pieces that don't touch. MicroPython's heap is an area of it. The heap grows by as much as
it has (so it doubles), or by the largest piece if that is less, and keeps the new area until that is empty (py/gc.c,
gc_try_add_heap). In our own image it has two areas from the start and no more. The libraries need free pieces too, TLS
one of 16,717 octets for its input buffer.

Sources of the figures, since nobody has measured our own image:
- `STOCK`: micropython issue 8940 (jimmo: the four pieces, with their addresses) and 14421 (piotrwest, 2025: the second
  piece has 64 KB today). They make 166 KB of Python's heap when nothing else takes any, as on an emulated chip.
- `OWN`, without Bluetooth: static data begins at 0x3FFB0000 and not 0xDB5C octets later (ESP-IDF, memory.ld.in and
  CONFIG_BTDM_RESERVE_DRAM). The data between the parts of Bluetooth's memory moves there (8940: 12,196 + 7,288 + 240
  octets), and the ROM's region of 6,432 octets, then in one piece, takes its share of that. We don't know how much
  static data the host of Bluetooth has; it comes on top.
- Wi-Fi: 28 KB, 2.5 and 15 (8940), ten receive buffers of 1,696 octets among them (esp-idf issue 11753; as many as
  CONFIG_ESP_WIFI_STATIC_RX_BUFFER_NUM). They stay when Wi-Fi is switched off: MicroPython never calls esp_wifi_deinit
  (network_wlan.c). lwIP: 4 to 7 KB for a connection (8940), of which 4,700 octets make
  the 51,320 that its pieces lose until wrap_socket; 4 KB with windows of half the size.
- TLS: 16,717 and 4,429 octets (issue 5303), 15 KB more for the handshake (8940), of which the peer's certificate has
  3,663 (ESP-IDF, mbedtls.rst, "Reducing Heap Usage").
- PPP: 3 KB, an estimate from lwIP's ppp_pcb and its buffers. Serial ports: their buffers and 600 octets each.

Not modelled: the garbage of MicroPython's heap that makes an area grow earlier; packets on their way; IRAM.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwsim import toolchain
from hwsim.board import Board

if TYPE_CHECKING:
    from hwsim.world.device import Device

KB = 1024
_HEADER = 4  # octets before each block (ESP-IDF's TLSF; issue 5303: 15,036 of 15,072 are free)
_PIECE = 1500  # size of the small blocks in which libraries take more
_NUMBER = 400  # of a handshake: numbers, names and contexts
_RX_BUFFER = 1696
_PARTS = 19_724 - 6_432  # used between the parts of Bluetooth's memory, less the share of the ROM's region
_SPIRAM_FROM = 8192  # larger blocks come from PSRAM (sdkconfig.spiram, CONFIG_SPIRAM_MALLOC_ALWAYSINTERNAL)
# An alarm took 149 KB of an emulated chip's heap where hwsim counted 132: our interpreter keeps more of it elsewhere.
UNCOUNTED = 17 * KB
_FULL = 15, 16  # an area counts as full at this part of it: the rest is too short to be of use

ENOMEM, ENOBUFS = 12, 105
_X509_ALLOC, _ECP_ALLOC = -0x2880, -0x4D80
UNTRUSTED = 1  # mbedTLS takes a signature that it had no memory to check for a wrong one (x509_crt_find_parent_in)


@dataclass(frozen=True)
class Image:
    """The memory that an image of MicroPython leaves. `pieces`: free when MicroPython starts, in the order in which
    malloc looks. `areas`: those of its heap from the start on; a heap that `grows` gets as many more as it needs."""

    name: str
    pieces: tuple[int, ...]
    areas: tuple[int, ...]
    grows: bool = True
    rx_buffers: int = 10
    socket: int = 4_700
    keeps_certificate: bool = True
    psram: int = 0


STOCK = Image("stock", (4_452, 63_488, 13_440, 112_208), (56 * KB,))
OWN = Image(
    "TOCSIN_ESP32",
    (63_488 + 0xDB5C - _PARTS, 13_440, 112_208),
    (104 * KB, 36 * KB),
    grows=False,
    rx_buffers=4,
    socket=4 * KB,
    keeps_certificate=False,
)
SPIRAM = Image("with PSRAM", STOCK.pieces, (64 * KB,), psram=2 * KB * KB)  # at least; the S3's pieces are larger
# Octets of Python's heap that the simulator can give the firmware on OWN, as its own interpreter counts them.
HEAP = sum(OWN.areas) - UNCOUNTED


def image_of(board: Board, loaded: bool) -> Image:
    """Return the image of a board. `loaded`: the firmware is in files, for which the board must have PSRAM, whatever
    its board file says."""
    return SPIRAM if loaded or board["chip"].get("psram_mb") else OWN


@dataclass(frozen=True)
class Block:
    """A stretch that is taken: its piece, its begin in the piece, its octets with the header."""

    piece: int
    begin: int
    size: int


class Pieces:
    """ESP-IDF's heap, which gives the shortest stretch that is long enough, of the first piece that has one."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self.sizes = sizes
        self._free = [{0: size} for size in sizes]  # begin -> octets
        self.least = list(sizes)

    def free(self, piece: int) -> int:
        return sum(self._free[piece].values())

    def longest(self, piece: int) -> int:
        return max((size - _HEADER for size in self._free[piece].values()), default=0)

    @property
    def total(self) -> int:
        return sum(self.free(piece) for piece in range(len(self.sizes)))

    @property
    def largest(self) -> int:
        return max(self.longest(piece) for piece in range(len(self.sizes)))

    def take(self, octets: int, pieces: range | None = None) -> Block | None:
        size = (octets + 3 & ~3) + _HEADER
        for piece in pieces or range(len(self.sizes)):
            free = self._free[piece]
            fitting = [(length, begin) for begin, length in free.items() if length >= size]
            if fitting:
                length, begin = min(fitting)
                del free[begin]
                if length > size:
                    free[begin + size] = length - size
                self.least[piece] = min(self.least[piece], self.free(piece))
                return Block(piece, begin, size)
        return None

    def give(self, block: Block) -> None:
        free = self._free[block.piece]
        begin, size = block.begin, block.size
        size += free.pop(begin + size, 0)
        for other, length in free.items():
            if other + length == begin:
                free[other] = length + size
                return
        free[begin] = size


def _small(octets: int, piece: int = _PIECE) -> tuple[int, ...]:
    """Divide so many octets into small blocks."""
    return (piece,) * (octets // piece) + ((octets % piece,) if octets % piece else ())


class Memory:
    """The memory of a simulated chip, with what the firmware's libraries have taken of it."""

    def __init__(self, device: Device, image: Image) -> None:
        self._device = device
        self.image = image
        self.peak = 0, 0  # free octets, and the longest stretch, at the height of the last handshake
        self.kept_free: int | None = None  # something else has taken all but so many octets
        device.wire("memory", self)
        self.reset()

    def reset(self) -> None:
        image = self.image
        self.heap = Pieces(image.pieces + ((image.psram,) if image.psram else ()))
        self._taken: dict[str, list[Block]] = {}
        self._areas: list[int] = []
        for area in image.areas:
            self._grow(area)
        self.take("serial ports", (2048 + 256 + 600, 4096 + 256 + 600))
        self.tighten(self.kept_free)

    # -- Python's heap

    @property
    def python(self) -> int:
        """The octets of MicroPython's heap."""
        return sum(self._areas)

    def uses(self, octets: int) -> None:
        """Grow the heap until it is enough for so many octets in use, or nothing is left to grow into."""
        part, whole = _FULL
        while self.image.grows and octets > self.python * part // whole:
            if not self._grow(min(self.python, self.heap.largest)):
                break

    def _grow(self, octets: int) -> bool:
        block = self._block(octets)
        if block is None or octets < 2048:  # less is not worth an area
            return False
        self._areas.append(octets)
        return True

    # -- what libraries take

    def _block(self, octets: int) -> Block | None:
        if not self.image.psram:
            return self.heap.take(octets)
        inner, outer = range(len(self.image.pieces)), range(len(self.image.pieces), len(self.heap.sizes))
        first, then = (outer, inner) if octets > _SPIRAM_FROM else (inner, outer)
        return self.heap.take(octets, first) or self.heap.take(octets, then)

    def take(self, key: str, sizes: tuple[int, ...]) -> bool:
        """Take blocks of all these sizes, or none; tell whether they were taken."""
        blocks = self._taken.setdefault(key, [])
        before = len(blocks)
        for size in sizes:
            block = self._block(size)
            if block is None:
                while len(blocks) > before:
                    self.heap.give(blocks.pop())
                return False
            blocks.append(block)
        return True

    def give(self, key: str) -> None:
        for block in self._taken.pop(key, []):
            self.heap.give(block)

    def tighten(self, octets: int | None) -> None:
        """Leave only so many octets free (None: all there are). The first piece, which has room for TLS, is filled
        last."""
        self.kept_free = octets
        self.give("somebody else")
        self._squeeze()

    def _squeeze(self) -> None:
        octets = self.kept_free
        if octets is None:
            return
        for piece in range(len(self.heap.sizes) - 1, -1, -1):
            for size in (_PIECE, 100, 4):
                while self.heap.total - size - _HEADER >= octets:
                    block = self.heap.take(size, range(piece, piece + 1))
                    if block is None:
                        break
                    self._taken.setdefault("somebody else", []).append(block)

    def wifi(self) -> bool:
        """Take memory for esp_wifi_init: 28 KB with ten buffers; once, and for good."""
        rest = 28 * KB - 10 * _RX_BUFFER - 6656
        return "wifi" in self._taken or self._all("wifi", (6656, *(_RX_BUFFER,) * self.image.rx_buffers, *_small(rest)))

    def station(self) -> bool:
        """Take memory for esp_wifi_start."""
        return self._all("station", _small(2560))

    def join(self) -> bool:
        """Take memory for an association, with its keys and frames."""
        return self._all("join", _small(15 * KB))

    def _all(self, key: str, sizes: tuple[int, ...]) -> bool:
        self.give(key)
        done = self.take(key, sizes)
        if not done:
            self._taken.pop(key, None)
        return done

    def wrap(self, key: str) -> int:
        """Take memory for mbedtls_ssl_setup; return 0, or the error."""
        return 0 if self._all(key, (16_717, 4_429)) else ENOMEM

    def shake(self, key: str) -> int:
        """Take memory for a handshake, step by step; return 0, or the error of the step that finds none. `shaken` ends
        the handshake."""
        steps = ((2_600, ENOMEM), (3_663, _X509_ALLOC), (4_200, UNTRUSTED), (4_897, _ECP_ALLOC))
        for number, (octets, error) in enumerate(steps):
            if number == 3 and not self.image.keeps_certificate:
                self.give(f"{key} 1")
            if not self._all(f"{key} {number}", _small(octets, _NUMBER)):
                self.shaken(key, False)
                return error
        self.peak = self.heap.total, self.heap.largest
        return 0

    def shaken(self, key: str, good: bool = True) -> None:
        """Free what only the handshake needed; a good session keeps the peer's certificate while it lasts, where the
        image does."""
        for number in range(4):
            if not (good and number == 1 and self.image.keeps_certificate):
                self.give(f"{key} {number}")

    # -- as the firmware asks

    def output(self, device: str, args: list[Any]) -> None:
        what, key = args
        if what == "give":
            self.give(key)
            self.shaken(key, False)
        elif what == "shaken":
            self.shaken(key)
        elif key not in self._taken:
            self.join()
        self._squeeze()

    def call(self, device: str, function: str, args: list[Any]) -> Any:
        if function == "info":
            heap = self.heap
            return [
                [size, heap.free(piece), heap.longest(piece), heap.least[piece]]
                for piece, size in enumerate(heap.sizes)
            ]
        key, allocated = args
        if allocated:
            self.uses(self._counted(allocated))
        error = self._asked(function, key)
        if error:
            self._device.note("no memory", part=function, free=self.heap.total, largest=self.heap.largest)
        return error

    def _counted(self, allocated: int) -> int:
        """Return the octets of the chip's heap, when the interpreter counts so many."""
        from hwsim.world.link import heap_used

        return heap_used(allocated, toolchain.word_bits(tuple(toolchain.micropython()))) + UNCOUNTED

    def _asked(self, function: str, key: str) -> int:
        if function in ("wrap", "shake"):
            error: int = getattr(self, function)(key)
            return error
        if function in ("wifi", "station", "join"):
            return 0 if getattr(self, function)() else ENOMEM
        sizes = {"socket": self.image.socket, "ppp": 3 * KB}[function]
        return 0 if self._all(key, _small(sizes)) else ENOBUFS
