"""The one vocabulary of what can happen to a bracelet, its wearer and everything around them.

Plain data: a scenario file, a generator of random lives and a shrinker read `ACTIONS` alike, and `do` lets one happen
at the rig's present time. No action lets time go on; what takes time (a press of three seconds) is scheduled, so
actions may be called from an event of the world.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hwsim.rig import Rig

HOLD_S = 3.3  # a bit longer than the firmware's hold of 3 s
TAP_S, TAP_EVERY_S = 0.15, 0.45  # a tap, and from one to the next (firmware: at most 0.6 s long, 1 s apart)
DAY_S = 86400
HOME_CELL, FOREIGN_CELL = (1, 1, 0x1A2B, 0x01C3D4), (1, 2, 0x0C0D, 0x00A0B1)  # in the test networks 001 01 and 001 02
E7_PER_METRE_NUM, E7_PER_METRE_DEN = 10_000_000, 111_319  # of latitude, on the WGS 84 equator's radius

Value = float | int | bool


class ActionError(ValueError):
    """No such action, or arguments it can't take; the text says which and what would do."""


@dataclass(frozen=True)
class Parameter:
    """One argument: its kind, unit and range (both ends included)."""

    kind: type[float] | type[int] | type[bool]
    help: str
    default: Value | None = None  # None: must be given
    low: float = 0
    high: float = 1
    unit: str = ""


@dataclass(frozen=True)
class Action:
    """`family` says what it is about, `undo` which action ends it (a fault without one ends by itself or never)."""

    help: str
    apply: Callable[..., None] = field(repr=False)
    parameters: Mapping[str, Parameter]
    family: str
    undo: str | None


ACTIONS: dict[str, Action] = {}


def do(rig: Rig, name: str, **arguments: Any) -> None:
    """Let it happen now. Raises ActionError when there is no such action or an argument does not fit it."""
    values = check(name, arguments)
    rig.world.note("scene", name, **values)
    ACTIONS[name].apply(rig, **values)


def check(name: str, arguments: Mapping[str, Any]) -> dict[str, Value]:
    """All arguments with their defaults, each of the right kind; raises ActionError."""
    if name not in ACTIONS:
        raise ActionError(f'no action "{name}"; there are {", ".join(ACTIONS)}')
    parameters = ACTIONS[name].parameters
    for key in arguments:
        if key not in parameters:
            known = ", ".join(parameters) or "none"
            raise ActionError(f'{name} has no argument "{key}" (arguments: {known})')
    return {key: _value(name, key, parameter, arguments) for key, parameter in parameters.items()}


def _value(name: str, key: str, parameter: Parameter, arguments: Mapping[str, Any]) -> Value:
    value = arguments.get(key, parameter.default)
    if value is None:
        raise ActionError(f'{name} needs "{key}": {parameter.help}')
    if parameter.kind is bool:
        if not isinstance(value, bool):
            raise ActionError(f"{name}: {key} is true or false, not {value!r}")
        return value
    fits = (int,) if parameter.kind is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, fits):
        raise ActionError(f"{name}: {key} is {'a whole' if parameter.kind is int else 'a'} number, not {value!r}")
    if not parameter.low <= value <= parameter.high:
        unit = f" {parameter.unit}" if parameter.unit else ""
        raise ActionError(f"{name}: {key} is {parameter.low:g} to {parameter.high:g}{unit}, not {value!r}")
    return value


# -- how the table below is made

Apply = Callable[..., None]


def _action(family: str, undo: str | None = None, **parameters: Parameter) -> Callable[[Apply], Apply]:
    """Enter a function as the action of its name; its docstring is the help."""

    def enter(apply: Apply) -> Apply:
        assert apply.__doc__
        ACTIONS[apply.__name__] = Action(apply.__doc__, apply, parameters, family, undo)
        return apply

    return enter


def _seconds(help: str, default: float | None, high: float, low: float = 0) -> Parameter:
    return Parameter(float, help, default, low, high, "s")


_ON = Parameter(bool, "true: begins, false: ends", True)
_OCTETS = Parameter(int, "how many random octets", 40, 1, 2000, "octets")
_BACK = _seconds("until the supply is back", 5.0, 7 * DAY_S, 0.1)

# -- the wearer


@_action("wearer", for_s=_seconds("how long the button is held", HOLD_S, 60, 0.02))
def press(rig: Rig, for_s: float) -> None:
    """hold the button; 3 s raise an alarm"""
    rig.bracelet.button.press(for_s)


@_action("wearer", count=Parameter(int, "how many taps", 2, 1, 20))
def tap(rig: Rig, count: int) -> None:
    """tap the button, quickly"""
    for number in range(count):
        rig.world.after(round(number * TAP_EVERY_S * 1e6), lambda: rig.bracelet.button.press(TAP_S))


@_action("wearer")
def call_back(rig: Rig) -> None:
    """two taps and a hold: call a false alarm back (within 30 s of raising it; later it raises)"""
    tap(rig, 2)
    rig.world.after(round(2 * TAP_EVERY_S * 1e6), lambda: rig.bracelet.button.press(HOLD_S))


# -- the data network and the broker


@_action("data", "data_up")
def data_down(rig: Rig) -> None:
    """no packet passes between the access point and the world; nobody is told"""
    rig.world.net.data_up = False


@_action("data")
def data_up(rig: Rig) -> None:
    """packets pass again"""
    rig.world.net.data_up = True


@_action("data", "wifi_up")
def wifi_down(rig: Rig) -> None:
    """the access point can't be heard any more"""
    rig.bracelet.wifi.up = False


@_action("data")
def wifi_up(rig: Rig) -> None:
    """the access point can be heard"""
    rig.bracelet.wifi.up = True


@_action("data", "captive_wifi", on=_ON)
def captive_wifi(rig: Rig, on: bool) -> None:
    """a captive portal: every name resolves to it, and it answers every connection as a web server"""
    rig.world.net.captive = on


@_action("data")
def net_cut(rig: Rig) -> None:
    """every connection breaks at once, as when a middlebox forgets; new ones can be made"""
    rig.world.net.cut()


@_action("data", "net_delay", ms=Parameter(int, "one way", 40, 1, 10_000, "ms"))
def net_delay(rig: Rig, ms: int) -> None:
    """how long a packet takes"""
    rig.world.net.delay_us = ms * 1000


@_action("data", "net_loss", percent=Parameter(int, "of the packets, each a retransmission late", 0, 0, 90, "%"))
def net_loss(rig: Rig, percent: int) -> None:
    """how many packets are lost"""
    rig.world.net.loss = percent / 100


@_action("broker", "broker_up")
def broker_down(rig: Rig) -> None:
    """the broker stops: connections break, new ones are refused, its sessions are kept"""
    rig.set_broker(False)


@_action("broker")
def broker_up(rig: Rig) -> None:
    """the broker runs again"""
    rig.set_broker(True)


@_action("broker")
def broker_forgets(rig: Rig) -> None:
    """every session is gone from the broker, with what waited for the bracelet or the relay; connections break"""
    rig.forget_sessions()


@_action("broker", "puback_delay", s=_seconds("from a PUBLISH to its PUBACK", 0.0, 3600))
def puback_delay(rig: Rig, s: float) -> None:
    """how long the broker takes to acknowledge"""
    rig.broker.puback_delay_us = round(s * 1e6)


@_action("broker", "tls_right")
def tls_wrong(rig: Rig) -> None:
    """somebody else answers in the broker's place, with a certificate of another authority"""
    rig.set_genuine(False)


@_action("broker")
def tls_right(rig: Rig) -> None:
    """our broker answers again"""
    rig.set_genuine(True)


# -- the relay


@_action("relay", "relay_up")
def relay_down(rig: Rig) -> None:
    """the relay stops: broker and SMS centre keep what comes for it"""
    rig.set_relay(False)


@_action("relay")
def relay_up(rig: Rig) -> None:
    """the relay starts again and takes what waited, in order"""
    rig.set_relay(True)


@_action("relay", "relay_unmute")
def relay_mute(rig: Rig) -> None:
    """the relay takes everything and answers nothing: every receipt is lost"""
    rig.answers = False


@_action("relay")
def relay_unmute(rig: Rig) -> None:
    """receipts are sent again (to what comes from now on)"""
    rig.answers = True


# -- messages and the modem


@_action("sms", "sms_delay", s=_seconds("from the centre to the recipient", 2.5, 3 * DAY_S))
def sms_delay(rig: Rig, s: float) -> None:
    """how long an SMS sent from now on takes, in both directions"""
    rig.sms.delay_us = round(s * 1e6)


@_action("sms", "sms_reorder", s=_seconds("at most this much longer, at random; 0: ends", 120.0, DAY_S))
def sms_reorder(rig: Rig, s: float) -> None:
    """every SMS takes a random time longer, so that they overtake each other"""
    rig.sms.spread_us = round(s * 1e6)


@_action("sms", "sms_drop", percent=Parameter(int, "of the messages, accepted and then lost", 100, 0, 100, "%"))
def sms_drop(rig: Rig, percent: int) -> None:
    """SMS are accepted and never delivered, in both directions; 0: ends"""
    rig.sms.drop_percent = percent


@_action("sms", "sms_duplicate", copies=Parameter(int, "how many more of each; 0: ends", 1, 0, 5))
def sms_duplicate(rig: Rig, copies: int) -> None:
    """every SMS is delivered more than once, in both directions"""
    rig.sms.copies = copies


@_action("modem", "service")
def no_service(rig: Rig) -> None:
    """no cell for the modem"""
    rig.bracelet.modem.service = False


@_action("modem")
def service(rig: Rig) -> None:
    """a cell for the modem"""
    rig.bracelet.modem.service = True


@_action("modem", "roaming", on=_ON)
def roaming(rig: Rig, on: bool) -> None:
    """over the border: a foreign network with other cells, registered with anew, and no data for this SIM"""
    modem = rig.bracelet.modem
    modem.roaming, modem.cell, modem.data = on, FOREIGN_CELL if on else HOME_CELL, not on
    if modem.service:
        modem.service = False
        modem.service = True


@_action("modem", "sim_in")
def sim_out(rig: Rig) -> None:
    """the SIM loses contact"""
    rig.bracelet.modem.sim = False


@_action("modem")
def sim_in(rig: Rig) -> None:
    """the SIM has contact"""
    rig.bracelet.modem.sim = True


@_action("modem", "modem_unmute")
def modem_mute(rig: Rig) -> None:
    """the modem hangs: takes nothing and says nothing until its supply or its key is cycled"""
    rig.bracelet.modem.mute = True


@_action("modem")
def modem_unmute(rig: Rig) -> None:
    """the modem goes on by itself"""
    rig.bracelet.modem.mute = False


@_action("modem", octets=_OCTETS)
def modem_garbage(rig: Rig, octets: int) -> None:
    """random octets on the modem's serial line"""
    rig.bracelet.modem.write(rig.garbage(octets))


@_action("modem")
def modem_reset(rig: Rig) -> None:
    """the modem restarts by itself, in the middle of whatever it does"""
    modem = rig.bracelet.modem
    if modem.on:
        modem.power(False)
        modem.power(True)


@_action("modem")
def modem_off(rig: Rig) -> None:
    """the modem switches itself off and stays off until its key is held"""
    rig.bracelet.modem.power(False)


@_action("clock", "network_time", offset_s=Parameter(int, "added to it", 0, -3660 * DAY_S, 3660 * DAY_S, "s"))
def network_time(rig: Rig, offset_s: int) -> None:
    """how wrong the time is that the mobile network tells"""
    rig.bracelet.modem.nitz_offset_s = offset_s


@_action("clock", "network_tells_time", on=_ON)
def network_tells_time(rig: Rig, on: bool) -> None:
    """whether the mobile network tells the time at all, from the next registration on"""
    rig.bracelet.modem.nitz = on


# -- the sky


@_action("gnss", "gnss_found")
def gnss_lost(rig: Rig) -> None:
    """no satellites: a cellar, a boot of a car, a jammer"""
    rig.bracelet.gnss.sky = False


@_action("gnss")
def gnss_found(rig: Rig) -> None:
    """the sky is free; the receiver needs some seconds"""
    rig.bracelet.gnss.sky = True


@_action("gnss", "gnss_jump", metres=Parameter(int, "to the north; 0: ends", 0, -1_000_000, 1_000_000, "m"))
def gnss_jump(rig: Rig, metres: int) -> None:
    """somebody spoofs: positions are shifted"""
    rig.bracelet.gnss.jump_e7 = (metres * E7_PER_METRE_NUM // E7_PER_METRE_DEN, 0)


@_action("gnss", octets=_OCTETS)
def gnss_garbage(rig: Rig, octets: int) -> None:
    """random octets on the receiver's serial line"""
    rig.bracelet.gnss.inject(rig.garbage(octets))


@_action("jam", "unjam")
def jam(rig: Rig) -> None:
    """a jammer: neither data nor a mobile network nor satellites"""
    data_down(rig)
    no_service(rig)
    gnss_lost(rig)


@_action("jam")
def unjam(rig: Rig) -> None:
    """the jammer is off"""
    data_up(rig)
    service(rig)
    gnss_found(rig)


# -- supply and processor


@_action("power", "battery", percent=Parameter(int, "charge of the cell", 80, 0, 100, "%"))
def battery(rig: Rig, percent: int) -> None:
    """the battery's charge, as far as its voltage shows it"""
    rig.bracelet.battery.percent = percent


@_action("power", for_s=_seconds("until the voltage is back", 0.5, DAY_S, 0.01))
def brownout(rig: Rig, for_s: float) -> None:
    """the supply sags under load: everything stops, and starts as from power-on"""
    rig.world.note("battery", "sags")
    rig.bracelet.power_cut(for_s)


@_action("power", restart_s=_BACK)
def power_cut(rig: Rig, restart_s: float) -> None:
    """the supply is gone, and comes back"""
    rig.bracelet.power_cut(restart_s)


@_action("power", operation=Parameter(int, "which one after the boot, from 0", 0, 0, 100_000), restart_s=_BACK)
def flash_cut(rig: Rig, operation: int, restart_s: float) -> None:
    """a reset, and after it the supply is lost at the n-th operation of the flash, and comes back"""
    bracelet = rig.bracelet
    bracelet.power_cut_at_flash_operation = operation
    bracelet.restart_after_cut = restart_s
    reset(rig)


@_action("power")
def reset(rig: Rig) -> None:
    """the chip's reset pin is pulled (nothing while the supply is off)"""
    if rig.bracelet.state != "off":
        rig.bracelet.reset()


@_action("power")
def hang(rig: Rig) -> None:
    """the processor stops where it is; the watchdog must notice"""
    rig.bracelet.hang()
