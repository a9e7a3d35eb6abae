"""A Wi-Fi access point and the station's association with it, as the ESP32's driver shows them to MicroPython.

The driver keeps trying by itself, as the port does by default. Not modelled: channels, roaming, interference. A
captive portal is the network's (net.py). What the radio spends is by its state and the frames it sends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hwsim.world.clock import Timer

if TYPE_CHECKING:
    from hwsim.world.device import Device

IDLE, CONNECTING, GOT_IP, NO_AP, WRONG_PASSWORD, BEACON_TIMEOUT = 1000, 1001, 1010, 201, 202, 200

GATEWAY = "192.168.4.1"
_NO_ADDRESSES = ["0.0.0.0"] * 4
_BEACON_TIMEOUT_US = 6_000_000
_SCAN_US = 2_400_000


class Wifi:
    def __init__(self, device: Device, who: str) -> None:
        self._device = device
        self._world = device.world
        self._who = who
        self._random = self._world.random(f"{device.name} wifi")
        self.ssid = "workshop"
        self.key = "hwsim-key"
        self.rssi = -61
        self.associated = False
        self._up = True
        self._active = False
        self._wanted: tuple[str, str | None] | None = None
        self._timer: Timer | None = None
        self.on_path_change: list[Any] = []
        device.wire("wifi", self)

    @property
    def up(self) -> bool:
        """Whether the access point can be heard."""
        return self._up

    @up.setter
    def up(self, up: bool) -> None:
        if up == self._up:
            return
        self._up = up
        self._world.note(self._who, "up" if up else "down")
        if up and self._wanted and not self.associated:
            self._later(self._random.randint(200_000, _SCAN_US), self._attempt)
        elif up and self.associated:
            self._cancel()
        elif self.associated:
            self._later(_BEACON_TIMEOUT_US, lambda: self._lost(BEACON_TIMEOUT))
        self._path_changed()

    @property
    def reachable(self) -> bool:
        """Whether packets pass now."""
        return self._up and self.associated

    def _spend(self) -> None:
        """Tell the meter what the radio does."""
        searching = self._active and self._wanted is not None
        self._device.meter.set("wifi", "associated" if self.associated else "searching" if searching else "off")

    def transmit(self, octets: int) -> None:
        """A frame goes out, at the slowest rate: 192 us and 8 us an octet (IEEE 802.11, DSSS at 1 Mbit/s)."""
        if self.associated:
            self._device.meter.set("wifi", "transmit")
            self._world.after(192 + 8 * octets, self._spend)

    def _path_changed(self) -> None:
        self._spend()
        for call in self.on_path_change:
            call()

    def _cancel(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None

    def _later(self, us: int, call: Any) -> None:
        self._cancel()
        self._timer = self._world.after(us, call)

    def reset(self) -> None:
        self._cancel()
        self._active = False
        self._wanted = None
        if self.associated:
            self.associated = False
            self._path_changed()
        self._spend()

    def output(self, device: str, args: list[Any]) -> None:
        if args[0] == "active":
            if not args[1]:
                self.output(device, ["disconnect"])
            self._active = bool(args[1])
        elif args[0] == "connect":
            self._wanted = (args[1], args[2])
            self._spend()
            self._later(self._random.randint(1_500_000, 2_200_000), self._attempt)
        elif args[0] == "disconnect":
            self._wanted = None
            self._cancel()
            if self.associated:
                self._lost(IDLE)
            self._spend()

    def call(self, device: str, function: str, args: list[Any]) -> Any:
        if function == "scan":
            return [[self.ssid, self.rssi]] if self._up else []
        return self.rssi if self.associated else 0

    def _attempt(self) -> None:
        self._timer = None
        if not self._wanted or not self._active:
            return
        ssid, key = self._wanted
        if not self._up or ssid != self.ssid:
            self._show(NO_AP)
            if self._up:
                self._later(_SCAN_US, self._attempt)
        elif key != self.key:
            self._show(WRONG_PASSWORD)
            self._later(_SCAN_US, self._attempt)
        else:
            self.associated = True
            self._world.note(self._who, "associated")
            address = f"192.168.4.{10 + self._world.number(self._device)}"
            self._show(GOT_IP, [address, "255.255.255.0", GATEWAY, GATEWAY])
            self._path_changed()

    def _lost(self, status: int) -> None:
        self._timer = None
        self.associated = False
        self._world.note(self._who, "lost")
        self._show(status)
        self._path_changed()
        if self._up and self._wanted:
            self._later(_SCAN_US, self._attempt)

    def _show(self, status: int, addresses: list[str] | None = None) -> None:
        self._device.deliver("wifi", status, addresses or _NO_ADDRESSES)
