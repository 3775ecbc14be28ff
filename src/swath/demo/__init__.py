"""The demo: real input in, notes, filters, pictures and scores out."""
