"""`machine`'s PWM and ADC. Not modelled: resolution, the converter's bends at its ends."""

import _hw


def _id(pin):
    from machine import Pin  # here, since machine itself imports this module

    return Pin(pin)._id


class PWM:
    def __init__(self, pin, freq=None, duty=None, duty_u16=None, duty_ns=None):
        self._device = "pwm%d" % _id(pin)
        _hw.driver(self._device)
        self._freq = 5000
        self._duty = 32768
        self.init(freq=freq, duty=duty, duty_u16=duty_u16, duty_ns=duty_ns)

    def init(self, freq=None, duty=None, duty_u16=None, duty_ns=None):
        if freq is not None:
            self._freq = freq
        if duty is not None:
            self._duty = duty * 64
        if duty_ns is not None:
            self._duty = min(65535, duty_ns * self._freq * 65536 // 1000000000)
        if duty_u16 is not None:
            self._duty = duty_u16
        _hw.post(self._device, self._freq, self._duty)

    def freq(self, hz=None):
        if hz is None:
            return self._freq
        self.init(freq=hz)

    def duty(self, value=None):
        if value is None:
            return self._duty // 64
        self.init(duty=value)

    def duty_u16(self, value=None):
        if value is None:
            return self._duty
        self.init(duty_u16=value)

    def deinit(self):
        _hw.post(self._device, 0, 0)


class ADC:
    ATTN_0DB = 0
    ATTN_2_5DB = 1
    ATTN_6DB = 2
    ATTN_11DB = 3
    WIDTH_12BIT = 12

    # Full scale of the four attenuations, as the ESP32's data sheet gives it.
    _RANGE_UV = (950000, 1250000, 1750000, 2450000)

    def __init__(self, pin, atten=ATTN_0DB):
        self._device = "adc%d" % _id(pin)
        _hw.driver(self._device)
        self._atten = atten

    def atten(self, atten):
        self._atten = atten

    def width(self, bits):
        pass

    def read_uv(self):
        return min(_hw.call(self._device, "uv"), self._RANGE_UV[self._atten])

    def read_u16(self):
        uv = min(max(_hw.call(self._device, "raw"), 0), self._RANGE_UV[self._atten])
        return uv * 65535 // self._RANGE_UV[self._atten]

    def read(self):
        return self.read_u16() >> 4
