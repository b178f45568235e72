"""Networks: the RRDB generator, the compact generator and n-D pixel shuffle."""
