"""A data set's card and what it names: fields, templates, transforms; the catalog of all cards and mixtures."""
