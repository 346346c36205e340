"""The vocabulary of training: data sets first."""
