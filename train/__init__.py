"""The model and how it is trained. `python -m train CONFIG [key=value ...]` starts a run."""
