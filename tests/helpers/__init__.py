"""What several test files use and pytest does not collect."""
