"""Steering by what was made: rules tried out, triplets labelled, thresholds calibrated, the best of the kept chosen."""
