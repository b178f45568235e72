"""Many volumes: found, planned, enhanced one by one or by several processes, journalled and resumed."""
