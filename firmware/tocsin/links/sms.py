"""SMS as a path: one envelope out through the modem, to the relay's number."""


class Sms:
    def __init__(self, modem, number):
        self._modem = modem
        self._number = number

    @property
    def up(self):
        return bool(self._number) and self._modem.sms_up

    def send(self, octets, on_result):
        """Send an envelope; on_result(ok) when the network took it. False when it can't even be tried now."""
        return self.up and self._modem.send(self._number, octets, on_result)
