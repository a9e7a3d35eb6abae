# MicroPython's generic ESP32, with a ROMFS and without Bluetooth. See firmware/image/README.md.
set(IDF_TARGET esp32)

# boards/ESP32_GENERIC has sdkconfig.ble as well.
set(SDKCONFIG_DEFAULTS
    boards/sdkconfig.base
    boards/TOCSIN_ESP32/sdkconfig.board
)

set(MICROPY_SOURCE_BOARD ${MICROPY_BOARD_DIR}/areas.c)

# MicroPython asks areas.c how much its heap may grow. (This file is read before ESP-IDF's own commands are there.)
add_link_options("-Wl,--wrap=gc_get_max_new_split")
