"""From a row to the model's text: templates filled in, exemplars before it, the text codec, the rows that are trained on."""
