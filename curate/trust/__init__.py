"""Trust: what one triplet came of, whether two runs differ, several runs as one dataset, and ways out of the house."""
