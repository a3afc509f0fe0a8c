"""Exports a run or other weights as a Hugging Face directory, a T5X checkpoint or a PEFT adapter: `python -m train.export`."""
