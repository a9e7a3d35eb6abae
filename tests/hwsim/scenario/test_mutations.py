"""Scenarios notice when the firmware's answer to their fault is missing.

Each mutation replaces a text in one function of a copy of the firmware. It must still be there, once, and its scenario
must then fail, and fail in what the fault is about; with the firmware as it is, the scenario holds
(test_scenarios.py).
"""

import shutil

import pytest

from hwsim.scenario import file
from hwsim.scenario.judge import judge
from hwsim.scenario.play import play
from hwsim.world.bracelet import FIRMWARE

# (scenario, file, text, what stands there instead, the expectation that fails, what is found)
MUTATIONS = {
    "a closed alarm goes on": (
        "relay_closes_the_alarm", "alarm.py",
        "        first = self.active\n        self.closed = True\n", "        first = self.active\n",
        "no alarm from 302 s until 1400 s", "",
    ),
    "a replayed command is taken": (
        "command_replayed_by_the_broker", "ratchet.py",
        "            del self._skipped[counter]\n        else:\n            self._advance(counter)\n",
        "            del self._skipped[counter]\n        else:\n            self._restart()\n",
        "firmware accept: 1 times", "",
    ),
    "a wipe that has begun is not finished": (
        "bracelet_seized_and_revoked", "app.py",
        "        if wipe.begun():\n", "        if wipe is None:\n",
        "wiped and blank at the end", "",
    ),
    "an accepted SMS counts as delivered": (
        "sms_lost_in_the_network", "delivery.py",
        "            path.at = now + self._backoff(SMS_AGAIN_MS if ok else SMS_ERROR_MS, path, steps)\n",
        "            path.at = now + self._backoff(SMS_ERROR_MS, path, steps)\n"
        "            if ok:\n                self.queue.remove(message)\n",
        "always: every alarm delivered", "never reached the relay",
    ),
    "a PUBACK counts as delivered": (
        "broker_restored_from_a_backup", "delivery.py",
        "            message.mqtt.at = now + self._backoff(MQTT_AGAIN_MS, message.mqtt, message.mqtt.tries)\n",
        "            self.queue.remove(message)\n",
        "always: every alarm delivered", "never reached the relay",
    ),
    "undelivered messages are not read from the journal": (
        "battery_pulled_and_put_back", "state.py",
        "        for message in record.messages:\n", "        for message in ():\n",
        "always: every alarm delivered", "never reached the relay",
    ),
    "any certificate will do": (
        "broker_seized_sms_still_through", "links/mqtt.py",
        "        context.verify_mode = ssl.CERT_REQUIRED\n", "        context.verify_mode = ssl.CERT_NONE\n",
        "broker publish: 0 times", "first at",
    ),
    "a broker that is not ours is waited for": (
        "captive_wifi_in_a_hotel", "ways.py",
        "reason=reason)\n        self._genuine = False\n", "reason=reason)\n        self._genuine = True\n",
        "alarm 1 delivered by sms within 15 s", "by sms",
    ),
    "a Wi-Fi is a way as long as it is there": (
        "wifi_without_internet", "links/route.py",
        "                self.leave = True\n", "                self.leave = False\n",
        "alarm 1 delivered by mqtt within 45 s", "never reached the relay",
    ),
    "no SMS while there is a network": (
        "data_dead_but_connected", "delivery.py",
        "SMS_AFTER_MS = 15000\n", "SMS_AFTER_MS = 1500000\n",
        "alarm 1 delivered by sms", "never reached the relay",
    ),
    "a hung modem is not switched off and on": (
        "modem_hangs_when_needed", "drivers/modem_power.py",
        "            await self._press(self._off_ms * 2 if long else self._off_ms)\n",
        "            if not long:\n                await self._press(self._off_ms)\n",
        "alarm 1 delivered by sms within 50 s", "never reached the relay",
    ),
    "no watchdog": (
        "processor_hangs_during_the_alarm", "app.py",
        "        watchdog = Watchdog(self.starts.risks)  # before the first call of a driver\n",
        '        watchdog = type("Off", (), {"feed": lambda self: None})()\n',
        "always: every alarm delivered", "never reached",
    ),
    "two taps before a hold mean nothing": (
        "pressed_by_accident_and_called_back", "gesture.py",
        '_BEFORE_HOLD = {2: "cancel", 3: "duress"}\n', "_BEFORE_HOLD = {}\n",
        "subscriber got until 79 s: alert, cancel", "alert, update",
    ),
    "a cut strap means nothing": (
        "bracelet_torn_off", "wearer.py",
        '                self._on_want("strap")\n', "                pass\n",
        "alarm 1 says", "no such message",
    ),
    "the strap may be opened for ever": (
        "may_open_but_not_for_ever", "strap.py",
        "ALLOWED_MS = 60000", "ALLOWED_MS = 6000000",
        "1 alarms raised", "0",
    ),
    "a contact that chatters is cut": (
        "strap_chatters_on_the_bike", "strap.py",
        "OPEN_MS = 400", "OPEN_MS = 100",
        "felt until 1100 s: worn", "raised",
    ),
    "that the strap was worn is forgotten": (
        "torn_off_as_it_resets", "state.py",
        "self.worn = bool(record.extra[4])", "self.worn = False",
        "1 alarms raised", "0",
    ),
    "a cancel under duress does not say so": (
        "forced_to_call_it_back", "alarm.py",
        'return flags | (FLAG_DURESS if what == "duress" else 0)', "return flags",
        "cancel says", "",
    ),
    "a missed check-in means nothing": (
        "check_in_missed", "wearer.py",
        '                self._on_want("check_in")\n', "                pass\n",
        "1 alarms raised", "0",
    ),
    "a drill is a drill for ever": (
        "grabbed_during_a_drill", "alarm.py",
        '        if not fresh or (what == "hold" and self.drill):\n', "        if not fresh:\n",
        "alarm 2 says", "no such message",
    ),
    "taps alone arm a drill": (
        "hits_it_four_times_and_then_holds", "gesture.py",
        "                if self._half and self._taps:\n", "                if self._taps:\n",
        "alarm 1 says", "Exercise",
    ),
    "a short hold raises": (
        "let_go_before_the_long_pulse", "gesture.py",
        "        if held >= self.hold_ms:\n", "        if held >= 2500:\n",
        "0 alarms raised", "1",
    ),
    "starts are not counted": (
        "boots_again_and_again", "boots.py",
        "        self._starts = min(self._starts + 1, _STARTS_MOST)\n", "        self._starts = 0\n",
        "firmware boot mode=safe", "never",
    ),
    "safe mode never ends": (
        "boots_again_and_again", "app.py",
        "            self.starts.lived()\n            machine.reset()\n", "            pass\n",
        "alarm 2: position known", "cell known",
    ),
    "no second file of settings": (
        "settings_file_damaged", "settings.py",
        "    for path in (SETTINGS, SETTINGS + COPY):\n", "    for path in (SETTINGS,):\n",
        "alarm 1 delivered by mqtt", "never reached the relay",
    ),
    "the last Update by SMS waits for its turn": (
        "battery_dies_during_the_alarm", "delivery.py",
        "    def hurry(self):\n", "    def hurry(self):\n        return\n\n    def unused(self):\n",
        "sms centre accepted sender=modem: 1 times from 1805 s", "never",
    ),
    "Updates are not thinned when the battery is low": (
        "battery_dies_during_the_alarm", "bracelet.py",
        "        self._alarm.stretch = self._delivery.stretch = self._battery.stretch\n", "",
        "firmware update: 1 to 4 times", "",
    ),
    "nothing is left with the broker": (
        "wifi_dies_and_the_broker_tells", "links/mqtt_codec.py",
        '    flags = b"\\xce" if will else b"\\xc2"\n', '    will = None\n    flags = b"\\xc2"\n',
        "relay lost", "never",
    ),
    "the first message waits for satellites": (
        "grabbed_indoors_without_a_fix", "bracelet.py",
        "        while self._wanted:\n", "        while self._wanted and self._gnss.count:\n",
        "alarm 1 delivered by mqtt", "",
    ),
}  # a table, read by rows # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("name", MUTATIONS)
def test_without_it_the_scenario_fails(name, tmp_path):
    scenario, place, text, instead, wanted, found = MUTATIONS[name]
    firmware = tmp_path / "firmware"
    shutil.copytree(FIRMWARE, firmware)
    path = firmware / "tocsin" / place
    source = path.read_text()
    assert source.count(text) == 1, f"{place} has changed: say anew what this mutation takes out"
    path.write_text(source.replace(text, instead))
    verdicts = judge(play(file.load(file.find(scenario)), firmware=firmware))
    failed = [verdict for verdict in verdicts if not verdict.held]
    assert any(verdict.wanted.startswith(wanted) and found in verdict.found for verdict in failed), failed
    assert not any(verdict.wanted.startswith("always: no task failed") for verdict in failed), failed
