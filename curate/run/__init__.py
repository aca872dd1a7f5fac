"""The run as a whole: config -> plan -> engine -> seal. The only room that knows experts and scorers and the store."""
