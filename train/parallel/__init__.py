"""Devices and processes: the mesh and its shardings, what processes agree on, the watchdog, the runtime's settings."""
