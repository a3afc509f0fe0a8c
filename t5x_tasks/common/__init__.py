"""What all packages share: errors, loading of configurations and YAML, functions by name, values, output."""
