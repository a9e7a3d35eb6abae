"""The one vocabulary of the actions that can happen to a bracelet, its wearer and everything around them.

The actions are plain data: a scenario file, a generator of random lives and a shrinker read `ACTIONS` alike, and `do`
lets one happen at the rig's present time. No action lets time go on. A longer one (a press of three seconds) is only
scheduled, so an event of the world may call actions. The wearer's actions are in `wearer`, those on the bracelet itself
in `supply` and `chip`, the parts that end a start in `starts`, the receiver's way to talk in `receiver`, the modem's
differences from a manual in `modem_actions`, the lack of memory in `memory`; the rest is here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from hwsim.scenario import chip, memory, modem_actions, receiver, starts, supply, wearer  # each adds its actions
from hwsim.scenario.vocabulary import ACTIONS, Action, ActionError, Parameter, Value, check, do
from hwsim.scenario.vocabulary import action as _action
from hwsim.scenario.vocabulary import seconds as _seconds
from relay.downlink import CommandError
from relay.registry import RegistryError

if TYPE_CHECKING:
    from hwsim.rig import Rig

__all__ = [
    "ACTIONS",
    "Action",
    "ActionError",
    "Parameter",
    "Value",
    "check",
    "chip",
    "do",
    "memory",
    "modem_actions",
    "receiver",
    "starts",
    "supply",
    "wearer",
]

DAY_S = 86400
HOME_CELL, FOREIGN_CELL = (1, 1, 0x1A2B, 0x01C3D4), (1, 2, 0x0C0D, 0x00A0B1)  # in the test networks 001 01 and 001 02
E7_PER_METRE_NUM, E7_PER_METRE_DEN = 10_000_000, 111_319  # of latitude, on the WGS 84 equator's radius

_ON = Parameter(bool, "true: begins, false: ends", True)
_OCTETS = Parameter(int, "how many random octets", 40, 1, 2000, "octets")

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
    """a packet takes so long"""
    rig.world.net.delay_us = ms * 1000


@_action("data", "net_loss", percent=Parameter(int, "of the packets, each a retransmission late", 0, 0, 90, "%"))
def net_loss(rig: Rig, percent: int) -> None:
    """so many packets are lost"""
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
    """the broker takes so long to acknowledge"""
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


@_action("relay")
def accept(rig: Rig) -> None:
    """a person at the relay accepts the newest alarm that is there (nothing when there is none, or it is accepted)"""
    _newest(rig, rig.accept)


@_action("relay")
def close_alarm(rig: Rig) -> None:
    """a person at the relay closes the newest alarm that is there (nothing when there is none, or it is closed)"""
    _newest(rig, rig.close_alarm)


def _newest(rig: Rig, say: Callable[[int], None]) -> None:
    alerts = [document["counter"] for document in rig.documents().values() if document["seq"] == 0]
    if alerts:
        with suppress(CommandError, RegistryError):
            say(alerts[-1])


@_action("relay", hold_ms=Parameter(int, "how long a hold must be to raise", 3000, 1000, 10_000, "ms"))
def configure(rig: Rig, hold_ms: int) -> None:
    """a person at the relay changes a setting of the bracelet"""
    with suppress(RegistryError):
        rig.configure(hold_ms=hold_ms)


@_action("relay")
def revoke(rig: Rig) -> None:
    """a person at the relay has the bracelet wiped (nothing when it was revoked before)"""
    with suppress(RegistryError):
        rig.revoke()


@_action("broker")
def replay_commands(rig: Rig) -> None:
    """somebody at the broker sends every command to the bracelet once more, and each cut short and garbled"""
    for command in rig.told[:]:
        for octets in (command.octets, command.octets[:-1], command.octets[:-1] + bytes([command.octets[-1] ^ 1])):
            rig.broker.publish(command.topic, octets)


# -- messages and the modem


@_action("sms", "sms_delay", s=_seconds("from the centre to the recipient", 2.5, 3 * DAY_S))
def sms_delay(rig: Rig, s: float) -> None:
    """an SMS sent from now on takes so long, in both directions"""
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


@_action("modem", "cell_data_up")
def cell_data_down(rig: Rig) -> None:
    """no packet passes over the mobile network any more; nobody is told, and messages go"""
    rig.bracelet.modem.packet.up = False


@_action("modem")
def cell_data_up(rig: Rig) -> None:
    """packets pass over the mobile network again"""
    rig.bracelet.modem.packet.up = True


@_action("modem", goodbye=Parameter(bool, "does it end PPP as well?", False))
def cell_data_lost(rig: Rig, goodbye: bool) -> None:
    """the mobile network ends the data session there is, if any; a new one can be begun"""
    packet = rig.bracelet.modem.packet
    packet.says_goodbye = goodbye
    packet.lose()


@_action("modem", "cell_data_service")
def no_cell_data(rig: Rig) -> None:
    """the SIM has no data any more, a session ends; messages go"""
    rig.bracelet.modem.data = False


@_action("modem")
def cell_data_service(rig: Rig) -> None:
    """the SIM has data"""
    rig.bracelet.modem.data = True


@_action("modem", "roaming", on=_ON, data=Parameter(bool, "is there data for this SIM?", False))
def roaming(rig: Rig, on: bool, data: bool) -> None:
    """over the border: a foreign network with other cells, registered with anew, and mostly no data for this SIM"""
    modem = rig.bracelet.modem
    modem.roaming, modem.cell, modem.data = on, FOREIGN_CELL if on else HOME_CELL, data or not on
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
    rig.bracelet.modem.restart()


@_action("modem")
def modem_off(rig: Rig) -> None:
    """the modem switches itself off and stays off until its key is held"""
    rig.bracelet.modem.go_off()


@_action("clock", "network_time", offset_s=Parameter(int, "added to it", 0, -3660 * DAY_S, 3660 * DAY_S, "s"))
def network_time(rig: Rig, offset_s: int) -> None:
    """the mobile network tells a time that is wrong by so much"""
    rig.bracelet.modem.nitz_offset_s = offset_s


@_action("clock", "network_tells_time", on=_ON)
def network_tells_time(rig: Rig, on: bool) -> None:
    """the mobile network tells the time, or doesn't, from the next registration on"""
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


@_action("gnss", s=Parameter(int, "added to it; 0: ends", 0, -3660 * DAY_S, 3660 * DAY_S, "s"))
def gnss_clock(rig: Rig, s: int) -> None:
    """somebody spoofs: the time that the receiver tells is shifted"""
    rig.bracelet.gnss.clock_offset_s = s


@_action("gnss", on=_ON)
def gnss_poor(rig: Rig, on: bool) -> None:
    """among high walls: only three satellites, and the height is assumed"""
    rig.bracelet.gnss.poor = on


@_action("gnss", on=_ON)
def gnss_estimates(rig: Rig, on: bool) -> None:
    """the receiver says the last position again and again once it sees no satellites"""
    rig.bracelet.gnss.estimates = on


@_action("gnss", on=_ON)
def gnss_frozen(rig: Rig, on: bool) -> None:
    """the receiver hangs and says the same second over and over, until its supply is cycled"""
    rig.bracelet.gnss.frozen = on


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
