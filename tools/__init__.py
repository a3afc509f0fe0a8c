"""Programs for who works on this project; no wheel holds them."""
