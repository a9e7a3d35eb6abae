"""Say what a chip's pins can do, by family. Board files are checked by it, and the simulated chip allows no more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    name: str
    pins: frozenset[int]  # that exist
    input_only: frozenset[int]
    wake: frozenset[int]  # reach the RTC: only they wake the chip from deep sleep
    adc1: frozenset[int]  # ADC2 doesn't work beside Wi-Fi
    flash: frozenset[int]
    psram: frozenset[int]  # as well, on modules with PSRAM
    psram_from_mb: int  # so much PSRAM takes them; less has its own connections
    console: frozenset[int]
    usb: frozenset[int]
    strapping: frozenset[int]  # read when the chip starts
    reset_up: frozenset[int]  # pads that pull up from a reset until the firmware sets them
    reset_down: frozenset[int]
    own_rtc_pulls: bool  # a pad has pulls of the RTC beside those of the IO MUX, which Pin() sets
    sleep_up: frozenset[int]  # reset values of those: what pulls the pad in deep sleep
    sleep_down: frozenset[int]
    image_offset: int  # where the image begins in flash
    image_id: int  # esp_chip_id_t, in the header of every image (ESP-IDF, esp_app_format.h)

    def unusable(self, pin: int, psram_mb: int) -> str | None:
        """Return the reason why nothing can be wired to the pin; None when something can."""
        if pin in self.flash:
            return "drives the module's flash chip"
        if pin not in self.pins:
            return f"does not exist on an {self.name}"
        if pin in self.psram and psram_mb >= self.psram_from_mb:
            return "drives the module's PSRAM"
        if pin in self.console:
            return "belongs to the console"
        if pin in self.usb:
            return "belongs to USB"
        return None


def _pins(*ranges: Iterable[int]) -> frozenset[int]:
    return frozenset(pin for numbers in ranges for pin in numbers)


FAMILIES = {
    # ESP32 Series Datasheet v4.5: 2.2 (pins), 2.4 (strapping); Technical Reference Manual 4.11 and 29.3 (RTC, ADC1).
    # ESP32-WROVER-E Datasheet v2.0, 3.2: GPIO16 and 17 are its PSRAM's. Image: ports/esp32/boards/ESP32_GENERIC.
    # Pulls at reset: data sheet, appendix A, IO_MUX; those of the RTC's pads are its reset values, too (ESP-IDF,
    # components/soc/esp32/register/soc/rtc_io_reg.h: TOUCH_PAD0 to 6 are GPIO4, 0, 2, 15, 13, 12, 14). There is one
    # set of pulls a pad: gpio_pullup_en() sets the RTC's (components/esp_driver_gpio/src/gpio.c).
    "esp32": Family(
        name="ESP32",
        pins=_pins(range(20), (21, 22, 23, 25, 26, 27), range(32, 40)),
        input_only=_pins(range(34, 40)),
        wake=_pins((0, 2, 4, 12, 13, 14, 15, 25, 26, 27), range(32, 40)),
        adc1=_pins(range(32, 40)),
        flash=_pins(range(6, 12)),
        psram=_pins((16, 17)),
        psram_from_mb=1,
        console=_pins((1, 3)),
        usb=_pins(),
        strapping=_pins((0, 2, 5, 12, 15)),
        reset_up=_pins((0, 5, 14, 15)),
        reset_down=_pins((2, 4, 12, 13)),
        own_rtc_pulls=False,
        sleep_up=_pins((0, 14, 15)),
        sleep_down=_pins((2, 4, 12, 13)),
        image_offset=0x1000,
        image_id=0,
    ),
    # ESP32-S3 Series Datasheet v2.0: 2.2 (pins), 2.3 (RTC and analog functions), 3 (strapping). Octal PSRAM, which all
    # chips and modules with 8 MB and more have, takes GPIO33-37. Image: ports/esp32/boards/ESP32_GENERIC_S3.
    # Pulls at reset: data sheet, 2.2 (table of pins, at reset). Asleep: the reset values of RUE and RDE in ESP-IDF,
    # components/soc/esp32s3/register/soc/rtc_io_reg.h (TOUCH_PADn is GPIOn). gpio.c there calls the two sets of pulls
    # independent (GPIO_RTCIO_ARE_INDEPENDENT); seen on a chip: esp-idf#16192 (GPIO1), micropython#15260 (GPIO0, an S2).
    "esp32s3": Family(
        name="ESP32-S3",
        pins=_pins(range(22), range(26, 49)),
        input_only=_pins(),
        wake=_pins(range(22)),
        adc1=_pins(range(1, 11)),
        flash=_pins(range(26, 33)),
        psram=_pins(range(33, 38)),
        psram_from_mb=8,
        console=_pins((43, 44)),
        usb=_pins((19, 20)),
        strapping=_pins((0, 3, 45, 46)),
        reset_up=_pins((0,)),
        reset_down=_pins((45, 46)),
        own_rtc_pulls=True,
        sleep_up=_pins((1, 3, 6)),
        sleep_down=_pins((0, 2, 4, 5), range(19, 22)),
        image_offset=0,
        image_id=9,
    ),
}


def mask(pins: Iterable[int]) -> int:
    """Return a set of pins as one integer: bit n for GPIO n."""
    return sum(1 << pin for pin in pins)
