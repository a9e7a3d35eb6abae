"""The bracelet's peripherals, one file each."""
