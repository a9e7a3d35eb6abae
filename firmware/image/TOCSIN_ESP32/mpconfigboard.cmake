# MicroPython's generic ESP32, with a ROMFS. See "The image" in firmware/README.md.
include(boards/ESP32_GENERIC/mpconfigboard.cmake)
list(APPEND SDKCONFIG_DEFAULTS boards/TOCSIN_ESP32/sdkconfig.board)
