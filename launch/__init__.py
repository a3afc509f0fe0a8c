"""How runs start on many machines, on launchers that exist already; and the plan of what they would need."""
