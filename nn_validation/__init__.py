"""Everything trained, and the readers of the data sets it is trained on."""
