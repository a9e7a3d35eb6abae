"""Long transcripts of the pure machines, printed. Plain Python for two interpreters: CPython, where the tests find out
what is right, and MicroPython, where it has to come out the same, octet by octet (see test_transcripts.py)."""

from hashlib import sha256

from tocsin import alarm, at, chains, checkin, clock, delivery, gesture, journal, movement, nmea, pdu, strap
from tocsin.links import dns, mqtt_codec


class Dice:
    """The same numbers everywhere."""

    def __init__(self, seed):
        self._state = seed

    def __call__(self, n):
        self._state = (self._state * 1103515245 + 12345) & 0x7FFFFFFF
        return (self._state >> 8) % n

    def octets(self, n):
        return bytes([self(256) for _ in range(n)])


def attempt(function, *args):
    try:
        return function(*args)
    except (ValueError, RuntimeError) as error:
        return type(error).__name__ if isinstance(error, RuntimeError) else "ValueError"


def show(value):
    return sorted(value.__dict__.items()) if hasattr(value, "__dict__") else value


def sentence(body):
    check = 0
    for octet in body:
        check ^= octet
    return b"$" + body + b"*%02X\r\n" % check


def play_nmea(dice):
    parser = nmea.Parser()
    for second in range(300):
        lat = b"%02d%02d.%05d" % (dice(91), dice(60), dice(100000))
        lon = b"%03d%02d.%05d" % (dice(181), dice(60), dice(100000))
        where = lat + b"," + (b"N", b"S")[dice(2)] + b"," + lon + b"," + (b"E", b"W")[dice(2)]
        now = b"12%02d%02d.00" % (second // 60, second % 60)
        data = sentence(
            b"GNRMC,"
            + now
            + b",A,"
            + where
            + b",%d.%03d,%d.%d,010226,,,A" % (dice(400), dice(1000), dice(361), dice(10))
        )
        if dice(4):
            gga = (
                b"GPGGA,"
                + now
                + b","
                + where
                + b",1,08,%d.%02d,%d.%d,M,46.9,M,," % (dice(30), dice(100), dice(9000) - 500, dice(10))
            )
            data += sentence(gga)
        if not dice(5):
            data = data[: dice(len(data))] + dice.octets(dice(20))
        cut = dice(len(data) + 1)
        for event in parser.feed(data[:cut]) + parser.feed(data[cut:]):
            print(event[0], show(event[1]))
    print(parser.bad)


def play_movement(dice):
    last = sure = nmea.Fix(0, 0, 0, 0)
    told = None
    for _ in range(1500):
        fix = nmea.Fix(last.lat, last.lon, dice(9), None)
        reach = (100, 3000, 20000, 900000000)[dice(4)]
        fix.lat = max(-900000000, min(900000000, fix.lat + dice(2 * reach) - reach))
        fix.lon = max(-1800000000, min(1800000000, fix.lon + dice(2 * reach) - reach))
        fix.accuracy = (3, 20, 65535)[dice(3)]
        step = (1, 30, 900)[dice(3)]
        fix.at, fix.time = last.at + step * 1000, last.time + (step, step + dice(200) - 100)[dice(2)]
        fix.doubt = movement.doubt(sure, last, fix)
        now = (fix.lat, fix.lon, fix.accuracy, dice(90), None, fix.speed, None, fix.doubt, fix.time)
        print(fix.doubt, movement.moved(told, now))
        told = told if dice(3) else now
        last = fix
        sure = sure if fix.doubt else fix


def play_at(dice):
    pieces = (
        b"\r\nOK\r\n",
        b"\r\nERROR\r\n",
        b'\r\n+CMTI: "SM",3\r\n',
        b"\r\n+CMT: ,20\r\n0791\r\n",
        b"\r\n> ",
        b"+CMGL: 1,0,,30\r\n07AA\r\n",
    )
    engine = at.Engine()
    for now in range(0, 400000, 500):
        if engine.command is None:
            text, expect, data = (("AT", None, None), ("AT+CMGL=4", "+CMGL:", None), ("AT+CMGS=9", "+CMGS:", b"00"))[
                dice(3)
            ]
            engine.start(at.Command(text, expect, 5000, data), now)
        piece = pieces[dice(len(pieces))] if dice(8) else dice.octets(dice(30))
        for event in engine.feed(piece, now):
            print(event[0], (event[1].result, event[1].lines) if event[0] == "done" else event[1:])
        print(engine.output(), engine.deadline(), engine.dropped)
    for line in ("+CREG: 1", '+CREG: 2,1,"00C3","0012A3"', '+CREG: 5,"00C3","0012A3",7', "+CREG: 0,2", "+CREG:"):
        print(at.registration(line), at.fields(line))


def play_codecs(dice):
    for n in range(200):
        data = dice.octets(1 + dice(140))
        print(attempt(pdu.submit, f"+{10000000 + dice(99999999)}", data))
        print(
            attempt(
                pdu.deliver, f"07911326040000F0040B916407281553F8000462101000000000{len(data):02X}" + hexadecimal(data)
            )
        )
        print(attempt(pdu.deliver, hexadecimal(data)))
        decoder = mqtt_codec.Decoder()
        packet = mqtt_codec.publish("b/0/0a1b2c3d/ack", data, 1 + n) + mqtt_codec.puback(n + 1)
        print(attempt(decoder.feed, packet), attempt(mqtt_codec.Decoder().feed, data))
        print(attempt(dns.answer, dns.query("relay.test", n)[:2] + data, "relay.test", n), dns.query("a.b", n))
        print(clock.datetime(1700000000 + dice(1 << 30)), nmea.days(2000 + dice(60), 1 + dice(12), 1 + dice(28)))
    print(mqtt_codec.connect("0a1b2c3d", "0a1b2c3d", "password", 60), mqtt_codec.subscribe("a", 7))


def hexadecimal(data):
    return "".join([f"{octet:02X}" for octet in data])


def play_gestures(dice):
    gestures = gesture.Gestures()
    now, down = 0, False
    for _ in range(300):
        now += (150, 400, 900, 3500)[dice(4)]
        print(now, gestures.time(now), gestures.deadline())
        down = not down
        print(gestures.edge(down, now))


def play_alarm(dice):
    newest = alarm.Alarm()
    now = counter = 0
    for news in range(400):
        now += dice(40000)
        if not dice(12):
            what = ("hold", "cancel", "duress", "drill", "strap", "check_in")[dice(6)]
            kind = newest.decide(what, now)
        elif now >= (newest.deadline(news // 3, bool(dice(2))) or now + 1):
            kind, what = alarm.UPDATE, None
        else:
            continue
        print(newest.flags(kind, what), newest.cause_of(kind, what))
        newest.sealed(kind, counter, now // 1000, now, news // 3, bool(dice(2)), what, not dice(3))
        counter += 1
        print(newest.deadline(news, True, False), newest.deadline(news, True, True), newest.next_at(now + dice(900000)))
        print(now, kind, newest.state(now), newest.deadline(news, True), newest.receipt(dice(counter), dice(counter)))


def play_strap(dice):
    worn = strap.Strap(bool(dice(2)))
    now, closed = 0, False
    for _ in range(400):
        now += (20, 300, 2000, 9000)[dice(4)]
        closed = bool(dice(2)) if not dice(3) else closed
        if not dice(15):
            worn.allow(now)
        print(now, closed, worn.sample(closed, now), worn.state, worn.allowed(now), worn.deadline())


def play_check_in(dice):
    timer = checkin.CheckIn()
    now, seconds = 0, 1700000000
    for _ in range(400):
        step = (1000, 20000, 60000, 900000)[dice(4)]
        now, seconds = now + step, seconds + step // 1000
        told = seconds if dice(3) else 0
        kind = dice(12)
        if kind == 0:
            timer.start(1 + dice(60), now)
        elif kind == 1:
            timer.stop()
        elif kind == 2:
            again = checkin.CheckIn()
            again.restore(timer.state(now, told), 500, told)
            timer, now = again, 500
        elif kind == 3:
            timer.clock(now, told)
        print(now, timer.time(now), timer.deadline(), timer.state(now, told))


def play_delivery(dice):
    queue = delivery.Delivery(lambda: dice(256))
    now = counter = first = 0
    flying = []
    for _ in range(1500):
        now += dice(20000)
        event = dice(8)
        if event == 0:
            first = counter if not dice(4) else first
            dropped = queue.add(delivery.Message(counter, first, 0 if first == counter else 1, b"%d" % counter), now)
            print("dropped", dropped and dropped.counter)
            counter += 1
        elif event == 1:
            queue.mqtt(bool(dice(3)), now)
        elif event == 2:
            queue.sms(bool(dice(3)), now)
        elif event == 3:
            queue.net(bool(dice(2)), now)
        elif event < 6 and flying:
            path, message = flying.pop(dice(len(flying)))
            (queue.published if path == "mqtt" else queue.texted)(message.counter, bool(dice(3)), now)
        elif event == 6 and counter:
            found = queue.receipt(dice(counter))
            print("receipt", found and found.counter)
        actions = queue.poll(now)
        flying += actions
        print(now, [(path, message.counter) for path, message in actions], queue.deadline(), queue.full_of_alerts())


class Nor:
    """Six sectors of flash."""

    def __init__(self):
        self.cells = bytearray(b"\xff" * 24576)

    def readblocks(self, sector, buf, offset=0):
        at = sector * 4096 + offset
        buf[:] = self.cells[at : at + len(buf)]

    def writeblocks(self, sector, buf, offset):
        at = sector * 4096 + offset
        for n in range(len(buf)):
            self.cells[at + n] &= buf[n]

    def ioctl(self, request, argument):
        if request == 4:
            return 6
        self.cells[argument * 4096 : argument * 4096 + 4096] = b"\xff" * 4096


def play_journal(dice):
    sender = chains.Sender(5, b"k" * 32, lambda key: (key, bytes([(octet + 1) & 255 for octet in key])), 1000)
    flash = Nor()
    for n in range(20):
        book = journal.Journal(flash)
        content = book.load()
        if content:
            record = journal.decode(content)
            print(sorted(record.__dict__.items()))
        stored = sender.reserve(chains.block(n * 200))
        record = journal.Record(
            stored, [n, dice.octets(32)], (n, dice.octets(32), {k: dice.octets(29) for k in range(n % 5)})
        )
        record.alarm = [n, n, 0, 1, 0, 0, 0] if n % 2 else []
        record.messages = [[n, n, 0, dice.octets(140)]] * (n % 4)
        book.save(record.encode())
        sender.reserved(stored)
        print(sender.take(), sender.spare())
        print(attempt(journal.decode, dice.octets(50)))
    print(sha256(flash.cells).digest())


def main():
    for play in (
        play_nmea,
        play_movement,
        play_at,
        play_codecs,
        play_gestures,
        play_alarm,
        play_strap,
        play_check_in,
        play_delivery,
    ):
        print(play.__name__)
        play(Dice(7))
    play_journal(Dice(8))
