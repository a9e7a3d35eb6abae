#ifndef MICROPY_HW_BOARD_NAME
// A variant has a name of its own.
#define MICROPY_HW_BOARD_NAME "Tocsin ESP32"
#endif
#define MICROPY_HW_MCU_NAME "ESP32"

// The firmware runs from the partition "romfs", without being loaded into the heap.
#define MICROPY_VFS_ROM (1)
