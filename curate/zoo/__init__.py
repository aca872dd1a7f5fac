"""The zoo: compact models that ship with the project, the data that they learn from, and their measured quality."""
