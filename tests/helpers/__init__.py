"""Helpers of several test files; pytest does not collect them."""
