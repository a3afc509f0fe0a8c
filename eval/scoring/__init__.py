"""From predictions to scores with intervals, and the files that hold them."""
