"""People rate two systems' outputs on a page, blind; their files of ratings come back into the comparison."""
