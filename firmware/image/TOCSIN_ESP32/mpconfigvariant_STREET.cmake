# Without the prompt on the serial port, which gives all that is on the bracelet to whoever has a cable. For after the
# workshop, which needs it. See firmware/hardening.md.
list(APPEND MICROPY_DEF_BOARD
    MICROPY_HW_BOARD_NAME="Tocsin ESP32, no prompt"
    MICROPY_HW_ENABLE_UART_REPL=0
)
