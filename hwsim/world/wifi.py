"""A Wi-Fi access point and the station's association with it, as the ESP32's driver shows them to MicroPython.

The driver keeps trying by itself, as the port does by default, and takes no other network meanwhile: connect() fails
until disconnect() (micropython#17661, #7139). It tells the reason whenever a connection ends or none comes about, and
of a disconnect() only if there was one, a moment later (ESP-IDF Programming Guide, Wi-Fi Driver,
WIFI_EVENT_STA_DISCONNECTED); the shim keeps the reason as network_wlan.c does. Not modelled: channels, roaming,
interference. The network has the captive portal (net.py). The radio spends by its state and its frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hwsim.world.clock import Timer

if TYPE_CHECKING:
    from hwsim.world.device import Device

GOT_IP = 1010
# esp_wifi_types.h, wifi_err_reason_t
ASSOC_LEAVE, BEACON_TIMEOUT, NO_AP, AUTH_FAIL = 8, 200, 201, 202

GATEWAY = "192.168.4.1"
_NO_ADDRESSES = ["0.0.0.0"] * 4
_BEACON_TIMEOUT_US = 6_000_000
_SCAN_US = 2_400_000
_LEFT_US = 20_000  # from disconnect() to its event: an estimate


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
        self.busy_until_us = 0  # the driver is at something else: connect() fails
        self._up = True
        self._active = False
        self._wanted: tuple[str, str | None] | None = None
        self._timer: Timer | None = None
        self.on_path_change: list[Any] = []
        device.wire("wifi", self)

    @property
    def up(self) -> bool:
        """Tell whether the access point can be heard."""
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
        """Tell whether packets pass now."""
        return self._up and self.associated

    def _spend(self) -> None:
        """Tell the meter what the radio does."""
        searching = self._active and self._wanted is not None
        self._device.meter.set("wifi", "associated" if self.associated else "searching" if searching else "off")

    def transmit(self, octets: int) -> None:
        """Send a frame at the slowest rate: 192 us and 8 us an octet (IEEE 802.11, DSSS at 1 Mbit/s)."""
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
        elif args[0] == "disconnect":
            self._wanted = None
            self._cancel()
            if self.associated:
                self._later(_LEFT_US, lambda: self._lost(ASSOC_LEAVE))
            self._spend()

    def _connect(self, ssid: str, key: str | None) -> bool:
        """Begin to connect; False when the driver is busy, connecting or connected."""
        if self._wanted or self.associated or self._world.now_us < self.busy_until_us:
            return False
        self._wanted = (ssid, key)
        self._spend()
        self._later(self._random.randint(1_500_000, 2_200_000), self._attempt)
        return True

    def call(self, device: str, function: str, args: list[Any]) -> Any:
        if function == "connect":
            return self._connect(*args)
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
            self._show(AUTH_FAIL)
            self._later(_SCAN_US, self._attempt)
        else:
            self.associated = True
            self._world.note(self._who, "associated")
            address = f"192.168.4.{10 + self._world.number(self._device)}"
            self._show(GOT_IP, [address, "255.255.255.0", GATEWAY, GATEWAY])
            self._path_changed()

    def _lost(self, reason: int) -> None:
        self._timer = None
        self.associated = False
        self._world.note(self._who, "lost")
        self._show(reason)
        self._path_changed()
        if self._up and self._wanted:
            self._later(_SCAN_US, self._attempt)

    def _show(self, event: int, addresses: list[str] | None = None) -> None:
        self._device.deliver("wifi", event, addresses or _NO_ADDRESSES)
