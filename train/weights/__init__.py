"""Formats that weights are read from: Hugging Face, T5X, PEFT; each tensor goes straight to the devices that hold it."""
