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
    "an accepted SMS counts as delivered": (
        "sms_lost_in_the_network", "delivery.py",
        "            message.sms.at = now + self._backoff(SMS_AGAIN_MS if ok else SMS_ERROR_MS, message.sms)\n",
        "            message.sms.at = now + self._backoff(SMS_ERROR_MS, message.sms)\n"
        "            if ok:\n                self.queue.remove(message)\n",
        "always: every alarm delivered", "never reached the relay",
    ),
    "a PUBACK counts as delivered": (
        "broker_restored_from_a_backup", "delivery.py",
        "            message.mqtt.at = now + self._backoff(MQTT_AGAIN_MS, message.mqtt)\n",
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
        "captive_wifi_in_a_hotel", "app.py",
        "        self._genuine = False\n", "        self._genuine = True\n",
        "alarm 1 delivered by sms within 15 s", "by sms",
    ),
    "no SMS while there is a network": (
        "data_dead_but_connected", "delivery.py",
        "SMS_AFTER_MS = 15000\n", "SMS_AFTER_MS = 1500000\n",
        "alarm 1 delivered by sms", "never reached the relay",
    ),
    "a hung modem is not switched off and on": (
        "modem_hangs_when_needed", "drivers/modem.py",
        "            await self._press(self._key_ms * 2)\n", "            pass\n",
        "alarm 1 delivered by sms within 50 s", "by sms",
    ),
    "a modem that restarted is not set up anew": (
        "modem_restarts_while_sending", "drivers/modem.py",
        "        elif line in STARTED:\n", "        elif line is None:\n",
        "alarm 1 delivered by sms within 30 s", "",
    ),
    "networks are looked for as rarely as without an alarm": (
        "dragged_past_an_open_cafe", "app.py",
        "            self._wifi.urgent = self._mqtt.urgent = bool(self._delivery.queue)\n", "",
        "always: every alarm delivered", "never reached the relay",
    ),
    "no watchdog": (
        "processor_hangs_during_the_alarm", "app.py",
        "        watchdog = machine.WDT(timeout=WATCHDOG_MS)\n",
        '        watchdog = type("Off", (), {"feed": lambda self: None})()\n',
        "always: every alarm delivered", "never reached",
    ),
    "two taps before a hold mean nothing": (
        "pressed_by_accident_and_called_back", "gesture.py",
        '            events.append(("cancel",) if self._taps == 2 else ("hold",))\n',
        '            events.append(("hold",))\n',
        "subscriber got: alert, cancel", "alert, update",
    ),
    "a short hold raises": (
        "let_go_before_the_long_pulse", "gesture.py",
        "        if held >= self.hold_ms:\n", "        if held >= 2500:\n",
        "0 alarms raised", "1",
    ),
    "the first message waits for satellites": (
        "grabbed_indoors_without_a_fix", "app.py",
        "        while self._wanted:\n", "        while self._wanted and self._gnss.count:\n",
        "alarm 1 delivered by mqtt", "",
    ),
}  # fmt: skip


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
