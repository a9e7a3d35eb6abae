#ifndef MICROPY_HW_BOARD_NAME
// A variant has a name of its own.
#define MICROPY_HW_BOARD_NAME "Tocsin ESP32"
#endif
#define MICROPY_HW_MCU_NAME "ESP32"

// The firmware runs from the partition "romfs", without being loaded into the heap.
#define MICROPY_VFS_ROM (1)

// Nobody uses it, and it takes 38 KB even while it is off.
#define MICROPY_PY_BLUETOOTH (0)

// MicroPython's heap: 104 KB and, by areas.c, 36 KB more. The rest is for Wi-Fi, PPP and TLS (hwsim/world/memory.py).
#define MICROPY_GC_INITIAL_HEAP_SIZE (104 * 1024)
#ifndef __ASSEMBLER__
#include <stddef.h>
void *tocsin_area(size_t size);
void tocsin_area_free(void *area);
#endif
#define MP_PLAT_ALLOC_HEAP(size) tocsin_area(size)
#define MP_PLAT_FREE_HEAP(area) tocsin_area_free(area)
