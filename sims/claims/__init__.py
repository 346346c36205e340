"""Claims decided by simulation, one module for each system; the ledger finds them by name."""
