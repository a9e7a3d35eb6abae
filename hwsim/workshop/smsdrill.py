"""Raise one more drill on a bracelet whose first drill was answered, with SMS as the only way. mpremote runs it.

The program is the usual one, with its own journal and keys, with three differences: its settings name no data network
(in memory; those on flash stay), it raises a drill by itself, and it doesn't sleep, the last two as an update on trial
does (tocsin/update.py). As there, all that may be real goes first: a press, a strap that opens, or an error of a task
ends the drill; a strap's alarm is raised and goes on. At the end nothing of the drill is left in the journal. Then
nobody feeds the watchdog any more: if the cable is out by now, the bracelet is back at its work 40 s later.

It writes `@test part=sms result=` to the console. It is compiled with the firmware, because of the short names.
"""

import gc

gc.threshold(4096)  # as in main.py, and for the same reason

import asyncio  # noqa: E402 - see above

import machine  # noqa: E402 - see above
from tocsin import app, boots, floor, identity, log, settings, update  # noqa: E402 - see above

NETWORK_MS = 180000  # to find a network in a new place
LOOK_MS = 100
DENIED = 3  # registration: 3GPP TS 27.007, 7.2


async def _drill(one, bracelet, state, ms, why, over):
    alarm, end = state.alarm, update.Updater(one, bracelet, state)._end_drill
    if alarm.drill:  # the first drill, which nobody has closed yet; or one of ours, whose cable was pulled
        end(alarm.counter)
    if alarm.active or state.delivery.queue:
        why.append("busy")
    first, until, raised = state.first, one.clock.ms() + NETWORK_MS, False
    while not why and state.acked <= first:
        now = one.clock.ms()
        if not raised and bracelet._sms.up:
            raised, until = True, now + ms
            bracelet.want("trial")
        if bracelet.pressed():
            why.append("pressed")
        elif now > until:
            why.append("late" if raised else "denied" if bracelet._modem.stat == DENIED else "network")
        await asyncio.sleep_ms(LOOK_MS)
    end(first)
    over.append(why[0] if why else "ok")  # only now: nothing goes on after this
    await asyncio.sleep_ms(LOOK_MS * 10)  # or the end of this task would be told as an error


async def _life(one, over):
    task = asyncio.create_task(one.run())
    while not over and not task.done():
        await asyncio.sleep_ms(LOOK_MS)


def main(seconds):
    """Run the drill. `seconds`: the time for the receipt, from when there is a network."""
    why, over = [], []  # what is wrong; the result
    load = settings.load_settings

    def without_data():
        found = load()
        found.wifi, found.apn = [], None
        return found

    if identity.load() is None:
        over.append("blank")
    elif not load().sms:
        over.append("number")
    else:
        settings.load_settings = without_data
        starts = boots.Boots(
            machine.RTC(), machine.reset_cause(), floor.Floor("starts"), floor.Floor("crash"), floor.Floor("risks")
        )
        starts.lived()  # this start ends on purpose, which is no reason for safe mode
        one = app.App(starts)
        one.trial, one.abandon = True, lambda: why.append("abandoned")
        one._update = lambda bracelet, state: one.supervisor.start(
            "drill", lambda: _drill(one, bracelet, state, seconds * 1000, why, over)
        )
        gc.collect()
        gc.threshold(49152)
        try:
            asyncio.run(_life(one, over))
        finally:
            starts.lived()  # nor is the coming reset a reason to blame a part that has just begun
    log.event("test", part="sms", result=over[0] if over else "failed")
